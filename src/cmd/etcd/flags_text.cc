#include "cmd/etcd/flags_text.h"

#include <limits>

namespace quoin::cmd {
namespace {

Error syntax_error() {
  return Error(Code::kInvalidArgument, "invalid syntax");
}
Error range_error() {
  return Error(Code::kInvalidArgument, "value out of range");
}

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'z') return c - 'a' + 10;
  if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
  return 99;
}

// Underscores stand only between digits, or between a base prefix and a digit.
bool underscores_well_placed(std::string_view s, bool prefixed) {
  bool after_digit = prefixed;
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] != '_') {
      after_digit = true;
      continue;
    }
    if (!after_digit || i + 1 == s.size()) return false;
    after_digit = false;
  }
  return true;
}

struct Unit {
  std::string_view name;
  int64_t ns;
};
constexpr Unit kUnits[] = {
    {"ns", 1},         {"us", 1'000},        {"\u00b5s", 1'000},    {"\u03bcs", 1'000},
    {"ms", 1'000'000}, {"s", 1'000'000'000}, {"m", 60'000'000'000}, {"h", 3'600'000'000'000}};

Error duration_error(std::string_view what, std::string_view s) {
  return make_error(Code::kInvalidArgument, "time: {} {}", what, go_quote(s));
}

constexpr uint64_t kDurationMax = uint64_t{1} << 63;

// One "12.5ms" off the front of `rest`, added to `total` (magnitude).
Result<> duration_term(std::string_view whole, std::string_view& rest, uint64_t& total) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  uint64_t value = 0, fraction = 0;
  double scale = 1;
  size_t i = 0, digits = 0;
  for (; i < rest.size() && is_digit(rest[i]); ++i, ++digits) {
    if (value > kDurationMax / 10) return duration_error("invalid duration", whole);
    value = value * 10 + static_cast<uint64_t>(rest[i] - '0');
    if (value > kDurationMax) return duration_error("invalid duration", whole);
  }
  if (i < rest.size() && rest[i] == '.') {
    bool overflow = false;  // further decimals do not change the value
    for (++i; i < rest.size() && is_digit(rest[i]); ++i, ++digits) {
      if (overflow || fraction > (kDurationMax - 1) / 10) {
        overflow = true;
        continue;
      }
      const uint64_t next = fraction * 10 + static_cast<uint64_t>(rest[i] - '0');
      if (next > kDurationMax) {
        overflow = true;
        continue;
      }
      fraction = next;
      scale *= 10;
    }
  }
  if (digits == 0) return duration_error("invalid duration", whole);
  size_t end = i;
  while (end < rest.size() && rest[end] != '.' && !is_digit(rest[end])) ++end;
  const std::string_view name = rest.substr(i, end - i);
  if (name.empty()) return duration_error("missing unit in duration", whole);
  const Unit* unit = nullptr;
  for (const Unit& u : kUnits) {
    if (u.name == name) unit = &u;
  }
  if (unit == nullptr) {
    return make_error(Code::kInvalidArgument, "time: unknown unit {} in duration {}", go_quote(name),
                      go_quote(whole));
  }
  const auto unit_ns = static_cast<uint64_t>(unit->ns);
  if (value > kDurationMax / unit_ns) return duration_error("invalid duration", whole);
  value *= unit_ns;
  if (fraction > 0)
    value += static_cast<uint64_t>(static_cast<double>(fraction) * (static_cast<double>(unit_ns) / scale));
  if (value > kDurationMax || total + value > kDurationMax) return duration_error("invalid duration", whole);
  total += value;
  rest.remove_prefix(end);
  return {};
}

}  // namespace

Result<uint64_t> parse_unsigned(std::string_view s, int bits) {
  if (s.empty()) return syntax_error();
  const uint64_t max = bits == 64 ? std::numeric_limits<uint64_t>::max() : (uint64_t{1} << bits) - 1;
  uint64_t base = 10;
  std::string_view digits = s;
  if (s[0] == '0') {
    const char kind = s.size() >= 3 ? static_cast<char>(s[1] | 0x20) : '\0';
    base = kind == 'b' ? 2 : kind == 'o' ? 8 : kind == 'x' ? 16 : 0;
    digits.remove_prefix(base != 0 ? 2 : 1);
    if (base == 0) base = 8;
  }
  uint64_t value = 0;
  bool underscores = false;
  for (const char c : digits) {
    if (c == '_') {
      underscores = true;
      continue;
    }
    const auto d = static_cast<uint64_t>(digit_value(c));
    if (d >= base) return syntax_error();
    if (value > (max - d) / base) return range_error();
    value = value * base + d;
  }
  if (underscores && !underscores_well_placed(digits, digits.size() != s.size())) return syntax_error();
  return value;
}

Result<int64_t> parse_signed(std::string_view s, int bits) {
  if (s.empty()) return syntax_error();
  const bool negative = s[0] == '-';
  const std::string_view magnitude = negative || s[0] == '+' ? s.substr(1) : s;
  ASSIGN_OR_RETURN(const uint64_t v, parse_unsigned(magnitude));
  const uint64_t limit = uint64_t{1} << (bits - 1);
  if (v > limit || (v == limit && !negative)) return range_error();
  return static_cast<int64_t>(negative ? 0 - v : v);
}

Result<bool> parse_bool(std::string_view s) {
  for (const std::string_view t : {"1", "t", "T", "TRUE", "true", "True"}) {
    if (s == t) return true;
  }
  for (const std::string_view f : {"0", "f", "F", "FALSE", "false", "False"}) {
    if (s == f) return false;
  }
  return syntax_error();
}

Result<int64_t> parse_duration(std::string_view s) {
  std::string_view rest = s;
  bool negative = false;
  if (!rest.empty() && (rest[0] == '-' || rest[0] == '+')) {
    negative = rest[0] == '-';
    rest.remove_prefix(1);
  }
  if (rest == "0") return int64_t{0};
  if (rest.empty()) return duration_error("invalid duration", s);
  uint64_t total = 0;
  while (!rest.empty()) {
    if (rest[0] != '.' && (rest[0] < '0' || rest[0] > '9')) return duration_error("invalid duration", s);
    TRY(duration_term(s, rest, total));
  }
  if (!negative && total == kDurationMax) return duration_error("invalid duration", s);
  return static_cast<int64_t>(negative ? 0 - total : total);
}

std::string_view trim_space(std::string_view s) {
  const auto blank = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  while (!s.empty() && blank(s.front())) s.remove_prefix(1);
  while (!s.empty() && blank(s.back())) s.remove_suffix(1);
  return s;
}

std::vector<std::string> split(std::string_view s, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const size_t at = s.find(separator);
    parts.emplace_back(s.substr(0, at));
    if (at == std::string_view::npos) return parts;
    s.remove_prefix(at + 1);
  }
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string out;
  for (const std::string& p : parts) {
    if (&p != &parts.front()) out += separator;
    out += p;
  }
  return out;
}

}  // namespace quoin::cmd
