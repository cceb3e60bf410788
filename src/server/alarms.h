// The alarms of all members, as bucket `alarm` keeps them.
//
// Threads: confined to the apply strand. Source: spec api-semantics 5.3, storage-formats 2.1.
#pragma once
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "base/ids.h"
#include "base/result.h"

namespace quoin::server {

// etcdserverpb.AlarmType as a number: any value is accepted and stored, three have a meaning.
constexpr int32_t kAlarmNone = 0, kAlarmNospace = 1, kAlarmCorrupt = 2;

struct Alarm {
  MemberId member;
  int32_t type = kAlarmNone;
  friend auto operator<=>(const Alarm&, const Alarm&) = default;
};

class Alarms {
 public:
  // kCorruption if bucket `alarm` holds something else than alarms.
  static Result<Alarms> load(backend::Backend& backend);

  // All of one type; of every type for kAlarmNone. Ordered by member, type.
  std::vector<Alarm> list(int32_t type) const;
  bool active(int32_t type) const;
  // False if it was there already.
  bool activate(Alarm alarm);
  // False if it was not there.
  bool deactivate(Alarm alarm);

 private:
  explicit Alarms(backend::Backend& backend) : backend_(&backend) {}
  backend::Backend* backend_;
  std::set<Alarm> alarms_;
};

}  // namespace quoin::server
