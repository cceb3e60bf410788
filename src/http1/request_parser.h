// Reads one HTTP/1.x request out of bytes that arrive in any cut.
//
// What is a request, and which are refused, is as in Go's net/http: a line may end in LF alone (but for the
// lines of a chunked body, where CR LF is asked for); a field may go on in a line that begins with a space;
// the target may be a path, an absolute URL (its authority replaces Host) or "*". Stricter than Go in one
// place: Content-Length together with Transfer-Encoding is refused, for it is how requests are smuggled past
// a proxy. Fields behind a chunked body (trailers) are checked and forgotten.
//
// Bounds, each held as the bytes arrive: a head of Limits::header_bytes and 4 KiB (Go's slack) in at most
// kFieldsMax fields; a body of Limits::body_bytes; a line of a chunked body, and the trailer as a whole, of
// kChunkTextMax; what the chunks carry besides the body, as in Go, of 16 bytes a chunk, twice the body, and
// kChunkExcessMax.
//
// Threads: confined to its connection's loop. Source: RFC 9112; Go's net/http.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "http1/server_connection.h"

namespace quoin::http1 {

class RequestParser {
 public:
  static constexpr size_t kFieldsMax = 4096;
  static constexpr size_t kChunkTextMax = 4096;
  static constexpr size_t kChunkExcessMax = 16 << 10;

  explicit RequestParser(const Limits& limits) : limits_(limits) {}

  // Takes bytes from the front until the request is whole or refused; returns how many.
  size_t feed(std::string_view bytes);

  bool head_done() const { return state_ > State::kFields; }
  bool done() const { return state_ == State::kDone; }
  // What to answer instead, with connection's end; 0 while nothing is wrong.
  unsigned refusal() const { return refusal_; }
  // Behind the status in the refusal's text: ": missing required Host header".
  std::string_view detail() const { return detail_; }

  // From head_done() on.
  unsigned version() const { return version_; }  // 10 or 11
  bool expects_continue() const { return expects_continue_; }
  bool keep_alive() const;
  // From done() on; the views live as long as the parser.
  void fill(Request& request) const;

 private:
  enum class State : uint8_t {
    kRequestLine,
    kFields,
    kBody,  // of a known length
    kChunkLine,
    kChunkData,
    kChunkEnd,  // CR LF behind a chunk's data
    kTrailer,
    kDone,
    kRefused
  };
  struct Range {
    uint32_t at = 0, size = 0;
  };

  size_t feed_line(std::string_view bytes);
  size_t feed_data(std::string_view bytes);
  size_t line_max() const;
  void take_line(std::string_view line);
  void request_line(std::string_view line);
  void field_line(std::string_view line);
  void chunk_line(std::string_view line);
  void trailer_line(std::string_view line);
  void end_of_head();
  void check_field(std::string_view name, std::string_view value);
  void content_length(std::string_view value);
  void refuse(unsigned status, std::string_view detail = {});
  Range keep(std::string_view s);
  std::string_view part(Range r) const { return std::string_view(text_).substr(r.at, r.size); }

  const Limits limits_;
  State state_ = State::kRequestLine;
  std::string line_;  // the line that has begun to arrive, without what was taken of it
  size_t head_bytes_ = 0, trailer_bytes_ = 0;
  std::string text_, body_;
  Range method_, target_, authority_, path_, query_;
  std::vector<std::pair<Range, Range>> fields_;
  unsigned version_ = 0;
  bool expects_continue_ = false, chunked_ = false;
  bool closes_ = false, keeps_alive_ = false;  // of the Connection field
  unsigned hosts_ = 0, encodings_ = 0, lengths_ = 0;
  uint64_t length_ = 0;  // of the body
  uint64_t left_ = 0;    // of the body or chunk
  size_t excess_ = 0;
  unsigned refusal_ = 0;
  std::string_view detail_;
};

}  // namespace quoin::http1
