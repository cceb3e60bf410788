// Cluster as etcd's proxy has it: who asks for members is given proxies, so that clients which look for
// endpoints stay behind them. With --resolver-prefix each proxy registers itself below the prefix, under a
// lease that it keeps alive, and watches for the others.
//
// Threads: the proxy's loop. Source: etcd's server/proxy/grpcproxy/{cluster,register}.go,
// client/v3/naming/endpoints.
#pragma once
#include <memory>
#include <string>

#include "cmd/grpcproxy/context.h"
#include "grpc/method_table.h"

namespace quoin::cmd::grpcproxy {

struct ClusterOptions {
  std::string advertise_client_url;  // empty: members are listed
  std::string resolver_prefix;       // empty: no registration
  int64_t resolver_ttl_s = 0;
  std::string host_name;
};

class Cluster {
 public:
  Cluster(Context& context, const ClusterOptions& options, grpc::MethodTable& methods);
  ~Cluster();
  // On the loop: registers and looks for others, if there is a prefix.
  void start();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The value of a registration, and its way back: the address and the host's name. Nothing if it is none.
std::string registration_json(const std::string& address, const std::string& host_name);
struct Registered {
  std::string address, name;
};
std::optional<Registered> parse_registration(std::string_view json);

}  // namespace quoin::cmd::grpcproxy
