// Random bytes that nobody can foresee: token prefixes, salts. Prng is not for secrets.
// Threads: fill() may be called on any thread.
#pragma once
#include <memory>
#include <span>

namespace quoin::auth {

class Secrets {
 public:
  virtual ~Secrets() = default;
  virtual void fill(std::span<char> out) = 0;
};

// OpenSSL's generator. If it cannot give any bytes the process stops.
std::unique_ptr<Secrets> system_secrets();

}  // namespace quoin::auth
