// Users and TLS files as command lines name them: of this cluster, and of the one that make-mirror writes to.
//
// Threads: none. Errors: etcdctl's texts and exit codes. Source: etcdctl/ctlv3/command/global.go, client/v3/config.go.
#pragma once
#include <string>
#include <string_view>

#include "cmd/etcdctl/ending.h"
#include "cmd/etcdctl/transport.h"

namespace quoin::ctl {

struct User {
  std::string name, password;  // both empty: none
};
// The password may stand in `user`, behind a colon, and is asked for if it is nowhere.
Or<User> read_user(const std::string& user, const std::string& password, std::string_view prompt);

struct TlsFiles {
  std::string certificate, key, ca;  // paths; empty: none
};
// What they hold; enabled if there is one.
Or<TlsConfig> read_tls(const TlsFiles& files);

}  // namespace quoin::ctl
