#include "cmd/cobra/completion.h"

#include "cmd/etcd/flags_text.h"

namespace quoin::cmd {
namespace {

enum Directive : int { kFiles = 0, kNoFiles = 4 };

struct Answer {
  std::vector<std::string> candidates;
  Directive directive = kFiles;
  std::string error;
};

std::string with_description(const std::string& name, const std::string& description) {
  return name + "\t" + description;
}

void add_children(const CobraCommand& c, std::string_view typed, std::vector<std::string>& out) {
  for (const auto& child : c.children()) {
    const bool is_help = c.parent() == nullptr && child->name() == "help";
    if ((child->available() || is_help) && child->name().starts_with(typed)) {
      out.push_back(with_description(child->name(), child->brief()));
    }
  }
}

void add_flag_names(const CobraFlag& f, std::string_view typed, std::vector<std::string>& out) {
  if (f.hidden || !f.deprecated.empty()) return;
  const std::string name = "--" + f.name, letter = std::string("-") + f.shorthand;
  if (name.starts_with(typed)) out.push_back(with_description(name, f.help));
  if (f.shorthand != '\0' && letter.starts_with(typed)) out.push_back(with_description(letter, f.help));
}

void add_required(const CobraFlags& flags, std::string_view typed, std::vector<std::string>& out) {
  for (const CobraFlag* f : flags.all()) {
    if (f->required && !f->changed) add_flag_names(*f, typed, out);
  }
}

// A flag whose value is being typed, by the last word or by the one before it.
const CobraFlag* flag_in_typing(const CobraFlags& flags, std::vector<std::string>& before,
                                std::string& typed) {
  const auto by_word = [&](std::string_view word) {
    return word.starts_with("--") ? flags.find(word.substr(2)) : flags.find(word.back());
  };
  if (typed.starts_with('-')) {
    const size_t equals = typed.find('=');
    if (equals == std::string::npos || equals < 2) return nullptr;
    const CobraFlag* f = by_word(typed.substr(0, equals));
    if (f != nullptr) typed = typed.substr(equals + 1);
    return f;
  }
  if (before.empty()) return nullptr;
  const std::string& last = before.back();
  if (last.size() < 2 || last[0] != '-' || last == "--" || last.find('=') != std::string::npos)
    return nullptr;
  const CobraFlag* f = by_word(last);
  if (f == nullptr || f->kind == CobraFlag::Kind::kBool) return nullptr;
  before.pop_back();
  return f;
}

// The child commands of `c` or the words that it takes.
void complete_word(CobraCommand& root, const CobraCommand& c, const CobraFlags& own,
                   const std::vector<std::string>& words, std::string_view typed, Answer& a) {
  bool own_flag_given = false;
  for (const CobraFlag* f : c.flags.all()) own_flag_given |= f->changed;
  if (words.empty() && !own_flag_given && !c.children().empty()) {
    add_children(c, typed, a.candidates);
    a.directive = kNoFiles;
  }
  add_required(own, typed, a.candidates);
  if (!c.values.empty()) {
    if (!words.empty()) return;
    for (const std::string& v : c.values) {
      if (v.starts_with(typed)) a.candidates.push_back(v);
    }
    a.directive = kNoFiles;
  } else if (c.parent() == &root && c.name() == "help") {
    std::vector<std::string> topic = words;
    add_children(root.find(topic), typed, a.candidates);
    a.directive = kNoFiles;
  }
}

Answer answer(CobraCommand& root, std::vector<std::string> words) {
  std::string typed = words.back();
  words.pop_back();
  Answer a;
  std::vector<std::string> before = words;
  CobraCommand& c = root.find(before);
  if (&c == &root && !c.without_flags(before).empty()) {
    a.error = fmt::format("unable to find a command for arguments: [{}]", join(words, " "));
    return a;
  }
  c.add_help_flag();
  CobraFlags flags = c.all_flags();
  const bool names_over = std::find(before.begin(), before.end(), "--") != before.end();
  const CobraFlag* const in_typing = names_over ? nullptr : flag_in_typing(flags, before, typed);
  if (const auto r = flags.parse(before); !r) {
    a.error =
        fmt::format("Error while parsing flags from args [{}]: {}", join(before, " "), r.error().text());
    return a;
  }
  if (flags.at("help").changed) {
    a.directive = kNoFiles;
  } else if (in_typing != nullptr) {
    a.candidates = in_typing->values;
  } else if (typed.starts_with('-') && !names_over && typed.find('=') == std::string::npos) {
    a.directive = kNoFiles;
    add_required(flags, typed, a.candidates);
    if (!a.candidates.empty()) return a;
    for (const CobraFlags& set : {c.inherited_flags(), c.own_flags()}) {
      for (const CobraFlag* f : set.all()) {
        if (!f->changed || f->kind == CobraFlag::Kind::kStrings) add_flag_names(*f, typed, a.candidates);
      }
    }
  } else {
    complete_word(root, c, flags, flags.words(), typed, a);
  }
  return a;
}

}  // namespace

std::optional<CobraOutcome> complete(CobraCommand& root, const std::vector<std::string>& words) {
  if (words.empty() || (words[0] != "__complete" && words[0] != "__completeNoDesc")) return std::nullopt;
  CobraOutcome o;
  if (words.size() == 1) {
    o.error = "requires at least 1 arg(s), only received 0";
    o.err = "Error: " + o.error + "\n";
    return o;
  }
  root.add_help_command();
  const Answer a = answer(root, {words.begin() + 1, words.end()});
  if (!a.error.empty()) o.err = "[Debug] [Error] " + a.error + "\n";
  for (const std::string& candidate : a.candidates) {
    std::string line = candidate.substr(0, candidate.find('\n'));
    if (words[0] == "__completeNoDesc") line = line.substr(0, line.find('\t'));
    o.out += std::string(trim_space(line)) + "\n";
  }
  o.out += fmt::format(":{}\n", static_cast<int>(a.directive));
  o.err +=
      fmt::format("Completion ended with directive: {}\n",
                  a.directive == kNoFiles ? "ShellCompDirectiveNoFileComp" : "ShellCompDirectiveDefault");
  return o;
}

}  // namespace quoin::cmd
