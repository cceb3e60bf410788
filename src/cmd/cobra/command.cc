#include "cmd/cobra/command.h"

#include <algorithm>
#include <numeric>

#include "base/go_text.h"
#include "cmd/etcd/flags_text.h"

namespace quoin::cmd {
namespace {

std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

// Letters to put in, take out or change until `a` is `b`.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({changed, row[j - 1] + 1, row[j] + 1});
    }
  }
  return row.back();
}

std::string trim_right(std::string s) {
  while (!s.empty() && (s.back() == ' ' || (s.back() >= '\t' && s.back() <= '\r'))) s.pop_back();
  return s;
}

}  // namespace

CobraCommand& CobraCommand::add(std::string use, std::string brief) {
  auto command = std::make_unique<CobraCommand>(std::move(use), std::move(brief));
  command->parent_ = this;
  const auto at = std::find_if(children_.begin(), children_.end(),
                               [&](const auto& c) { return c->name() > command->name(); });
  return **children_.insert(at, std::move(command));
}

CobraFlags CobraCommand::own_flags() const {
  CobraFlags out = flags;
  out.merge(persistent);
  return out;
}

CobraFlags CobraCommand::inherited_flags() const {
  CobraFlags out;
  for (const CobraCommand* c = parent_; c != nullptr; c = c->parent_) out.merge(c->persistent);
  return out;
}

CobraFlags CobraCommand::all_flags() const {
  CobraFlags out = own_flags();
  out.merge(inherited_flags());
  return out;
}

CobraCommand* CobraCommand::child(std::string_view name) {
  std::vector<CobraCommand*> beginning_so;
  for (const auto& c : children_) {
    if (c->name() == name || std::find(c->aliases.begin(), c->aliases.end(), name) != c->aliases.end()) {
      return c.get();
    }
    const auto begins = [&](const std::string& n) { return n.starts_with(name); };
    if (begins(c->name()) || std::any_of(c->aliases.begin(), c->aliases.end(), begins)) {
      beginning_so.push_back(c.get());
    }
  }
  return root().options.prefix_names && beginning_so.size() == 1 ? beginning_so[0] : nullptr;
}

bool CobraCommand::available() const {
  if (!deprecated.empty() || hidden || (parent_ && parent_->help_command_ == this)) return false;
  return runnable ||
         std::any_of(children_.begin(), children_.end(), [](const auto& c) { return c->available(); });
}

void CobraCommand::add_help_flag() {
  if (all_flags().find("help") != nullptr) return;
  flags.add({.name = "help",
             .shorthand = 'h',
             .kind = CobraFlag::Kind::kBool,
             .help = "help for " + (name().empty() ? "this command" : name())});
}

// ---- which command ----

// Whether the word behind this one is the value of a flag, as far as this command knows its flags. The help flag is
// made only once the command is found, so here it counts as one that takes a value: "gateway -h start" is the help of
// gateway.
bool CobraCommand::takes_next_word(const std::string& arg) const {
  if (!arg.starts_with('-') || arg.find('=') != std::string::npos) return false;
  const CobraFlags known = all_flags();
  const CobraFlag* flag = nullptr;
  if (arg.starts_with("--")) {
    flag = known.find(std::string_view(arg).substr(2));
  } else if (arg.size() == 2) {
    flag = known.find(arg[1]);
  } else {
    return false;
  }
  return flag == nullptr || flag->kind != CobraFlag::Kind::kBool;
}

std::vector<std::string> CobraCommand::without_flags(const std::vector<std::string>& args) const {
  std::vector<std::string> out;
  for (size_t i = 0; i < args.size() && args[i] != "--"; ++i) {
    if (takes_next_word(args[i])) {
      if (args.size() - i <= 2) break;
      ++i;
    } else if (!args[i].empty() && args[i][0] != '-') {
      out.push_back(args[i]);
    }
  }
  return out;
}

std::vector<std::string> CobraCommand::without_first(const std::vector<std::string>& args,
                                                     const std::string& word) const {
  std::vector<std::string> out = args;
  for (size_t i = 0; i < args.size() && args[i] != "--"; ++i) {
    if (takes_next_word(args[i])) {
      ++i;
    } else if (args[i] == word) {
      out.erase(out.begin() + static_cast<ptrdiff_t>(i));
      break;
    }
  }
  return out;
}

// The words that named commands are taken out of `args`.
CobraCommand& CobraCommand::find(std::vector<std::string>& args) {
  const std::vector<std::string> words = without_flags(args);
  CobraCommand* const next = words.empty() ? nullptr : child(words[0]);
  if (next == nullptr) return *this;
  args = without_first(args, words[0]);
  return next->find(args);
}

std::string CobraCommand::suggestions(std::string_view word) const {
  constexpr size_t kDistanceMax = 2;
  const std::string typed = lower(word);
  std::string out;
  for (const auto& c : children_) {
    const std::string name = lower(c->name());
    if (!c->available()) continue;
    if (edit_distance(typed, name) <= kDistanceMax || name.starts_with(typed)) out += "\t" + c->name() + "\n";
  }
  return out.empty() ? out : "\n\nDid you mean this?\n" + out;
}

// The fault of a word that names no command: only a root has it.
std::string CobraCommand::unknown_child(std::vector<std::string>& args, const CobraCommand& found) const {
  if (&found != this || children_.empty() || check_words) return "";
  const auto left = without_flags(args);
  if (left.empty()) return "";
  return fmt::format("unknown command {} for {}{}", go_quote(left[0]), go_quote(path()),
                     suggestions(left[0]));
}

void CobraCommand::add_help_command() {
  if (!options.help_command || children_.empty() || help_command_ != nullptr) return;
  help_command_ = &add("help [command]", "Help about any command");
  help_command_->runnable = true;
  help_command_->description = fmt::format(
      "Help provides help for any command in the application.\nSimply type {} help [path to command] for "
      "full "
      "details.",
      name());
}

void CobraCommand::show_help_of(std::vector<std::string> words, CobraOutcome& o) {
  const std::vector<std::string> topic = words;
  CobraCommand& command = find(words);
  if (!unknown_child(words, command).empty()) {
    std::string shown;
    for (const std::string& w : topic) {
      const bool raw = w.find('`') == std::string::npos && go_quote(w) == "\"" + w + "\"";
      shown += (shown.empty() ? "" : " ") + (raw ? "`" + w + "`" : go_quote(w));
    }
    o.err = fmt::format("Unknown help topic [{}]\n", shown);
    (options.usage ? o.out : o.err) += usage();
    return;
  }
  command.add_help_flag();
  o.out = command.help();
}

CobraOutcome CobraCommand::read(const std::vector<std::string>& words) {
  add_help_command();
  CobraOutcome o;
  std::vector<std::string> args = words;
  CobraCommand& command = find(args);
  o.error = unknown_child(args, command);
  if (!o.error.empty()) {
    o.err = fmt::format("Error: {}\nRun '{} --help' for usage.\n", o.error, path());
    return o;
  }
  if (!command.deprecated.empty()) {
    o.err = fmt::format("Command {} is deprecated, {}\n", go_quote(command.name()), command.deprecated);
  }
  command.add_help_flag();
  CobraFlags parsed = command.all_flags();
  const auto fault = [&](std::string_view why) {
    o.error = why;
    o.err += fmt::format("{}Error: {}\n", parsed.notices(), o.error);
    (options.usage ? o.out : o.err) += command.usage();
    o.err += '\n';
    return o;
  };
  if (const Result<> r = parsed.parse(args); !r) return fault(r.error().text());
  if (parsed.at("help").boolean || !command.runnable) {
    o.err += parsed.notices();
    o.out = command.help();
    return o;
  }
  if (command.check_words) {
    if (const auto why = command.check_words(command, parsed.words())) return fault(*why);
  }
  if (const auto missing = parsed.missing(); !missing.empty()) {
    return fault(fmt::format("required flag(s) \"{}\" not set", join(missing, "\", \"")));
  }
  o.err += parsed.notices();
  if (&command == help_command_) {
    show_help_of(parsed.words(), o);
    return o;
  }
  o.command = &command;
  o.words = parsed.words();
  o.words_before_dashes = parsed.words_before_dashes();
  return o;
}

// ---- texts ----

std::string CobraCommand::use_line() const {
  const std::string line = parent_ ? parent_->path() + " " + use_ : use_;
  const bool says_flags = !flags_in_use_line || line.find("[flags]") != std::string::npos;
  return line + (!says_flags && all_flags().any_shown() ? " [flags]" : "");
}

std::string CobraCommand::usage() const {
  if (root().options.usage) return root().options.usage(*this);
  constexpr size_t kNameWidthMin = 11;
  const CobraFlags own = own_flags(), inherited = inherited_flags();
  std::string out = "Usage:";
  if (runnable) out += "\n  " + use_line();
  const auto shown = [&](const auto& c) { return c->available() || c.get() == help_command_; };
  const bool parent_of_some = std::any_of(children_.begin(), children_.end(), shown);
  if (parent_of_some) out += fmt::format("\n  {} [command]", path());
  if (!aliases.empty()) out += fmt::format("\n\nAliases:\n  {}, {}", name(), join(aliases, ", "));
  if (!example.empty()) out += "\n\nExamples:\n" + example;
  if (parent_of_some) {
    out += "\n\nAvailable Commands:";
    size_t width = kNameWidthMin;
    for (const auto& c : children_) width = std::max(width, c->name().size());
    for (const auto& c : children_) {
      if (shown(c)) out += fmt::format("\n  {:<{}} {}", c->name(), width, c->brief_);
    }
  }
  if (own.any_shown()) out += "\n\nFlags:\n" + trim_right(own.list());
  if (inherited.any_shown()) out += "\n\nGlobal Flags:\n" + trim_right(inherited.list());
  if (parent_of_some) {
    out += fmt::format("\n\nUse \"{} [command] --help\" for more information about a command.", path());
  }
  return out + "\n";
}

std::string CobraCommand::help() const {
  if (root().options.usage || root().options.help_is_usage) return usage();
  const std::string text = trim_right(description.empty() ? brief_ : description);
  return (text.empty() ? "" : text + "\n\n") + usage();
}

// ---- checks of words ----

CobraCommand::WordCheck exact_words(size_t count) {
  return [count](const CobraCommand&, const std::vector<std::string>& w) -> std::optional<std::string> {
    if (w.size() == count) return std::nullopt;
    return fmt::format("accepts {} arg(s), received {}", count, w.size());
  };
}

CobraCommand::WordCheck at_least_words(size_t count) {
  return [count](const CobraCommand&, const std::vector<std::string>& w) -> std::optional<std::string> {
    if (w.size() >= count) return std::nullopt;
    return fmt::format("requires at least {} arg(s), only received {}", count, w.size());
  };
}

CobraCommand::WordCheck at_most_words(size_t count) {
  return [count](const CobraCommand&, const std::vector<std::string>& w) -> std::optional<std::string> {
    if (w.size() <= count) return std::nullopt;
    return fmt::format("accepts at most {} arg(s), received {}", count, w.size());
  };
}

CobraCommand::WordCheck only_values() {
  return [](const CobraCommand& c, const std::vector<std::string>& words) -> std::optional<std::string> {
    for (const std::string& w : words) {
      if (std::find(c.values.begin(), c.values.end(), w) == c.values.end()) {
        return fmt::format("invalid argument {} for {}", go_quote(w), go_quote(c.path()));
      }
    }
    return std::nullopt;
  };
}

CobraCommand::WordCheck all_of(std::vector<CobraCommand::WordCheck> checks) {
  return [checks = std::move(checks)](const CobraCommand& c,
                                      const std::vector<std::string>& words) -> std::optional<std::string> {
    for (const auto& check : checks) {
      if (auto why = check(c, words)) return why;
    }
    return std::nullopt;
  };
}

}  // namespace quoin::cmd
