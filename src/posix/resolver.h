// Look-ups that wait for their answer, by c-ares (posix/dns.h).
#pragma once
#include "io/resolver.h"
#include "posix/dns.h"

namespace quoin::posix {

class DnsResolver final : public io::Resolver {
 public:
  explicit DnsResolver(DnsOptions options = {}) : options_(std::move(options)) {}
  Result<std::vector<io::SrvRecord>> lookup_srv(std::string_view name, int64_t timeout_ns) override;
  Result<std::vector<std::string>> lookup_host(std::string_view host, int64_t timeout_ns) override;
  Result<std::vector<std::string>> lookup_address(std::string_view ip, int64_t timeout_ns) override;
  void wait(int64_t ns) override;

 private:
  const DnsOptions options_;
};

}  // namespace quoin::posix
