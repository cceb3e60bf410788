#include "grpc/protocol.h"

#include <array>
#include <utility>

#include "base/go_text.h"
#include "io/clock.h"

namespace quoin::grpc {

std::optional<int64_t> timeout_unit_ns(char unit) {
  switch (unit) {
    case 'H':
      return 3600 * io::kSecond;
    case 'M':
      return 60 * io::kSecond;
    case 'S':
      return io::kSecond;
    case 'm':
      return io::kMillisecond;
    case 'u':
      return io::kMicrosecond;
    case 'n':
      return 1;
    default:
      return std::nullopt;
  }
}

Result<int64_t> parse_timeout(std::string_view text) {
  constexpr size_t kDigitsMax = 8;
  if (text.size() < 2) {
    return make_error(Code::kMalformed, "transport: timeout string is too short: {}", go_quote(text));
  }
  if (text.size() > kDigitsMax + 1) {
    return make_error(Code::kMalformed, "transport: timeout string is too long: {}", go_quote(text));
  }
  const auto unit = timeout_unit_ns(text.back());
  if (!unit)
    return make_error(Code::kMalformed, "transport: timeout unit is not recognized: {}", go_quote(text));
  int64_t value = 0;
  const std::string_view digits = text.substr(0, text.size() - 1);
  for (const char c : digits) {
    if (c < '0' || c > '9') {
      return make_error(Code::kMalformed, "strconv.ParseUint: parsing {}: invalid syntax", go_quote(digits));
    }
    value = value * 10 + (c - '0');
  }
  // Only hours can overflow: 10^8 minutes are 6e18 ns.
  if (value > INT64_MAX / *unit) return INT64_MAX;
  return value * *unit;
}

std::string format_timeout(int64_t ns) {
  constexpr std::array<std::pair<int64_t, char>, 6> kUnits = {{{3600 * io::kSecond, 'H'},
                                                               {60 * io::kSecond, 'M'},
                                                               {io::kSecond, 'S'},
                                                               {io::kMillisecond, 'm'},
                                                               {io::kMicrosecond, 'u'},
                                                               {1, 'n'}}};
  constexpr int64_t kMax = 99'999'999;
  if (ns <= 0) return "0n";
  for (const auto& [unit, letter] : kUnits) {
    if (ns % unit == 0 && ns / unit <= kMax) return fmt::format("{}{}", ns / unit, letter);
  }
  for (size_t i = kUnits.size(); i-- > 0;) {
    const int64_t n = ns / kUnits[i].first + 1;
    if (n <= kMax) return fmt::format("{}{}", n, kUnits[i].second);
  }
  return "99999999H";
}

namespace {
bool is_plain(char c) {
  return c >= 0x20 && c <= 0x7e && c != '%';
}
int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}
}  // namespace

bool message_needs_encoding(std::string_view text) {
  for (const char c : text) {
    if (!is_plain(c)) return true;
  }
  return false;
}

std::string encode_message(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 8);
  for (const char c : text) {
    if (is_plain(c)) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<uint8_t>(c));
    }
  }
  return out;
}

std::string decode_message(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      const int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
      if (high >= 0 && low >= 0) {
        out += static_cast<char>(high * 16 + low);
        i += 2;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

std::optional<std::string_view> content_subtype(std::string_view content_type) {
  constexpr std::string_view kBase = "application/grpc";
  if (!content_type.starts_with(kBase)) return std::nullopt;
  if (content_type.size() == kBase.size()) return std::string_view();
  const char separator = content_type[kBase.size()];
  if (separator != '+' && separator != ';') return std::nullopt;
  return content_type.substr(kBase.size() + 1);
}

// Go decodes with padding if the length is a multiple of four, without it otherwise, and skips line ends.
std::optional<size_t> base64_error(std::string_view text) {
  const bool padded = text.size() % 4 == 0;
  const auto is_digit = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
  };
  size_t in_group = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n' || c == '\r') continue;
    if (is_digit(c)) {
      in_group = (in_group + 1) % 4;
      continue;
    }
    if (c != '=' || !padded || in_group < 2) return i;
    if (in_group == 2) {  // two pad characters are due
      size_t j = i + 1;
      while (j < text.size() && (text[j] == '\n' || text[j] == '\r')) ++j;
      if (j == text.size()) return text.size();
      if (text[j] != '=') return j - 1;  // Go names the pad character that stands alone
      i = j;
    }
    for (size_t j = i + 1; j < text.size(); ++j) {
      if (text[j] != '\n' && text[j] != '\r') return j;  // bytes behind the padding
    }
    return std::nullopt;
  }
  if (in_group == 1 || (padded && in_group != 0)) return text.size() - (in_group == 1 ? 1 : in_group);
  return std::nullopt;
}

std::string_view status_digits(GrpcStatus status) {
  constexpr std::array<std::string_view, 17> kDigits = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                                        "9", "10", "11", "12", "13", "14", "15", "16"};
  return kDigits[static_cast<size_t>(status)];
}

bool is_reserved_header(std::string_view name) {
  if (name.empty()) return true;
  if (name[0] == ':') return name != ":authority";
  switch (name[0]) {
    case 'c':
      return name == "content-type";
    case 'g':
      return name == "grpc-message-type" || name == "grpc-encoding" || name == "grpc-message" ||
             name == "grpc-status" || name == "grpc-timeout";
    case 't':
      return name == "te";
    default:
      return false;
  }
}

}  // namespace quoin::grpc
