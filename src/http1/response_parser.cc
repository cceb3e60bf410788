#include "http1/response_parser.h"

#include <algorithm>

#include "base/check.h"
#include "base/go_text.h"

namespace quoin::http1 {
namespace {

constexpr size_t kQuotedMax = 128;  // of what a peer sent, in an error's text

template <class... A>
Error malformed(std::string_view what, std::string_view text) {
  return make_error(Code::kMalformed, "{} {}", what, go_quote(text.substr(0, kQuotedMax)));
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

}  // namespace

size_t ResponseParser::feed(std::string_view bytes) {
  const size_t all = bytes.size();
  while (!bytes.empty() && state_ < State::kDone) {
    switch (lines_.take(bytes, bytes_max_ - std::min(head_bytes_, bytes_max_))) {
      case LineReader::State::kMore:
        break;
      case LineReader::State::kTooLong:
        refuse(make_error(Code::kLimit, "net/http: server response headers exceeded {} bytes; aborted",
                          bytes_max_));
        break;
      case LineReader::State::kLine:
        take_line(lines_.line());
    }
  }
  return all - bytes.size();
}

// `line` with its end.
void ResponseParser::take_line(std::string_view line) {
  head_bytes_ += line.size();
  line.remove_suffix(1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (state_ == State::kStatusLine) return status_line(line);
  if (line.empty()) return end_of_head();
  field_line(line);
}

void ResponseParser::refuse(Error error) {
  state_ = State::kRefused;
  error_ = std::move(error);
}

// "HTTP/1.1 404 Not Found"; the phrase may be missing.
void ResponseParser::status_line(std::string_view line) {
  const size_t blank = line.find(' ');
  if (blank == std::string_view::npos) return refuse(malformed("malformed HTTP response", line));
  const std::string_view version = line.substr(0, blank);
  std::string_view status = line.substr(blank);
  status.remove_prefix(std::min(status.find_first_not_of(' '), status.size()));
  const std::string_view code = status.substr(0, status.find(' '));
  if (code.size() != 3 || !is_digit(code[0]) || !is_digit(code[1]) || !is_digit(code[2]))
    return refuse(malformed("malformed HTTP status code", code));
  if (version.size() != 8 || !version.starts_with("HTTP/") || !is_digit(version[5]) || version[6] != '.' ||
      !is_digit(version[7])) {
    return refuse(malformed("malformed HTTP version", version));
  }
  major_ = static_cast<unsigned>(version[5] - '0');
  minor_ = static_cast<unsigned>(version[7] - '0');
  status_ = static_cast<unsigned>((code[0] - '0') * 100 + (code[1] - '0') * 10 + (code[2] - '0'));
  status_text_ = text_.keep(status);
  state_ = State::kFields;
}

void ResponseParser::field_line(std::string_view line) {
  switch (text_.add_field(line, /*blank_names=*/true)) {
    case HeadText::Added::kTaken:
      return;
    case HeadText::Added::kTooMany:
      return refuse(make_error(Code::kLimit, "net/http: server response has more than {} header fields",
                               HeadText::kFieldsMax));
    default:
      return refuse(make_error(Code::kMalformed, "malformed MIME header line: {}",
                               go_quote(line.substr(0, kQuotedMax))));
  }
}

void ResponseParser::end_of_head() {
  unsigned encodings = 0;
  std::string_view encoding;
  for (size_t i = 0; i < text_.fields(); ++i) {
    const std::string_view name = text_.name(i), value = text_.value(i);
    if (equals_folded(name, "Content-Length")) {
      const auto n = parse_content_length(value);
      if (!n) return refuse(malformed("bad Content-Length", value));
      if (length_ && *length_ != *n) {
        return refuse(
            Error(Code::kMalformed, "http: message cannot contain multiple Content-Length headers"));
      }
      length_ = n;
    } else if (equals_folded(name, "Transfer-Encoding")) {
      ++encodings;
      encoding = value;
    } else if (equals_folded(name, "Connection")) {
      read_connection_field(value, closes_, keeps_alive_);
    }
  }
  if (encodings > 0 && (major_ > 1 || (major_ == 1 && minor_ >= 1))) {  // no such thing in 1.0
    if (encodings > 1) return refuse(Error(Code::kUnsupported, "too many transfer encodings"));
    if (!equals_folded(encoding, "chunked")) {
      return refuse(make_error(Code::kUnsupported, "unsupported transfer encoding: {}",
                               go_quote(encoding.substr(0, kQuotedMax))));
    }
    chunked_ = true;
    length_.reset();
  }
  state_ = State::kDone;
}

bool ResponseParser::keep_alive() const {
  if (major_ < 1) return false;
  return major_ == 1 && minor_ == 0 ? keeps_alive_ && !closes_ : !closes_;
}

BodyDecoder ResponseParser::body(bool head_only) const {
  if (head_only || status_ / 100 == 1 || status_ == 204 || status_ == 304) return {};
  // How long it may become is its reader's matter.
  if (chunked_) return BodyDecoder::chunked(UINT64_MAX);
  return length_ ? BodyDecoder::of_length(*length_) : BodyDecoder::until_close();
}

void ResponseParser::fill(ResponseHead& head) const {
  CHECK(head_done());
  head.version = major_ == 1 && minor_ == 0 ? 10 : 11;
  head.status = status_;
  head.status_text = text_.part(status_text_);
  text_.fill(head.fields);
  head.content_length = length_;
}

}  // namespace quoin::http1
