// Building blocks of the generated decoders. Other code includes wire/message.h.
//
// The rules are those of Go's gogo-proto decoders (spec wire.md, api-semantics 1.2), down to the order of
// checks, because clients see the texts: last scalar wins, sub-messages merge, oneof members replace, packed
// and single elements are both read, a known field with another wire type is an error, unknown fields and
// groups are skipped, strings are any bytes. Ours beyond Go's: nesting is bounded by kNestingMax.
#pragma once
#include <cstdint>
#include <string_view>

#include "wire/coding.h"
#include "wire/types.h"

namespace quoin::wire {

// Message levels below the outermost one. Go has no bound; a 2 MiB request can nest deeper than a stack is.
inline constexpr int kNestingMax = 1000;

// Why a decoder stopped. Rendered to text only when it leaves the module (fault_error).
struct Fault {
  enum class Kind : uint8_t {
    kNone,
    kTruncated,
    kOverflow,
    kNegativeLength,
    kWrongWireType,
    kIllegalTag,
    kEndGroup,
    kStrayEndGroup,
    kIllegalWireType,
    kNesting,
  };
  Kind kind = Kind::kNone;
  const char* name = "";  // of the field (kWrongWireType) or of the message (kIllegalTag, kEndGroup)
  int32_t field = 0;
  uint64_t value = 0;  // the wire type, or the whole tag for kIllegalTag
};

// One decoding of one input, across all its messages.
struct DecodeContext {
  Fault fault;
  int depth = 0;
};

// Reads the fields of one message. Every reader returns false after a fault, which is then in the context.
class Decoder {
 public:
  // `message` is the name that faults show; static.
  Decoder(std::string_view in, DecodeContext& context, const char* message)
      : context_(context), message_(message), begin_(in.data()), p_(in.data()), end_(in.data() + in.size()) {}

  // Moves to the next field. False at the end of the input and after a fault; done() tells which.
  bool next() {
    if (p_ == end_) return false;
    field_start_ = p_;
    uint64_t tag;
    if (!varint(&tag)) return false;
    wire_type_ = static_cast<uint8_t>(tag & 7);
    field_ = static_cast<int32_t>(static_cast<uint32_t>(tag >> 3));  // Go cuts the number to 32 bits, too
    if (wire_type_ == 4 || field_ <= 0) [[unlikely]]
      return bad_tag(tag);
    return true;
  }
  bool done() const { return context_.fault.kind == Fault::Kind::kNone; }
  int32_t field() const { return field_; }

  // Scalars. `go_name` is the field's name as Go's texts show it; static.
  template <class Int>  // also enums: the low bits of the varint
  bool integer(Int* v, const char* go_name) {
    if (wire_type_ != 0) [[unlikely]]
      return wrong_wire_type(go_name);
    uint64_t raw;
    if (!varint(&raw)) return false;
    *v = static_cast<Int>(raw);
    return true;
  }
  bool boolean(bool* v, const char* go_name) {
    if (wire_type_ != 0) [[unlikely]]
      return wrong_wire_type(go_name);
    uint64_t raw;
    if (!varint(&raw)) return false;
    *v = raw != 0;
    return true;
  }
  bool bytes(std::string_view* v, const char* go_name) {
    if (wire_type_ != 2) [[unlikely]]
      return wrong_wire_type(go_name);
    return length_delimited(v);
  }
  // Appends one element, or those of a packed run.
  template <class Vector>
  bool integers(Vector* v, const char* go_name) {
    using Int = typename Vector::value_type;
    uint64_t raw;
    if (wire_type_ == 0) {
      if (!varint(&raw)) return false;
      v->push_back(static_cast<Int>(raw));
      return true;
    }
    if (wire_type_ != 2) return wrong_wire_type(go_name);
    std::string_view run;
    if (!length_delimited(&run)) return false;
    // A last element may run past the run's end into what follows, and reading goes on behind it: as in Go.
    const char* run_end = p_;
    p_ = run.data();
    while (p_ < run_end) {
      if (!varint(&raw)) return false;
      v->push_back(static_cast<Int>(raw));
    }
    return true;
  }

  // A sub-message, merged into `m` by its own decoder.
  template <class M>
  bool message(M* m, const char* go_name) {
    std::string_view sub;
    if (!bytes(&sub, go_name) || !enter()) return false;
    const bool ok = merge(sub, m, context_);
    --context_.depth;
    return ok;
  }
  // A sub-message kept as bytes, after the same checks. A second one replaces the first (Go would merge
  // them).
  template <class M>
  bool raw(Raw<M>* v, const char* go_name) {
    if (!bytes(&v->bytes, go_name) || !enter()) return false;
    M scratch;
    const bool ok = merge(v->bytes, &scratch, context_);
    --context_.depth;
    return ok;
  }

  bool unknown(UnknownFields* fields) {
    if (!skip()) return false;
    const std::string_view field(field_start_, static_cast<size_t>(p_ - field_start_));
    if (field_start_ == unknown_end_) {
      fields->extend_last(field.size());
    } else {
      fields->add(field);
    }
    unknown_end_ = p_;
    return true;
  }
  // Moves past the current field whatever it is; a group with all that is in it.
  bool skip();

 private:
  bool varint(uint64_t* v) {
    const VarintStatus s = get_varint(&p_, end_, v);
    if (s == VarintStatus::kOk) [[likely]]
      return true;
    return fail({s == VarintStatus::kTruncated ? Fault::Kind::kTruncated : Fault::Kind::kOverflow});
  }
  bool length_delimited(std::string_view* v) {
    uint64_t n;
    if (!varint(&n)) return false;
    if (n > static_cast<uint64_t>(end_ - p_)) [[unlikely]]
      return bad_length(n, begin_);
    *v = {p_, static_cast<size_t>(n)};
    p_ += n;
    return true;
  }
  bool enter() {
    if (++context_.depth <= kNestingMax) [[likely]]
      return true;
    return fail({Fault::Kind::kNesting});
  }
  bool fail(Fault fault);
  bool bad_tag(uint64_t tag);
  bool bad_length(uint64_t length, const char* counted_from);
  bool wrong_wire_type(const char* go_name);

  DecodeContext& context_;
  const char* message_;
  const char* begin_;
  const char* p_;
  const char* end_;
  const char* field_start_ = nullptr;
  const char* unknown_end_ = nullptr;  // of the last field that unknown() took
  int32_t field_ = 0;
  uint8_t wire_type_ = 0;
};

// The value of an optional or Box, made if there is none.
template <class Optional>
auto* ensure(Optional& o) {
  return o.has_value() ? &*o : &o.emplace();
}

// Writes what unknown() collected (see coding.h).
char* put_unknown_back(char* end, const UnknownFields& unknown);

}  // namespace quoin::wire
