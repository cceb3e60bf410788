// etcdserverpb.Lease on one loop: grant, revoke, time to live, leases, and the keepalive stream.
//
// Keepalives go straight to apply, past the queue of proposals. Answers of one stream come in the order of
// its requests. Bound: a stream's requests are not read while answers of it wait to be sent or while
// kRenewalsInFlightMax of them are on their way. A long list of leases, or of a lease's keys, is
// encoded in turns (turns.h). Threads: confined to its loop. Source: spec api-semantics 4.
#pragma once
#include <memory>

#include "grpc/method_table.h"
#include "v3rpc/gate.h"

namespace quoin::v3rpc {

class LeaseService final : public grpc::StreamHandler {
 public:
  static constexpr size_t kRenewalsInFlightMax = 256;

  LeaseService(Loop& loop, Gate& gate, grpc::MethodTable& methods);
  ~LeaseService() override;
  std::unique_ptr<grpc::StreamListener> open(grpc::Call& call) override;

 private:
  class KeepAlive;
  void grant(grpc::Call& call, std::string_view bytes);
  void revoke(grpc::Call& call, std::string_view bytes);
  void time_to_live(grpc::Call& call, std::string_view bytes);
  // `as_of`: the auth revision at which the caller was found to be allowed to see the keys; 0: it needed nothing.
  void answer_time_to_live(grpc::Call& call, LeaseId lease, bool keys, uint64_t as_of);
  void leases(grpc::Call& call, std::string_view bytes);

  Loop& loop_;
  Gate& gate_;
  Unary grant_, revoke_, time_to_live_, leases_;
};

}  // namespace quoin::v3rpc
