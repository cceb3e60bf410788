// What `put` does beside its puts: compactions now and then, and the hash of the store at the end.
//
// Source: etcd's tools/benchmark put.go; spec cli 11.
#pragma once
#include <memory>
#include <string>

#include "cmd/benchmark/engine.h"

namespace quoin::cmd::bench {

// --compact-interval: compacts to so many revisions before the current one. One that fails is told on standard error, and
// the next follows; etcd's tool dies of it. Made and dropped on the loop.
class Compactor final : private client::Call {
 public:
  Compactor(Engine& engine, int64_t every_ns, int64_t delta);
  ~Compactor() override = default;

 private:
  void on_message(std::string_view message) override;
  void on_end(GrpcStatus status, std::string_view text) override;
  void arm();
  Engine& engine_;
  const int64_t every_ns_, delta_;
  int64_t revision_ = 0;
  bool compacting_ = false;
  std::unique_ptr<io::Timer> timer_;
};

struct HashSummary {
  std::string text, json;
};
// --check-hashkv. The thread of main().
Result<HashSummary> hashkv_summary(Engine& engine, const std::string& endpoint);

}  // namespace quoin::cmd::bench
