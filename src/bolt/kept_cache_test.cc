// A sync fails, the process ends, the system lives on: what the sync was to make durable is still seen, but
// no later sync writes it (sim/disk.h). A process that starts anew must not build on it.
#include <gtest/gtest.h>

#include "bolt/testing/model.h"
#include "sim/disk.h"
#include "sim/file_system.h"
#include "sim/world.h"

namespace quoin::bolt {
namespace {

using testing::Model;
using testing::read_model;

constexpr std::string_view kPath = "/db";

class KeptCache {
 public:
  explicit KeptCache(uint64_t seed) : world_(seed), disk_(world_), prng_(seed) {
    options_.page_size = 1024;
    options_.reserve_bytes = 1u << 26;
    options_.growth_bytes = 8 * options_.page_size;
    options_.cut_slack_bytes = 8 * options_.page_size;
    options_.check_all = true;
    sim::SimFileSystem fs = file_system();
    CHECK(fs.open(std::string(kPath), {.write = true, .create = true}).has_value());
    CHECK(fs.sync_dir("/").has_value());
  }

  // A life whose sync number `failing` fails (if it comes to that), then one that ends at operation `last`,
  // with the power. False if both came to their end without.
  bool go(uint64_t failing, uint64_t last) {
    disk_.inject({.ops = sim::kSync, .skip = failing});
    bool clean = live(6);
    disk_.clear_faults();
    disk_.lose_power_after(last);
    clean = live(4) && clean;
    disk_.crash();
    sim::SimFileSystem fs = file_system();
    auto db = Db::open(fs, std::string(kPath), options_);
    EXPECT_TRUE(db) << db.error().text();
    if (!db) return clean;
    EXPECT_EQ((*db)->check(), std::vector<std::string>());
    const auto found = read_model((*db)->begin_read()->root());
    EXPECT_TRUE(found);
    EXPECT_TRUE(*found == committed_ || *found == next_);
    return clean;
  }

 private:
  sim::SimFileSystem file_system() { return {disk_, world_.start_process("p").executor("file")}; }

  bool live(int commits) {
    sim::SimFileSystem fs = file_system();
    auto db = Db::open(fs, std::string(kPath), options_);
    if (!db) return false;
    // What an open has shown is promised from then on.
    const auto found = read_model((*db)->begin_read()->root());
    EXPECT_TRUE(found && (*found == committed_ || *found == next_));
    committed_ = next_ = *found;
    for (int i = 0; i < commits; ++i) {
      auto tx = (*db)->begin_write();
      EXPECT_TRUE(tx);
      next_ = committed_;
      Bucket* b = *(*tx)->create_bucket("key");
      for (uint64_t n = prng_.between(5, 60); n > 0; --n) {
        const std::string key = fmt::format("{:03}", prng_.below(200));
        const std::string value(prng_.below(100), static_cast<char>('a' + prng_.below(26)));
        EXPECT_TRUE(b->put(key, value));
        next_.buckets["key"].items[key] = value;
      }
      if (!(*db)->commit_blocking(*std::move(tx))) return false;
      committed_ = next_;
    }
    return (*db)->close_blocking(prng_.chance(1, 2)).has_value();
  }

  sim::World world_;
  sim::SimDisk disk_;
  Prng prng_;
  Options options_;
  Model committed_, next_;  // acknowledged; with the commit under way
};

TEST(KeptCache, PowerLossAtEachOperationAfterEachFailedSync) {
  int clean = 0;
  for (uint64_t failing = 0; failing < 18; ++failing) {
    for (uint64_t last = 0; last < 72; ++last) {
      for (uint64_t seed = 1; seed <= 4; ++seed) {
        SCOPED_TRACE(fmt::format("sync {}, operation {}, seed {}", failing, last, seed));
        clean += KeptCache(seed).go(failing, last) ? 1 : 0;
        if (::testing::Test::HasFailure()) return;
      }
    }
  }
  EXPECT_GT(clean, 0);
}

}  // namespace
}  // namespace quoin::bolt
