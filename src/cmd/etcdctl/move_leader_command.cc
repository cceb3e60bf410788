// Source: etcdctl/ctlv3/command/move_leader_command.go; spec cli 7.3.
#include "cmd/etcdctl/commands.h"
#include "cmd/etcdctl/methods.h"
#include "cmd/etcdctl/numbers.h"

namespace quoin::ctl {
namespace {

Ending move_from(Session& s, Client& client, uint64_t leader, uint64_t target, Deadline deadline) {
  pb::MoveLeaderRequest request;
  request.set_targetid(target);
  const auto r = client.call(kMoveLeader, request, deadline);
  if (!r) return Session::failed(r.error());
  return s.print(*r, {.simple = [&](std::string& o) {
    o += fmt::format("Leadership transferred from {:x} to {:x}\n", leader, target);
  }});
}

// Only the leader takes the request, so the endpoints are asked in turn which of them it is.
Ending run_move_leader(Session& s) {
  if (s.words().size() != 1) return bad_arguments("move-leader command needs 1 argument");
  const auto target = parse_uint(s.words()[0], 16);
  if (!target) return bad_arguments("{}", target.error());
  const auto config = s.config();
  if (!config) return config.error();
  if (const auto all = s.connect(); !all) return all.error();
  const Deadline deadline = s.deadline();
  for (const std::string& e : config->endpoints) {
    auto client = s.connect({e});
    if (!client) return client.error();
    const auto status = (*client)->call(kStatus, pb::StatusRequest(), deadline);
    if (!status) return Session::failed(status.error());
    if (status->header().member_id() != status->leader()) continue;
    return move_from(s, **client, status->leader(), *target, deadline);
  }
  return bad_arguments("no leader endpoint given at [{}]", fmt::join(config->endpoints, " "));
}

}  // namespace

void add_move_leader_command(Registry& r) {
  r.add("move-leader <transferee-member-id>", "Transfers leadership to another etcd cluster member.",
        run_move_leader);
}

}  // namespace quoin::ctl
