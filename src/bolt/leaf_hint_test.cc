// A get() with a hint, and one of a group of keys, answers what a plain one answers, whatever else is asked for.
#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/prng.h"
#include "bolt/db.h"
#include "bolt/testing/memory_fs.h"

namespace quoin::bolt {
namespace {

std::string key_of(uint64_t n) {
  std::string key = be64(n);
  key.push_back('_');
  return key.append(be64(0));
}

class LeafHintTest : public ::testing::TestWithParam<uint64_t> {
 protected:
  // Every third number up to 3 * `records` is there.
  void fill(uint64_t records) {
    Options options;
    options.reserve_bytes = 1ull << 30;
    db_ = std::move(*Db::open(fs_, "db", options));
    auto tx = std::move(*db_->begin_write());
    Bucket& bucket = **tx->create_bucket("key");
    for (uint64_t n = 0; n < records; ++n) {
      ASSERT_TRUE(
          bucket.put(key_of(3 * n), std::string(n % 200, static_cast<char>('a' + n % 26))).has_value());
    }
    ASSERT_TRUE(db_->commit_blocking(std::move(tx)).has_value());
  }

  testing::MemoryFs fs_;
  std::unique_ptr<Db> db_;
};

TEST_P(LeafHintTest, AnswersAsWithoutOne) {
  const uint64_t records = GetParam();
  fill(records);
  auto tx = db_->begin_read();
  const BucketView bucket = **tx->bucket("key");
  Prng prng(records + 1);
  LeafHint hint;
  uint64_t at = 0;
  size_t found = 0;
  for (int i = 0; i < 20'000; ++i) {
    // Mostly the neighbour, as a range in the order of revisions asks; at times a gap, a step back, anywhere.
    switch (prng.below(8)) {
      case 0:
        at = prng.below(3 * records + 10);
        break;
      case 1:
        at = at > 3 ? at - 3 : 0;
        break;
      case 2:
        at += 1;
        break;
      default:
        at += 3;
    }
    const std::string key = key_of(at);
    const auto plain = bucket.get(key);
    const auto hinted = bucket.get(key, &hint);
    ASSERT_TRUE(plain && hinted);
    ASSERT_EQ(*plain, *hinted) << at;
    found += plain->has_value();
    if (at > 3 * records) at = prng.below(3 * records + 1);
  }
  EXPECT_GE(found, records > 0 ? 2000u : 0u);
}

TEST_P(LeafHintTest, AGroupAnswersAsOneByOne) {
  const uint64_t records = GetParam();
  fill(records);
  auto tx = db_->begin_read();
  const BucketView bucket = **tx->bucket("key");
  Prng prng(records + 2);
  size_t found = 0;
  for (int i = 0; i < 3000; ++i) {
    std::vector<std::string> names(prng.below(BucketView::kGroupMax + 1));
    uint64_t at = prng.below(3 * records + 10);
    for (std::string& name : names) {
      // Anywhere, the same again, the next record, or a gap; at times a key too short to be placed by its number.
      const uint64_t kind = prng.below(10);
      if (kind < 3) at = prng.below(3 * records + 10);
      if (kind > 4) at += kind == 9 ? 1 : 3;
      name = prng.chance(1, 50) ? std::string(1 + prng.below(7), 'k') : key_of(at);
    }
    const std::vector<std::string_view> keys(names.begin(), names.end());
    std::array<std::optional<std::string_view>, BucketView::kGroupMax> out;
    ASSERT_TRUE(bucket.get_group(keys, out.data()).has_value());
    for (size_t k = 0; k < keys.size(); ++k) {
      const auto plain = bucket.get(keys[k]);
      ASSERT_TRUE(plain);
      ASSERT_EQ(*plain, out[k]) << k << " of " << keys.size();
      found += plain->has_value();
    }
  }
  EXPECT_GE(found, records > 0 ? 500u : 0u);
}

// Inline, one leaf, two levels, three levels.
INSTANTIATE_TEST_SUITE_P(Sizes, LeafHintTest, ::testing::Values(0, 1, 4, 30, 1000, 40'000));

}  // namespace
}  // namespace quoin::bolt
