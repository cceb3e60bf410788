// Maintenance.Snapshot: the database file in messages of 32 KiB, then the SHA-256 of all of them.
//
// The file is read on the file strand, a few messages ahead of what the client takes; the copy it is read
// from pins its pages until the stream ends. Threads: confined to its loop. Source: spec storage-formats 6.1.
#pragma once
#include "v3rpc/gate.h"

namespace quoin::v3rpc {

class SnapshotStreamHandler final : public grpc::StreamHandler {
 public:
  SnapshotStreamHandler(Loop& loop, Gate& gate) : loop_(loop), gate_(gate) {}
  std::unique_ptr<grpc::StreamListener> open(grpc::Call& call) override;

 private:
  class Listener;
  Loop& loop_;
  Gate& gate_;
};

}  // namespace quoin::v3rpc
