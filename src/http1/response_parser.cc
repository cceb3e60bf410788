#include "http1/response_parser.h"

#include <algorithm>

#include "base/check.h"
#include "base/go_text.h"

namespace quoin::http1 {
namespace {

constexpr size_t kQuotedMax = 128;  // of what a peer sent, in an error's text

Error malformed(std::string_view what, std::string_view text) {
  return make_error(Code::kMalformed, "{} {}", what, go_quote(text.substr(0, kQuotedMax)));
}

// ["1" "2"]
std::string quoted(const std::vector<std::string_view>& list) {
  std::string out;
  for (const std::string_view s : list) {
    if (out.size() > kQuotedMax) break;
    out += (out.empty() ? "[" : " ") + go_quote(s.substr(0, kQuotedMax));
  }
  return out + "]";
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
      return refuse(malformed(is_blank(line[0]) && text_.fields() == 0 ? "malformed MIME header initial line:"
                              : line.find(':') == std::string_view::npos
                                  ? "malformed MIME header: missing colon:"
                                  : "malformed MIME header line:",
                              line));
  }
}

void ResponseParser::end_of_head() {
  std::vector<std::string_view> encodings, lengths;
  for (size_t i = 0; i < text_.fields(); ++i) {
    const std::string_view name = text_.name(i), value = text_.value(i);
    if (equals_folded(name, "Content-Length")) {
      lengths.push_back(value);
    } else if (equals_folded(name, "Transfer-Encoding")) {
      encodings.push_back(value);
    } else if (equals_folded(name, "Connection")) {
      read_connection_field(value, closes_, keeps_alive_);
    }
  }
  if (!encodings.empty() && (major_ > 1 || (major_ == 1 && minor_ >= 1))) {  // no such thing in 1.0
    if (encodings.size() > 1)
      return refuse(make_error(Code::kUnsupported, "too many transfer encodings: {}", quoted(encodings)));
    if (!equals_folded(encodings[0], "chunked")) {
      return refuse(make_error(Code::kUnsupported, "unsupported transfer encoding: {}",
                               go_quote(encodings[0].substr(0, kQuotedMax))));
    }
    chunked_ = true;
  }
  for (const std::string_view l : lengths) {
    if (l != lengths[0]) {
      return refuse(make_error(Code::kMalformed,
                               "http: message cannot contain multiple Content-Length headers; got {}",
                               quoted(lengths)));
    }
  }
  if (!lengths.empty()) {
    length_ = parse_content_length(lengths[0]);
    if (!length_) {
      return refuse(
          malformed(lengths[0].empty() ? "invalid empty Content-Length" : "bad Content-Length", lengths[0]));
    }
  }
  if (chunked_) length_.reset();
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
