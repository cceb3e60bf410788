// Writes a message, given as protobuf in pieces, as JSON: Go's protojson with the names of the .proto and without
// what is not set (spec api-semantics 8.2). No blanks: Go's are random.
//
// The bytes are those of this server's own encoders and of records in its store: fields in the order of their
// numbers. What they are not is skipped or cut short, never read beyond.
//
// In steps, so that an answer of any size is made as its client reads it. Threads: none of its own. Memory: the
// pieces, which are given back as they are done with, and what one step made.
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/blob.h"
#include "base/result.h"
#include "httpapi/gateway/base64.h"
#include "httpapi/gateway/schema.h"

namespace quoin::httpapi::gateway {

enum class Escapes : uint8_t {
  kPlain,  // protojson's
  kHtml,   // and those of encoding/json: <, >, & and the line separators, as in the lines of a stream
};

// A string in JSON's quotes; false: it is no UTF-8.
bool append_json_string(std::string_view s, Escapes escapes, std::string& out);

class JsonWriter {
 public:
  JsonWriter(const MessageType& type, std::deque<Blob> pieces, Escapes escapes = Escapes::kPlain);

  // Appends about `bytes` more. True: the message is whole. kUnsupported with Go's text ("proto: field
  // etcdserverpb.Member.name contains invalid UTF-8"): what was written ends in the middle.
  Result<bool> step(size_t bytes, std::string& out);
  // Of the pieces that are not done with.
  size_t held_bytes() const { return left_; }

 private:
  struct Level {
    const MessageType* type;
    size_t end;                       // what is left_ behind it
    const FieldType* list = nullptr;  // open
    bool first = true;                // no field was written yet
  };
  Result<> field(std::string& out);
  Result<> value(const FieldType& f, uint64_t v, std::string& out);
  void name(const FieldType& f, std::string& out);
  void close(std::string& out);

  uint64_t varint();
  void skip(size_t n);
  // Up to `n` bytes, as far as they lie together.
  std::string_view front(size_t n) const;

  const Escapes escapes_;
  std::deque<Blob> pieces_;
  size_t offset_ = 0;  // of the first piece, done with
  size_t left_ = 0;
  std::vector<Level> levels_;
  bool begun_ = false;
  // A bytes field under way.
  size_t bytes_left_ = 0;
  Base64Encoder base64_;
  bool in_bytes_ = false;
};

}  // namespace quoin::httpapi::gateway
