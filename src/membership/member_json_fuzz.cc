// The readers of members' JSON. The first byte chooses one; what is accepted is written and read again.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "membership/bootstrap.h"
#include "membership/member.h"

using namespace quoin::membership;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 'm':
      if (const auto m = parse_member(text)) CHECK(*parse_member(member_json(*m)) == *m);
      break;
    case 'c': {
      bool promote = false, again = false;
      if (const auto m = parse_change_context(text, &promote)) {
        CHECK(*parse_change_context(change_context_json(*m, promote), &again) == *m);
        CHECK_EQ(promote, again);
      }
      break;
    }
    case 'l':
      if (const auto list = parse_members(text)) CHECK(*parse_members(members_json(*list)) == *list);
      break;
    case 'd':
      (void)parse_versions(text).has_value();
      if (const auto d = parse_downgrade(text)) CHECK(*parse_downgrade(downgrade_json(*d)) == *d);
      break;
    case 's':
      if (const auto s = parse_conf_state(text)) CHECK(*parse_conf_state(conf_state_json(*s)) == *s);
      break;
    case 'u':
      if (const auto url = parse_url(text)) CHECK(*parse_url(*url) == *url);
      break;
    case 'i':
      if (const auto c = parse_initial_cluster(text))
        CHECK(parse_initial_cluster(initial_cluster_text(*c)).has_value());
      break;
    case 'j': {
      // Any bytes make a JSON string that is read back, as far as they are UTF-8.
      Member m;
      m.name = text;
      CHECK(parse_member(member_json(m)).has_value());
      break;
    }
  }
  return 0;
}
