// Which backend gets the next connection: of the active ones those of the lowest SRV priority, and of these each by its
// share of the weights; backends without weight in turn.
//
// A backend without weight beside some that have one gets one connection of a hundred (RFC 2782 asks for a very small
// chance).
//
// Pure. Threads: confined to its owner's. Source: etcd's server/proxy/tcpproxy (pick), RFC 2782. etcd's turn without
// weights goes over backends of every priority; here the priority counts there as well.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/prng.h"

namespace quoin::front {

struct Backend {
  std::string host;  // name or address, an IPv6 one without brackets
  uint16_t port = 0;
  uint16_t priority = 0, weight = 0;
  std::string address() const;  // "10.0.0.1:2379", "[::1]:2379"
};

class BackendChoice {
 public:
  BackendChoice(std::vector<Backend> backends, uint64_t seed);
  // Index of a backend; nothing if none is active.
  std::optional<size_t> pick();
  void set_active(size_t index, bool active) { active_[index] = active; }
  bool active(size_t index) const { return active_[index]; }
  const std::vector<Backend>& backends() const { return backends_; }

 private:
  size_t next_without_weight(uint16_t priority);

  const std::vector<Backend> backends_;
  std::vector<bool> active_;  // all at first
  Prng prng_;
  size_t turn_ = 0;
};

}  // namespace quoin::front
