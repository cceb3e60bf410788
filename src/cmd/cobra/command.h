// A tree of commands as Go's cobra reads it: which command a line of words means, and the texts of its help, its usage
// and its faults.
//
//   CobraCommand root("etcd", "etcd server");
//   CobraCommand& gateway = root.add("gateway <subcommand>", "gateway related command");
//   CobraCommand& start = gateway.add("start", "start the gateway");
//   start.runnable = true;
//   start.flags.add({...});
//   const CobraOutcome o = root.read(words);   // words: without the program's name
//   o.command == &start: run it; otherwise all has been said by o.out and o.err
//
// Not here, since no command needs it yet: aliases, examples, groups, required flags, bounds on the number of words, and
// the commands `help` and `completion` of a root.
//
// Threads: none. Source: github.com/spf13/cobra 1.10.2 (Find, execute, ExecuteC, defaultUsageFunc, defaultHelpFunc).
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/cobra/flags.h"

namespace quoin::cmd {

class CobraCommand;

struct CobraOutcome {
  const CobraCommand* command = nullptr;  // to be run; null: it ended with help or a fault
  std::vector<std::string> words;         // what is left for the command
  std::string out;                        // for standard output: help
  std::string err;                        // for standard error: the fault and the usage
  // The fault by itself, empty after help. etcd writes it once more behind `err` and exits with 1.
  std::string error;
};

class CobraCommand {
 public:
  // `use`: the name, then how it is called; `brief`: one line.
  CobraCommand(std::string use, std::string brief) : use_(std::move(use)), brief_(std::move(brief)) {}
  CobraCommand(const CobraCommand&) = delete;
  CobraCommand& operator=(const CobraCommand&) = delete;

  CobraCommand& add(std::string use, std::string brief);
  bool runnable = false;
  std::string description;  // stands in for `brief` in the help of the command
  CobraFlags flags;         // its own
  CobraFlags persistent;    // its own and its children's

  // Of the root. Once for each tree: flags keep what they were given.
  CobraOutcome read(const std::vector<std::string>& words);

  std::string name() const { return use_.substr(0, use_.find(' ')); }
  std::string path() const { return parent_ ? parent_->path() + " " + name() : name(); }
  std::string usage() const;

 private:
  CobraCommand& find(std::vector<std::string>& args);
  CobraCommand* child(std::string_view name);
  std::vector<std::string> without_flags(const std::vector<std::string>& args) const;
  std::vector<std::string> without_first(const std::vector<std::string>& args, const std::string& word) const;
  bool takes_next_word(const std::string& arg) const;
  std::string suggestions(std::string_view word) const;
  std::string help() const;
  CobraFlags own_flags() const;
  CobraFlags inherited_flags() const;
  CobraFlags all_flags() const;

  const std::string use_, brief_;
  CobraCommand* parent_ = nullptr;
  std::vector<std::unique_ptr<CobraCommand>> children_;  // sorted by name
};

}  // namespace quoin::cmd
