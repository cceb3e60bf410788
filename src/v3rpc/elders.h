// What a loop knows of the oldest keys under a prefix, so that a hand-over costs the same however many wait.
//
// Which keys are older than one's own is found by going over all keys under the prefix, since the store's
// index has them by name. The pass of one who was woken therefore brings the kKept oldest keys along. Whoever
// is woken next is among them, and only has to look whether those before it are still there: each is found
// gone once.
//
// What is known stays true: a key older than another only disappears, and never comes again as old.
//
// Threads: none of its own. Bound: kKept keys of kKeptBytes together (one longer key is kept alone).
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>

namespace quoin::v3rpc {

class Elders {
 public:
  static constexpr size_t kKept = 128;
  static constexpr size_t kKeptBytes = 16 << 10;

  // Forgets what it knew; add() the keys of a pass then, by creation, the oldest first, while it wants more.
  void begin() {
    keys_.clear();
    bytes_ = 0;
    known_to_ = 0;
  }
  // False: it keeps no more.
  bool add(std::string key, int64_t created) {
    if (!keys_.empty() && (keys_.size() == kKept || bytes_ + key.size() > kKeptBytes)) return false;
    bytes_ += key.size();
    known_to_ = created;
    keys_.push_back({created, std::move(key)});
    return true;
  }
  // There were no more keys at this revision.
  void add_no_more(int64_t revision) { known_to_ = revision; }

  // All keys that are older than this creation are known, as far as they are still there.
  bool knows(int64_t created) const { return known_to_ >= created - 1; }
  // The youngest of them; empty if none is left. `alive(key, created)` tells whether the key is still the one
  // created then. Only if knows(created).
  template <class Alive>
  std::optional<std::string> youngest(int64_t created, const Alive& alive) {
    while (!keys_.empty() && keys_.front().created < created &&
           !alive(keys_.front().key, keys_.front().created)) {
      keys_.pop_front();
    }
    auto at = std::lower_bound(keys_.begin(), keys_.end(), created,
                               [](const Key& k, int64_t c) { return k.created < c; });
    while (at != keys_.begin()) {
      --at;
      if (alive(at->key, at->created)) return at->key;
      at = keys_.erase(at);
    }
    return std::nullopt;
  }

 private:
  struct Key {
    int64_t created;
    std::string key;
  };
  std::deque<Key> keys_;  // by creation
  size_t bytes_ = 0;      // added since begin()
  int64_t known_to_ = 0;  // every key created up to here that is left is in keys_
};

}  // namespace quoin::v3rpc
