// etcdserverpb.KV on one loop: Range, Put, DeleteRange, Txn, Compact, and RangeStream of 3.7.
//
// Threads: confined to its loop. Source: spec api-semantics 2.
#pragma once
#include <memory>

#include "grpc/method_table.h"
#include "v3rpc/gate.h"
#include "v3rpc/kv_traces.h"
#include "v3rpc/long_reads.h"

namespace quoin::v3rpc {

class KvService {
 public:
  KvService(Loop& loop, Gate& gate, grpc::MethodTable& methods);
  ~KvService();

 private:
  class RangeStream;
  void range(grpc::Call& call, std::string_view bytes);
  // Once the read may be served here. Then the caller's rights count as they are now.
  void answer_range(grpc::Call& call, std::string_view bytes);
  // `agreed`: when that was; 0 for now.
  void read_range(grpc::Call& call, std::string_view bytes, const AccessRef& access, io::MonotonicNs agreed);
  void put(grpc::Call& call, std::string_view bytes);
  void delete_range(grpc::Call& call, std::string_view bytes);
  void txn(grpc::Call& call, std::string_view bytes);
  void answer_read_only_txn(grpc::Call& call, std::string_view bytes);
  void read_txn(grpc::Call& call, std::string_view bytes, const AccessRef& access, io::MonotonicNs agreed);
  // When a read began, `agreed` as above.
  ReadTimes begun(bool serializable, io::MonotonicNs agreed);
  // A Range or a read-only Txn was read, or failed: measures it, and logs a slow one, before the answer
  // leaves.
  void range_read(grpc::Call& call, std::string_view bytes, ReadTimes times, server::RangeSteps* range,
                  const Error* error);
  void txn_read(grpc::Call& call, std::string_view bytes, ReadTimes times, server::SteppedTxn& txn,
                const Error* error);
  // A Range failed; `times` as far as it came.
  void range_failed(const grpc::Call& call, std::string_view bytes, const ReadTimes& times,
                    const Error& error);
  // Proposes a write; tells of a slow one by `trace`, and answers.
  template <class Request>
  void write(grpc::Call& call, uint32_t field, const Request& request, std::string_view bytes,
             TraceWrite* trace);
  void compact(grpc::Call& call, std::string_view bytes);
  Result<> still_current(const AccessRef& access);

  Loop& loop_;
  LongReads long_reads_;
  metrics::Histogram* range_ok_ = nullptr;  // once there was one
  metrics::Histogram* range_failed_ = nullptr;
  struct Handlers;
  std::unique_ptr<Handlers> handlers_;
};

// True if the quota lets a request of this cost through. Otherwise raises the NOSPACE alarm and then ends the
// call with kNoSpace.
bool quota_admits(Loop& loop, grpc::Call& call, uint64_t cost);

}  // namespace quoin::v3rpc
