#include "cmd/cobra/flags.h"

#include <algorithm>
#include <optional>

#include "base/check.h"
#include "base/go_text.h"
#include "base/utf8.h"
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

// encoding/csv's writer for one field: quotes where the reader would need them.
std::string csv_field(const std::string& field) {
  if (field.empty()) return field;
  const bool plain = field.find_first_of(",\"\r\n") == std::string::npos && field[0] != ' ' &&
                     field[0] != '\t' && field != R"(\.)";
  if (plain) return field;
  std::string out = "\"";
  for (const char c : field) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + "\"";
}

std::string csv_line(const std::vector<std::string>& fields) {
  // A line of one empty field would be an empty line.
  if (fields.size() == 1 && fields[0].empty()) return R"("")";
  std::vector<std::string> quoted;
  for (const std::string& f : fields) quoted.push_back(csv_field(f));
  return join(quoted, ",");
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
      return f.list.empty() ? "" : fmt::format("[{}]", csv_line(f.list));
    case CobraFlag::Kind::kDuration:
      return f.duration_ns == 0 ? "" : posix::duration_text(f.duration_ns);
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

Result<> CobraFlag::set(const std::string& value) {
  const auto refused = [&](std::string_view why) {
    const std::string shown = shorthand ? fmt::format("-{}, --{}", shorthand, name) : "--" + name;
    return invalid("invalid argument {} for {} flag: {}", go_quote(value), go_quote(shown), why);
  };
  switch (kind) {
    case Kind::kBool: {
      const auto v = parse_bool(value);
      if (!v) {
        return refused(fmt::format("strconv.ParseBool: parsing {}: {}", go_quote(value), v.error().text()));
      }
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
  }
  changed = true;
  return {};
}

// ---- the set ----

void CobraFlags::add(std::shared_ptr<CobraFlag> flag) {
  flag->default_text = text_of_default(*flag);
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

Result<> CobraFlags::parse(const std::vector<std::string>& args) {
  words_.clear();
  for (size_t i = 0; i < args.size();) {
    const std::string& arg = args[i++];
    if (arg.size() < 2 || arg[0] != '-') {
      words_.push_back(arg);
    } else if (arg == "--") {
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
  if (equals != std::string::npos) return flag.set(arg.substr(equals + 1));
  if (flag.kind == CobraFlag::Kind::kBool) return flag.set("true");
  if (next == args.size()) return invalid("flag needs an argument: --{}", name);
  return flag.set(args[next++]);
}

Result<> CobraFlags::parse_short(const std::string& arg, size_t& next, const std::vector<std::string>& args) {
  for (std::string_view letters = std::string_view(arg).substr(1); !letters.empty();) {
    if (letters.starts_with("test.")) return {};  // of Go's own test programs; pflag passes over them
    const char letter = letters[0];
    CobraFlag* const flag = by_shorthand(letter);
    if (flag == nullptr) return invalid("unknown shorthand flag: {} in -{}", quote_letter(letter), letters);
    if (letters.size() > 2 && letters[1] == '=') return flag->set(std::string(letters.substr(2)));
    if (flag->kind == CobraFlag::Kind::kBool) {
      TRY(flag->set("true"));
      letters.remove_prefix(1);
      continue;
    }
    if (letters.size() > 1) return flag->set(std::string(letters.substr(1)));
    if (next == args.size())
      return invalid("flag needs an argument: {} in -{}", quote_letter(letter), letters);
    return flag->set(args[next++]);
  }
  return {};
}

std::string CobraFlags::list() const {
  std::vector<std::pair<std::string, std::string>> lines;
  size_t width = 0;
  for (const auto& [key, flag] : by_name_) {
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

// ---- encoding/csv ----

namespace {

// Lines of a text as csv's reader takes them: "\r\n" counts as "\n", a "\r" at the end of the text as nothing.
class CsvLines {
 public:
  explicit CsvLines(std::string_view text) : rest_(text) {}
  // With its line feed, if it has one; nothing at the end.
  std::optional<std::string> next() {
    ++number_;
    if (rest_.empty()) return std::nullopt;
    const size_t end = rest_.find('\n');
    std::string line(rest_.substr(0, end == std::string_view::npos ? end : end + 1));
    rest_.remove_prefix(line.size());
    if (line.ends_with("\r\n")) {
      line.erase(line.size() - 2, 1);
    } else if (line.ends_with('\r')) {
      line.pop_back();
    }
    return line;
  }
  size_t number() const { return number_; }

 private:
  std::string_view rest_;
  size_t number_ = 0;
};

class CsvRecord {
 public:
  explicit CsvRecord(std::string_view text) : lines_(text) {}

  Result<std::vector<std::string>> read() {
    do {
      auto line = lines_.next();
      if (!line) return invalid("EOF");
      line_ = std::move(*line);
    } while (line_.empty() || line_ == "\n");
    first_ = lines_.number();
    line_number_ = first_;
    for (;;) {
      ASSIGN_OR_RETURN(const bool more, starts_with_quote() ? quoted() : plain());
      if (!more) return std::move(fields_);
    }
  }

 private:
  static constexpr std::string_view kBare = "bare \" in non-quoted-field";
  static constexpr std::string_view kQuote = "extraneous or missing \" in quoted-field";

  std::string_view rest() const { return std::string_view(line_).substr(at_); }
  bool starts_with_quote() const { return rest().starts_with('"'); }
  bool at_line_end() const { return rest().empty() || rest() == "\n"; }

  Error error(size_t line, size_t column, std::string_view why) const {
    const std::string where = first_ == line ? "" : fmt::format("record on line {}; ", first_);
    return invalid("{}parse error on line {}, column {}: {}", where, line, column, why);
  }

  // True if another field follows.
  Result<bool> plain() {
    const size_t comma = rest().find(',');
    std::string_view field = rest().substr(0, comma);
    if (comma == std::string_view::npos && field.ends_with('\n')) field.remove_suffix(1);
    if (const size_t quote = field.find('"'); quote != std::string_view::npos) {
      return error(lines_.number(), at_ + quote + 1, kBare);
    }
    fields_.emplace_back(field);
    at_ += field.size() + 1;
    return comma != std::string_view::npos;
  }

  Result<bool> quoted() {
    std::string field;
    ++at_;
    for (;;) {
      const size_t quote = rest().find('"');
      if (quote == std::string_view::npos) {
        field += rest();
        at_ += rest().size();
        auto line = lines_.next();
        // The text ends within the quotes.
        if (!line || line->empty()) return error(line_number_, at_ + 1, kQuote);
        line_ = std::move(*line);
        at_ = 0;
        ++line_number_;
        continue;
      }
      field += rest().substr(0, quote);
      at_ += quote + 1;
      if (starts_with_quote()) {
        field += '"';
        ++at_;
      } else if (rest().starts_with(',')) {
        ++at_;
        fields_.push_back(std::move(field));
        return true;
      } else if (at_line_end()) {
        fields_.push_back(std::move(field));
        return false;
      } else {
        return error(lines_.number(), at_, kQuote);
      }
    }
  }

  CsvLines lines_;
  std::string line_;
  size_t at_ = 0, first_ = 0, line_number_ = 0;
  std::vector<std::string> fields_;
};

}  // namespace

Result<std::vector<std::string>> read_csv_line(std::string_view text) {
  if (text.empty()) return std::vector<std::string>{};
  return CsvRecord(text).read();
}

}  // namespace quoin::cmd
