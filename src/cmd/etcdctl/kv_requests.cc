#include "cmd/etcdctl/kv_requests.h"

#include "base/go_text.h"

namespace quoin::ctl {

std::string prefix_end(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && end.back() == '\xff') end.pop_back();
  if (end.empty()) return std::string(kNul);
  ++end.back();
  return end;
}

Or<bool> is_serializable(std::string_view given, std::string_view named_in_error) {
  if (given == "s") return true;
  if (given == "l") return false;
  return tl::unexpected(fail(kExitBadFeature, "unknown consistency flag {}", go_quote(named_in_error)));
}

void show_get(std::string& out, const pb::RangeResponse& r, bool hex, bool value_only) {
  for (const auto& kv : r.kvs()) append_kv(out, kv, hex, value_only);
}

void show_put(std::string& out, const pb::PutResponse& r, bool hex) {
  out += "OK\n";
  if (r.has_prev_kv()) append_kv(out, r.prev_kv(), hex);
}

void show_del(std::string& out, const pb::DeleteRangeResponse& r, bool hex) {
  out += fmt::format("{}\n", r.deleted());
  for (const auto& kv : r.prev_kvs()) append_kv(out, kv, hex);
}

void show_get(Fields& f, const pb::RangeResponse& r) {
  f.header(r.header());
  for (const auto& kv : r.kvs()) f.kv("", kv);
  f.put("More", r.more());
  f.put("Count", r.count());
}

void show_put(Fields& f, const pb::PutResponse& r) {
  f.header(r.header());
  if (r.has_prev_kv()) f.kv("Prev", r.prev_kv());
}

void show_del(Fields& f, const pb::DeleteRangeResponse& r) {
  f.header(r.header());
  f.put("Deleted", r.deleted());
  for (const auto& kv : r.prev_kvs()) f.kv("Prev", kv);
}

}  // namespace quoin::ctl
