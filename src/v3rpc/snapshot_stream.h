// Maintenance.Snapshot: the database file in messages of 32 KiB, then the SHA-256 of all of them.
//
// The file is read on the file strand, a few messages ahead of what the client takes; the copy it is read
// from pins its pages until the last of them was read. Threads: confined to its loop. Source: spec
// storage-formats 6.1.
//
// Bounds: a client that takes less than kPaceBytes in kSlowMaxNs is given up: its stream ends with code 8. So
// is one that takes less than kPaceBytesPinned between two checks once the file has grown by
// Limits::snapshot_pinned_bytes since the copy was made. (What the copy pins can't be used again, so the file
// grows by at least that.) Each is a warning and counts in quoin_snapshot_streams_given_up_total.
#pragma once
#include "v3rpc/gate.h"

namespace quoin::v3rpc {

class SnapshotStreamHandler final : public grpc::StreamHandler {
 public:
  static constexpr int64_t kPaceCheckNs = 30 * io::kSecond;
  static constexpr int64_t kSlowMaxNs = 600 * io::kSecond;
  static constexpr uint64_t kPaceBytes = 1 << 20;
  static constexpr uint64_t kPaceBytesPinned = 8 << 20;

  SnapshotStreamHandler(Loop& loop, Gate& gate) : loop_(loop), gate_(gate) {}
  std::unique_ptr<grpc::StreamListener> open(grpc::Call& call) override;

 private:
  class Listener;
  Loop& loop_;
  Gate& gate_;
};

}  // namespace quoin::v3rpc
