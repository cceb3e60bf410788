// Where a member is, as clients of etcd write it: "10.0.0.1:2379", "http://h:2379", "https://h:2379",
// "unix:///run/x", "unixs:...".
//
// Source: etcd's client/v3/internal/endpoint. Pure; any thread.
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"
#include "io/stream.h"

namespace quoin::client {

struct Endpoint {
  // Whether its connections are TLS: a text without a scheme leaves that to whether the client has
  // credentials.
  enum class Security : uint8_t { kPlain, kTls, kAsClient };
  std::string text;  // as given
  io::ListenAddress address;
  Security security = Security::kAsClient;
  std::string authority;  // the :authority of calls; its host is the name asked of the certificate
};

// Errors: kInvalidArgument.
Result<Endpoint> parse_endpoint(std::string_view text);

}  // namespace quoin::client
