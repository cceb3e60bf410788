#include "peer/rfc3339.h"

#include <fmt/format.h>
#include <time.h>

namespace quoin::peer {
namespace {

bool take_digits(std::string_view& text, size_t count, int* value) {
  if (text.size() < count) return false;
  *value = 0;
  for (size_t i = 0; i < count; ++i) {
    if (text[i] < '0' || text[i] > '9') return false;
    *value = *value * 10 + (text[i] - '0');
  }
  text.remove_prefix(count);
  return true;
}
bool take(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

std::string rfc3339(io::WallNs at) {
  time_t seconds = at / io::kSecond;
  int64_t ns = at % io::kSecond;
  if (ns < 0) {
    ns += io::kSecond;
    --seconds;
  }
  tm t;
  gmtime_r(&seconds, &t);
  std::string text = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", t.tm_year + 1900, t.tm_mon + 1,
                                 t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
  if (ns != 0) {
    text += fmt::format(".{:09}", ns);
    text.erase(text.find_last_not_of('0') + 1);
  }
  return text + "Z";
}

std::optional<io::WallNs> parse_rfc3339(std::string_view s) {
  int year, month, day, hour, minute, second;
  if (!take_digits(s, 4, &year) || !take(s, '-') || !take_digits(s, 2, &month) || !take(s, '-') ||
      !take_digits(s, 2, &day) || !take(s, 'T') || !take_digits(s, 2, &hour) || !take(s, ':') ||
      !take_digits(s, 2, &minute) || !take(s, ':') || !take_digits(s, 2, &second)) {
    return std::nullopt;
  }
  // A signed 64-bit count of nanoseconds ends in 2262.
  if (year < 1970 || year > 2200) return std::nullopt;
  if (month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60)
    return std::nullopt;
  int64_t ns = 0;
  if (take(s, '.')) {
    int64_t unit = io::kSecond;
    int digit;
    if (!take_digits(s, 1, &digit)) return std::nullopt;
    do {
      unit /= 10;
      ns += digit * unit;
    } while (take_digits(s, 1, &digit));
  }
  int64_t zone = 0;
  if (!take(s, 'Z')) {
    const bool east = take(s, '+');
    if (!east && !take(s, '-')) return std::nullopt;
    int hours, minutes;
    if (!take_digits(s, 2, &hours) || !take(s, ':') || !take_digits(s, 2, &minutes)) return std::nullopt;
    zone = (hours * 60 + minutes) * (east ? 60 : -60);
  }
  if (!s.empty()) return std::nullopt;
  tm t = {};
  t.tm_year = year - 1900, t.tm_mon = month - 1, t.tm_mday = day;
  t.tm_hour = hour, t.tm_min = minute, t.tm_sec = second;
  return (timegm(&t) - zone) * io::kSecond + ns;
}

}  // namespace quoin::peer
