#include "wire/decoder.h"

#include <limits>

namespace quoin::wire {

bool Decoder::fail(Fault fault) {
  context_.fault = fault;
  return false;
}

bool Decoder::bad_tag(uint64_t tag) {
  if (wire_type_ == 4) return fail({Fault::Kind::kEndGroup, message_});
  return fail({Fault::Kind::kIllegalTag, message_, field_, tag});
}

bool Decoder::wrong_wire_type(const char* go_name) {
  return fail({Fault::Kind::kWrongWireType, go_name, 0, wire_type_});
}

// Go adds the length to a position in signed 64 bits and reports what turns negative; the rest is truncation.
// The position counts from the message's start, or from the group's where one is being skipped.
bool Decoder::bad_length(uint64_t length, const char* counted_from) {
  const uint64_t position = static_cast<uint64_t>(p_ - counted_from);
  const uint64_t max = std::numeric_limits<int64_t>::max();
  return fail({length > max - position ? Fault::Kind::kNegativeLength : Fault::Kind::kTruncated});
}

bool Decoder::skip() {
  // Group ends are counted, their field numbers not compared, and nested tags not checked: as in Go.
  p_ = field_start_;
  for (int depth = 0;;) {
    if (p_ == end_) return fail({Fault::Kind::kTruncated});
    uint64_t tag, value;
    if (!varint(&tag)) return false;
    size_t fixed = 0;
    switch (tag & 7) {
      case 0:
        if (!varint(&value)) return false;
        break;
      case 1:
        fixed = 8;
        break;
      case 2: {
        if (!varint(&value)) return false;
        if (value > static_cast<uint64_t>(end_ - p_))
          return bad_length(value, depth == 0 ? begin_ : field_start_);
        p_ += value;
        break;
      }
      case 3:
        ++depth;
        break;
      case 4:
        if (depth == 0) return fail({Fault::Kind::kStrayEndGroup});
        --depth;
        break;
      case 5:
        fixed = 4;
        break;
      default:
        return fail({Fault::Kind::kIllegalWireType, "", 0, tag & 7});
    }
    if (fixed > static_cast<size_t>(end_ - p_)) return fail({Fault::Kind::kTruncated});
    p_ += fixed;
    if (depth == 0) return true;
  }
}

char* put_unknown_back(char* end, const UnknownFields& unknown) {
  if (unknown.empty()) return end;
  const auto& fields = unknown.fields();
  for (auto it = fields.rbegin(); it != fields.rend(); ++it) end = put_bytes_back(end, *it);
  return end;
}

}  // namespace quoin::wire
