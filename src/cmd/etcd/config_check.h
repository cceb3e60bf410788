// etcd's checks of the options, in its order and with its texts (spec operations 1.4, 1.8, 6.2), and Quoin's
// own refusal of what it does not serve yet.
#pragma once
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "cmd/etcd/config.h"
#include "cmd/etcd/flags.h"

namespace quoin::cmd {

struct CheckState {
  std::set<std::string> explicitly_set;  // options given, by name (file: keys as written)
  std::vector<Notice> warnings;          // in order
  LogConfig log;
  bool log_ready = false;  // the logging options were good: later lines go to the configured logger
  std::string panic;       // not empty: the process ends with it, exit code 2
};

// Values of the old experimental gate flags into feature-gates. Errors: both given.
Result<> merge_gate_flags(FlagSet& flags, const std::set<std::string>& explicitly_set,
                          std::string_view gates_text);

// Changes no flag.
Result<> check_options(const FlagSet& flags, CheckState& state);

// Copies old spellings onto new ones, and collects the deprecation warnings (in name order).
Result<> apply_renames(FlagSet& flags, const CheckState& state, std::vector<Notice>& warnings);

// Errors: kUnsupported, naming the option. What only a directory without a log would need (discovery) is
// named in `bootstrap_error` instead.
Result<> refuse_unserved(const FlagSet& flags, std::string* bootstrap_error);

// A flag's list of URLs, parsed.
Urls urls_of(const FlagSet& flags, std::string_view name);

}  // namespace quoin::cmd
