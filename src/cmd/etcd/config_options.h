// Every option of the etcd program in one table: name, kind, default, key in the configuration file, whether
// Quoin serves it, and what --help says (spec operations 1.3, 1.4).
#pragma once
#include <span>
#include <string_view>

#include "cmd/etcd/flags.h"

namespace quoin::cmd {

enum class Section : uint8_t {
  kMember,
  kClustering,
  kSecurity,
  kAuth,
  kMonitoring,
  kLogging,
  kTracing,
  kExperimental,
  kUnsafe,
  kHidden,  // accepted and ignored; not in --help
};
std::string_view section_title(Section section);

struct Option {
  std::string_view name;
  FlagKind kind;
  std::string_view default_text;
  Section section;
  std::string_view help;
  // Key in the file: empty: the name; "-": none; "a.b.c": nested.
  std::string_view yaml = {};
  // Not empty: the part of etcd that Quoin does not serve yet. Only the default is accepted, unless etcd runs
  // without using the option as well (refuse_unserved() of config_check.h).
  std::string_view later = {};
  // Not empty: the flag that replaced this one ("feature-gates=X" for a gate).
  std::string_view successor = {};
  // Not empty: the warning when it is set.
  std::string_view deprecation = {};
  // Not empty: what --help shows as the default, where the flag's own (0) stands for it.
  std::string_view shown_default = {};
  std::string_view default_in_help() const { return shown_default.empty() ? default_text : shown_default; }
};

std::span<const Option> options();
const Option& option(std::string_view name);

// All options defined, with their defaults.
FlagSet make_flags();

}  // namespace quoin::cmd
