#include "front/member_health.h"

#include "base/go_text.h"

namespace quoin::front {

namespace {
std::string json_list(const std::vector<std::string>& list) {
  std::string out = "[";
  for (const std::string& s : list) out += (out.size() > 1 ? "," : "") + go_json_string(s);
  return out + "]";
}
}  // namespace

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

// As Go encodes its member struct: absent where empty, in this order.
std::string MemberHealth::members_json() {
  std::string out = "[";
  for (const server::MemberInfo& m : member_.members()) {
    if (out.size() > 1) out += ',';
    out += fmt::format("{{\"id\":{},\"peerURLs\":{}", m.id.v, json_list(m.peer_urls));
    if (m.learner) out += ",\"isLearner\":true";
    if (!m.name.empty()) out += ",\"name\":" + go_json_string(m.name);
    if (!m.client_urls.empty()) out += ",\"clientURLs\":" + json_list(m.client_urls);
    out += '}';
  }
  return out + "]";
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
