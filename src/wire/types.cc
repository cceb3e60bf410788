#include "wire/types.h"

namespace quoin::wire {

const std::vector<std::string_view>& UnknownFields::fields() const {
  static const std::vector<std::string_view> kNone;
  return fields_ ? *fields_ : kNone;
}

}  // namespace quoin::wire
