// What lock and elect stand on: a lease that is kept alive, a signal that ends the waiting, and the wait until all keys
// before one's own are gone.
//
// The work that waits runs on a thread of its own, so that a signal is answered even while no server does. That thread is
// left behind when the program ends, so it owns all that it uses (shared_ptr).
//
// Threads: lease(), wait_for_deletes() from any; the others from the main thread.
// Source: etcd's client/v3/concurrency (session.go, key.go).
#pragma once
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "cmd/etcdctl/client.h"
#include "cmd/etcdctl/printer.h"
#include "cmd/etcdctl/watcher.h"

namespace quoin::ctl {

class LeaseSession : public std::enable_shared_from_this<LeaseSession> {
 public:
  // Grants a lease and keeps it alive from then on. `ttl` in seconds.
  static Rpc<std::shared_ptr<LeaseSession>> open(std::shared_ptr<Client> client, int64_t ttl);

  Client& client() { return *client_; }
  int64_t lease() const { return lease_; }
  // "<prefix><lease in hex>"
  std::string key_under(const std::string& prefix) const;

  // From now on SIGINT and SIGTERM do not end the program but cancel this session, once.
  void catch_signals();
  // Runs `work`. False: a signal came before it was done.
  bool run(std::function<void()> work);
  // Until a signal comes or the lease is gone. True: a signal.
  bool wait_for_signal();

  // Until no key that begins with `prefix` was created at `revision` or before. Errors: etcdctl's text.
  std::optional<std::string> wait_for_deletes(const std::string& prefix, int64_t revision);
  // A watch that a signal stops. Null: one has come.
  std::shared_ptr<Watcher> watch(pb::WatchCreateRequest request);

  static constexpr const char* kCanceled = "context canceled";

 private:
  LeaseSession(std::shared_ptr<Client> client, int64_t lease) : client_(std::move(client)), lease_(lease) {}
  void cancel();
  bool canceled();
  std::optional<std::string> wait_for_delete(const std::string& key, int64_t revision);

  const std::shared_ptr<Client> client_;
  const int64_t lease_;
  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  bool canceled_ = false, lease_lost_ = false;
  std::shared_ptr<Watcher> watcher_;
};

// The keys that begin with `prefix`, the first or the last created of them.
pb::RangeRequest first_created(const std::string& prefix);
pb::RangeRequest last_created(const std::string& prefix, int64_t max_revision);

}  // namespace quoin::ctl
