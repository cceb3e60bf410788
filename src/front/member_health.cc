#include "front/member_health.h"

namespace quoin::front {

std::vector<httpapi::Alarm> MemberHealth::alarms() {
  std::vector<httpapi::Alarm> out;
  for (const server::Alarm& a : member_.status().alarms) {
    out.push_back({a.member.v, a.type == server::kAlarmNospace   ? httpapi::AlarmType::kNospace
                               : a.type == server::kAlarmCorrupt ? httpapi::AlarmType::kCorrupt
                                                                 : httpapi::AlarmType::kUnknown});
  }
  return out;
}

void MemberHealth::probe_read(bool serializable, absl::AnyInvocable<void(Result<>)> done) {
  port_.loop().post([this, serializable, done = std::move(done)]() mutable {
    if (serializable) return done({});
    port_.read_index([done = std::move(done)](Result<> r) mutable { done(std::move(r)); });
  });
}

// A leader voted for itself in its term; there are no followers to show the vote of.
std::string MemberHealth::raft_status() const {
  const server::MemberStatus s = member_.status();
  const bool leads = s.leader == member_.id();
  std::string progress;
  if (leads) {
    progress = fmt::format("\"{:x}\":{{\"match\":{},\"next\":{},\"state\":\"StateReplicate\"}}",
                           member_.id().v, s.committed.v, s.committed.v + 1);
  }
  return fmt::format(
      "{{\"id\":\"{:x}\",\"term\":{},\"vote\":\"{:x}\",\"commit\":{},\"lead\":\"{:x}\",\"raftState\":\"{}\","
      "\"applied\":{},"
      "\"progress\":{{{}}},\"leadtransferee\":\"0\"}}",
      member_.id().v, s.term.v, leads ? member_.id().v : 0, s.committed.v, s.leader.v,
      leads ? "StateLeader" : "StateFollower", s.applied.v, progress);
}

}  // namespace quoin::front
