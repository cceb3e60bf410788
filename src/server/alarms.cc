#include "server/alarms.h"

#include "wire/message.h"
#include "wire/rpc.h"

namespace quoin::server {

namespace pb = wire::etcdserverpb;

namespace {
std::string key_of(const Alarm& a) {
  pb::AlarmMember m;
  m.member_id = a.member.v;
  m.alarm = static_cast<pb::AlarmType>(a.type);
  return wire::encode_string(m);
}
}  // namespace

Result<Alarms> Alarms::load(backend::Backend& backend) {
  Alarms alarms(backend);
  Result<> failed;
  TRY(backend.scan(backend::Bucket::kAlarm, {}, {}, [&](std::string_view key, std::string_view) {
    auto m = wire::decode<pb::AlarmMember>(key);
    if (!m) {
      failed = make_error(Code::kCorruption, "bucket alarm: {}", m.error().text());
      return false;
    }
    alarms.alarms_.insert({MemberId(m->member_id), static_cast<int32_t>(m->alarm)});
    return true;
  }));
  TRY(std::move(failed));
  return alarms;
}

std::vector<Alarm> Alarms::list(int32_t type) const {
  std::vector<Alarm> out;
  for (const Alarm& a : alarms_) {
    if (type == kAlarmNone || a.type == type) out.push_back(a);
  }
  return out;
}

bool Alarms::active(int32_t type) const {
  return std::any_of(alarms_.begin(), alarms_.end(), [&](const Alarm& a) { return a.type == type; });
}

bool Alarms::activate(Alarm alarm) {
  if (!alarms_.insert(alarm).second) return false;
  backend_->put(backend::Bucket::kAlarm, key_of(alarm), {});
  return true;
}

bool Alarms::deactivate(Alarm alarm) {
  if (alarms_.erase(alarm) == 0) return false;
  backend_->erase(backend::Bucket::kAlarm, key_of(alarm));
  return true;
}

}  // namespace quoin::server
