// One other member: how messages reach it and how its messages come. And a remote: a member that the local
// configuration does not know yet, which can be answered and nothing more.
//
// Threads: the peer loop.
#pragma once
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "peer/pipeline.h"
#include "peer/prober.h"
#include "peer/snapshot_sender.h"
#include "peer/status.h"
#include "peer/stream_reader.h"
#include "peer/stream_writer.h"

namespace quoin::peer {

class Peer {
 public:
  Peer(Context& context, ActiveTable& table, IdleLinks& links, MemberId id, std::vector<std::string> urls);
  // An append takes its stream, or else the other one; everything else the message stream; without a stream both
  // take the pipeline. What finds no room is dropped, and raft hears that the member is unreachable.
  void send(raft::Message message, size_t bytes);
  void send_snapshot(raft::Message message, std::shared_ptr<backend::SnapshotSource> source);
  // The member opened one of its streams.
  void attach(StreamKind kind, std::unique_ptr<io::Stream> stream, bool chunked);
  void update(std::vector<std::string> urls);
  void stop();

 private:
  StreamWriter& writer(StreamKind kind) { return *writers_[static_cast<size_t>(kind)]; }
  void probe(const std::vector<std::string>& urls);

  Context& context_;
  IdleLinks& links_;
  const MemberId id_;
  UrlPicker picker_;
  PeerStatus status_;
  std::unique_ptr<Pipeline> pipeline_;
  std::array<std::unique_ptr<StreamWriter>, kStreamKinds> writers_;
  std::array<std::unique_ptr<StreamReader>, kStreamKinds> readers_;
  SnapshotSender snapshots_;
  std::array<std::unique_ptr<Prober>, 2> probers_;
};

class Remote {
 public:
  Remote(Context& context, IdleLinks& links, MemberId id, std::vector<std::string> urls);
  void send(raft::Message message, size_t bytes);
  void stop() { pipeline_.stop(); }

 private:
  Context& context_;
  const MemberId id_;
  UrlPicker picker_;
  PeerStatus status_;
  Pipeline pipeline_;
};

}  // namespace quoin::peer
