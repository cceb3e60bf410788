// The requests of other members below /raft: streams they open, messages and snapshots they post, probes.
//
// Threads: the peer loop, on which the connections of the peer port live too (CHECK).
// Order of the checks, statuses and bodies: spec raft-and-peers 21.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "http1/door.h"
#include "io/stream.h"
#include "io/timer.h"
#include "peer/compatibility.h"
#include "peer/post_receiver.h"
#include "peer/snapshot_receiver.h"
#include "peer/stream_codec.h"

namespace quoin::peer {

struct Context;
class Peer;

// Who is known. PeerSet implements it.
class Members {
 public:
  virtual ~Members() = default;
  // Null: not a peer.
  virtual Peer* find(MemberId id) = 0;
  virtual void add_remote(MemberId id, std::vector<std::string> urls) = 0;
};

class RaftDoor final : public http1::Door {
 public:
  RaftDoor(Context& context, Members& members);
  ~RaftDoor() override;
  // Only clean paths: what others are redirected to is the front's.
  bool serves(std::string_view path) const override;
  void on_request(std::unique_ptr<http1::Exchange> exchange) override;
  // Requests are dropped without an answer from now on.
  void stop();

 private:
  void stream(std::unique_ptr<http1::Exchange> exchange);
  void post(std::unique_ptr<http1::Exchange> exchange);
  void snapshot(std::unique_ptr<http1::Exchange> exchange);
  // Null: refused and answered.
  bool compatible(http1::Exchange& exchange, const Fields& fields);
  void remember_sender(const http1::Request& request);

  Context& context_;
  Members& members_;
  PostReceiver posts_;
  SnapshotReceiver snapshots_;
  bool stopped_ = false;
};

}  // namespace quoin::peer
