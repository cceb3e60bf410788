// Leases of workers: grants, and the load of lease-keepalive.
//
// Threads: as said at each.
// Source: etcd's tools/benchmark lease.go, client/v3 lease.go (KeepAliveOnce); spec cli 11.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "cmd/benchmark/engine.h"
#include "cmd/benchmark/load.h"

namespace quoin::cmd::bench {

// One lease for each of --clients, by its own connection. The thread of main().
Result<std::vector<int64_t>> grant_leases(Engine& engine, int64_t ttl_seconds);
// What fails is left to the leases' end.
void revoke_leases(Engine& engine, const std::vector<int64_t>& leases);

// Each operation opens a stream, keeps the worker's lease alive once, and drops the stream.
std::unique_ptr<Load> make_keepalive_load(Engine& engine, const std::vector<int64_t>& leases, uint64_t total,
                                          Report& report);

// Keeps a lease alive, from the loop on which it is made until it is dropped there.
class LeaseKeeper final : private client::Call {
 public:
  LeaseKeeper(Engine& engine, client::Client& client, int64_t lease, int64_t every_ns);
  ~LeaseKeeper() override = default;

 private:
  void on_message(std::string_view) override {}
  void on_end(GrpcStatus status, std::string_view text) override;
  void ask();
  Engine& engine_;
  client::Client& client_;
  const int64_t lease_, every_ns_;
  std::unique_ptr<io::Timer> timer_;
};

}  // namespace quoin::cmd::bench
