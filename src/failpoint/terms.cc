#include "failpoint/terms.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>

namespace quoin::failpoint {

namespace {

bool digit(char c) {
  return c >= '0' && c <= '9';
}

void append_utf8(std::string* out, uint32_t code) {
  if (code < 0x80) {
    *out += static_cast<char>(code);
    return;
  }
  const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  const uint32_t marks[] = {0, 0xc0, 0xe0, 0xf0};
  *out += static_cast<char>(marks[more] | code >> (6 * more));
  for (int i = more - 1; i >= 0; --i) *out += static_cast<char>(0x80 | ((code >> (6 * i)) & 0x3f));
}

// One character of a Go string behind its backslash; `s` is moved past it.
bool unescape(std::string_view* s, std::string* out) {
  if (s->empty()) return false;
  const char c = s->front();
  s->remove_prefix(1);
  constexpr std::string_view kLetters = "abfnrtv\\\"", kMeanings = "\a\b\f\n\r\t\v\\\"";
  if (const size_t at = kLetters.find(c); at != std::string_view::npos) {
    *out += kMeanings[at];
    return true;
  }
  const bool octal = c >= '0' && c <= '7';
  const size_t length = octal ? 3 : c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
  const std::string_view digits = octal ? std::string_view(s->data() - 1, s->size() + 1) : *s;
  if (length == 0 || digits.size() < length) return false;
  uint32_t code = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + length, code, octal ? 8 : 16);
  if (error != std::errc() || end != digits.data() + length) return false;
  s->remove_prefix(octal ? length - 1 : length);
  if (octal || c == 'x') {
    if (code > 0xff) return false;
    *out += static_cast<char>(code);
    return true;
  }
  if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return false;
  append_utf8(out, code);
  return true;
}

// The value of a decimal number, with what follows its dot; nothing beyond what a double counts exactly.
std::optional<double> decimal(std::string_view text) {
  double value = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

class Terms::Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  bool at_end() const { return rest_.empty(); }
  bool take(std::string_view word) {
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  std::optional<Term> term() {
    Term term;
    while (!at_end() && digit(rest_.front())) {
      const std::optional<Mod> m = mod();
      if (!m) return std::nullopt;
      term.mods.push_back(*m);
    }
    if (!act(&term.what.act)) return std::nullopt;
    if (take("(") && !value(&term.what.value)) return std::nullopt;
    return term;
  }

 private:
  std::string_view digits() {
    size_t n = 0;
    while (n < rest_.size() && digit(rest_[n])) ++n;
    const std::string_view found = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return found;
  }
  std::optional<Mod> mod() {
    const std::string_view start = rest_;
    const std::string_view whole = digits();
    if (take("*")) {
      int64_t n = 0;  // gofail's is a signed number, too
      if (std::from_chars(whole.data(), whole.data() + whole.size(), n).ec != std::errc())
        return std::nullopt;
      return Mod{static_cast<uint64_t>(n), 0};
    }
    if (!take(".")) return std::nullopt;
    const std::string_view fraction = digits();
    const size_t length = whole.size() + (fraction.empty() ? 0 : 1 + fraction.size());
    const std::optional<double> percent = decimal(start.substr(0, length));
    if (!percent || !take("%")) return std::nullopt;
    return Mod{std::nullopt, *percent / 100};
  }
  bool act(Act* out) {
    constexpr std::pair<std::string_view, Act> kActs[] = {{"off", Act::kOff},
                                                          {"return", Act::kReturn},
                                                          {"sleep", Act::kSleep},
                                                          {"panic", Act::kPanic},
                                                          {"print", Act::kPrint}};
    for (const auto& [word, meaning] : kActs) {
      *out = meaning;
      if (take(word)) return true;
    }
    return false;
  }
  // Behind the opening bracket.
  bool value(Value* out) {
    if (take(")")) return true;
    if (take("true)")) {
      *out = true;
      return true;
    }
    if (take("false)")) {
      *out = false;
      return true;
    }
    std::string text;
    if (take("`")) {
      const size_t end = rest_.find('`');
      if (end == std::string_view::npos) return false;
      text = rest_.substr(0, end);
      rest_.remove_prefix(end + 1);
    } else if (take("\"")) {
      if (!quoted(&text)) return false;
    } else {
      return integer(out);
    }
    *out = std::move(text);
    return take(")");
  }
  bool quoted(std::string* out) {
    while (!rest_.empty()) {
      const char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '"') return true;
      if (c == '\n') return false;
      if (c != '\\') {
        *out += c;
      } else if (!unescape(&rest_, out)) {
        return false;
      }
    }
    return false;
  }
  // In the form in which Go writes it: gofail finds the closing bracket by that length.
  bool integer(Value* out) {
    int64_t n = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), n);
    if (error != std::errc()) return false;
    const size_t length = static_cast<size_t>(end - rest_.data());
    if (fmt::format("{}", n) != rest_.substr(0, length)) return false;
    rest_.remove_prefix(length);
    *out = n;
    return take(")");
  }

  std::string_view rest_;
};

std::optional<Terms> Terms::parse(std::string_view text) {
  if (text.size() > kTermsBytesMax) return std::nullopt;
  Terms terms;
  terms.text_ = text;
  for (Reader reader(text); !reader.at_end();) {
    auto term = reader.term();
    if (!term) return std::nullopt;
    terms.chain_.push_back(std::move(*term));
    if (!reader.at_end() && !reader.take("->")) return std::nullopt;
  }
  if (terms.chain_.empty()) return std::nullopt;
  return terms;
}

std::optional<Fired> Terms::fire(Prng& prng) {
  const auto allows = [&prng](Mod& mod) {
    if (!mod.left) {
      constexpr double kSteps = 1ull << 53;
      return static_cast<double>(prng.below(1ull << 53)) / kSteps < mod.probability;
    }
    if (*mod.left == 0) return false;
    --*mod.left;
    return true;
  };
  for (Term& term : chain_) {
    bool allowed = true;
    for (Mod& mod : term.mods) {
      allowed = allows(mod);
      if (!allowed) break;
    }
    if (!allowed) continue;
    ++count_;
    return term.what;
  }
  return std::nullopt;
}

std::string value_text(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* number = std::get_if<int64_t>(&value)) return fmt::format("{}", *number);
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  return "{}";
}

namespace {

// Go's time.ParseDuration.
std::optional<int64_t> duration_ns(std::string_view s) {
  constexpr std::pair<std::string_view, double> kUnits[] = {{"ns", 1},        {"us", 1e3},  {"\u00b5s", 1e3},
                                                            {"\u03bcs", 1e3}, {"ms", 1e6},  {"s", 1e9},
                                                            {"m", 60e9},      {"h", 3600e9}};
  const bool negative = s.starts_with('-');
  if (negative || s.starts_with('+')) s.remove_prefix(1);
  if (s == "0") return 0;
  if (s.empty()) return std::nullopt;
  double total = 0;
  while (!s.empty()) {
    const size_t length = std::min(s.find_first_not_of("0123456789."), s.size());
    const std::string_view number = s.substr(0, length);
    s.remove_prefix(length);
    if (number.empty() || number == ".") return std::nullopt;
    const size_t unit_length = std::min(s.find_first_of("0123456789."), s.size());
    double unit = 0;
    for (const auto& [name, ns] : kUnits) {
      if (name == s.substr(0, unit_length)) unit = ns;
    }
    const std::optional<double> value = decimal(number);
    if (unit == 0 || !value) return std::nullopt;
    total += *value * unit;
    s.remove_prefix(unit_length);
  }
  if (total >= static_cast<double>(std::numeric_limits<int64_t>::max())) return std::nullopt;
  return static_cast<int64_t>(negative ? -total : total);
}

}  // namespace

std::optional<int64_t> sleep_ns(const Value& value) {
  constexpr int64_t kMillisecond = 1'000'000;
  if (const auto* text = std::get_if<std::string>(&value)) return duration_ns(*text);
  const auto* ms = std::get_if<int64_t>(&value);
  if (ms == nullptr || *ms > std::numeric_limits<int64_t>::max() / kMillisecond ||
      *ms < std::numeric_limits<int64_t>::min() / kMillisecond) {
    return std::nullopt;
  }
  return *ms * kMillisecond;
}

}  // namespace quoin::failpoint
