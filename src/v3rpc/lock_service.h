// v3lockpb.Lock on one loop: Lock, Unlock.
//
// A lock is held by the oldest key under <name>/; who wants it waits as a contest (contests.h). What is done
// under a lock is safe from a holder that was thought dead only if it is fenced by the key's creation
// revision. Threads: confined to its loop. Source: spec api-semantics 7.
#pragma once
#include "grpc/method_table.h"
#include "v3rpc/contests.h"

namespace quoin::v3rpc {

class LockService {
 public:
  // `kv` and `contests` outlive it, and are those of the loop.
  LockService(InnerKv& kv, Contests& contests, Gate& gate, grpc::MethodTable& methods);

 private:
  void lock(grpc::Call& call, std::string_view bytes);
  void unlock(grpc::Call& call, std::string_view bytes);

  InnerKv& kv_;
  Contests& contests_;
  Unary lock_, unlock_;
};

}  // namespace quoin::v3rpc
