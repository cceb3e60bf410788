// Reads the head of one HTTP/1.x request out of bytes that arrive in any cut, and says how its body is framed
// (http1/body_decoder.h).
//
// What is a request, and which are refused, is as in Go's net/http: a line may end in LF alone; a field may go on in a
// line that begins with a space; the target may be a path, an absolute URL (its authority replaces Host) or "*".
// Stricter than Go in one place: Content-Length together with Transfer-Encoding is refused, for it is how requests are
// smuggled past a proxy.
//
// Bounds, held as the bytes arrive: a head of Limits::header_bytes and 4 KiB (Go's slack) in at most
// HeadText::kFieldsMax fields.
//
// Threads: confined to its connection's loop. Source: RFC 9112; Go's net/http.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "http1/body_decoder.h"
#include "http1/fields.h"
#include "http1/server_connection.h"

namespace quoin::http1 {

class RequestParser {
 public:
  explicit RequestParser(const Limits& limits) : limits_(limits) {}

  // Takes bytes from the front until the head is whole or refused; returns how many.
  size_t feed(std::string_view bytes);

  bool head_done() const { return state_ == State::kDone; }
  // What to answer instead, with connection's end; 0 while nothing is wrong.
  unsigned refusal() const { return refusal_; }
  // Behind the status in the refusal's text: ": missing required Host header".
  std::string_view detail() const { return detail_; }

  // From head_done() on.
  unsigned version() const { return version_; }  // 10 or 11
  bool expects_continue() const { return expects_continue_; }
  bool keep_alive() const;
  // Of the request; a chunked one is not bounded yet.
  BodyDecoder body() const;
  // All but the body; the views live as long as the parser.
  void fill(Request& request) const;

 private:
  enum class State : uint8_t { kRequestLine, kFields, kDone, kRefused };
  using Range = HeadText::Range;

  void take_line(std::string_view line);
  void request_line(std::string_view line);
  void field_line(std::string_view line);
  void end_of_head();
  void check_field(std::string_view name, std::string_view value);
  void content_length(std::string_view value);
  void refuse(unsigned status, std::string_view detail = {});

  const Limits limits_;
  State state_ = State::kRequestLine;
  LineReader lines_;
  size_t head_bytes_ = 0;
  HeadText text_;
  Range method_, target_, authority_, path_, query_;
  unsigned version_ = 0;
  bool expects_continue_ = false, chunked_ = false;
  bool closes_ = false, keeps_alive_ = false;  // of the Connection field
  unsigned hosts_ = 0, encodings_ = 0, lengths_ = 0;
  uint64_t length_ = 0;  // of the body
  unsigned refusal_ = 0;
  std::string_view detail_;
};

}  // namespace quoin::http1
