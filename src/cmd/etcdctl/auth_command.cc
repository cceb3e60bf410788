// Source: etcdctl/ctlv3/command/auth_command.go; spec cli 8.
#include "base/result.h"
#include "cmd/etcdctl/commands.h"
#include "cmd/etcdctl/methods.h"
#include "cmd/etcdctl/output.h"

namespace quoin::ctl {
namespace {

// A root user without the root role gets it, and then authentication is enabled; each step may be refused.
Ending run_enable(Session& s) {
  if (!s.words().empty()) return bad_arguments("auth enable command does not accept any arguments");
  auto client = s.connect();
  if (!client) return client.error();
  const Deadline deadline = s.deadline();
  for (;;) {
    const auto enabled = (*client)->call(kAuthEnable, pb::AuthEnableRequest(), deadline);
    if (enabled) break;
    if (!enabled.error().is(Code::kRootRoleNotExist)) return Session::failed(enabled.error());
    pb::AuthRoleAddRequest role;
    role.set_name("root");
    if (const auto r = (*client)->call(kRoleAdd, role, deadline); !r) return Session::failed(r.error());
    pb::AuthUserGrantRoleRequest grant;
    grant.set_user("root");
    grant.set_role("root");
    if (const auto r = (*client)->call(kUserGrantRole, grant, deadline); !r)
      return Session::failed(r.error());
  }
  out().put("Authentication Enabled\n");
  return ok();
}

Ending run_disable(Session& s) {
  if (!s.words().empty()) return bad_arguments("auth disable command does not accept any arguments");
  auto client = s.connect();
  if (!client) return client.error();
  const auto r = (*client)->call(kAuthDisable, pb::AuthDisableRequest(), s.deadline());
  if (!r) return Session::failed(r.error());
  out().put("Authentication Disabled\n");
  return ok();
}

Ending run_status(Session& s) {
  if (!s.words().empty()) return bad_arguments("auth status command does not accept any arguments");
  auto client = s.connect();
  if (!client) return client.error();
  const auto r = (*client)->call(kAuthStatus, pb::AuthStatusRequest(), s.deadline());
  if (!r) return Session::failed(r.error());
  return s.print(*r, {.simple = [&](std::string& o) {
    o += fmt::format("Authentication Status: {}\nAuthRevision: {}\n", r->enabled(), r->authrevision());
  }});
}

}  // namespace

void add_auth_commands(Registry& r) {
  CobraCommand& auth = r.root().add("auth <enable or disable>", "Enable or disable authentication");
  r.add(auth, "enable", "Enables authentication", run_enable);
  r.add(auth, "disable", "Disables authentication", run_disable);
  r.add(auth, "status", "Returns authentication status", run_status);
}

}  // namespace quoin::ctl
