// Reads the head of one HTTP/1.x answer out of bytes that arrive in any cut, and says how its body is framed
// (http1/body_decoder.h). What is accepted is what Go's client accepts (http1/client_connection.h).
//
// Bounds, held as the bytes arrive: a head of `bytes_max` in at most HeadText::kFieldsMax fields.
// Errors: kMalformed, kLimit, kUnsupported (a Transfer-Encoding other than chunked), with Go's words.
//
// Threads: confined to its connection's loop.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "http1/body_decoder.h"
#include "http1/client_connection.h"
#include "http1/fields.h"

namespace quoin::http1 {

class ResponseParser {
 public:
  // `bytes_before`: of the 1xx heads before this one; they count.
  explicit ResponseParser(size_t bytes_max, size_t bytes_before = 0)
      : bytes_max_(bytes_max), head_bytes_(bytes_before) {}

  // Takes bytes from the front until the head is whole or refused; returns how many.
  size_t feed(std::string_view bytes);

  bool head_done() const { return state_ == State::kDone; }
  const std::optional<Error>& error() const { return error_; }
  size_t head_bytes() const { return head_bytes_; }  // with those before

  // From head_done() on.
  unsigned status() const { return status_; }
  bool keep_alive() const;
  // `head_only`: the answer to a HEAD request.
  BodyDecoder body(bool head_only) const;
  // The views live as long as the parser.
  void fill(ResponseHead& head) const;

 private:
  enum class State : uint8_t { kStatusLine, kFields, kDone, kRefused };

  void take_line(std::string_view line);
  void status_line(std::string_view line);
  void field_line(std::string_view line);
  void end_of_head();
  void refuse(Error error);

  const size_t bytes_max_;
  State state_ = State::kStatusLine;
  LineReader lines_;
  size_t head_bytes_;
  HeadText text_;
  HeadText::Range status_text_;
  unsigned major_ = 0, minor_ = 0, status_ = 0;
  bool chunked_ = false;
  bool closes_ = false, keeps_alive_ = false;  // of the Connection field
  std::optional<uint64_t> length_;
  std::optional<Error> error_;
};

}  // namespace quoin::http1
