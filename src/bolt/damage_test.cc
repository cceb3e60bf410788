// Damage: each byte of a small file changed in turn, and random garbage. What is read is right or reported,
// and nothing crashes. Then power failures at each operation of a run.
#include <gtest/gtest.h>

#include <set>

#include "bolt/testing/memory_fs.h"
#include "bolt/testing/model.h"
#include "bolt/testing/owner_twin.h"

namespace quoin::bolt {
namespace {

using testing::MemoryFs;
using testing::Model;
using testing::read_model;

constexpr uint32_t kPage = 1024;

Options small_options() {
  Options o;
  o.page_size = kPage;
  o.reserve_bytes = 1u << 26;
  o.growth_bytes = 16 * kPage;
  o.cut_slack_bytes = 16 * kPage;
  return o;
}

// Two levels of branches, an overflow page, an inline and a nested bucket.
void put_sample(WriteTx& tx, bool with_nested) {
  Bucket* b = *tx.create_bucket("key");
  for (int i = 0; i < 120; ++i)
    ASSERT_TRUE(b->put(fmt::format("{:03}{}", i, std::string(60, 'k')), fmt::format("v{}", i)));
  ASSERT_TRUE(b->put("big", std::string(3000, 'b')));
  Bucket* small = *tx.create_bucket("small");
  ASSERT_TRUE(small->put("a", "1"));
  ASSERT_TRUE(small->put("b", "2"));
  if (!with_nested) return;
  Bucket* nested = *(*tx.create_bucket("outer"))->create_bucket("nested");
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(nested->put(fmt::format("{:03}", i), "nested value"));
}

std::string sample_file(bool save_freelist, bool with_nested, Model* model) {
  MemoryFs fs;
  auto db = Db::open(fs, "db", small_options());
  EXPECT_TRUE(db);
  for (int i = 0; i < 2; ++i) {
    auto tx = (*db)->begin_write();
    put_sample(**tx, with_nested);
    EXPECT_TRUE((*db)->commit_blocking(std::move(*tx)));
  }
  EXPECT_TRUE((*db)->close_blocking(save_freelist));
  if (!save_freelist) {
    // Both metas shall name the same tree, so that falling back on the other one shows nothing else.
    auto again = std::move(*db);
    again.reset();
    auto reopened = Db::open(fs, "db", small_options());
    EXPECT_TRUE((*reopened)->commit_blocking(std::move(*(*reopened)->begin_write())));
    *model = *read_model((*reopened)->begin_read()->root());
    const uint64_t size = (*reopened)->stats().size_bytes();
    return fs.contents("db").substr(0, size);
  }
  *model = *read_model((*db)->begin_read()->root());
  return fs.contents("db").substr(0, (*db)->stats().size_bytes());
}

// A leaf lost with the file's end. No branch page shows it, so the saved list must not keep the open from
// walking the file.
TEST(Damage, AFileShorterThanItsMetaSaysIsWalkedInSpiteOfASavedList) {
  MemoryFs fs;
  auto db = Db::open(fs, "db", small_options());
  ASSERT_TRUE(db);
  // The long leaf goes to the file's end, branch and root to the pages that bucket "low" left.
  for (int i = 0; i < 3; ++i) {
    auto tx = (*db)->begin_write();
    for (const char* name : {"low", "key"}) {
      Bucket* b = *(*tx)->create_bucket(name);
      for (int n = 0; i == 0 && n < 60; ++n)
        ASSERT_TRUE(b->put(fmt::format("{:03}", n), std::string(60, 'v')));
    }
    if (i > 0) {
      ASSERT_TRUE((*tx)->delete_bucket("low"));
    }
    if (i == 2) {
      ASSERT_TRUE((*(*tx)->bucket("key"))->put("z", std::string(20'000, 'z')));
    }
    ASSERT_TRUE((*db)->commit_blocking(std::move(*tx)));
  }
  ASSERT_TRUE((*db)->close_blocking(true));
  const Stats stats = (*db)->stats();
  db->reset();
  ASSERT_TRUE(stats.freelist_saved);
  const std::string file = fs.contents("db");
  const uint64_t last = stats.hwm_pages - 1;
  ASSERT_EQ(file.substr(last * kPage, 10), std::string(10, 'z'));
  fs.set_contents("db", file.substr(0, last * kPage));
  const auto opened = Db::open(fs, "db", small_options());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), Code::kCorruption) << opened.error().text();
}

// Bytes whose change cannot be told from another valid file: keys and values, sequences, the sizes of a
// page's last item (they may reach into the unused tail), and unused tails and pages.
std::set<size_t> content_bytes(const std::string& file) {
  std::set<size_t> content;
  for (size_t i = 0; i < file.size(); ++i) content.insert(i);
  const auto take = [&](size_t at, size_t n) {
    for (size_t i = 0; i < n; ++i) content.erase(at + i);
  };
  MemoryFs fs;
  fs.set_contents("db", file);
  Options options = small_options();
  options.read_only = true;
  auto db = Db::open(fs, "db", options);
  EXPECT_TRUE(db);
  const auto tx = (*db)->begin_read();
  PageSet reachable;
  check_reachable(*tx, nullptr, &reachable, [](std::string) { return false; });
  take(kPageHeaderBytes, kMetaBytes);
  take(kPage + kPageHeaderBytes, kMetaBytes);
  for (uint64_t id = 2; id < reachable.size(); ++id) {
    if (!reachable[id]) continue;
    const PageView page(file.data() + id * kPage);
    take(id * kPage, kPageHeaderBytes);
    for (size_t i = 0; i < page.count(); ++i) {
      const size_t element = id * kPage + kPageHeaderBytes + i * kElementBytes;
      const bool last = i + 1 == page.count();
      if (page.leaf())
        take(element, last ? 8 : 16);
      else
        take(element, last ? 4 : 16), take(element + 8, 8);
      if (!page.leaf() || page.item_flags(i) != kItemBucket) continue;
      const size_t header = static_cast<size_t>(page.value(i).data() - file.data());
      take(header, 8);
      if (BucketHeader::read(page.value(i)).root != PageId()) continue;
      take(header + kBucketHeaderBytes, kPageHeaderBytes);
      content.insert(element);  // an inline bucket without its flag is an item
    }
    id += page.overflow();
  }
  return content;
}

// Asks who owns each page: there is an answer or the damage is named.
void ask_for_owners(Db& db) {
  for (PageId id; id.v < db.stats().hwm_pages; ++id) {
    const auto owner = testing::find_owner(db, id, 100);
    if (!owner) {
      EXPECT_EQ(owner.error().code(), Code::kCorruption) << owner.error().text();
    }
  }
}

// Opens, checks, reads all and writes on a file that may be anything. Answers what was read, or the error.
Result<Model> use(MemoryFs& fs, const Options& options) {
  ASSIGN_OR_RETURN(const auto db, Db::open(fs, "db", options));
  ask_for_owners(*db);
  static_cast<void>(db->check());
  ASSIGN_OR_RETURN(Model model, read_model(db->begin_read()->root()));
  auto tx = db->begin_write();
  EXPECT_TRUE(tx);
  for (const auto& [name, nested] : model.buckets) {
    ASSIGN_OR_RETURN(Bucket* const b, (*tx)->bucket(name));
    if (nested.items.size() > 10) {
      WriteCursor c = b->cursor();
      ASSIGN_OR_RETURN(bool more, c.first());
      for (int i = 0; more && !c.is_bucket(); ++i) {
        if (i % 20 == 0) {
          ASSIGN_OR_RETURN(more, c.next());
        } else {
          ASSIGN_OR_RETURN(more, c.erase());
        }
      }
    } else {
      TRY((*tx)->delete_bucket(name));
    }
  }
  TRY(db->commit_blocking(std::move(*tx)));
  TRY(db->close_blocking(true));
  return model;
}

// With a saved list and the full walk every change of the structure shows.
TEST(Damage, EveryStructuralByteIsRightOrReported) {
  Model expected;
  const std::string sound = sample_file(true, true, &expected);
  const std::set<size_t> content = content_bytes(sound);
  ASSERT_LT(content.size(), sound.size() - 2000);
  MemoryFs fs;
  fs.track_durability = false;
  Options options = small_options();
  options.check_all = true;
  size_t reported = 0;
  for (size_t at = 0; at < sound.size(); ++at) {
    if (content.count(at) > 0) continue;
    for (uint8_t flip : {0x01, 0x80, 0xFF}) {
      std::string bytes = sound;
      bytes[at] = static_cast<char>(bytes[at] ^ flip);
      fs.set_contents("db", bytes);
      auto read = use(fs, options);
      if (read) {
        EXPECT_EQ(*read, expected) << "byte " << at % kPage << " of page " << at / kPage << " flipped by "
                                   << int{flip};
      } else {
        EXPECT_EQ(read.error().code(), Code::kCorruption) << read.error().text();
        EXPECT_EQ(read.error().text().substr(0, 4), "db: ");
        ++reported;
      }
    }
  }
  EXPECT_GT(reported, 4000u);
}

// Any byte, with and without list and walk: no crash, and errors are named.
TEST(Damage, AnyByteNeverCrashes) {
  for (bool saved : {true, false}) {
    Model expected;
    // With a list, and without the walk, nested buckets are not looked at beforehand.
    const std::string sound = sample_file(saved, !saved, &expected);
    const std::set<size_t> content = content_bytes(sound);
    MemoryFs fs;
    fs.track_durability = false;
    for (size_t at = 0; at < sound.size(); ++at) {
      if (at % 16 != 0 && content.count(at) > 0) continue;
      for (uint8_t flip : {0x01, 0xFF}) {
        std::string bytes = sound;
        bytes[at] = static_cast<char>(bytes[at] ^ flip);
        fs.set_contents("db", bytes);
        auto read = use(fs, small_options());
        if (!read) {
          EXPECT_EQ(read.error().code(), Code::kCorruption)
              << read.error().text() << " " << at << " " << int{flip};
        }
      }
    }
  }
}

// What an open with a saved list does not read shows when it would do harm. `change` gets the image of the
// first page of bucket "key" for which `is_wanted` holds.
template <class Wanted>
Result<std::unique_ptr<Db>> open_damaged(MemoryFs& fs, PageId* id, Wanted is_wanted,
                                         const std::function<void(char*)>& change) {
  Model model;
  std::string bytes = sample_file(true, true, &model);
  fs.set_contents("db", bytes);
  {
    const auto db = *Db::open(fs, "db", small_options());
    for (const auto& [page, owner] : testing::record_owners(*db->begin_read()))
      if (*id == PageId() && owner.use == PageUse::kTree && owner.bucket == std::vector<std::string>{"key"} &&
          is_wanted(PageView(bytes.data() + page * kPage), owner))
        *id = PageId(page);
  }
  EXPECT_NE(*id, PageId());
  change(bytes.data() + id->v * kPage);
  fs.set_contents("db", bytes);
  return Db::open(fs, "db", small_options());
}

TEST(Damage, AnOverflowThatReachesIntoAnotherPageIsNotFreed) {
  MemoryFs fs;
  PageId leaf;
  auto db = open_damaged(
      fs, &leaf, [](PageView p, const PageOwner& o) { return p.leaf() && o.page_count == 1; },
      [](char* p) { store_le<uint32_t>(p + 12, 1); });
  ASSERT_TRUE(db) << db.error().text();
  ASSERT_TRUE((*db)->page_map().known_first(leaf + 1));
  const std::string key(PageView((*db)->begin_read()->store().page_data(leaf)).key(0));
  auto tx = *(*db)->begin_write();
  ASSERT_TRUE((*tx->bucket("key"))->put(key, "new"));
  const auto result = (*db)->commit_blocking(std::move(tx));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().text(), fmt::format("db: page {}: reaches into page {}", leaf, leaf + 1));
}

TEST(Damage, BranchKeysOutsideTheirRangeStopAnOpen) {
  MemoryFs fs;
  PageId branch;
  const auto db = open_damaged(
      fs, &branch, [](PageView p, const PageOwner& o) { return !p.leaf() && o.parent.v != 0 && o.slot == 0; },
      [](char* p) {
        const std::string_view last = PageView(p).key(PageView(p).count() - 1);
        const_cast<char*>(last.data())[0] = '9';
      });
  ASSERT_FALSE(db);
  EXPECT_NE(db.error().text().find(fmt::format("on branch page({}) needs to be < than key", branch)),
            std::string_view::npos)
      << db.error().text();
}

TEST(Damage, RandomGarbageNeverCrashes) {
  Model expected;
  const std::string sound = sample_file(true, true, &expected);
  MemoryFs fs;
  fs.track_durability = false;
  for (uint64_t seed = 1; seed <= 1000; ++seed) {
    Prng prng(seed);
    std::string bytes = sound;
    // The metas stay, so that the walk gets into the tree.
    for (uint64_t n = prng.between(1, 20); n > 0; --n) {
      const size_t at = 2 * kPage + prng.below(bytes.size() - 2 * kPage - 8);
      switch (prng.below(4)) {
        case 0:
          bytes[at] = static_cast<char>(prng.next());
          break;
        case 1:
          store_le<uint64_t>(bytes.data() + at / 8 * 8, prng.below(60));
          break;
        case 2:
          store_le<uint32_t>(bytes.data() + at / 4 * 4, static_cast<uint32_t>(prng.next()));
          break;
        default:
          bytes.replace(at / kPage * kPage, kPage,
                        sound.substr(prng.below(bytes.size() / kPage) * kPage, kPage));
      }
    }
    fs.set_contents("db", bytes);
    auto read = use(fs, small_options());
    if (!read) {
      EXPECT_EQ(read.error().code(), Code::kCorruption) << read.error().text() << " seed " << seed;
    }
  }
}

// ---- power failures ----

// One run of transactions; answers the number of operations done. The file must then open with the state
// before or after the transaction that was cut short.
void run_until_failure(uint64_t seed, uint64_t fail_at, bool* clean) {
  MemoryFs fs;
  Options options = small_options();
  Model durable, next;
  {
    Prng prng(seed);
    fs.fail_at = fail_at;
    auto opened = Db::open(fs, "db", options);
    bool failed = !opened;
    for (int t = 0; t < 12 && !failed; ++t) {
      Db& db = **opened;
      auto tx = db.begin_write();
      ASSERT_TRUE(tx);
      next = durable;
      Bucket* b = *(*tx)->create_bucket("key");
      Model& m = next.buckets["key"];
      for (uint64_t n = prng.below(60); n > 0; --n) {
        const std::string key = fmt::format("{:03}", prng.below(200));
        if (prng.chance(2, 5)) {
          ASSERT_TRUE(b->erase(key));
          m.items.erase(key);
        } else {
          const std::string value(prng.below(150), static_cast<char>('a' + t));
          ASSERT_TRUE(b->put(key, value));
          m.items[key] = value;
        }
      }
      Result<> result = Code::kStopped;
      db.commit(std::move(*tx), [&](Result<> r) { result = std::move(r); });
      fs.run();
      failed = !result;
      if (failed) break;
      durable = next;
      if (prng.chance(1, 5)) {
        failed = !db.close_blocking(prng.chance(1, 2));
        opened->reset();
        if (failed) break;
        opened = Db::open(fs, "db", options);
        failed = !opened;
      }
    }
    *clean = !failed;
  }
  Prng prng(seed * 1000 + fail_at);
  fs.crash(prng);
  options.check_all = true;
  auto db = Db::open(fs, "db", options);
  ASSERT_TRUE(db) << db.error().text();
  EXPECT_EQ((*db)->check(), std::vector<std::string>());
  auto model = read_model((*db)->begin_read()->root());
  ASSERT_TRUE(model);
  EXPECT_TRUE(*model == durable || *model == next);
  // And it can be written on.
  auto tx = (*db)->begin_write();
  ASSERT_TRUE((*(*tx)->create_bucket("after"))->put("k", "v"));
  ASSERT_TRUE((*db)->commit_blocking(std::move(*tx)));
  EXPECT_EQ((*db)->check(), std::vector<std::string>());
}

class CrashSweep : public ::testing::TestWithParam<uint64_t> {};

TEST_P(CrashSweep, EachOperationInTurn) {
  bool clean = false;
  uint64_t fail_at = 1;
  for (; !clean && !HasFatalFailure(); ++fail_at) {
    SCOPED_TRACE(fail_at);
    run_until_failure(GetParam(), fail_at, &clean);
  }
  EXPECT_GT(fail_at, 40u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, CrashSweep, ::testing::Range(uint64_t{1}, uint64_t{13}));

}  // namespace
}  // namespace quoin::bolt
