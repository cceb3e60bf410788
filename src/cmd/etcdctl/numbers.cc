#include "cmd/etcdctl/numbers.h"

#include <charconv>

#include "base/go_text.h"
#include "base/result.h"

namespace quoin::ctl {
namespace {

enum class Fault { kNone, kSyntax, kRange };

Fault read(std::string_view digits, int base, uint64_t& value) {
  // from_chars takes a minus sign for signed types alone, and no other mark.
  if (digits.empty()) return Fault::kSyntax;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (end != digits.data() + digits.size() || error == std::errc::invalid_argument) return Fault::kSyntax;
  return error == std::errc::result_out_of_range ? Fault::kRange : Fault::kNone;
}

std::string words(std::string_view function, std::string_view text, Fault fault) {
  return fmt::format("strconv.{}: parsing {}: {}", function, go_quote(text),
                     fault == Fault::kRange ? "value out of range" : "invalid syntax");
}

}  // namespace

tl::expected<int64_t, std::string> parse_int(std::string_view text, int base) {
  std::string_view digits = text;
  const bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.remove_prefix(1);
  uint64_t magnitude = 0;
  Fault fault = read(digits, base, magnitude);
  constexpr uint64_t kMinimum = uint64_t{1} << 63;
  if (fault == Fault::kNone && magnitude >= kMinimum + (negative ? 1 : 0)) fault = Fault::kRange;
  if (fault != Fault::kNone) return tl::unexpected(words("ParseInt", text, fault));
  return static_cast<int64_t>(negative ? 0 - magnitude : magnitude);
}

tl::expected<uint64_t, std::string> parse_uint(std::string_view text, int base) {
  uint64_t value = 0;
  const Fault fault = read(text, base, value);
  if (fault != Fault::kNone) return tl::unexpected(words("ParseUint", text, fault));
  return value;
}

}  // namespace quoin::ctl
