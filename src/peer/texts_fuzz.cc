// The small texts that come from other members: URLs and versions in the fields of requests, answers to probes. The
// first byte chooses which.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "peer/compatibility.h"
#include "peer/prober.h"
#include "peer/rfc3339.h"
#include "peer/url.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quoin::peer;
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      if (const auto url = parse_url(text)) CHECK(parse_url(url->text).has_value(), "{}", url->text);
      break;
    case 1:
      if (const auto version = parse_version(text)) CHECK(parse_version(version->text()).has_value());
      break;
    case 2:
      if (const auto at = parse_rfc3339(text)) {
        // A zone may lead out of the years that are read.
        const auto again = parse_rfc3339(rfc3339(*at));
        CHECK(!again || *again == *at);
      }
      break;
    case 3:
      if (const auto at = parse_probing_answer(text))
        CHECK(*parse_probing_answer(probing_answer(*at)) == *at);
      break;
  }
  return 0;
}
