// v3electionpb.Election on one loop: Campaign, Proclaim, Leader, Resign, and the stream Observe.
//
// The leader is the oldest key under <name>/, its value what it proclaims; who campaigns waits as a contest
// (contests.h). Proclaim and Resign hold only if the key is still the one of that campaign.
// Threads: confined to its loop. Source: spec api-semantics 7.
#pragma once
#include <memory>

#include "grpc/method_table.h"
#include "v3rpc/contests.h"

namespace quoin::v3rpc {

class ElectionService final : public grpc::StreamHandler {
 public:
  // `kv` and `contests` outlive it, and are those of the loop.
  ElectionService(InnerKv& kv, Contests& contests, Gate& gate, grpc::MethodTable& methods);
  ~ElectionService() override;
  std::unique_ptr<grpc::StreamListener> open(grpc::Call& call) override;

 private:
  class Observer;
  void campaign(grpc::Call& call, std::string_view bytes);
  void proclaim(grpc::Call& call, std::string_view bytes);
  void leader(grpc::Call& call, std::string_view bytes);
  void resign(grpc::Call& call, std::string_view bytes);

  InnerKv& kv_;
  Contests& contests_;
  Gate& gate_;
  Unary campaign_, proclaim_, leader_, resign_;
};

}  // namespace quoin::v3rpc
