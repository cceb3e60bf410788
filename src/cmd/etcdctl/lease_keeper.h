// Keeps a lease alive: a beat each third of its time to live.
//
// Threads: next() from one thread, stop() from any.
// Source: etcd's client/v3/lease.go (keepAliveOnce, recvKeepAlive, deadlineLoop). Each beat here is a stream of its own.
#pragma once
#include <condition_variable>
#include <mutex>
#include <optional>

#include "cmd/etcdctl/client.h"
#include "cmd/etcdctl/printer.h"

namespace quoin::ctl {

// One beat. An unknown lease is etcd's error "requested lease not found".
Rpc<pb::LeaseKeepAliveResponse> keep_alive_once(Client& client, int64_t lease, Deadline deadline);

class LeaseKeeper {
 public:
  // The client outlives it.
  LeaseKeeper(Client& client, int64_t lease);
  // Waits until a beat is due and makes it; a failed one is made again until the lease must have ended. Nothing: the lease
  // is gone, or stop() was called.
  std::optional<pb::LeaseKeepAliveResponse> next();
  void stop();

 private:
  // False: stop() was called.
  bool wait_until(SteadyTime at);

  Client& client_;
  const int64_t lease_;
  SteadyTime next_beat_, deadline_;
  std::mutex mutex_;
  std::condition_variable stopping_;
  bool stopped_ = false;  // guarded by mutex_
};

}  // namespace quoin::ctl
