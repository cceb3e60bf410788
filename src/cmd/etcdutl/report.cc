#include "cmd/etcdutl/report.h"

#include <algorithm>

#include "cmd/text/go_json.h"

namespace quoin::utl {

namespace {

size_t count_faults(const Report& report) {
  return static_cast<size_t>(std::count_if(report.findings().begin(), report.findings().end(),
                                           [](const Finding& f) { return f.fault; }));
}

void put_list(cmd::GoJson& json, std::string_view name, const std::vector<Finding>& list, bool facts) {
  json.key(name).open_array();
  for (const Finding& f : list) {
    json.open_object();
    if (!facts) json.put("kind", f.fault ? "fault" : "note");
    json.put("where", f.where).put("what", f.what).put_some("remedy", f.remedy).close_object();
  }
  json.close_array();
}

}  // namespace

bool Report::sound() const {
  return count_faults(*this) == 0;
}

std::string print_report(const Report& report, Format format) {
  if (format == Format::kJson) {
    cmd::GoJson json;
    json.open_object().put("sound", report.sound());
    put_list(json, "facts", report.facts(), true);
    put_list(json, "findings", report.findings(), false);
    json.close_object();
    return json.take() + "\n";
  }
  std::string out;
  for (const Finding& f : report.facts()) out += fmt::format("{}: {}\n", f.where, f.what);
  for (const Finding& f : report.findings()) {
    out += fmt::format("{} {}: {}\n", f.fault ? "FAULT" : "note ", f.where, f.what);
    if (!f.remedy.empty()) out += fmt::format("      {}\n", f.remedy);
  }
  const size_t faults = count_faults(report);
  if (faults == 0) return out + "sound\n";
  return out + fmt::format("{} {}\n", faults, faults == 1 ? "fault" : "faults");
}

}  // namespace quoin::utl
