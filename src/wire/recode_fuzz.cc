// Any bytes through any message's decoder (the first byte chooses it). What decodes must encode to bytes that
// decode again and are then stable.
#include <cstdint>

#include "base/check.h"
#include "base/coding.h"
#include "wire/registry.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quoin;
  if (size == 0) return 0;
  const auto all = wire::messages();
  const wire::MessageInfo& info = all[data[0] % all.size()];
  const auto first = info.recode({reinterpret_cast<const char*>(data) + 1, size - 1});
  if (!first) {
    CHECK(first.error().code() == Code::kMalformed);
    return 0;
  }
  const auto second = info.recode(*first);
  CHECK(second.has_value(), "{}: {} from {}", info.full_name, second.error().text(), hex_bytes(*first));
  CHECK(*second == *first, "{}: {} became {}", info.full_name, hex_bytes(*first), hex_bytes(*second));
  return 0;
}
