// Keeps this proxy registered: a lease, a key under it, keepalives every third of its time; anew if it
// expires.
//
// Threads: the proxy's loop.
#pragma once
#include <memory>
#include <string>

#include "cmd/grpcproxy/cluster.h"

namespace quoin::cmd::grpcproxy {

class Registration {
 public:
  static constexpr int64_t kRetryNs = io::kSecond;
  Registration(Context& context, const ClusterOptions& options) : context_(context), options_(options) {}
  void start();

 private:
  enum class Step : uint8_t { kGrant, kPut };
  struct Question final : client::Call {
    explicit Question(Registration& r) : owner(r) {}
    Registration& owner;
    Step step = Step::kGrant;
    std::string answer;
    void on_message(std::string_view m) override { answer = m; }
    void on_end(GrpcStatus status, std::string_view text) override { owner.answered(status, text); }
  };
  struct KeepAlive final : client::Call {
    explicit KeepAlive(Registration& r) : owner(r) {}
    Registration& owner;
    void on_message(std::string_view m) override { owner.kept_alive(m); }
    void on_end(GrpcStatus, std::string_view) override {}
  };
  void answered(GrpcStatus status, std::string_view text);
  void put();
  void kept_alive(std::string_view bytes);
  void look();
  void expired();
  void later();

  Context& context_;
  const ClusterOptions options_;
  Question question_{*this};
  KeepAlive keep_alive_{*this};
  int64_t lease_ = 0;
  io::MonotonicNs alive_until_ = 0;
  std::unique_ptr<io::Timer> timer_;
};

}  // namespace quoin::cmd::grpcproxy
