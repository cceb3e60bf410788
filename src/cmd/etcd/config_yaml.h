// The configuration file: YAML read the way etcd reads it, as JSON decoded into typed fields, without
// coercion (spec operations 1.7). Values land in the same FlagSet that a command line fills.
#pragma once
#include <set>
#include <string>

#include "base/result.h"
#include "cmd/etcd/flags.h"

namespace quoin::cmd {

struct ConfigFile {
  // Top-level keys as written, and "peer-<key>" for the keys of peer-transport-security.
  std::set<std::string> keys;
  // Not empty: etcd ends at once with exit code 1 and this line on standard error.
  std::string abort_line;
  // Not empty: etcd ends with a panic, exit code 2.
  std::string panic;
};

// Fills `flags` (fresh, with defaults). Errors: kInvalidArgument or kFileNotFound with etcd's text.
Result<ConfigFile> read_config_file(const std::string& path, FlagSet& flags);
// The same from the text of a file.
Result<ConfigFile> read_config_text(const std::string& yaml, FlagSet& flags);

}  // namespace quoin::cmd
