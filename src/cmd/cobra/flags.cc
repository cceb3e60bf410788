#include "cmd/cobra/flags.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <optional>

#include "base/check.h"
#include "base/go_text.h"
#include "cmd/cobra/csv.h"
#include "cmd/etcd/flags_text.h"
#include "posix/log_duration.h"

namespace quoin::cmd {
namespace {

template <class... A>
Error invalid(fmt::format_string<A...> f, A&&... args) {
  return make_error(Code::kInvalidArgument, f, std::forward<A>(args)...);
}

// fmt's %q of a rune below 0x100. pflag looks at the first byte of a letter's UTF-8 form alone.
std::string quote_letter(char letter) {
  const auto byte = static_cast<unsigned char>(letter);
  if (letter == '\'') return R"('\'')";
  if (letter == '"') return R"('"')";
  if (byte >= 0xc0) return "'\u00c3'";
  if (byte >= 0x80) return "'\u00c2'";
  std::string quoted = go_quote(std::string(1, letter));
  quoted.front() = quoted.back() = '\'';
  return quoted;
}

std::string kind_name(CobraFlag::Kind kind) {
  switch (kind) {
    case CobraFlag::Kind::kBool:
      return "";
    case CobraFlag::Kind::kString:
      return "string";
    case CobraFlag::Kind::kStrings:
      return "strings";
    case CobraFlag::Kind::kDuration:
      return "duration";
    case CobraFlag::Kind::kInt:
    case CobraFlag::Kind::kInt64:
      return "int";
    case CobraFlag::Kind::kUint32:
      return "uint32";
    case CobraFlag::Kind::kUint64:
      return "uint";
    case CobraFlag::Kind::kFloat64:
      return "float";
  }
  return "";
}

// Empty where the list of flags names none.
std::string text_of_default(const CobraFlag& f) {
  switch (f.kind) {
    case CobraFlag::Kind::kBool:
      return f.boolean ? "true" : "";
    case CobraFlag::Kind::kString:
      return f.text.empty() ? "" : go_quote(f.text);
    case CobraFlag::Kind::kStrings:
      return f.list.empty() ? "" : f.value_text();
    case CobraFlag::Kind::kDuration:
      return f.duration_ns == 0 ? "" : f.value_text();
    case CobraFlag::Kind::kInt:
    case CobraFlag::Kind::kInt64:
      return f.number == 0 ? "" : f.value_text();
    case CobraFlag::Kind::kUint32:
    case CobraFlag::Kind::kUint64:
      return f.unsigned_number == 0 ? "" : f.value_text();
    case CobraFlag::Kind::kFloat64:
      return f.real == 0 ? "" : f.value_text();
  }
  return "";
}

// Name of the value and help, without the back quotes.
std::pair<std::string, std::string> named_value(const CobraFlag& f) {
  const size_t open = f.help.find('`');
  const size_t close = open == std::string::npos ? open : f.help.find('`', open + 1);
  if (close == std::string::npos) return {kind_name(f.kind), f.help};
  const std::string name = f.help.substr(open + 1, close - open - 1);
  return {name, f.help.substr(0, open) + name + f.help.substr(close + 1)};
}

}  // namespace

std::string CobraFlag::value_text() const {
  switch (kind) {
    case Kind::kBool:
      return boolean ? "true" : "false";
    case Kind::kString:
      return text;
    case Kind::kStrings:
      return fmt::format("[{}]", list.empty() ? "" : csv_line(list));
    case Kind::kDuration:
      return posix::duration_text(duration_ns);
    case Kind::kInt:
    case Kind::kInt64:
      return fmt::format("{}", number);
    case Kind::kUint32:
    case Kind::kUint64:
      return fmt::format("{}", unsigned_number);
    case Kind::kFloat64:
      return fmt::format("{:g}", real);
  }
  return "";
}

Result<> CobraFlag::set(const std::string& value) {
  const auto refused = [&](std::string_view why) {
    const std::string shown = shorthand ? fmt::format("-{}, --{}", shorthand, name) : "--" + name;
    return invalid("invalid argument {} for {} flag: {}", go_quote(value), go_quote(shown), why);
  };
  const auto number_error = [&](std::string_view function, const Error& e) {
    return fmt::format("strconv.{}: parsing {}: {}", function, go_quote(value), e.text());
  };
  switch (kind) {
    case Kind::kBool: {
      const auto v = parse_bool(value);
      if (!v) return refused(number_error("ParseBool", v.error()));
      boolean = *v;
      break;
    }
    case Kind::kString:
      text = value;
      break;
    case Kind::kStrings: {
      auto v = value.empty() ? std::vector<std::string>{} : read_csv_line(value);
      if (!v) return refused(v.error().text());
      if (!changed) list.clear();
      list.insert(list.end(), v->begin(), v->end());
      break;
    }
    case Kind::kDuration: {
      const auto v = parse_duration(value);
      if (!v) return refused(v.error().text());
      duration_ns = *v;
      break;
    }
    case Kind::kInt:
    case Kind::kInt64: {
      const auto v = parse_signed(value);
      if (!v) return refused(number_error("ParseInt", v.error()));
      number = *v;
      break;
    }
    case Kind::kUint32:
    case Kind::kUint64: {
      const auto v = parse_unsigned(value, kind == Kind::kUint32 ? 32 : 64);
      if (!v) return refused(number_error("ParseUint", v.error()));
      unsigned_number = *v;
      break;
    }
    case Kind::kFloat64: {
      char* end = nullptr;
      errno = 0;
      const double v = std::strtod(value.c_str(), &end);
      if (value.empty() || *end != '\0' || std::isspace(static_cast<unsigned char>(value[0]))) {
        return refused(number_error("ParseFloat", invalid("invalid syntax")));
      }
      if (errno == ERANGE && std::isinf(v)) {
        return refused(number_error("ParseFloat", invalid("value out of range")));
      }
      real = v;
      break;
    }
  }
  changed = true;
  return {};
}

// ---- the set ----

void CobraFlags::add(std::shared_ptr<CobraFlag> flag) {
  flag->default_text = text_of_default(*flag);
  flag->default_value = flag->value_text();
  std::string name = flag->name;
  const bool added = by_name_.emplace(std::move(name), std::move(flag)).second;
  CHECK(added, "a flag is declared twice");
}

void CobraFlags::merge(const CobraFlags& other) {
  by_name_.insert(other.by_name_.begin(), other.by_name_.end());
}

const CobraFlag* CobraFlags::find(std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : it->second.get();
}

CobraFlag* CobraFlags::by_shorthand(char letter) const {
  for (const auto& [name, flag] : by_name_) {
    if (letter != '\0' && flag->shorthand == letter) return flag.get();
  }
  return nullptr;
}

const CobraFlag& CobraFlags::at(std::string_view name) const {
  const CobraFlag* flag = find(name);
  CHECK(flag != nullptr, "no flag of this name is declared: {}", name);
  return *flag;
}

bool CobraFlags::any_shown() const {
  return std::any_of(by_name_.begin(), by_name_.end(),
                     [](const auto& f) { return !f.second->hidden && f.second->deprecated.empty(); });
}

std::vector<CobraFlag*> CobraFlags::all() const {
  std::vector<CobraFlag*> out;
  for (const auto& [name, flag] : by_name_) out.push_back(flag.get());
  return out;
}

std::vector<std::string> CobraFlags::missing() const {
  std::vector<std::string> out;
  for (const auto& [name, flag] : by_name_) {
    if (flag->required && !flag->changed) out.push_back(name);
  }
  return out;
}

Result<> CobraFlags::set(CobraFlag& flag, const std::string& value) {
  TRY(flag.set(value));
  if (!flag.deprecated.empty()) {
    notices_ += fmt::format("Flag --{} has been deprecated, {}\n", flag.name, flag.deprecated);
  }
  return {};
}

Result<> CobraFlags::parse(const std::vector<std::string>& args) {
  words_.clear();
  before_dashes_.reset();
  for (size_t i = 0; i < args.size();) {
    const std::string& arg = args[i++];
    if (arg.size() < 2 || arg[0] != '-') {
      words_.push_back(arg);
    } else if (arg == "--") {
      before_dashes_ = words_.size();
      words_.insert(words_.end(), args.begin() + static_cast<ptrdiff_t>(i), args.end());
      break;
    } else {
      TRY(arg[1] == '-' ? parse_long(arg, i, args) : parse_short(arg, i, args));
    }
  }
  return {};
}

Result<> CobraFlags::parse_long(const std::string& arg, size_t& next, const std::vector<std::string>& args) {
  if (arg[2] == '-' || arg[2] == '=') return invalid("bad flag syntax: {}", arg);
  const size_t equals = arg.find('=');
  const std::string name = arg.substr(2, equals == std::string::npos ? equals : equals - 2);
  const auto it = by_name_.find(name);
  if (it == by_name_.end()) return invalid("unknown flag: --{}", name);
  CobraFlag& flag = *it->second;
  if (equals != std::string::npos) return set(flag, arg.substr(equals + 1));
  if (flag.kind == CobraFlag::Kind::kBool) return set(flag, "true");
  if (next == args.size()) return invalid("flag needs an argument: --{}", name);
  return set(flag, args[next++]);
}

Result<> CobraFlags::parse_short(const std::string& arg, size_t& next, const std::vector<std::string>& args) {
  for (std::string_view letters = std::string_view(arg).substr(1); !letters.empty();) {
    if (letters.starts_with("test.")) return {};  // of Go's own test programs; pflag passes over them
    const char letter = letters[0];
    CobraFlag* const flag = by_shorthand(letter);
    if (flag == nullptr) return invalid("unknown shorthand flag: {} in -{}", quote_letter(letter), letters);
    if (letters.size() > 2 && letters[1] == '=') return set(*flag, std::string(letters.substr(2)));
    if (flag->kind == CobraFlag::Kind::kBool) {
      TRY(set(*flag, "true"));
      letters.remove_prefix(1);
      continue;
    }
    if (letters.size() > 1) return set(*flag, std::string(letters.substr(1)));
    if (next == args.size())
      return invalid("flag needs an argument: {} in -{}", quote_letter(letter), letters);
    return set(*flag, args[next++]);
  }
  return {};
}

std::string CobraFlags::list() const {
  std::vector<std::pair<std::string, std::string>> lines;
  size_t width = 0;
  for (const auto& [key, flag] : by_name_) {
    if (flag->hidden || !flag->deprecated.empty()) continue;
    auto [value, help] = named_value(*flag);
    std::string left =
        flag->shorthand ? fmt::format("  -{}, --{}", flag->shorthand, key) : fmt::format("      --{}", key);
    if (!value.empty()) left += " " + value;
    if (!flag->default_text.empty()) help += fmt::format(" (default {})", flag->default_text);
    width = std::max(width, left.size());
    lines.emplace_back(std::move(left), std::move(help));
  }
  std::string out;
  for (auto& [left, help] : lines) {
    out += left + std::string(width + 3 - left.size(), ' ');
    for (const char c : help) {
      out += c;
      if (c == '\n') out += std::string(width + 3, ' ');
    }
    out += '\n';
  }
  return out;
}

}  // namespace quoin::cmd
