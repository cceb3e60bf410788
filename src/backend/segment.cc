#include "backend/segment.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/coding.h"

namespace quoin::backend {
namespace {
// What a record or a map node costs beside its bytes.
constexpr uint64_t kRecordOverhead = sizeof(Record);
constexpr uint64_t kPairOverhead = 112;
}  // namespace

void Segment::append(Revision revision, bool tombstone, Blob value) {
  if (count_ > 0) {
    const Revision last = record(count_ - 1).revision;
    CHECK(last < revision, "record {}/{} appended after {}/{}", revision.main, revision.sub, last.main,
          last.sub);
  }
  const int k = chunk_of(count_);
  if (chunks_[k] == nullptr) chunks_[k] = std::allocator<Record>().allocate(kFirstChunk << k);
  bytes_ += value.size() + kRecordOverhead;
  ++ops_;
  std::construct_at(&chunks_[k][count_ - first_of(k)], Record{revision, tombstone, std::move(value)});
  ++count_;
}

Segment::~Segment() {
  free_some(UINT64_MAX);
}

bool Segment::free_some(uint64_t records) {
  for (Pairs& pairs : pairs_) {
    for (; !pairs.empty(); --records) {
      if (records == 0) return true;
      pairs.erase(pairs.begin());
    }
  }
  for (; count_ > 0; --records) {
    if (records == 0) return true;
    --count_;
    const int k = chunk_of(count_);
    std::destroy_at(&chunks_[k][count_ - first_of(k)]);
    if (count_ == first_of(k))
      std::allocator<Record>().deallocate(std::exchange(chunks_[k], nullptr), kFirstChunk << k);
  }
  return false;
}

void Segment::change(Bucket bucket, std::string_view key, std::optional<std::string> value) {
  CHECK(bucket != Bucket::kKey, "records are appended");
  CHECK(!key.empty(), "empty key in bucket {}", bucket_name(bucket));
  bytes_ += key.size() + (value ? value->size() : 0) + kPairOverhead;
  ++ops_;
  Pairs& pairs = pairs_[static_cast<int>(bucket)];
  if (auto it = pairs.find(key); it != pairs.end()) {
    it->second = std::move(value);
  } else {
    pairs.emplace(std::string(key), std::move(value));
  }
}

void Segment::put(Bucket bucket, std::string_view key, std::string_view value) {
  change(bucket, key, std::string(value));
}

void Segment::erase(Bucket bucket, std::string_view key) {
  change(bucket, key, std::nullopt);
}

uint64_t Segment::lower_bound(Revision revision, uint64_t count) const {
  if (count == 0) return 0;
  const Revision first = record(0).revision;
  if (revision <= first) return 0;
  // Main revisions have no gaps and each has one record at least, so `revision` cannot lie before this index;
  // where every transaction made one change it lies exactly there.
  uint64_t lo = 0;
  uint64_t hi = count;
  const auto guess = static_cast<uint64_t>(revision.main - first.main);
  if (guess < count) {
    const Revision at = record(guess).revision;
    if (at == revision) return guess;
    (at < revision ? lo : hi) = at < revision ? guess + 1 : guess;
  }
  while (lo < hi) {
    const uint64_t mid = lo + (hi - lo) / 2;
    if (record(mid).revision < revision) {
      lo = mid + 1;
    } else {
      hi = mid;
    }
  }
  return lo;
}

void BatchBuilder::erase_record(std::string_view revision_key) {
  erased_.emplace_back(revision_key);
  batch_.of(Bucket::kKey).push_back({erased_.back(), {}, true});
}

void BatchBuilder::put_meta(std::string_view key, std::string_view value) {
  meta_.insert_or_assign(std::string(key), std::string(value));
}

void BatchBuilder::add(const FrozenSegment& frozen) {
  segment_ = frozen.segment;
  const Segment& segment = *segment_;
  const uint64_t count = segment.record_count();
  keys_.reserve(count);
  auto& records = batch_.of(Bucket::kKey);
  records.reserve(records.size() + count);
  for (uint64_t i = 0; i < count; ++i) {
    const Record& r = segment.record(i);
    keys_.emplace_back(r.revision, r.tombstone);
    records.push_back({keys_.back().view(), r.value.view(), false});
  }
  for (int b = 0; b < kBucketCount; ++b) {
    if (static_cast<Bucket>(b) == Bucket::kMeta) continue;
    for (const auto& [key, value] : segment.pairs(static_cast<Bucket>(b))) {
      batch_.changes[b].push_back({key, value ? std::string_view(*value) : std::string_view(), !value});
    }
  }
  for (const auto& [key, value] : segment.pairs(Bucket::kMeta)) meta_.insert_or_assign(key, value);
  // Spec storage-formats 2.1: never an index of 0, the term only if there is one.
  if (frozen.index) put_meta("consistent_index", be64(frozen.index.v));
  if (frozen.term) put_meta("term", be64(frozen.term.v));
}

const Batch& BatchBuilder::build() {
  auto& meta = batch_.of(Bucket::kMeta);
  meta.clear();
  for (const auto& [key, value] : meta_) {
    meta.push_back({key, value ? std::string_view(*value) : std::string_view(), !value});
  }
  return batch_;
}

Batch BatchBuilder::up_to(Bucket bucket, std::string_view key) const {
  Batch out;
  for (int b = 0; b <= static_cast<int>(bucket); ++b) {
    const auto& all = batch_.changes[b];
    auto end = all.end();
    if (b == static_cast<int>(bucket)) {
      end = std::upper_bound(all.begin(), all.end(), key,
                             [](std::string_view k, const Change& c) { return k < c.key; });
    }
    out.changes[b].assign(all.begin(), end);
  }
  return out;
}

}  // namespace quoin::backend
