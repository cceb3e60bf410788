#include "http1/body_decoder.h"

#include <algorithm>
#include <charconv>

#include "http1/chunk.h"

namespace quoin::http1 {

std::string chunk_head(uint64_t size) {
  char text[18];
  char* end = std::to_chars(text, text + 16, size, 16).ptr;
  *end++ = '\r';
  *end++ = '\n';
  return std::string(text, end);
}

BodyDecoder BodyDecoder::of_length(uint64_t length) {
  BodyDecoder d;
  d.left_ = length;
  if (length > 0) d.state_ = State::kLength;
  return d;
}

BodyDecoder BodyDecoder::chunked(uint64_t bytes_max) {
  BodyDecoder d;
  d.state_ = State::kChunkLine;
  d.chunked_ = true;
  d.bytes_max_ = bytes_max;
  return d;
}

BodyDecoder BodyDecoder::until_close() {
  BodyDecoder d;
  d.state_ = State::kUntilClose;
  return d;
}

std::optional<uint64_t> BodyDecoder::left() const {
  if (state_ == State::kDone) return 0;
  if (state_ == State::kLength) return left_;
  return std::nullopt;
}

bool BodyDecoder::feed_eof() {
  if (state_ == State::kUntilClose) state_ = State::kDone;
  return done();
}

void BodyDecoder::fail(Failure failure) {
  state_ = State::kFailed;
  failure_ = failure;
}

size_t BodyDecoder::feed(std::string_view bytes, absl::FunctionRef<void(std::string_view)> sink) {
  const size_t all = bytes.size();
  while (!bytes.empty() && state_ != State::kDone && state_ != State::kFailed) {
    switch (state_) {
      case State::kUntilClose:
        sink(std::exchange(bytes, {}));
        break;
      case State::kLength:
      case State::kChunkData: {
        const std::string_view piece =
            bytes.substr(0, static_cast<size_t>(std::min<uint64_t>(left_, bytes.size())));
        bytes.remove_prefix(piece.size());
        left_ -= piece.size();
        if (left_ == 0) {
          const bool chunk = state_ == State::kChunkData;
          state_ = chunk ? State::kChunkEnd : State::kDone;
          left_ = chunk ? 2 : 0;
        }
        sink(piece);
        break;
      }
      case State::kChunkEnd:
        if (bytes[0] != (left_ == 2 ? '\r' : '\n')) {
          fail(Failure::kMalformed);
          break;
        }
        bytes.remove_prefix(1);
        if (--left_ == 0) state_ = State::kChunkLine;
        break;
      default:
        feed_line(bytes);
    }
  }
  return all - bytes.size();
}

void BodyDecoder::feed_line(std::string_view& bytes) {
  const bool trailer = state_ == State::kTrailer;
  const size_t max = kChunkTextMax - (trailer ? std::min(trailer_bytes_, kChunkTextMax) : 0);
  switch (lines_.take(bytes, max)) {
    case LineReader::State::kMore:
      return;
    case LineReader::State::kTooLong:
      return fail(Failure::kMalformed);
    case LineReader::State::kLine:
      return trailer ? trailer_line(lines_.line()) : chunk_line(lines_.line());
  }
}

// "1a;name=value\r\n"
void BodyDecoder::chunk_line(std::string_view line) {
  if (line.find('\r') != line.size() - 2 || line.size() < 2) return fail(Failure::kMalformed);
  const size_t overhead = line.size();
  line.remove_suffix(2);
  std::string_view digits = line.substr(0, line.find(';'));
  while (!digits.empty() && is_blank(digits.back())) digits.remove_suffix(1);
  uint64_t n = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), n, 16);
  if (digits.empty() || digits.size() > 16 || error != std::errc() || end != digits.data() + digits.size())
    return fail(Failure::kMalformed);
  if (n > bytes_max_ - std::min(total_, bytes_max_)) return fail(Failure::kTooLong);
  total_ += n;
  const uint64_t free = n < (uint64_t{1} << 62) ? 16 + 2 * n : UINT64_MAX / 2;
  excess_ = excess_ + overhead > free ? excess_ + overhead - free : 0;
  if (excess_ > kChunkExcessMax) return fail(Failure::kMalformed);
  left_ = n;
  state_ = n == 0 ? State::kTrailer : State::kChunkData;
}

void BodyDecoder::trailer_line(std::string_view line) {
  trailer_bytes_ += line.size();
  line.remove_suffix(1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (line.empty()) {
    state_ = State::kDone;
    return;
  }
  const size_t colon = line.find(':');
  if (!is_field_value(line)) return fail(Failure::kMalformed);
  if (!is_blank(line[0]) && (colon == std::string_view::npos || !is_token(line.substr(0, colon))))
    return fail(Failure::kMalformed);
}

}  // namespace quoin::http1
