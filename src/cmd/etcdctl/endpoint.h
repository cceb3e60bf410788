// What an endpoint on the command line means: where to connect, by which name the certificate is checked, and whether
// TLS is wanted.
//
// Source: etcd's client/v3/internal/endpoint, client/v3/client.go (authority).
#pragma once
#include <string>
#include <string_view>

namespace quoin::ctl {

struct Endpoint {
  enum class Tls { kNever, kIfConfigured, kAlways };  // http, no scheme or unix, https and unixs
  std::string given;
  std::string target;       // for grpc++: "ipv4:127.0.0.1:2379", "dns:///host:2379", "unix:path"
  std::string address;      // host:port as written, or the path
  std::string server_name;  // the host that the certificate must have
  bool is_unix = false;
  Tls tls = Tls::kIfConfigured;
};

Endpoint read_endpoint(std::string_view given);

// Go's name of a connection to it: "host:port" without the scheme.
std::string authority_of(std::string_view given);

}  // namespace quoin::ctl
