// Takes the body of a request or an answer out of its framing: a known length, chunks, or all up to the end of the
// connection.
//
// Bounds: nothing of the body is kept here. A line of a chunked body, and the trailer as a whole, has at most
// kChunkTextMax bytes; what the chunks carry besides the body, as in Go, at most 16 bytes a chunk, twice the body, and
// kChunkExcessMax. A chunk's line ends in CR LF, nothing less. Fields of the trailer are checked and forgotten.
//
// Threads: confined to its owner. Re-entrance: the sink must not touch the decoder, but may look at it.
// Source: RFC 9112; Go's net/http.
#pragma once
#include <absl/functional/function_ref.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "http1/fields.h"

namespace quoin::http1 {

class BodyDecoder {
 public:
  static constexpr size_t kChunkTextMax = 4096;
  static constexpr size_t kChunkExcessMax = 16 << 10;
  enum class Failure : uint8_t {
    kNone,
    kMalformed,
    kTooLong,  // longer than `bytes_max`; nothing of what is beyond was handed on
  };

  BodyDecoder() = default;  // no body: done
  static BodyDecoder of_length(uint64_t length);
  static BodyDecoder chunked(uint64_t bytes_max);
  static BodyDecoder until_close();

  // Takes bytes from the front until the body is whole or refused, handing on its pieces; returns how many.
  size_t feed(std::string_view bytes, absl::FunctionRef<void(std::string_view)> sink);
  // The connection ended; true if that was the end of the body.
  bool feed_eof();

  bool done() const { return state_ == State::kDone; }
  Failure failure() const { return failure_; }
  // Of the body, not yet fed; none if only its end tells.
  std::optional<uint64_t> left() const;
  bool is_chunked() const { return chunked_; }
  // Of a chunked body: how long it may become.
  void set_bytes_max(uint64_t bytes_max) { bytes_max_ = bytes_max; }

 private:
  enum class State : uint8_t {
    kDone,
    kLength,
    kUntilClose,
    kChunkLine,
    kChunkData,
    kChunkEnd,
    kTrailer,
    kFailed
  };
  void feed_line(std::string_view& bytes);
  void chunk_line(std::string_view line);
  void trailer_line(std::string_view line);
  void fail(Failure failure);

  State state_ = State::kDone;
  Failure failure_ = Failure::kNone;
  bool chunked_ = false;
  uint64_t left_ = 0;  // of the body, the chunk, or the CR LF behind it
  uint64_t total_ = 0, bytes_max_ = 0;
  uint64_t excess_ = 0;
  size_t trailer_bytes_ = 0;
  LineReader lines_;
};

}  // namespace quoin::http1
