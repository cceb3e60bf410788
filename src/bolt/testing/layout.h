// How many pages the same changes take in our files and in bbolt's (interop/main.go, command "layout", makes
// the same ones): values of one size, written in the orders a member writes in.
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "bolt/db.h"
#include "bolt/testing/memory_fs.h"

namespace quoin::bolt::testing {

struct PageCount {
  uint64_t in_use = 0;
  uint64_t in_file = 0;  // up to the high-water mark
};
struct LayoutCounts {
  PageCount filled;        // records appended, 50 a commit
  PageCount updated;       // then 50 appended and 50 of all deleted, in turn, as many as there are records
  PageCount defragmented;  // what is left, copied into a new file
  PageCount scattered;     // written and deleted in no order at all
};

class Layout {
 public:
  Layout(uint64_t records, uint64_t value_bytes) : records_(records), value_(value_bytes, 'v') {}

  LayoutCounts run() {
    LayoutCounts counts;
    auto db = open("filled");
    while (next_ < records_) append(*db);
    counts.filled = count(*db);
    for (uint64_t n = 0; n < records_; n += kRound) {
      append(*db);
      erase_some(*db);
    }
    counts.updated = count(*db);
    counts.defragmented = copy();
    counts.scattered = scatter();
    return counts;
  }

 private:
  static constexpr uint64_t kRound = 50;

  static std::string key(uint64_t n) {
    std::string k = be64(n);
    k.push_back('_');
    return k.append(be64(0));
  }
  uint64_t draw(uint64_t below) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (state_ >> 33) % below;
  }
  std::unique_ptr<Db> open(const std::string& name) {
    fs_.track_durability = false;
    Options options;
    options.reserve_bytes = 1ull << 30;
    auto db = std::move(*Db::open(fs_, name, options));
    change(*db, 0.5, [](Bucket&) {});  // the bucket itself
    return db;
  }
  static PageCount count(const Db& db) {
    const Stats s = db.stats();
    return {s.hwm_pages - s.free_pages - s.pending_pages, s.hwm_pages};
  }
  template <typename Change>
  static void change(Db& db, double fill, Change what) {
    auto tx = std::move(*db.begin_write());
    Bucket& bucket = **tx->create_bucket("key");
    bucket.set_fill_percent(fill);
    what(bucket);
    CHECK(db.commit_blocking(std::move(tx)).has_value());
  }
  void append(Db& db) {
    change(db, kFillSequential, [&](Bucket& bucket) {
      for (uint64_t i = 0; i < kRound; ++i) {
        live_.push_back(next_++);
        CHECK(bucket.put(key(live_.back()), value_).has_value());
      }
    });
  }
  void erase_some(Db& db) {
    std::vector<uint64_t> gone;
    for (uint64_t i = 0; i < kRound; ++i) {
      uint64_t& at = live_[draw(live_.size())];
      gone.push_back(at);
      at = live_.back();
      live_.pop_back();
    }
    std::sort(gone.begin(), gone.end());
    change(db, kFillSequential, [&](Bucket& bucket) {
      for (uint64_t n : gone) CHECK(bucket.erase(key(n)).has_value());
    });
  }
  PageCount copy() {
    constexpr uint64_t kStepBytes = 2u << 20;
    auto db = open("copy");
    std::sort(live_.begin(), live_.end());
    for (size_t i = 0; i < live_.size();) {
      change(*db, kFillSequential, [&](Bucket& bucket) {
        for (uint64_t bytes = 0; i < live_.size() && bytes < kStepBytes; bytes += value_.size())
          CHECK(bucket.put(key(live_[i++]), value_).has_value());
      });
    }
    return count(*db);
  }
  PageCount scatter() {
    auto db = open("scattered");
    for (uint64_t n = 0; n < 3 * records_; n += kRound) {
      change(*db, kFillDefault, [&](Bucket& bucket) {
        for (uint64_t i = 0; i < kRound; ++i)
          CHECK(bucket.put(key(draw(records_) * 2654435761u), value_).has_value());
        for (uint64_t i = 0; i < kRound / 2; ++i)
          CHECK(bucket.erase(key(draw(records_) * 2654435761u)).has_value());
      });
    }
    return count(*db);
  }

  const uint64_t records_;
  const std::string value_;
  uint64_t state_ = 1;
  uint64_t next_ = 0;
  std::vector<uint64_t> live_;
  MemoryFs fs_;
};

// About 4 MiB, between 100 and 4,000 records.
inline uint64_t layout_records(uint64_t value_bytes) {
  return std::clamp<uint64_t>((4u << 20) / (value_bytes + 1) / 50 * 50, 100, 4000);
}

// Pages in use in a file of bbolt v1.4.3 (`interop layout FILE layout_records(value) value`).
struct RecordedLayout {
  uint64_t value_bytes;
  uint64_t filled, updated, defragmented, scattered;
};
inline const std::vector<RecordedLayout> kBboltLayouts = {
    {100, 155, 283, 155, 146},        {300, 373, 596, 372, 363},        {800, 1054, 1467, 1013, 958},
    {1300, 1619, 1445, 1619, 919},    {1900, 1114, 1247, 1114, 847},    {2100, 1962, 1671, 1962, 1012},
    {2500, 1661, 1434, 1661, 856},    {3000, 1359, 1325, 1359, 829},    {4000, 1009, 1011, 1009, 651},
    {5000, 1207, 1138, 1207, 711},    {7000, 1106, 1093, 1106, 698},    {9000, 1130, 1086, 1130, 649},
    {13000, 1055, 1024, 1055, 620},   {20000, 1004, 1004, 1004, 644},   {50000, 1253, 1248, 1253, 745},
    {100000, 2454, 2460, 2454, 1480}, {300000, 7354, 7348, 7354, 4408},
};

}  // namespace quoin::bolt::testing
