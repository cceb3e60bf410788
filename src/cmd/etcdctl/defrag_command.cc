// Source: etcdctl/ctlv3/command/defrag_command.go; spec cli 7.3.
#include "cmd/etcdctl/commands.h"
#include "cmd/etcdctl/endpoint_list.h"
#include "cmd/etcdctl/methods.h"
#include "cmd/etcdctl/output.h"
#include "cmd/etcdctl/progress_line.h"
#include "posix/log_duration.h"

namespace quoin::ctl {
namespace {

// One member after the other: each stands still meanwhile.
Ending run_defrag(Session& s) {
  if (const auto config = s.config(); !config) return config.error();
  const auto endpoints = endpoints_of(s);
  if (!endpoints) return endpoints.error();
  bool failed = false;
  for (const std::string& e : *endpoints) {
    auto client = s.connect({e});
    if (!client) return client.error();
    const auto began = std::chrono::steady_clock::now();
    const auto r = [&] {
      const TickingLine line(fmt::format("defragmenting {}", e));
      return (*client)->call(kDefragment, pb::DefragmentRequest(), s.deadline());
    }();
    const std::chrono::nanoseconds took = std::chrono::steady_clock::now() - began;
    const std::string text = posix::duration_text(took.count());
    if (r) {
      out().line("Finished defragmenting etcd member[{}]. took {}", e, text);
      out().flush();
    } else {
      failed = true;
      put_error(
          fmt::format("Failed to defragment etcd member[{}]. took {}. ({})\n", e, text, r.error().text()));
    }
  }
  return {failed ? kExitError : kExitOk, ""};
}

}  // namespace

void add_defrag_command(Registry& r) {
  r.add("defrag", "Defragments the storage of the etcd members with given endpoints", run_defrag)
      .persistent.add({.name = "cluster",
                       .kind = CobraFlag::Kind::kBool,
                       .help = "use all endpoints from the cluster member list"});
}

}  // namespace quoin::ctl
