#include "auth/token_options.h"

#include <limits>

namespace quoin::auth {
namespace {

Error invalid_options() {
  return Error(Code::kInvalidArgument, "auth: invalid auth options");
}

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t end = text.find(at);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

struct Unit {
  std::string_view name;
  int64_t ns;
};
constexpr Unit kUnits[] = {
    {"ns", 1},         {"us", 1000},         {"\xc2\xb5s", 1000},         {"\xce\xbcs", 1000},
    {"ms", 1'000'000}, {"s", 1'000'000'000}, {"m", 60 * 1'000'000'000ll}, {"h", 3600 * 1'000'000'000ll},
};

bool digit(char c) {
  return c >= '0' && c <= '9';
}

// One "1.5s" off the front, in nanoseconds. Negative: none.
double duration_term(std::string_view& rest) {
  double value = 0, weight = 1;
  bool any = false, fraction = false;
  size_t i = 0;
  for (; i < rest.size() && (digit(rest[i]) || (rest[i] == '.' && !fraction)); ++i) {
    if (rest[i] == '.') {
      fraction = true;
      continue;
    }
    any = true;
    value = value * 10 + (rest[i] - '0');
    if (fraction) weight *= 10;
  }
  if (!any) return -1;
  size_t end = i;
  while (end < rest.size() && !digit(rest[end]) && rest[end] != '.') ++end;
  const std::string_view name = rest.substr(i, end - i);
  rest.remove_prefix(end);
  for (const Unit& unit : kUnits) {
    if (unit.name == name) return value / weight * static_cast<double>(unit.ns);
  }
  return -1;
}

}  // namespace

std::optional<int64_t> parse_go_duration(std::string_view text) {
  bool negative = false;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  if (text == "0") return 0;
  if (text.empty()) return std::nullopt;
  double total = 0;
  while (!text.empty()) {
    const double term = duration_term(text);
    if (term < 0) return std::nullopt;
    total += term;
  }
  if (total >= static_cast<double>(std::numeric_limits<int64_t>::max())) return std::nullopt;
  const auto ns = static_cast<int64_t>(total);
  return negative ? -ns : ns;
}

Result<TokenOptions> parse_token_options(std::string_view text) {
  TokenOptions out;
  const std::vector<std::string_view> parts = split(text, ',');
  for (size_t i = 1; i < parts.size(); ++i) {
    const std::vector<std::string_view> pair = split(parts[i], '=');
    if (pair.size() != 2) return invalid_options();
    if (!out.values.emplace(pair[0], pair[1]).second) return invalid_options();
  }
  if (parts[0] == "simple") {
    out.kind = TokenKind::kSimple;
  } else if (parts[0] == "jwt") {
    out.kind = TokenKind::kJwt;
  } else if (parts[0].empty()) {
    out.kind = TokenKind::kNone;
  } else {
    return invalid_options();
  }
  return out;
}

Result<JwtOptions> parse_jwt_options(const TokenOptions& options, const FileReader& read_file) {
  constexpr int64_t kTtlDefault = 5 * 60 * 1'000'000'000ll;
  JwtOptions out;
  out.ttl_ns = kTtlDefault;
  for (const auto& [name, value] : options.values) {
    if (name == "ttl") {
      if (value.empty()) continue;
      const std::optional<int64_t> ttl = parse_go_duration(value);
      if (!ttl) return invalid_options();
      out.ttl_ns = *ttl;
    } else if (name == "pub-key" || name == "priv-key") {
      if (value.empty()) continue;
      auto content = read_file(value);
      if (!content) return invalid_options();
      (name == "pub-key" ? out.public_key : out.private_key) = *std::move(content);
    } else if (name == "sign-method") {
      out.sign_method = value;
    } else {
      out.unknown.push_back(name);
    }
  }
  return out;
}

}  // namespace quoin::auth
