// The membership text: what reads must be written to something that reads to the same.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "snap/membership_json.h"

using namespace quoin;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const auto text = snap::read_membership_json({reinterpret_cast<const char*>(bytes), size});
  if (!text) return 0;
  // "a" and "0a" are one id; written, only one of them is left.
  for (size_t i = 1; i < text->state.members.size(); ++i) {
    if (text->state.members[i - 1].id == text->state.members[i].id) return 0;
  }
  for (size_t i = 1; i < text->state.removed.size(); ++i) {
    if (text->state.removed[i - 1] == text->state.removed[i]) return 0;
  }
  const std::string written = snap::write_membership_json(text->state, 7);
  const auto again = snap::read_membership_json(written);
  CHECK(again.has_value(), "{}", again.error().text());
  CHECK(again->state == text->state, "{}", written);
  return 0;
}
