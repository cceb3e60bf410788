// What happened in a run and when, in virtual time: readable, and as a hash to compare two runs.
//
// Threads: confined to one. Bound: kLinesMax lines are kept, the newest.
#pragma once
#include <fmt/format.h>

#include <cstdint>
#include <deque>
#include <string>
#include <utility>

#include "sim/world.h"

namespace quoin::scenarios {

class Story {
 public:
  static constexpr size_t kLinesMax = 4'000;
  explicit Story(sim::World& world) : world_(world) {}

  template <class... Args>
  void note(fmt::format_string<Args...> format, Args&&... args) {
    add(fmt::format(format, std::forward<Args>(args)...));
  }
  uint64_t hash() const { return hash_; }
  // The last lines.
  std::string text(size_t lines) const {
    std::string out;
    for (size_t i = lines_.size() > lines ? lines_.size() - lines : 0; i < lines_.size(); ++i) {
      out += lines_[i];
      out += '\n';
    }
    return out;
  }

 private:
  void add(std::string line) {
    const double seconds = static_cast<double>(world_.now()) / static_cast<double>(io::kSecond);
    line = fmt::format("  {:9.4f} {}", seconds, line);
    for (const char c : line) hash_ = (hash_ ^ static_cast<unsigned char>(c)) * 1099511628211ull;
    lines_.push_back(std::move(line));
    if (lines_.size() > kLinesMax) lines_.pop_front();
  }

  sim::World& world_;
  std::deque<std::string> lines_;
  uint64_t hash_ = 14695981039346656037ull;
};

}  // namespace quoin::scenarios
