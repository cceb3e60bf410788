// Source: etcd's pkg/flags/flag.go (SetPflagsFromEnv, verifyEnv).
#include <cstdlib>
#include <set>

#include "cmd/etcdctl/client_log.h"
#include "cmd/etcdctl/session.h"

extern char** environ;

namespace quoin::ctl {

std::string environment_name(std::string_view flag) {
  std::string out = "ETCDCTL_";
  for (const char c : flag)
    out += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

namespace {

// pflag leaves the zero value of its kind in a flag whose text it cannot read.
void set_or_clear(cmd::CobraFlag& flag, const std::string& value) {
  if (flag.set(value)) return;
  flag.boolean = false;
  flag.duration_ns = flag.number = 0;
  flag.unsigned_number = 0;
}

}  // namespace

Or<bool> apply_environment(const cmd::CobraCommand& command) {
  std::set<std::string> used, shadowed;
  for (cmd::CobraFlag* flag : command.inherited_flags().all()) {
    const std::string name = environment_name(flag->name);
    if (flag->changed) {
      shadowed.insert(name);
      continue;
    }
    const char* value = std::getenv(name.c_str());
    if (value == nullptr || *value == '\0') continue;
    used.insert(name);
    set_or_clear(*flag, value);
  }
  if (command.name() == "watch") {
    for (const char* name : {"ETCDCTL_WATCH_KEY", "ETCDCTL_WATCH_RANGE_END"}) {
      const char* value = std::getenv(name);
      if (value != nullptr && *value != '\0') used.insert(name);
    }
  }
  for (char** e = environ; *e != nullptr; ++e) {
    const std::string_view entry = *e;
    const std::string name(entry.substr(0, entry.find('=')));
    if (used.contains(name)) continue;
    if (shadowed.contains(name)) {
      log_line(
          "fatal", "",
          "conflicting environment variable is shadowed by corresponding command-line flag (either unset "
          "environment variable or disable flag))",
          {{"environment-variable", name}});
      return tl::unexpected(Ending{kExitError, ""});
    }
    if (entry.starts_with("ETCDCTL_")) {
      log_line("warn", "", "unrecognized environment variable", {{"environment-variable", entry}});
    }
  }
  return true;
}

}  // namespace quoin::ctl
