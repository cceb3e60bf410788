// etcdserverpb.Watch on one loop.
//
// A stream has two halves. The loop half (Stream) decodes requests, writes responses and runs catch-ups. The
// apply half (Sink) takes what the watch table sends, bounded in bytes, and hands it to the loop in batches:
// all sinks of one loop share a mailbox, so that a batch of apply wakes a loop once however many streams it
// touched.
//
// Order: one stream's messages leave in the order apply sent them. A catch-up runs beside what comes after
// it; a cancel that overtakes it silences its watcher in it. Threads: WatchService and Stream are confined to
// their loop, Sink's WatchSink methods to apply. Bounds: Limits::watch_queue_bytes per stream of undelivered
// events; a stream that does not take them falls back to catching up. A stream's requests are not read while
// answers of it wait to be sent, or while kRequestsInFlightMax of them or kRequestBytesInFlightMax bytes are
// on their way through apply. Source: spec api-semantics 3.
#pragma once
#include <memory>

#include "base/prng.h"
#include "grpc/method_table.h"
#include "v3rpc/gate.h"

namespace quoin::v3rpc {

class WatchService final : public grpc::StreamHandler {
 public:
  // Apply may run in the loop's own thread, so this is also what one task takes on at a time.
  static constexpr size_t kRequestsInFlightMax = 64;
  static constexpr size_t kRequestBytesInFlightMax = 1 << 20;

  WatchService(Loop& loop, Gate& gate, grpc::MethodTable& methods, uint64_t seed);
  ~WatchService() override;
  std::unique_ptr<grpc::StreamListener> open(grpc::Call& call) override;

 private:
  class Stream;
  class Sink;
  class Mailbox;
  Loop& loop_;
  Gate& gate_;
  Prng prng_;
  std::shared_ptr<Mailbox> mailbox_;
};

}  // namespace quoin::v3rpc
