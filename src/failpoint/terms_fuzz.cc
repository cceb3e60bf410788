// Any text as terms: what is taken keeps its text, and firing it ends.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "failpoint/registry.h"
#include "failpoint/terms.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto terms = quoin::failpoint::Terms::parse(text)) {
    CHECK(terms->text() == text);
    CHECK_LE(text.size(), quoin::failpoint::kTermsBytesMax);
    quoin::Prng prng(1);
    for (uint64_t i = 0; i < 4; ++i) {
      const uint64_t before = terms->count();
      const auto fired = terms->fire(prng);
      CHECK_EQ(terms->count(), before + (fired ? 1 : 0));
      if (fired) (void)quoin::failpoint::sleep_ns(fired->value);
    }
  }
  const auto assignments = quoin::failpoint::parse_assignments(text);
  CHECK(assignments.error.empty() || assignments.items.empty());
  return 0;
}
