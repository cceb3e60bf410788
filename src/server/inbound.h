// What comes in from the other members: their messages go to raft, their databases to the snap directory.
//
// What is refused: received_message.h. Each refusal is counted (quoin_peer_messages_refused_total) and logged, at most
// LineLimit::kLinesMax lines a second.
//
// Threads: any. Lifetime: a part of the member; the transport stops before the member does.
// Source: spec raft-and-peers 21, 23.
#pragma once
#include <map>
#include <mutex>

#include "base/metrics.h"
#include "membership/membership.h"
#include "server/line_limit.h"
#include "server/peers.h"

namespace quoin::server {

class Stages;

class Inbound final : public PeerHandler {
 public:
  explicit Inbound(Stages& stages);

  MemberId self() const override;
  ClusterId cluster() const override;
  bool removed(MemberId id) const override;
  void received(std::vector<raft::Message> messages, Charge charge) override;
  void process(raft::Message message, Charge charge, io::Executor& executor,
               absl::AnyInvocable<void(Result<>)> done) override;
  void unreachable(MemberId id) override;
  void snapshot_sent(MemberId id, bool failed) override;
  void found_removed() override;
  io::FileSystem& snapshot_files() override;
  io::Executor& snapshot_executor() override;
  std::string new_snapshot_path() override;
  void keep_snapshot(std::string path, Index index, io::Executor& executor,
                     absl::AnyInvocable<void(Result<>)> done) override;

 private:
  static constexpr size_t kKeptMax = 64;

  Result<> check(const raft::Message& message, const membership::Membership& members);
  // MsgSnap: its database was kept, and no other message has taken it.
  bool take_kept(Index index);
  void tell_refused(const raft::Message& message, const Error& error);

  Stages& s_;
  metrics::Counter& refused_;
  std::mutex mutex_;              // guards what follows
  std::map<Index, size_t> kept_;  // databases whose MsgSnap has not come yet
  LineLimit lines_;
};

}  // namespace quoin::server
