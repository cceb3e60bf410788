#include "mvcc/change_log.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <numeric>

#include "base/check.h"
#include "mvcc/key_range.h"

namespace quoin::mvcc {

LogBlock* LogBlock::create(uint64_t birth, LogBlock* older, size_t key_capacity) {
  auto* block = new (::operator new(sizeof(LogBlock) + key_capacity)) LogBlock;
  block->birth = birth;
  block->older = older;
  block->newer = nullptr;
  block->key_capacity = key_capacity;
  block->key_bytes = 0;
  block->size = 0;
  block->sealed_size = 0;
  return block;
}

void LogBlock::seal() {
  std::iota(by_key, by_key + size, static_cast<uint16_t>(0));
  std::sort(by_key, by_key + size, [this](uint16_t a, uint16_t b) {
    const int order = key(a).compare(key(b));
    return order != 0 ? order < 0 : a < b;
  });
  sums[0] = 0;
  for (int i = 0; i < size; ++i) sums[i + 1] = static_cast<int16_t>(sums[i] + deltas[by_key[i]]);
  sealed_size = size;
}

namespace {

// Sum of the deltas in a sealed block of keys < `key`.
int sum_below(const LogBlock& block, std::string_view key) {
  const uint16_t* end = block.by_key + block.sealed_size;
  const uint16_t* at = std::lower_bound(block.by_key, end, key,
                                        [&](uint16_t i, std::string_view k) { return block.key(i) < k; });
  return block.sums[at - block.by_key];
}

}  // namespace

int64_t LogRef::delta_after(int64_t revision, const KeyRange& range) const {
  int64_t sum = 0;
  for (const LogBlock* block = newest; block; block = block->older) {
    const bool growing = block == newest;
    const int size = growing ? newest_size : block->sealed_size;
    if (size > 0 && block->revisions[size - 1] <= revision) break;
    if (!growing && !range.single() && block->revisions[0] > revision) {
      const int above = range.open_ended() ? block->sums[size] : sum_below(*block, range.range_end);
      sum += above - sum_below(*block, range.key);
    } else {
      for (int i = size; i-- > 0 && block->revisions[i] > revision;) {
        if (range.contains(block->key(i))) sum += block->deltas[i];
      }
    }
    if (block == oldest) break;
  }
  return sum;
}

ChangeLog::~ChangeLog() {
  for (LogBlock* block = oldest_; block;) {
    LogBlock* newer = block->newer;
    LogBlock::destroy(block);
    block = newer;
  }
}

void ChangeLog::append(int64_t revision, std::string_view key, int delta, uint64_t version) {
  LogBlock* block = newest_;
  if (!block || block->size == kLogBlockChanges || block->key_bytes + key.size() > block->key_capacity) {
    if (block) block->seal();
    block = LogBlock::create(version, newest_, std::max(kLogBlockKeyBytes, key.size()));
    if (newest_) newest_->newer = block;
    newest_ = block;
    if (!oldest_) oldest_ = block;
    bytes_ += block->bytes();
  }
  const int i = block->size;
  char* space = block->key_space() + block->key_bytes;
  if (!key.empty()) std::memcpy(space, key.data(), key.size());
  block->key_bytes += key.size();
  block->revisions[i] = revision;
  block->keys[i] = space;
  block->key_sizes[i] = static_cast<uint32_t>(key.size());
  block->deltas[i] = static_cast<int8_t>(delta);
  block->size = i + 1;
  // The transaction that is being written must stay complete, so the newest block is never dropped here.
  while (bytes_ > kLogBytesMax && oldest_ != newest_) drop_oldest();
}

void ChangeLog::drop_oldest() {
  LogBlock* block = oldest_;
  floor_ = std::max(floor_, block->revisions[block->size - 1]);
  oldest_ = block->newer;
  bytes_ -= block->bytes();
  reclaimer_.retire(block, block->birth, Retired::Kind::kLogBlock);
}

bool ChangeLog::trim(int64_t oldest_needed) {
  bool dropped = false;
  while (oldest_ && oldest_ != newest_ && oldest_->revisions[oldest_->size - 1] <= oldest_needed) {
    drop_oldest();
    dropped = true;
  }
  return dropped;
}

}  // namespace quoin::mvcc
