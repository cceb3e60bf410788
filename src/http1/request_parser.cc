#include "http1/request_parser.h"

#include <algorithm>

#include "base/check.h"
#include "http1/target.h"

namespace quoin::http1 {
namespace {

constexpr size_t kHeadSlack = 4096;  // Go reads so much more than its limit before it looks

// What Go's ValidHostHeader takes: the characters a host, a port and an escape may have.
bool is_host(std::string_view s) {
  constexpr std::string_view kMarks = "!$%&'()*+,-.:;=[]_~";
  return std::all_of(s.begin(), s.end(), [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           kMarks.find(c) != std::string_view::npos;
  });
}

}  // namespace

size_t RequestParser::feed(std::string_view bytes) {
  const size_t all = bytes.size();
  while (!bytes.empty() && state_ < State::kDone) {
    const size_t max = limits_.header_bytes + kHeadSlack;
    switch (lines_.take(bytes, max - std::min(head_bytes_, max))) {
      case LineReader::State::kMore:
        break;
      case LineReader::State::kTooLong:
        refuse(431);
        break;
      case LineReader::State::kLine:
        take_line(lines_.line());
    }
  }
  return all - bytes.size();
}

// `line` with its end.
void RequestParser::take_line(std::string_view line) {
  head_bytes_ += line.size();
  line.remove_suffix(1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (state_ == State::kRequestLine) return request_line(line);
  if (line.empty()) return end_of_head();
  field_line(line);
}

void RequestParser::refuse(unsigned status, std::string_view detail) {
  state_ = State::kRefused;
  refusal_ = status;
  detail_ = detail;
}

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
  method_ = text_.keep(method);
  target_ = text_.keep(target);
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
  switch (text_.add_field(line, /*blank_names=*/false)) {
    case HeadText::Added::kTaken:
      return;
    case HeadText::Added::kMalformed:
      return refuse(400);
    case HeadText::Added::kBlankInName:
      return refuse(400, ": invalid header name");
    case HeadText::Added::kTooMany:
      return refuse(431);
  }
}

void RequestParser::end_of_head() {
  for (size_t i = 0; i < text_.fields(); ++i) {
    check_field(text_.name(i), text_.value(i));
    if (refusal_ != 0) return;
  }
  if (encodings_ > 0 && version_ == 11) {
    if (encodings_ > 1 || !chunked_) return refuse(501);
    if (lengths_ > 0) return refuse(400);
  } else {
    chunked_ = false;  // no such thing in 1.0: the field is ignored
  }
  if (version_ == 11 && hosts_ == 0 && text_.part(method_) != "CONNECT")
    return refuse(400, ": missing required Host header");
  state_ = State::kDone;
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
    read_connection_field(value, closes_, keeps_alive_);
  }
}

void RequestParser::content_length(std::string_view value) {
  const auto n = parse_content_length(value);
  if (!n || (++lengths_ > 1 && *n != length_)) return refuse(400);
  length_ = *n;
}

bool RequestParser::keep_alive() const {
  return version_ == 11 ? !closes_ : keeps_alive_ && !closes_;
}

BodyDecoder RequestParser::body() const {
  return chunked_ ? BodyDecoder::chunked(0) : BodyDecoder::of_length(length_);
}

void RequestParser::fill(Request& r) const {
  CHECK(head_done());
  r.method = text_.part(method_);
  r.target = text_.part(target_);
  r.authority = text_.part(authority_);
  r.path = text_.part(path_);
  r.query = text_.part(query_);
  r.version = version_;
  text_.fill(r.fields);
  r.body = {};
}

}  // namespace quoin::http1
