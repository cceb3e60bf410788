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
  for (const auto& c : children_) {
    if (c->name() == name) return c.get();
  }
  return nullptr;
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
    if (edit_distance(typed, name) <= kDistanceMax || name.starts_with(typed)) out += "\t" + c->name() + "\n";
  }
  return out.empty() ? out : "\n\nDid you mean this?\n" + out;
}

CobraOutcome CobraCommand::read(const std::vector<std::string>& words) {
  CobraOutcome o;
  std::vector<std::string> args = words;
  CobraCommand& command = find(args);
  if (const auto left = command.without_flags(args);
      &command == this && !children_.empty() && !left.empty()) {
    o.error =
        fmt::format("unknown command {} for {}{}", go_quote(left[0]), go_quote(path()), suggestions(left[0]));
    o.err = fmt::format("Error: {}\nRun '{} --help' for usage.\n", o.error, path());
    return o;
  }
  command.flags.add({.name = "help",
                     .shorthand = 'h',
                     .kind = CobraFlag::Kind::kBool,
                     .help = "help for " + command.name()});
  CobraFlags parsed = command.all_flags();
  if (const Result<> r = parsed.parse(args); !r) {
    o.error = r.error().text();
    o.err = fmt::format("Error: {}\n{}\n", o.error, command.usage());
    return o;
  }
  if (parsed.at("help").boolean || !command.runnable) {
    o.out = command.help();
    return o;
  }
  o.command = &command;
  o.words = parsed.words();
  return o;
}

// ---- texts ----

std::string CobraCommand::usage() const {
  constexpr size_t kNameWidthMin = 11;
  const CobraFlags own = own_flags(), inherited = inherited_flags();
  std::string out = "Usage:";
  if (runnable) {
    const std::string line = parent_ ? parent_->path() + " " + use_ : use_;
    const bool says_flags = line.find("[flags]") != std::string::npos;
    const bool has_flags = !own.empty() || !inherited.empty();
    out += fmt::format("\n  {}{}", line, has_flags && !says_flags ? " [flags]" : "");
  }
  if (!children_.empty()) {
    out += fmt::format("\n  {} [command]\n\nAvailable Commands:", path());
    size_t width = kNameWidthMin;
    for (const auto& c : children_) width = std::max(width, c->name().size());
    for (const auto& c : children_) out += fmt::format("\n  {:<{}} {}", c->name(), width, c->brief_);
  }
  if (!own.empty()) out += "\n\nFlags:\n" + trim_right(own.list());
  if (!inherited.empty()) out += "\n\nGlobal Flags:\n" + trim_right(inherited.list());
  if (!children_.empty()) {
    out += fmt::format("\n\nUse \"{} [command] --help\" for more information about a command.", path());
  }
  return out + "\n";
}

std::string CobraCommand::help() const {
  const std::string text = trim_right(description.empty() ? brief_ : description);
  return (text.empty() ? "" : text + "\n\n") + usage();
}

}  // namespace quoin::cmd
