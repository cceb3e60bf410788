// JSON that others send, read in the order of its keys: Go's rules for doubled keys need it.
//
// ordered_json looks through all keys of an object for each one that is added, so the keys of one object are bounded;
// the length of the text is its reader's to bound.
#pragma once
#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

namespace quoin::membership {

constexpr size_t kObjectKeysMax = 256;

// Discarded (is_discarded()): no JSON, or an object of more than kObjectKeysMax keys, doubled ones counted.
nlohmann::ordered_json parse_ordered_json(std::string_view text);

}  // namespace quoin::membership
