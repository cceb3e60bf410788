// Random transactions against nested maps. After every commit the whole file is checked, and every view still
// open must show what it showed when it was opened.
#include <gtest/gtest.h>

#include <deque>

#include "base/prng.h"
#include "bolt/testing/memory_fs.h"
#include "bolt/testing/model.h"
#include "bolt/testing/owner_twin.h"

namespace quoin::bolt {
namespace {

using testing::MemoryFs;
using testing::Model;
using testing::read_model;

class Twin {
 public:
  Twin(uint64_t seed, uint32_t page_size) : prng_(seed) {
    options_.page_size = page_size;
    options_.reserve_bytes = 1u << 30;
    options_.growth_bytes = 8 * page_size;
    options_.cut_slack_bytes = 8 * page_size;
    reopen();
  }

  void run(int transactions) {
    for (int i = 0; i < transactions && !::testing::Test::HasFatalFailure(); ++i) {
      SCOPED_TRACE(i);
      transaction();
      if (prng_.chance(1, 3)) views_.push_back({db_->begin_read(), committed_});
      while (!views_.empty() && prng_.chance(1, 3))
        views_.erase(views_.begin() + static_cast<long>(prng_.below(views_.size())));
      for (const View& v : views_) expect_view(v);
      if (prng_.chance(1, 12)) reopen();
    }
  }
  Stats stats() const { return db_->stats(); }

 private:
  struct View {
    std::shared_ptr<const ReadTx> tx;
    Model model;
  };

  void expect_view(const View& v) {
    auto read = read_model(v.tx->root());
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(*read, v.model);
  }

  void reopen() {
    if (db_) {
      if (prng_.chance(1, 2)) views_.clear();
      const bool save = prng_.chance(1, 2);
      const bool expect_saved = save && views_.empty();
      bool closed = false;
      db_->close(save, [&](Result<> r) { closed = r.has_value(); });
      fs_.run();
      ASSERT_TRUE(closed);
      EXPECT_TRUE(!expect_saved || db_->stats().freelist_saved);
      views_.clear();
      db_.reset();
    }
    options_.check_all = prng_.chance(1, 2);
    auto db = Db::open(fs_, "db", options_);
    ASSERT_TRUE(db) << db.error().text();
    db_ = std::move(*db);
    EXPECT_EQ(db_->check(), std::vector<std::string>());
    expect_view({db_->begin_read(), committed_});
    // An open with a saved list does not meet the buckets below the top level.
    map_complete_ = !db_->stats().freelist_saved || options_.check_all;
    if (prng_.chance(1, 2)) expect_owners();
  }
  void expect_owners() { testing::expect_owners(*db_, map_complete_, prng_.between(1, 50)); }

  std::string random_key() {
    const uint64_t kind = prng_.below(20);
    if (kind == 0)
      return std::string(prng_.between(1, std::min<uint64_t>(3 * options_.page_size, kKeyBytesMax)),
                         static_cast<char>('a' + prng_.below(26)));
    return fmt::format("{:06}", prng_.below(kind < 10 ? 100 : 3000));
  }
  std::string random_value() {
    const uint64_t kind = prng_.below(40);
    const uint64_t size = kind == 0   ? prng_.below(5 * options_.page_size)
                          : kind < 20 ? prng_.below(200)
                                      : prng_.below(20);
    return std::string(size, static_cast<char>('A' + prng_.below(26)));
  }

  void change(Bucket& b, Model& m, int depth) {
    const uint64_t style = prng_.below(10);
    const int n = static_cast<int>(prng_.below(prng_.chance(1, 6) ? 400 : 30));
    if (style < 2) return ascending_puts(b, m, n);
    if (style == 2) return cursor_erases(b, m);
    for (int i = 0; i < n; ++i) {
      const std::string key = random_key();
      if (m.buckets.count(key) > 0) {
        EXPECT_EQ(b.put(key, "x").error().text(), "incompatible value");
        continue;
      }
      if (style < 5 || prng_.chance(1, 2)) {
        const std::string value = random_value();
        ASSERT_TRUE(b.put(key, value));
        m.items[key] = value;
      } else {
        ASSERT_TRUE(b.erase(key));
        m.items.erase(key);
      }
    }
    if (depth < 3) change_nested(b, m, depth);
    if (prng_.chance(1, 20)) b.set_sequence(m.sequence = prng_.below(1000));
  }
  void ascending_puts(Bucket& b, Model& m, int n) {
    b.set_fill_percent(kFillSequential);
    uint64_t next = m.items.empty() ? 0 : std::strtoull(m.items.rbegin()->first.c_str(), nullptr, 10) + 1;
    for (int i = 0; i < n; ++i) {
      const std::string key = fmt::format("{:06}", next++), value = random_value();
      if (m.buckets.count(key) > 0) continue;
      ASSERT_TRUE(b.put(key, value));
      m.items[key] = value;
    }
  }
  void cursor_erases(Bucket& b, Model& m) {
    WriteCursor c = b.cursor();
    const uint64_t keep_one_in = prng_.between(1, 10);
    auto more = prng_.chance(1, 2) ? c.first() : c.seek(random_key());
    for (uint64_t left = prng_.below(2000); more && *more && left > 0; --left) {
      if (c.is_bucket() || prng_.chance(1, keep_one_in)) {
        more = c.next();
        continue;
      }
      ASSERT_EQ(m.items.erase(std::string(c.key())), 1u);
      more = c.erase();
    }
    ASSERT_TRUE(more);
  }
  void change_nested(Bucket& b, Model& m, int depth) {
    for (uint64_t n = prng_.below(3); n > 0; --n) {
      const std::string name = fmt::format("bucket{}", prng_.below(5));
      if (m.items.count(name) > 0) continue;
      if (prng_.chance(1, 6)) {
        auto r = b.delete_bucket(name);
        EXPECT_EQ(r.has_value(), m.buckets.erase(name) > 0);
        continue;
      }
      auto nested = b.create_bucket(name);
      ASSERT_TRUE(nested) << nested.error().text();
      change(**nested, m.buckets[name], depth + 1);
    }
  }

  void transaction() {
    auto tx = db_->begin_write();
    ASSERT_TRUE(tx);
    Model next = committed_;
    for (uint64_t n = prng_.between(1, 3); n > 0; --n) {
      change_nested((*tx)->root(), next, 0);
      auto own = read_model((*tx)->root());
      ASSERT_TRUE(own) << own.error().text();
      ASSERT_EQ(*own, next);
    }
    if (prng_.chance(1, 8)) return;  // dropped
    bool done = false;
    db_->commit(std::move(*tx), [&](Result<> r) {
      EXPECT_TRUE(r) << r.error().text();
      done = true;
    });
    EXPECT_FALSE(done);
    for (uint64_t n = prng_.below(4); n > 0 && !done; --n) fs_.run_one();
    if (!done) views_.push_back({db_->begin_read(), committed_});  // the state before, while the commit runs
    fs_.run();
    ASSERT_TRUE(done);
    committed_ = std::move(next);
    EXPECT_EQ(db_->check(), std::vector<std::string>());
    expect_view({db_->begin_read(), committed_});
    if (prng_.chance(1, 3)) expect_owners();
  }

  Prng prng_;
  Options options_;
  MemoryFs fs_;
  std::unique_ptr<Db> db_;
  Model committed_;
  std::deque<View> views_;
  bool map_complete_ = true;
};

class TwinTest : public ::testing::TestWithParam<std::pair<uint64_t, uint32_t>> {};

TEST_P(TwinTest, FileEqualsMaps) {
  const auto [seed, page_size] = GetParam();
  Twin twin(seed, page_size);
  twin.run(120);
}

INSTANTIATE_TEST_SUITE_P(Seeds, TwinTest,
                         ::testing::Values(std::pair(1, 1024), std::pair(2, 1024), std::pair(3, 4096),
                                           std::pair(4, 4096), std::pair(5, 1024), std::pair(6, 1024),
                                           std::pair(7, 16384)));

}  // namespace
}  // namespace quoin::bolt
