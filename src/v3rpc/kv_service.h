// etcdserverpb.KV on one loop: Range, Put, DeleteRange, Txn, Compact, and RangeStream of 3.7.
//
// Threads: confined to its loop. Source: spec api-semantics 2.
#pragma once
#include <memory>

#include "grpc/method_table.h"
#include "v3rpc/gate.h"
#include "v3rpc/long_reads.h"

namespace quoin::v3rpc {

class KvService {
 public:
  KvService(Loop& loop, Gate& gate, grpc::MethodTable& methods);
  ~KvService();

 private:
  class RangeStream;
  void range(grpc::Call& call, std::string_view bytes);
  void answer_range(grpc::Call& call, std::string_view bytes);
  void put(grpc::Call& call, std::string_view bytes);
  void delete_range(grpc::Call& call, std::string_view bytes);
  void txn(grpc::Call& call, std::string_view bytes);
  void answer_read_only_txn(grpc::Call& call, std::string_view bytes);
  void note_range(io::MonotonicNs start, bool success);
  void compact(grpc::Call& call, std::string_view bytes);

  Loop& loop_;
  LongReads long_reads_;
  metrics::Histogram* range_ok_ = nullptr;  // once there was one
  metrics::Histogram* range_failed_ = nullptr;
  struct Handlers;
  std::unique_ptr<Handlers> handlers_;
};

// Proposes and answers the call with the outcome.
void propose(Loop& loop, grpc::Call& call, uint64_t id, Blob request);
// True if the quota lets a request of this cost through. Otherwise raises the NOSPACE alarm and then ends the
// call with kNoSpace.
bool quota_admits(Loop& loop, grpc::Call& call, uint64_t cost);

}  // namespace quoin::v3rpc
