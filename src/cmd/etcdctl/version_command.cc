#include "cmd/etcdctl/api_version.h"
#include "cmd/etcdctl/commands.h"
#include "cmd/etcdctl/output.h"

namespace quoin::ctl {

void add_version_command(Registry& r) {
  r.add("version", "Prints the version of etcdctl", [](Session&) {
    out().line("etcdctl version: {}", kEtcdVersion);
    out().line("API version: {}", kApiVersion);
    return ok();
  });
}

}  // namespace quoin::ctl
