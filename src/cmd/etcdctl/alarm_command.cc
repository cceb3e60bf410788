// Source: etcdctl/ctlv3/command/alarm_command.go, client/v3/maintenance.go; spec cli 7.3.
#include "cmd/etcdctl/commands.h"
#include "cmd/etcdctl/methods.h"

namespace quoin::ctl {
namespace {

// gogoproto's text of a message leaves zero values out and ends each field with a blank.
std::string text_of(const pb::AlarmMember& a) {
  std::string out;
  if (a.memberid() != 0) out += fmt::format("memberID:{} ", a.memberid());
  if (a.alarm() != pb::NONE) out += fmt::format("alarm:{} ", pb::AlarmType_Name(a.alarm()));
  return out + "\n";
}

Ending show(Session& s, const pb::AlarmResponse& r) {
  return s.print(r, {.simple =
                         [&](std::string& o) {
                           for (const auto& a : r.alarms()) o += text_of(a);
                         },
                     .fields =
                         [&](Fields& f) {
                           f.header(r.header());
                           for (const auto& a : r.alarms()) {
                             f.id("MemberID", a.memberid());
                             f.put("AlarmType", pb::AlarmType_Name(a.alarm()));
                             f.empty_line();
                           }
                         }});
}

Rpc<pb::AlarmResponse> list(Client& client, Deadline deadline) {
  pb::AlarmRequest request;
  request.set_action(pb::AlarmRequest::GET);
  return client.call(kAlarm, request, deadline);
}

Ending run_list(Session& s) {
  if (!s.words().empty()) return bad_arguments("alarm list command accepts no arguments");
  auto client = s.connect();
  if (!client) return client.error();
  const auto r = list(**client, s.deadline());
  return r ? show(s, *r) : Session::failed(r.error());
}

// Shows what was disarmed, without a header: it comes from several answers. (etcd's fields form crashes here; ours shows
// a header of zeros.)
Ending run_disarm(Session& s) {
  if (!s.words().empty()) return bad_arguments("alarm disarm command accepts no arguments");
  auto client = s.connect();
  if (!client) return client.error();
  const Deadline deadline = s.deadline();
  const auto armed = list(**client, deadline);
  if (!armed) return Session::failed(armed.error());
  pb::AlarmResponse all;
  for (const auto& a : armed->alarms()) {
    pb::AlarmRequest request;
    request.set_action(pb::AlarmRequest::DEACTIVATE);
    request.set_memberid(a.memberid());
    request.set_alarm(a.alarm());
    const auto r = (*client)->call(kAlarm, request, deadline);
    if (!r) return Session::failed(r.error());
    all.mutable_alarms()->MergeFrom(r->alarms());
  }
  return show(s, all);
}

}  // namespace

void add_alarm_commands(Registry& r) {
  CobraCommand& alarm = r.root().add("alarm <subcommand>", "Alarm related commands");
  r.add(alarm, "disarm", "Disarms all alarms", run_disarm);
  r.add(alarm, "list", "Lists all alarms", run_list);
}

}  // namespace quoin::ctl
