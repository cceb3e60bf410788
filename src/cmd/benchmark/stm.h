// stm: software transactional memory over etcd's Txn, as its Go client has it, under a lock or not.
//
// One operation: take the lock (unless the locker is "stm"); read each key by a Txn of its own and overwrite a share of
// them; commit by a Txn that compares what was read; on a conflict again from the reads; let go of the lock.
//
//   isolation            reads                                       the commit compares
//   c   read committed   serializable, each at its own revision      nothing
//   r   repeatable       the same                                    each key read is as it was
//   s   serializable     the first decides the revision of the rest  the same
//   ss  snapshot         the same                                    also that no key written is newer than that
// After a conflict of s and ss the failed commit brings the keys anew, so that the next attempt reads nothing.
//
//   locker               stm          none
//                        lock-client  a mutex made of keys, as client/v3/concurrency's
//                        lock-rpc     the Lock service of the server
// A lock that fails ends the run. With --rate, operations wait before they begin; etcd's tool counts that wait as
// latency.
//
// Threads: made on the thread of main(), the rest on the loop.
// Source: etcd's tools/benchmark stm.go, client/v3/concurrency stm.go and mutex.go; spec cli 11.
#pragma once
#include <memory>
#include <vector>

#include "cmd/benchmark/engine.h"
#include "cmd/benchmark/load.h"

namespace quoin::cmd::bench {

// `leases`: of the workers' sessions; empty if the locker is "stm".
std::unique_ptr<Load> make_stm_load(Engine& engine, const std::vector<int64_t>& leases, Report& report,
                                    uint64_t seed);

}  // namespace quoin::cmd::bench
