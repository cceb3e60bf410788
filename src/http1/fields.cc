#include "http1/fields.h"

#include <algorithm>
#include <charconv>

namespace quoin::http1 {
namespace {
char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}
}  // namespace

bool equals_folded(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

std::string_view trim(std::string_view s) {
  while (!s.empty() && is_blank(s.front())) s.remove_prefix(1);
  while (!s.empty() && is_blank(s.back())) s.remove_suffix(1);
  return s;
}

bool is_token(std::string_view s) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !s.empty() && std::all_of(s.begin(), s.end(), [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           kMarks.find(c) != std::string_view::npos;
  });
}

bool is_field_value(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) {
    const auto u = static_cast<unsigned char>(c);
    return u == '\t' || (u >= 0x20 && u != 0x7f);
  });
}

std::optional<uint64_t> parse_content_length(std::string_view value) {
  uint64_t n = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), n);
  if (error != std::errc() || end != value.data() + value.size() || n > INT64_MAX) return std::nullopt;
  return n;
}

void read_connection_field(std::string_view value, bool& closes, bool& keeps_alive) {
  while (!value.empty()) {
    const size_t comma = std::min(value.find(','), value.size());
    const std::string_view word = trim(value.substr(0, comma));
    if (equals_folded(word, "close")) closes = true;
    if (equals_folded(word, "keep-alive")) keeps_alive = true;
    value.remove_prefix(std::min(comma + 1, value.size()));
  }
}

LineReader::State LineReader::take(std::string_view& bytes, size_t max) {
  if (std::exchange(whole_, false)) kept_.clear();
  const size_t end = bytes.find('\n');
  const size_t n = end == std::string_view::npos ? bytes.size() : end + 1;
  if (kept_.size() + n > max) {
    bytes.remove_prefix(n);
    return State::kTooLong;
  }
  line_ = bytes.substr(0, n);
  bytes.remove_prefix(n);
  if (end == std::string_view::npos) {
    kept_.append(line_);
    return State::kMore;
  }
  if (!kept_.empty()) {
    kept_.append(line_);
    line_ = kept_;
  }
  whole_ = true;
  return State::kLine;
}

HeadText::Range HeadText::keep(std::string_view s) {
  const Range r = {static_cast<uint32_t>(text_.size()), static_cast<uint32_t>(s.size())};
  text_.append(s);
  return r;
}

HeadText::Added HeadText::add_field(std::string_view line, bool blank_names) {
  if (is_blank(line[0])) {
    // The text of the field before is the last that was kept.
    if (fields_.empty() || !is_field_value(line)) return Added::kMalformed;
    const std::string_view more = trim(line);
    text_ += ' ';
    text_.append(more);
    fields_.back().second.size += static_cast<uint32_t>(more.size() + 1);
    return Added::kTaken;
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return Added::kMalformed;
  const std::string_view name = line.substr(0, colon), value = trim(line.substr(colon + 1));
  if (!is_token(name)) {
    std::string spaceless(name);
    std::erase(spaceless, ' ');
    if (!is_token(spaceless)) return Added::kMalformed;
    if (!blank_names) return Added::kBlankInName;
  }
  if (!is_field_value(value)) return Added::kMalformed;
  if (fields_.size() == kFieldsMax) return Added::kTooMany;
  const Range n = keep(name);
  fields_.emplace_back(n, keep(value));
  return Added::kTaken;
}

void HeadText::fill(std::vector<std::pair<std::string_view, std::string_view>>& out) const {
  out.clear();
  out.reserve(fields_.size());
  for (const auto& [name, value] : fields_) out.emplace_back(part(name), part(value));
}

}  // namespace quoin::http1
