// The keys that session tickets are sealed with. A new one is made each day; a ticket is taken for seven
// days, and is renewed if it was sealed with an older key. They live as long as the process: a restart ends
// all sessions.
//
// Threads: any thread.
// Source: Go's crypto/tls common.go (ticketKeyRotation, ticketKeyLifetime).
#pragma once
#include <array>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "io/clock.h"

namespace quoin::tls {

class TicketKeys {
 public:
  static constexpr int64_t kRotation = 24 * 3600 * io::kSecond;
  static constexpr int64_t kLifetime = 7 * kRotation;

  struct Key {
    std::array<unsigned char, 16> name;
    std::array<unsigned char, 32> cipher;
    std::array<unsigned char, 32> mac;
    io::MonotonicNs made;
  };
  struct Found {
    Key key;
    bool newest;
  };

  // `clock` must outlive the keys.
  explicit TicketKeys(const io::Clock& clock) : clock_(clock) {}

  // The key for new tickets; nothing if no random bytes can be had.
  std::optional<Key> newest();
  std::optional<Found> find(std::string_view name);

 private:
  const io::Clock& clock_;
  std::mutex mutex_;
  std::vector<Key> keys_;  // newest first; at most kLifetime / kRotation + 1
};

}  // namespace quoin::tls
