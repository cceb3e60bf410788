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
// A root may have more of cobra (CobraOptions): the command `help`, names by a unique prefix, texts of its own instead of
// cobra's (etcd_usage.h), and completion (completion.h). Not here, since no command needs it: groups of commands.
//
// Threads: none. Source: github.com/spf13/cobra 1.10.2 (Find, execute, ExecuteC, defaultUsageFunc, defaultHelpFunc).
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/cobra/flags.h"

namespace quoin::cmd {

class CobraCommand;

struct CobraOutcome {
  const CobraCommand* command = nullptr;  // to be run; null: it ended with help or a fault
  std::vector<std::string> words;         // what is left for the command
  // How many of `words` stood before "--"; nothing without one.
  std::optional<size_t> words_before_dashes;
  std::string out;  // for standard output: help
  std::string err;  // for standard error: the fault and the usage
  // The fault by itself, empty after help. etcd writes it once more behind `err` and exits with 1.
  std::string error;
};

// What holds for a whole tree; set it at the root.
struct CobraOptions {
  bool help_command = false;
  bool prefix_names = false;  // "comp" is compaction if no other name begins so
  // Writes the usage instead of cobra's own text, to standard output in each case; help is then the usage alone.
  std::function<std::string(const CobraCommand&)> usage;
  bool help_is_usage = false;  // help is cobra's usage alone
};

class CobraCommand {
 public:
  // What a command says against its words; nothing if it takes them.
  using WordCheck =
      std::function<std::optional<std::string>(const CobraCommand&, const std::vector<std::string>&)>;

  // `use`: the name, then how it is called; `brief`: one line.
  CobraCommand(std::string use, std::string brief) : use_(std::move(use)), brief_(std::move(brief)) {}
  CobraCommand(const CobraCommand&) = delete;
  CobraCommand& operator=(const CobraCommand&) = delete;

  CobraCommand& add(std::string use, std::string brief);
  bool runnable = false;
  std::string description;  // stands in for `brief` in the help of the command
  std::string example;
  std::vector<std::string> aliases;
  bool hidden = false;
  std::string deprecated;           // what to use instead; said when the command is called
  bool flags_in_use_line = true;    // whether " [flags]" is added
  std::vector<std::string> values;  // words that the command takes, for completion
  WordCheck check_words;            // cobra's Args; without it all words are taken
  CobraFlags flags;                 // its own
  CobraFlags persistent;            // its own and its children's
  CobraOptions options;             // of a root

  // Of the root. Once for each tree: flags keep what they were given.
  CobraOutcome read(const std::vector<std::string>& words);
  // The command that `args` names, which are left without those names.
  CobraCommand& find(std::vector<std::string>& args);

  std::string name() const { return use_.substr(0, use_.find(' ')); }
  std::string path() const { return parent_ ? parent_->path() + " " + name() : name(); }
  const std::string& brief() const { return brief_; }
  const CobraCommand* parent() const { return parent_; }
  const CobraCommand& root() const { return parent_ ? parent_->root() : *this; }
  // Sorted by name.
  const std::vector<std::unique_ptr<CobraCommand>>& children() const { return children_; }
  // Neither hidden nor deprecated, and runnable or the parent of such a one.
  bool available() const;
  std::string use_line() const;
  std::string usage() const;
  std::string help() const;
  CobraFlags own_flags() const;
  CobraFlags inherited_flags() const;
  CobraFlags all_flags() const;
  // Of the root: makes the command help, once, if options ask for it. read() does.
  void add_help_command();
  // Makes the flag --help, once.
  void add_help_flag();
  std::vector<std::string> without_flags(const std::vector<std::string>& args) const;

 private:
  CobraCommand* child(std::string_view name);
  std::vector<std::string> without_first(const std::vector<std::string>& args, const std::string& word) const;
  bool takes_next_word(const std::string& arg) const;
  std::string suggestions(std::string_view word) const;
  std::string unknown_child(std::vector<std::string>& args, const CobraCommand& found) const;
  void show_help_of(std::vector<std::string> words, CobraOutcome& o);

  const std::string use_, brief_;
  CobraCommand* parent_ = nullptr;
  CobraCommand* help_command_ = nullptr;
  std::vector<std::unique_ptr<CobraCommand>> children_;  // sorted by name
};

// cobra's checks of words.
CobraCommand::WordCheck exact_words(size_t count);
CobraCommand::WordCheck at_least_words(size_t count);
CobraCommand::WordCheck at_most_words(size_t count);
// Each word is one of `values`.
CobraCommand::WordCheck only_values();
CobraCommand::WordCheck all_of(std::vector<CobraCommand::WordCheck> checks);

}  // namespace quoin::cmd
