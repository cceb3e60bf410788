#include "cmd/etcd/help.h"

#include "cmd/etcd/config_options.h"

namespace quoin::cmd {

std::string usage_text() {
  return R"(Usage:

  etcd [flags]
    Run a member with these flags; variables ETCD_<FLAG> stand in for flags that are absent.

  etcd --config-file FILE
    Run a member with the options of a YAML file. Flags and variables are then ignored.

  etcd --version
    Print the version and exit.

  etcd -h | --help
    Print this, and all flags on standard output.

  etcd gateway start [flags]
    Forward TCP connections to the members of a cluster.

  etcd grpc-proxy start [flags]
    Answer calls in the place of the members, with a cache, and share watches and keepalives.
)";
}

std::string options_text() {
  std::string out;
  for (const Section section :
       {Section::kMember, Section::kClustering, Section::kSecurity, Section::kAuth, Section::kMonitoring,
        Section::kLogging, Section::kTracing, Section::kExperimental, Section::kUnsafe}) {
    out += fmt::format("{}{}:\n", out.empty() ? "" : "\n", section_title(section));
    for (const Option& o : options()) {
      if (o.section != section) continue;
      out += fmt::format("  --{} '{}'\n    {}", o.name, o.default_in_help(), o.help);
      if (!o.later.empty()) out += " (Not served yet.)";
      out += '\n';
    }
  }
  return out;
}

}  // namespace quoin::cmd
