// Name look-ups that wait for their answer: for the start of a program, before its strands run (bootstrap by DNS
// SRV, comparing the hosts of URLs) and for offline tools. Connections look names up by themselves
// (io::Network::connect).
//
// Threads: any thread that may block; never a loop or a strand.
// Errors: kNotFound  no such name, or no record of that kind
//         kContextDeadlineExceeded  no answer within the time given
//         kIo  everything else
// with Go's text: "lookup nohost on 10.0.0.2:53: no such host".
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace quoin::io {

struct SrvRecord {
  std::string target;  // with a dot at its end, as Go gives it
  uint16_t port = 0;
  uint16_t priority = 0, weight = 0;
};

class Resolver {
 public:
  virtual ~Resolver() = default;
  // Records of "_etcd-server._tcp.example.com", lowest priority first, of equal priority the heaviest first.
  virtual Result<std::vector<SrvRecord>> lookup_srv(std::string_view name, int64_t timeout_ns) = 0;
  // Addresses of a name, both families, in the order in which they should be tried: "10.0.0.1", "fd00::1". An
  // address is its own answer.
  virtual Result<std::vector<std::string>> lookup_host(std::string_view host, int64_t timeout_ns) = 0;
  // Names of an address ("10.0.0.1", "fd00::1"), each with a dot at its end, as Go gives them.
  virtual Result<std::vector<std::string>> lookup_address(std::string_view ip, int64_t timeout_ns) = 0;
  // Between two look-ups of one name: blocks for so long.
  virtual void wait(int64_t ns) = 0;
};

}  // namespace quoin::io
