#include "wire/message.h"

namespace quoin::wire {

Error fault_error(const Fault& f) {
  using Kind = Fault::Kind;
  switch (f.kind) {
    case Kind::kNone:
      break;
    case Kind::kTruncated:
      return Error(Code::kMalformed, "unexpected EOF");
    case Kind::kOverflow:
      return Error(Code::kMalformed, "proto: integer overflow");
    case Kind::kNegativeLength:
      return Error(Code::kMalformed, "proto: negative length found during unmarshaling");
    case Kind::kWrongWireType:
      return make_error(Code::kMalformed, "proto: wrong wireType = {} for field {}", f.value, f.name);
    case Kind::kIllegalTag:
      return make_error(Code::kMalformed, "proto: {}: illegal tag {} (wire type {})", f.name, f.field,
                        f.value);
    case Kind::kEndGroup:
      return make_error(Code::kMalformed, "proto: {}: wiretype end group for non-group", f.name);
    case Kind::kStrayEndGroup:
      return Error(Code::kMalformed, "proto: unexpected end of group");
    case Kind::kIllegalWireType:
      return make_error(Code::kMalformed, "proto: illegal wireType {}", f.value);
    case Kind::kNesting:
      return Error(Code::kMalformed, "proto: messages nested too deeply");
  }
  CHECK(false, "no fault");
}

}  // namespace quoin::wire
