// POST /raft/snapshot: MsgSnap, then the database, which is written to a file as it arrives.
//
// Back-pressure: what the file has not taken counts against the connection's window, so a transfer holds no more
// than that beside its message. At most kTransfersMax at a time; a further one is refused as one that cannot be
// saved.
//
// Threads: the peer loop; the file on PeerHandler::snapshot_executor.
#pragma once
#include <list>
#include <memory>

#include "http1/door.h"
#include "peer/compatibility.h"

namespace quoin::peer {

struct Context;

class SnapshotReceiver {
 public:
  // etcd 3.6's bound of the message in front of the database.
  static constexpr size_t kMessageMax = 64u << 20;
  static constexpr size_t kTransfersMax = 8;

  explicit SnapshotReceiver(Context& context);
  ~SnapshotReceiver();
  // A request that has passed the checks. `fields` are of the answer.
  void take(std::unique_ptr<http1::Exchange> exchange, Fields fields);
  void stop();

 private:
  class Transfer;
  void forget(Transfer& transfer);

  Context& context_;
  std::list<std::unique_ptr<Transfer>> transfers_;
};

}  // namespace quoin::peer
