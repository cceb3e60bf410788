#include "cmd/etcdctl/session.h"

namespace quoin::ctl {

// The texts are etcd's, since help is compared with it.
void declare_global_flags(cmd::CobraCommand& root) {
  using Kind = cmd::CobraFlag::Kind;
  constexpr int64_t kSecond = 1'000'000'000;
  cmd::CobraFlags& f = root.persistent;
  const auto text = [&](const char* name, const char* help, char letter = '\0') {
    f.add({.name = name, .shorthand = letter, .help = help});
  };
  const auto truth = [&](const char* name, const char* help, bool value) {
    f.add({.name = name, .kind = Kind::kBool, .help = help, .boolean = value});
  };
  const auto duration = [&](const char* name, const char* help, int64_t seconds) {
    f.add({.name = name, .kind = Kind::kDuration, .help = help, .duration_ns = seconds * kSecond});
  };
  f.add({.name = "endpoints", .kind = Kind::kStrings, .help = "gRPC endpoints", .list = {"127.0.0.1:2379"}});
  truth("debug", "enable client-side debug logging", false);
  f.add({.name = "write-out",
         .shorthand = 'w',
         .help = "set the output format (fields, json, protobuf, simple, table)",
         .text = "simple",
         .values = {"fields", "json", "protobuf", "simple", "table"}});
  truth("hex", "print byte strings as hex encoded strings", false);
  duration("dial-timeout", "dial timeout for client connections", 2);
  duration("command-timeout", "timeout for short running command (excluding dial timeout)", 5);
  duration("keepalive-time", "keepalive time for client connections", 2);
  duration("keepalive-timeout", "keepalive timeout for client connections", 6);
  f.add(
      {.name = "max-request-bytes",
       .kind = Kind::kInt,
       .help = "client-side request send limit in bytes (if 0, it defaults to 2.0 MiB (2 * 1024 * 1024).)"});
  f.add({.name = "max-recv-bytes",
         .kind = Kind::kInt,
         .help = R"(client-side response receive limit in bytes (if 0, it defaults to "math.MaxInt32"))"});
  truth("insecure-transport", "disable transport security for client connections", true);
  truth("insecure-discovery", "accept insecure SRV records describing cluster endpoints", true);
  truth("insecure-skip-tls-verify",
        "skip server certificate verification (CAUTION: this option should be enabled only for testing "
        "purposes)",
        false);
  text("cert", "identify secure client using this TLS certificate file");
  text("key", "identify secure client using this TLS key file");
  text("cacert", "verify certificates of TLS-enabled secure servers using this CA bundle");
  text("user", "username[:password] for authentication (prompt if password is not supplied)");
  text("password",
       "password for authentication (if this option is used, --user option shouldn't include password)");
  text("discovery-srv", "domain name to query for SRV records describing cluster endpoints", 'd');
  text("discovery-srv-name", "service name to query when using DNS discovery");
}

}  // namespace quoin::ctl
