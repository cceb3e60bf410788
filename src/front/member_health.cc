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

}  // namespace quoin::front
