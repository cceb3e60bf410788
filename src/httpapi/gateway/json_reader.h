// Reads a message out of a JSON value and writes it as protobuf: the inner half of Go's decoder (protojson with
// DiscardUnknown), with its acceptance and its texts (spec api-semantics 8.2).
//
// The value must have passed ValueScanner: its grammar holds, and it is nested at most kDepthMax levels. What is
// checked here: UTF-8 and surrogates of strings, what stands where, numbers, base64, duplicates.
//
// Of one message only what was set is written, in the order of the JSON; zeros without presence are left out, as
// by Go's encoder, so that the length is the one Go would send.
//
// In steps: one step does about `work` bytes' worth of work. Threads: none of its own. Lifetime: the text outlives
// the reader. Memory: the message, and eight bytes for each message and bytes field in it; held_bytes().
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "httpapi/gateway/base64.h"
#include "httpapi/gateway/schema.h"

namespace quoin::httpapi::gateway {

class JsonReader {
 public:
  // About half a millisecond.
  static constexpr size_t kStepWork = 128 << 10;

  JsonReader(const MessageType& type, std::string_view json) : type_(type), json_(json) {}
  // True: whole. kInvalidArgument with Go's text ("proto: (line 1:8): invalid value for ...").
  Result<bool> step(size_t work);
  // The message, once step() was true.
  std::string take() { return std::move(message_); }
  size_t held_bytes() const {
    return out_.capacity() + message_.capacity() + text_buffer_.capacity() +
           lengths_.capacity() * sizeof(Length);
  }

 private:
  // Where a length is missing in out_, and what it is.
  struct Length {
    uint32_t at, value;
  };
  // A message or a list that is open.
  struct Level {
    const MessageType* type;  // of a message
    const FieldType* list;    // null: a message
    uint64_t seen = 0;        // fields, by index
    uint64_t oneofs = 0;
    size_t length = 0;        // of a message, its place in lengths_
    uint32_t start = 0;       // of its content in out_
    uint32_t in_between = 0;  // bytes of the lengths within it
  };
  enum class State : uint8_t {
    kNext,      // behind a value, or at the beginning
    kName,      // within a field's name
    kNamed,     // between a field's name and its value
    kString,    // within the value of field_
    kBytes,     // its base64 is being decoded
    kWrong,     // within a string that stands where none may
    kSkip,      // within a value that nobody wants
    kSkipText,  // within a string of that
    kAssemble,  // all is read: the lengths are put in
    kDone,
  };

  Result<> go_on();
  Result<> next();
  Result<> name_read();
  Result<> value(const FieldType& field);
  Result<> scalar_string();
  Result<> scalar_word(std::string_view raw);
  Result<> skip();
  Result<> string_on(bool& whole);
  void begin_bytes();
  Result<> bytes_on();
  void assemble();
  void open_message(const MessageType& type, const FieldType* field);
  void close_message();

  bool skip_space();
  size_t word_end(size_t from) const;
  std::string_view raw_string() const { return json_.substr(token_, pos_ - token_); }
  Error failure(size_t at, std::string_view text, bool syntax) const;
  Error invalid(std::string_view raw) const;
  Error unexpected(std::string_view raw) const;

  void put_varint(uint64_t v);
  void put_tag(const FieldType& field);
  void put_integer(uint64_t v);
  void spend(size_t work) { work_ = work < work_ ? work_ - work : 0; }

  const MessageType& type_;
  const std::string_view json_;
  State state_ = State::kNext;
  size_t work_ = 0;
  size_t pos_ = 0;
  std::vector<Level> levels_;
  const FieldType* field_ = nullptr;  // whose value is being read

  // The string under way, or the last one.
  size_t token_ = 0;  // where it begins
  bool in_string_ = false;
  size_t run_ = 0;  // begin of what is not in text_buffer_ yet
  bool escaped_ = false;
  std::string text_buffer_;  // if something was escaped
  std::string_view text_;
  std::string_view raw_name_;  // of the field whose value comes, as it stands there
  size_t skip_depth_ = 0;

  Base64Decoder base64_;
  size_t decoded_ = 0;       // of text_
  size_t before_bytes_ = 0;  // out_ before the field

  std::string out_;
  std::vector<Length> lengths_;
  std::string message_;
  size_t assembled_ = 0, copied_ = 0;
};

}  // namespace quoin::httpapi::gateway
