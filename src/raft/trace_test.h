// Traces: text files of commands, each followed by the output that is expected of it. The syntax is that of
// the reference's own traces (spec raft-and-peers 19.1).
//
//   # comment
//   command arg key=value key=(v1,v2)
//   input lines
//   ----
//   expected output, up to an empty line
//
// Shared by the trace tests of the core, of quorum/ and of confchange/.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "raft/types.h"

namespace quoin::raft::trace {

struct Argument {
  std::string key;
  std::vector<std::string> values;
};

struct Directive {
  int line = 0;  // of the command, from 1
  std::string command;
  std::vector<Argument> args;
  std::string input;
  std::string expected;

  const Argument* find(std::string_view key) const;
  // The only value of `key`; `otherwise` if it is not there.
  std::string value(std::string_view key, std::string_view otherwise = "") const;
  bool flag(std::string_view key, bool otherwise) const;
  uint64_t number(std::string_view key, uint64_t otherwise) const;
  // The position-th argument without "=", as text.
  const std::string& word(size_t position) const { return args.at(position).key; }
  uint64_t id(size_t position) const;
};

using Handler = std::function<std::string(const Directive&)>;

// Runs every file of `folder` in name order, each with a handler of its own, and compares word for word; the
// first difference of a file is reported and ends that file. With `rewrite` the outputs are stored instead.
// Returns the number of directives that were compared; 0 if the folder is not there.
int run_folder(const std::string& folder, const std::function<Handler()>& new_handler, bool rewrite = false);

// The reference's traces, beside the source tree.
std::string reference_folder(std::string_view name);

// "v1 l2 r3 u4", as changes. Returns what is wrong with the text, or "".
std::string parse_changes(std::string_view text, std::vector<ConfChangeSingle>& out);

}  // namespace quoin::raft::trace
