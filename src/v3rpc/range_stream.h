// KV.RangeStream (3.7): a Range whose answer comes in chunks, read from the newest view at one revision.
//
// A chunk is read only while the stream is writable, so a slow reader holds one chunk and no view. Each chunk
// is a turn of the loop, one of many keys several (long_reads.h).
// Threads: confined to its loop. Source: spec api-semantics 9 (RangeStream).
#pragma once
#include "v3rpc/gate.h"
#include "v3rpc/long_reads.h"

namespace quoin::v3rpc {

class RangeStreamHandler final : public grpc::StreamHandler {
 public:
  RangeStreamHandler(Loop& loop, Gate& gate, LongReads& long_reads)
      : loop_(loop), gate_(gate), long_reads_(long_reads) {}
  std::unique_ptr<grpc::StreamListener> open(grpc::Call& call) override;

 private:
  class Listener;
  Loop& loop_;
  Gate& gate_;
  LongReads& long_reads_;
};

}  // namespace quoin::v3rpc
