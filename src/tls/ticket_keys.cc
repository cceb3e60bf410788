#include "tls/ticket_keys.h"

#include <openssl/rand.h>

#include <cstring>

namespace quoin::tls {

std::optional<TicketKeys::Key> TicketKeys::newest() {
  const std::lock_guard lock(mutex_);
  const io::MonotonicNs now = clock_.monotonic();
  if (keys_.empty() || now - keys_.front().made >= kRotation) {
    Key key{};
    key.made = now;
    if (RAND_bytes(key.name.data(), key.name.size()) != 1 ||
        RAND_bytes(key.cipher.data(), key.cipher.size()) != 1 ||
        RAND_bytes(key.mac.data(), key.mac.size()) != 1)
      return std::nullopt;
    keys_.insert(keys_.begin(), key);
    std::erase_if(keys_, [&](const Key& k) { return now - k.made > kLifetime; });
  }
  return keys_.front();
}

std::optional<TicketKeys::Found> TicketKeys::find(std::string_view name) {
  const auto newest_key = newest();
  const std::lock_guard lock(mutex_);
  const io::MonotonicNs now = clock_.monotonic();
  for (const Key& key : keys_) {
    if (name.size() != key.name.size() || std::memcmp(name.data(), key.name.data(), name.size()) != 0)
      continue;
    if (now - key.made > kLifetime) return std::nullopt;
    return Found{key, newest_key && key.name == newest_key->name};
  }
  return std::nullopt;
}

}  // namespace quoin::tls
