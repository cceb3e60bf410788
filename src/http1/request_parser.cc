#include "http1/request_parser.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "http1/target.h"

namespace quoin::http1 {
namespace {

constexpr size_t kHeadSlack = 4096;  // Go reads so much more than its limit before it looks

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
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

// No control characters but the tab.
bool is_field_value(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) {
    const auto u = static_cast<unsigned char>(c);
    return u == '\t' || (u >= 0x20 && u != 0x7f);
  });
}

// What Go's ValidHostHeader takes: the characters a host, a port and an escape may have.
bool is_host(std::string_view s) {
  constexpr std::string_view kMarks = "!$%&'()*+,-.:;=[]_~";
  return std::all_of(s.begin(), s.end(), [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           kMarks.find(c) != std::string_view::npos;
  });
}

}  // namespace

bool equals_folded(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

size_t RequestParser::feed(std::string_view bytes) {
  size_t used = 0;
  while (used < bytes.size() && state_ != State::kDone && state_ != State::kRefused) {
    const std::string_view rest = bytes.substr(used);
    const bool data = state_ == State::kBody || state_ == State::kChunkData || state_ == State::kChunkEnd;
    used += data ? feed_data(rest) : feed_line(rest);
  }
  return used;
}

// How long the line that arrives may become; one byte more is a refusal.
size_t RequestParser::line_max() const {
  switch (state_) {
    case State::kRequestLine:
    case State::kFields:
      return limits_.header_bytes + kHeadSlack - std::min(head_bytes_, limits_.header_bytes + kHeadSlack);
    case State::kTrailer:
      return kChunkTextMax - std::min(trailer_bytes_, kChunkTextMax);
    default:
      return kChunkTextMax;
  }
}

// Takes the rest of a line, or all there is of it.
size_t RequestParser::feed_line(std::string_view bytes) {
  const size_t end = bytes.find('\n');
  const size_t n = end == std::string_view::npos ? bytes.size() : end + 1;
  if (line_.size() + n > line_max()) {
    refuse(head_done() ? 400 : 431);
    return n;
  }
  if (end == std::string_view::npos) {
    line_.append(bytes);
    return n;
  }
  if (line_.empty()) {
    take_line(bytes.substr(0, n));
  } else {
    line_.append(bytes.substr(0, n));
    const std::string line = std::move(line_);
    line_.clear();
    take_line(line);
  }
  return n;
}

// `line` with its end.
void RequestParser::take_line(std::string_view line) {
  if (state_ == State::kChunkLine) return chunk_line(line);
  (head_done() ? trailer_bytes_ : head_bytes_) += line.size();
  line.remove_suffix(1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (state_ == State::kRequestLine) return request_line(line);
  if (state_ == State::kTrailer) return trailer_line(line);
  if (line.empty()) return end_of_head();
  field_line(line);
}

size_t RequestParser::feed_data(std::string_view bytes) {
  if (state_ == State::kChunkEnd) {
    if (bytes[0] != (left_ == 2 ? '\r' : '\n')) refuse(400);
    if (--left_ == 0 && refusal_ == 0) state_ = State::kChunkLine;
    return 1;
  }
  const size_t n = static_cast<size_t>(std::min<uint64_t>(left_, bytes.size()));
  body_.append(bytes.substr(0, n));
  left_ -= n;
  if (left_ > 0) return n;
  if (state_ == State::kBody) {
    state_ = State::kDone;
  } else {
    state_ = State::kChunkEnd;
    left_ = 2;
  }
  return n;
}

RequestParser::Range RequestParser::keep(std::string_view s) {
  const Range r = {static_cast<uint32_t>(text_.size()), static_cast<uint32_t>(s.size())};
  text_.append(s);
  return r;
}

void RequestParser::refuse(unsigned status, std::string_view detail) {
  state_ = State::kRefused;
  refusal_ = status;
  detail_ = detail;
  line_ = {};
  body_ = {};
}

// ---- the head ----

void RequestParser::request_line(std::string_view line) {
  const size_t first = line.find(' ');
  const size_t second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  if (second == std::string_view::npos) return refuse(400);
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, second - first - 1);
  const std::string_view version = line.substr(second + 1);
  const auto digit = [&](size_t at) { return version[at] >= '0' && version[at] <= '9'; };
  if (!is_token(method) || version.size() != 8 || !version.starts_with("HTTP/") || !digit(5) ||
      version[6] != '.' || !digit(7)) {
    return refuse(400);
  }
  const auto parts = parse_target(method, target);
  if (!parts) return refuse(400);
  if (version[5] != '1') return refuse(505, ": unsupported protocol version");
  version_ = version[7] == '0' ? 10 : 11;
  method_ = keep(method);
  target_ = keep(target);
  const auto within = [&](std::string_view s) {
    return s.empty() ? Range{}
                     : Range{target_.at + static_cast<uint32_t>(s.data() - target.data()),
                             static_cast<uint32_t>(s.size())};
  };
  authority_ = within(parts->authority);
  path_ = within(parts->path);
  query_ = within(parts->query);
  state_ = State::kFields;
}

void RequestParser::field_line(std::string_view line) {
  if (is_blank(line[0])) {
    // The field before goes on. Its text is the last that was kept.
    if (fields_.empty() || !is_field_value(line)) return refuse(400);
    const std::string_view more = trim(line);
    text_ += ' ';
    text_.append(more);
    fields_.back().second.size += static_cast<uint32_t>(more.size() + 1);
    return;
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return refuse(400);
  const std::string_view name = line.substr(0, colon), value = trim(line.substr(colon + 1));
  if (!is_token(name)) {
    std::string spaceless(name);
    std::erase(spaceless, ' ');
    return is_token(spaceless) ? refuse(400, ": invalid header name") : refuse(400);
  }
  if (!is_field_value(value)) return refuse(400);
  if (fields_.size() == kFieldsMax) return refuse(431);
  const Range n = keep(name);
  fields_.emplace_back(n, keep(value));
}

void RequestParser::end_of_head() {
  for (const auto& [name, value] : fields_) {
    check_field(part(name), part(value));
    if (refusal_ != 0) return;
  }
  if (encodings_ > 0 && version_ == 11) {
    if (encodings_ > 1 || !chunked_) return refuse(501);
    if (lengths_ > 0) return refuse(400);
  } else {
    chunked_ = false;  // no such thing in 1.0: the field is ignored
  }
  if (version_ == 11 && hosts_ == 0 && part(method_) != "CONNECT")
    return refuse(400, ": missing required Host header");
  if (!chunked_ && length_ > limits_.body_bytes) return refuse(413);
  left_ = length_;
  state_ = chunked_ ? State::kChunkLine : length_ > 0 ? State::kBody : State::kDone;
}

void RequestParser::check_field(std::string_view name, std::string_view value) {
  if (equals_folded(name, "Host")) {
    // Two hosts let a proxy and this server disagree about whom the request is for.
    if (++hosts_ > 1) return refuse(400);
    if (!is_host(value)) return refuse(400, ": malformed Host header");
  } else if (equals_folded(name, "Content-Length")) {
    content_length(value);
  } else if (equals_folded(name, "Transfer-Encoding")) {
    ++encodings_;
    chunked_ = equals_folded(value, "chunked");
  } else if (equals_folded(name, "Expect")) {
    expects_continue_ = equals_folded(value, "100-continue");
    if (!expects_continue_ && !value.empty()) refuse(417);
  } else if (equals_folded(name, "Connection")) {
    while (!value.empty()) {
      const size_t comma = std::min(value.find(','), value.size());
      const std::string_view word = trim(value.substr(0, comma));
      if (equals_folded(word, "close")) closes_ = true;
      if (equals_folded(word, "keep-alive")) keeps_alive_ = true;
      value.remove_prefix(std::min(comma + 1, value.size()));
    }
  }
}

void RequestParser::content_length(std::string_view value) {
  uint64_t n = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), n);
  if (error != std::errc() || end != value.data() + value.size() || n > INT64_MAX) return refuse(400);
  if (++lengths_ > 1 && n != length_) return refuse(400);
  length_ = n;
}

// ---- a body in chunks ----

// "1a;name=value\r\n"
void RequestParser::chunk_line(std::string_view line) {
  if (line.find('\r') != line.size() - 2 || line.size() < 2) return refuse(400);
  const size_t overhead = line.size();
  line.remove_suffix(2);
  std::string_view digits = line.substr(0, line.find(';'));
  while (!digits.empty() && is_blank(digits.back())) digits.remove_suffix(1);
  uint64_t n = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), n, 16);
  if (digits.empty() || digits.size() > 16 || error != std::errc() || end != digits.data() + digits.size())
    return refuse(400);
  if (n > limits_.body_bytes - body_.size()) return refuse(413);
  const size_t free = 16 + 2 * static_cast<size_t>(n);
  excess_ = excess_ + overhead > free ? excess_ + overhead - free : 0;
  if (excess_ > kChunkExcessMax) return refuse(400);
  left_ = n;
  state_ = n == 0 ? State::kTrailer : State::kChunkData;
}

void RequestParser::trailer_line(std::string_view line) {
  if (line.empty()) {
    state_ = State::kDone;
    return;
  }
  const size_t colon = line.find(':');
  if (!is_field_value(line)) return refuse(400);
  if (!is_blank(line[0]) && (colon == std::string_view::npos || !is_token(line.substr(0, colon))))
    return refuse(400);
}

// ---- the request ----

bool RequestParser::keep_alive() const {
  return version_ == 11 ? !closes_ : keeps_alive_ && !closes_;
}

void RequestParser::fill(Request& r) const {
  CHECK(done());
  r.method = part(method_);
  r.target = part(target_);
  r.authority = part(authority_);
  r.path = part(path_);
  r.query = part(query_);
  r.version = version_;
  r.fields.clear();
  r.fields.reserve(fields_.size());
  for (const auto& [name, value] : fields_) r.fields.emplace_back(part(name), part(value));
  r.body = body_;
}

}  // namespace quoin::http1
