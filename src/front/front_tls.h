// What the connections of a kind of listener (clients', peers', scrapes) need to speak TLS.
//
// Threads: filled before the front serves, read by all loops. Everything named outlives the front.
#pragma once
#include <functional>
#include <memory>

#include "io/executor.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "tls/credentials.h"
#include "tls/stream.h"
#include "tls/verify.h"

namespace quoin::front {

struct Tls {
  // The newest credentials of the server role. Any thread.
  std::function<std::shared_ptr<const tls::Credentials>()> credentials;
  // Compute handshakes. Null: the loops do.
  io::Executor* handshakes = nullptr;
  tls::HandshakeLimit* limit = nullptr;
  // Whether a client's certificate must name the address that it comes from (peers and scrapes).
  bool check_san = false;
  // etcd logs no rejected connection where it made the certificate itself.
  bool log_rejected = true;
};

// Names of addresses and back, asked on a thread that may wait, answered on a loop.
class NameLookups final : public tls::NameLookup {
 public:
  static constexpr int64_t kTimeoutNs = 10 * io::kSecond;
  NameLookups(io::Resolver& resolver, io::Executor& executor, io::Loop& loop)
      : resolver_(resolver), executor_(executor), loop_(loop) {}
  void lookup_address(const std::string& ip, Done done) override {
    executor_.post([this, ip, done = std::move(done)]() mutable {
      tell(std::move(done), resolver_.lookup_address(ip, kTimeoutNs));
    });
  }
  void lookup_host(const std::string& name, Done done) override {
    executor_.post([this, name, done = std::move(done)]() mutable {
      tell(std::move(done), resolver_.lookup_host(name, kTimeoutNs));
    });
  }

 private:
  void tell(Done done, Result<std::vector<std::string>> found) {
    loop_.post([done = std::move(done), found = std::move(found)]() mutable { done(std::move(found)); });
  }

  io::Resolver& resolver_;
  io::Executor& executor_;
  io::Loop& loop_;
};

}  // namespace quoin::front
