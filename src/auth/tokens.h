// Simple tokens: sixteen random letters, a dot, and the index before the Authenticate entry that made them. Every
// member of the cluster makes the same token when it applies the entry, and keeps it in memory only.
//
//   client loop: prefix = new_token_prefix(secrets) -> proposed in the entry
//   apply:       tokens.assign(simple_token(prefix, index), user)
//   client loop: parse_simple_token(token) says the index to wait for; then tokens.find(token)
//
// A token lives ttl from its last use on this member. Uses move it to the back of its shard's list, so that the
// front is what ends next and nothing is ever walked to find it. A user's tokens end together by a mark that they
// share; all tokens end by a count that each of them carries. What has ended that way is found invalid at once,
// and its memory is given back by sweep().
//
// Threads: any. assign(), end_user(), enable() and disable() come from the apply strand; find() from client loops;
// sweep() from one timer. Each shard has a mutex that is held for a few steps of a hash table.
// Bounds: tokens_max tokens and bytes_max bytes, a sixteenth of each in every shard. At a bound the token of the
// shard that was unused longest ends early; its owner gets kInvalidAuthToken and logs in again, as clients do
// after a restart of the member.
// Units: times are io::MonotonicNs, from the caller's clock.
// Source: spec api-semantics 6.3; etcd's simple_token.go.
#pragma once
#include <absl/container/flat_hash_map.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "auth/name_map.h"
#include "auth/secrets.h"
#include "base/ids.h"
#include "base/metrics.h"
#include "io/clock.h"

namespace quoin::auth {

constexpr size_t kTokenPrefixLetters = 16;
std::string new_token_prefix(Secrets& secrets);
// `before`: the consistent index before the entry, which is the entry's own index minus one.
std::string simple_token(std::string_view prefix, Index before);
// The index that must be applied before the token can be known. Empty: no simple token at all (another count of
// dots than one, or no 64-bit decimal number behind it).
std::optional<Index> parse_simple_token(std::string_view token);
// What logs may show of a token: twelve hex digits of its SHA-256.
std::string token_fingerprint(std::string_view token);

class TokenTable {
 public:
  struct Options {
    int64_t ttl_ns = 300 * io::kSecond;  // 0 or less: the default
    size_t tokens_max = 500'000;
    size_t bytes_max = 128u << 20;
  };
  TokenTable(const Options& options, io::Clock& clock, metrics::Registry& metrics);
  TokenTable(const TokenTable&) = delete;
  TokenTable& operator=(const TokenTable&) = delete;

  // While disabled, assign() does nothing and find() finds nothing.
  void enable();
  // Every token ends.
  void disable();
  // Makes the token valid. A token that is there already is taken over by `user`; etcd stops there, and cannot
  // get there either, since an index has one entry.
  void assign(std::string_view token, std::string_view user);
  void end_user(std::string_view user);

  // Whose token it is, and keeps it alive for another ttl. Empty: invalid.
  std::optional<std::string> find(std::string_view token);

  // Gives back the memory of up to `max` tokens that have ended. True if there is more to do. Once a second.
  bool sweep(size_t max = 1000);

  size_t size() const { return count_.load(std::memory_order_relaxed); }
  size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  // A user's tokens that end together.
  struct Owner {
    explicit Owner(std::string_view user) : name(user) {}
    const std::string name;
    std::atomic<bool> ended{false};
    size_t tokens = 0;  // guarded by its OwnerShard's mutex
  };
  struct Entry {
    std::string token;
    std::shared_ptr<Owner> owner;
    uint64_t era;
    io::MonotonicNs end;
  };
  using Place = std::list<Entry>::iterator;
  struct Shard {
    std::mutex mutex;
    std::list<Entry> by_end;  // what ends first in front
    absl::flat_hash_map<std::string_view, Place, NameHash, std::equal_to<>>
        places;  // keys lie in the entries
    size_t bytes = 0;
  };
  // Users that have tokens. Its mutex is taken within a Shard's, never the other way round.
  struct OwnerShard {
    std::mutex mutex;
    absl::flat_hash_map<std::string, std::shared_ptr<Owner>, NameHash, std::equal_to<>> owners;
  };
  static constexpr size_t kShards = 16;

  static size_t cost(const Entry& entry);
  Shard& shard_of(std::string_view token) { return shards_[NameHash()(token) % kShards]; }
  bool valid(const Entry& entry, io::MonotonicNs now) const;
  void drop(Shard& shard, Place place);
  OwnerShard& owners_of(std::string_view user) { return owners_[NameHash()(user) % kShards]; }
  // The user's owner, with one token more.
  std::shared_ptr<Owner> add_token_of(std::string_view user);
  void remove_token_of(const std::shared_ptr<Owner>& owner);

  const Options options_;
  io::Clock& clock_;
  std::atomic<bool> on_{false};
  std::atomic<uint64_t> era_{0};  // of tokens that are valid
  std::array<Shard, kShards> shards_;
  std::array<OwnerShard, kShards> owners_;
  std::atomic<size_t> count_{0}, bytes_{0};
  size_t next_swept_ = 0;  // sweep()'s own
  metrics::Gauge& tokens_gauge_;
  metrics::Gauge& bytes_gauge_;
  metrics::Counter& evicted_;
};

}  // namespace quoin::auth
