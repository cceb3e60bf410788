#include "membership/bounded_json.h"

#include <nlohmann/json.hpp>
#include <vector>

namespace quoin::membership {

nlohmann::ordered_json parse_ordered_json(std::string_view text) {
  using Json = nlohmann::ordered_json;
  std::vector<size_t> keys;  // of the objects that are open, by their depth
  bool too_many = false;
  const auto count = [&](int depth, Json::parse_event_t event, Json&) {
    const auto d = static_cast<size_t>(depth);
    if (event == Json::parse_event_t::key) {
      if (keys.size() <= d) keys.resize(d + 1);
      if (++keys[d] > kObjectKeysMax) too_many = true;
    } else if (event == Json::parse_event_t::object_start) {
      if (keys.size() > d + 1) keys[d + 1] = 0;
    }
    return !too_many;  // what is left out is not built
  };
  Json json = Json::parse(text, count, /*allow_exceptions=*/false);
  return too_many ? Json(Json::value_t::discarded) : json;
}

}  // namespace quoin::membership
