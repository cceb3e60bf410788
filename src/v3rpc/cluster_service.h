// etcdserverpb.Cluster on one loop: members are added, removed, changed, promoted and listed.
//
// A change waits under a number of its own (call.context) until it is applied here, without a bound but the client's:
// one that raft drops, because another change is under way, is never heard of again, as in etcd.
//
// Threads: confined to its loop. Source: spec api-semantics 5.1, raft-and-peers 28.
#pragma once
#include <memory>

#include "grpc/method_table.h"
#include "membership/membership.h"
#include "v3rpc/gate.h"

namespace quoin::v3rpc {

class ClusterService {
 public:
  ClusterService(Loop& loop, Gate& gate, grpc::MethodTable& methods);
  ~ClusterService();

 private:
  void add(grpc::Call& call, std::string_view bytes);
  void add_admitted(grpc::Call& call, bool learner, std::vector<std::string> urls);
  void remove(grpc::Call& call, std::string_view bytes);
  void update(grpc::Call& call, std::string_view bytes);
  void promote(grpc::Call& call, std::string_view bytes);
  void list(grpc::Call& call, std::string_view bytes);
  // `fill(response)` adds what stands before the members.
  template <class Response, class Fill>
  void change(grpc::Call& call, membership::Change change, Fill fill);

  Loop& loop_;
  struct Handlers;
  std::unique_ptr<Handlers> handlers_;
};

}  // namespace quoin::v3rpc
