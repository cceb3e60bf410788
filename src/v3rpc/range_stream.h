// KV.RangeStream (3.7): a Range whose answer comes in chunks, read from the newest view at one revision.
//
// A chunk is read only while the stream is writable, so a slow reader holds one chunk and no view.
// Threads: confined to its loop. Source: spec api-semantics 9 (RangeStream).
#pragma once
#include "v3rpc/gate.h"

namespace quoin::v3rpc {

class RangeStreamHandler final : public grpc::StreamHandler {
 public:
  RangeStreamHandler(Loop& loop, Gate& gate) : loop_(loop), gate_(gate) {}
  std::unique_ptr<grpc::StreamListener> open(grpc::Call& call) override;

 private:
  class Listener;
  Loop& loop_;
  Gate& gate_;
};

}  // namespace quoin::v3rpc
