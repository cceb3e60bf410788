#include "auth/tokens.h"

#include <openssl/sha.h>

#include <algorithm>
#include <limits>

#include "base/coding.h"

namespace quoin::auth {
namespace {

constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
constexpr int64_t kTtlDefault = 300 * io::kSecond;

TokenTable::Options with_default(TokenTable::Options options) {
  if (options.ttl_ns <= 0) options.ttl_ns = kTtlDefault;
  return options;
}

}  // namespace

std::string new_token_prefix(Secrets& secrets) {
  // The largest multiple of the number of letters in a byte: beyond it some letters would come more often.
  constexpr unsigned kFair = 256 / kLetters.size() * kLetters.size();
  std::string prefix;
  while (prefix.size() < kTokenPrefixLetters) {
    std::array<char, 2 * kTokenPrefixLetters> bytes;
    secrets.fill(bytes);
    for (const char b : bytes) {
      const unsigned v = static_cast<unsigned char>(b);
      if (v < kFair && prefix.size() < kTokenPrefixLetters) prefix.push_back(kLetters[v % kLetters.size()]);
    }
  }
  return prefix;
}

std::string simple_token(std::string_view prefix, Index before) {
  return fmt::format("{}.{}", prefix, before);
}

std::optional<Index> parse_simple_token(std::string_view token) {
  const size_t dot = token.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view digits = token.substr(dot + 1);
  if (digits.empty()) return std::nullopt;
  uint64_t index = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return std::nullopt;
    const auto digit = static_cast<uint64_t>(c - '0');
    if (index > (std::numeric_limits<uint64_t>::max() - digit) / 10) return std::nullopt;
    index = index * 10 + digit;
  }
  return Index(index);
}

std::string token_fingerprint(std::string_view token) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), digest.data());
  return hex_bytes({reinterpret_cast<const char*>(digest.data()), 6});
}

TokenTable::TokenTable(const Options& options, io::Clock& clock, metrics::Registry& metrics)
    : options_(with_default(options)),
      clock_(clock),
      tokens_gauge_(metrics.gauge("quoin_auth_tokens", "Simple tokens in memory.")),
      bytes_gauge_(metrics.gauge("quoin_auth_token_bytes", "Memory of simple tokens.")),
      evicted_(metrics.counter("quoin_auth_tokens_evicted_total",
                               "Simple tokens that ended early because the table was full.")) {}

size_t TokenTable::cost(const Entry& entry) {
  // The entry, its two links, its slot in the table.
  return sizeof(Entry) + entry.token.capacity() + 2 * sizeof(void*) + 2 * sizeof(std::string_view);
}

void TokenTable::enable() {
  on_.store(true, std::memory_order_release);
}

void TokenTable::disable() {
  on_.store(false, std::memory_order_release);
  era_.fetch_add(1, std::memory_order_acq_rel);
}

bool TokenTable::valid(const Entry& entry, io::MonotonicNs now) const {
  return entry.era == era_.load(std::memory_order_acquire) &&
         !entry.owner->ended.load(std::memory_order_acquire) && now <= entry.end;
}

void TokenTable::drop(Shard& shard, Place place) {
  const size_t bytes = cost(*place);
  shard.bytes -= bytes;
  tokens_gauge_.set(static_cast<double>(count_.fetch_sub(1, std::memory_order_relaxed) - 1));
  bytes_gauge_.set(static_cast<double>(bytes_.fetch_sub(bytes, std::memory_order_relaxed) - bytes));
  remove_token_of(place->owner);
  shard.places.erase(std::string_view(place->token));
  shard.by_end.erase(place);
}

std::shared_ptr<TokenTable::Owner> TokenTable::add_token_of(std::string_view user) {
  OwnerShard& shard = owners_of(user);
  const std::lock_guard lock(shard.mutex);
  std::shared_ptr<Owner>& owner = shard.owners[user];
  if (owner == nullptr) owner = std::make_shared<Owner>(user);
  ++owner->tokens;
  return owner;
}

void TokenTable::remove_token_of(const std::shared_ptr<Owner>& owner) {
  OwnerShard& shard = owners_of(owner->name);
  const std::lock_guard lock(shard.mutex);
  if (--owner->tokens > 0) return;
  const auto it = shard.owners.find(owner->name);
  if (it != shard.owners.end() && it->second == owner) shard.owners.erase(it);
}

void TokenTable::assign(std::string_view token, std::string_view user) {
  if (!on_.load(std::memory_order_acquire)) return;
  Entry entry{std::string(token), add_token_of(user), era_.load(std::memory_order_acquire),
              clock_.monotonic() + options_.ttl_ns};
  const size_t bytes = cost(entry);
  Shard& shard = shard_of(token);
  const std::lock_guard lock(shard.mutex);
  if (const auto it = shard.places.find(token); it != shard.places.end()) drop(shard, it->second);
  while (!shard.by_end.empty() &&
         (shard.by_end.size() >= std::max<size_t>(options_.tokens_max / kShards, 1) ||
          shard.bytes + bytes > options_.bytes_max / kShards)) {
    if (valid(shard.by_end.front(), clock_.monotonic())) evicted_.inc();
    drop(shard, shard.by_end.begin());
  }
  shard.by_end.push_back(std::move(entry));
  const Place place = std::prev(shard.by_end.end());
  shard.places.emplace(place->token, place);
  shard.bytes += bytes;
  tokens_gauge_.set(static_cast<double>(count_.fetch_add(1, std::memory_order_relaxed) + 1));
  bytes_gauge_.set(static_cast<double>(bytes_.fetch_add(bytes, std::memory_order_relaxed) + bytes));
}

void TokenTable::end_user(std::string_view user) {
  OwnerShard& shard = owners_of(user);
  const std::lock_guard lock(shard.mutex);
  const auto it = shard.owners.find(user);
  if (it == shard.owners.end()) return;
  it->second->ended.store(true, std::memory_order_release);
  // Its next token gets an owner that has not ended.
  shard.owners.erase(it);
}

std::optional<std::string> TokenTable::find(std::string_view token) {
  if (!on_.load(std::memory_order_acquire)) return std::nullopt;
  const io::MonotonicNs now = clock_.monotonic();
  Shard& shard = shard_of(token);
  const std::lock_guard lock(shard.mutex);
  const auto it = shard.places.find(token);
  if (it == shard.places.end()) return std::nullopt;
  Entry& entry = *it->second;
  if (!valid(entry, now)) {
    drop(shard, it->second);
    return std::nullopt;
  }
  entry.end = now + options_.ttl_ns;
  shard.by_end.splice(shard.by_end.end(), shard.by_end, it->second);
  return entry.owner->name;
}

bool TokenTable::sweep(size_t max) {
  const io::MonotonicNs now = clock_.monotonic();
  for (size_t visited = 0; visited < kShards; ++visited, next_swept_ = (next_swept_ + 1) % kShards) {
    Shard& shard = shards_[next_swept_];
    const std::lock_guard lock(shard.mutex);
    while (!shard.by_end.empty() && !valid(shard.by_end.front(), now)) {
      if (max == 0) return true;
      --max;
      drop(shard, shard.by_end.begin());
    }
  }
  return false;
}

}  // namespace quoin::auth
