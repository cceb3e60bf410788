// Edges: situations that a run should meet, and how often it did.
//
// A rule that is never tried holds nothing. So whatever makes a situation counts it here under a name, and a
// long run fails if one of kExpected never came up. Threads: confined to one.
#pragma once
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace quoin::scenarios {

class Edges {
 public:
  void met(std::string_view name, size_t times = 1);
  void add(const Edges& other);
  bool has(std::string_view name) const { return times_.contains(name); }
  // One line each.
  std::string text() const;
  // Those of kExpected that never came up.
  std::vector<std::string_view> missing() const;

 private:
  std::map<std::string, size_t, std::less<>> times_;
};

}  // namespace quoin::scenarios
