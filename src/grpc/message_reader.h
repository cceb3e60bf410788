// Cuts a stream of bytes into gRPC messages: prefix, then body, each possibly in many pieces. One copy, from
// the frame into the message's own buffer.
//
// Threads: confined. Bounds: a message longer than `limit` is refused when its prefix is read, before a byte
// of it is kept; a buffer grows with what has arrived, not with what was announced.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "grpc/protocol.h"

namespace quoin::grpc {

class MessageReader {
 public:
  enum class Step : uint8_t {
    kMore,      // the input is used up
    kMessage,   // message() is complete; the rest of the input is untouched
    kTooLarge,  // announced_bytes() over the limit; nothing more is read
  };

  void reset(size_t limit);
  // Takes bytes from the front of `input` up to the end of a message.
  Step read(std::string_view& input);
  // After kMessage: the bytes, to be moved away or left for reuse; then call next().
  std::string& message() { return body_; }
  uint8_t flag() const { return static_cast<uint8_t>(prefix_[0]); }
  void next();

  // Of the message under way, from its prefix; 0 before that is complete.
  size_t announced_bytes() const { return have_ == kPrefixBytes ? size_ : 0; }
  size_t buffered_bytes() const { return have_ + body_.size(); }
  bool in_prefix() const { return have_ > 0 && have_ < kPrefixBytes; }
  bool in_body() const { return have_ == kPrefixBytes; }
  bool idle() const { return have_ == 0; }
  // Gives back a buffer larger than `keep_bytes`.
  void shrink(size_t keep_bytes);

 private:
  size_t limit_ = 0;
  size_t size_ = 0;
  size_t have_ = 0;  // of the prefix
  char prefix_[kPrefixBytes];
  std::string body_;
};

}  // namespace quoin::grpc
