#include "cmd/etcdctl/lease_views.h"

#include "cmd/etcdctl/message_json.h"

namespace quoin::ctl {

void show_time_to_live(std::string& out, const pb::LeaseTimeToLiveResponse& r, bool keys) {
  const auto id = static_cast<uint64_t>(r.id());
  if (r.grantedttl() == 0 && r.ttl() == -1) {
    out += fmt::format("lease {:016x} already expired\n", id);
    return;
  }
  out += fmt::format("lease {:016x} granted with TTL({}s), remaining({}s)", id, r.grantedttl(), r.ttl());
  if (keys) out += fmt::format(", attached keys([{}])", fmt::join(r.keys(), " "));
  out += '\n';
}

std::string time_to_live_json(const pb::LeaseTimeToLiveResponse& r) {
  cmd::GoJson j;
  put_fields(j.open_object(), r.header());
  j.put("id", r.id()).put("ttl", r.ttl()).put("granted-ttl", r.grantedttl()).key("keys");
  if (r.keys().empty()) {
    j.null();
  } else {
    j.open_array();
    for (const std::string& key : r.keys()) j.value(cmd::GoJson::Bytes{key});
    j.close_array();
  }
  return j.close_object().take();
}

}  // namespace quoin::ctl
