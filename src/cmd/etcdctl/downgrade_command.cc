// Source: etcdctl/ctlv3/command/downgrade_command.go; spec cli 7.3.
#include "cmd/etcdctl/commands.h"
#include "cmd/etcdctl/methods.h"

namespace quoin::ctl {
namespace {

using Action = pb::DowngradeRequest::DowngradeAction;

Ending send(Session& s, Action action, const std::string& version, const char* name) {
  auto client = s.connect();
  if (!client) return client.error();
  pb::DowngradeRequest request;
  request.set_action(action);
  request.set_version(version);
  const auto r = (*client)->call(kDowngrade, request, s.deadline());
  if (!r) return Session::failed(r.error());
  return s.print(*r, {.simple = [&](std::string& o) {
    o += fmt::format("Downgrade {} success, cluster version {}\n", name, r->version());
  }});
}

Ending send_to_version(Session& s, Action action, const char* name) {
  if (s.words().empty()) return bad_arguments("TARGET_VERSION not provided");
  if (s.words().size() > 1) return bad_arguments("too many arguments");
  if (s.words()[0].empty()) return bad_arguments("target version not provided");
  return send(s, action, s.words()[0], name);
}

}  // namespace

void add_downgrade_commands(Registry& r) {
  CobraCommand& downgrade = r.root().add("downgrade <TARGET_VERSION>", "Downgrade related commands");
  r.add(downgrade, "validate <TARGET_VERSION>", "Validate downgrade capability before starting downgrade",
        [](Session& s) { return send_to_version(s, pb::DowngradeRequest::VALIDATE, "validate"); });
  r.add(downgrade, "enable <TARGET_VERSION>", "Start a downgrade action to cluster",
        [](Session& s) { return send_to_version(s, pb::DowngradeRequest::ENABLE, "enable"); });
  r.add(downgrade, "cancel", "Cancel the ongoing downgrade action to cluster",
        [](Session& s) { return send(s, pb::DowngradeRequest::CANCEL, "", "cancel"); });
}

}  // namespace quoin::ctl
