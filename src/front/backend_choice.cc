#include "front/backend_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace quoin::front {

std::string Backend::address() const {
  const bool brackets = host.find(':') != std::string::npos;
  return brackets ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

BackendChoice::BackendChoice(std::vector<Backend> backends, uint64_t seed)
    : backends_(std::move(backends)), active_(backends_.size(), true), prng_(seed) {}

// There is one.
size_t BackendChoice::next_without_weight(uint16_t priority) {
  for (;;) {
    const size_t i = turn_++ % backends_.size();
    if (active_[i] && backends_[i].priority == priority && backends_[i].weight == 0) return i;
  }
}

std::optional<size_t> BackendChoice::pick() {
  std::optional<uint16_t> priority;
  uint64_t weights = 0;
  bool some_without = false;
  for (size_t i = 0; i < backends_.size(); ++i) {
    const Backend& b = backends_[i];
    if (!active_[i] || (priority && b.priority > *priority)) continue;
    if (!priority || b.priority < *priority) {
      priority = b.priority;
      weights = 0;
      some_without = false;
    }
    weights += b.weight;
    some_without = some_without || b.weight == 0;
  }
  if (!priority) return std::nullopt;
  if (weights == 0 || (some_without && prng_.chance(1, 100))) return next_without_weight(*priority);
  uint64_t left = prng_.below(weights);
  for (size_t i = 0;; ++i) {
    const Backend& b = backends_[i];
    if (!active_[i] || b.priority != *priority) continue;
    if (left < b.weight) return i;
    left -= b.weight;
  }
}

}  // namespace quoin::front
