#include "auth/secrets.h"

#include <openssl/rand.h>

#include "base/check.h"

namespace quoin::auth {
namespace {

class SystemSecrets final : public Secrets {
 public:
  void fill(std::span<char> out) override {
    const int done = RAND_bytes(reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(out.size()));
    CHECK_EQ(done, 1);
  }
};

}  // namespace

std::unique_ptr<Secrets> system_secrets() {
  return std::make_unique<SystemSecrets>();
}

}  // namespace quoin::auth
