// Owners of pages in files made for it; random files: twin_test.cc.
#include "bolt/owner.h"

#include <gtest/gtest.h>

#include "bolt/testing/memory_fs.h"
#include "bolt/testing/owner_twin.h"

namespace quoin::bolt {
namespace {

using testing::find_owner;
using testing::MemoryFs;
using testing::Owners;
using testing::record_owners;

constexpr uint32_t kPage = 1024;

Options small_options() {
  Options o;
  o.page_size = kPage;
  o.reserve_bytes = 1u << 26;
  o.growth_bytes = 16 * kPage;
  return o;
}

std::string key_of(int i) {
  return fmt::format("{:04}{}", i, std::string(60, 'k'));
}

// A bucket of three levels, one of the same keys nested two deep, and values over several pages.
void put_sample(WriteTx& tx) {
  Bucket* key = *tx.create_bucket("key");
  Bucket* nested = *(*(*tx.create_bucket("outer"))->create_bucket("middle"))->create_bucket("inner");
  for (int i = 0; i < 600; ++i) {
    ASSERT_TRUE(key->put(key_of(i), "in key"));
    ASSERT_TRUE(nested->put(key_of(i), "nested"));
  }
  ASSERT_TRUE(key->put("0300", std::string(5000, 'b')));
  ASSERT_TRUE(nested->put("0300", std::string(5000, 'b')));
}

std::unique_ptr<Db> open_sample(MemoryFs& fs, bool saved_list) {
  auto db = Db::open(fs, "db", small_options());
  CHECK(db.has_value());
  auto tx = (*db)->begin_write();
  put_sample(**tx);
  CHECK((*db)->commit_blocking(*std::move(tx)).has_value());
  CHECK((*db)->close_blocking(saved_list).has_value());
  db->reset();
  db = Db::open(fs, "db", small_options());
  CHECK(db.has_value());
  return *std::move(db);
}

// A page of bucket `name` that `is_wanted` likes.
template <class Wanted>
PageId pick(const Owners& owners, std::string_view name, Wanted is_wanted) {
  for (const auto& [id, owner] : owners)
    if (owner.use == PageUse::kTree && !owner.bucket.empty() && owner.bucket.back() == name &&
        is_wanted(owner))
      return PageId(id);
  CHECK(false, "no such page");
  return {};
}

// Writes the file anew with `change` made to the image of page `id`, and opens that.
std::unique_ptr<Db> with_changed_page(MemoryFs& fs, std::unique_ptr<Db> db, PageId id,
                                      const std::function<void(char*)>& change) {
  db.reset();
  std::string bytes = fs.contents("db");
  change(bytes.data() + id.v * kPage);
  fs.set_contents("db", bytes);
  auto opened = Db::open(fs, "db", small_options());
  CHECK(opened.has_value(), "{}", opened.error().text());
  return *std::move(opened);
}

TEST(Owner, EveryPageOfASample) {
  for (const bool saved_list : {false, true}) {
    for (const uint64_t pages_per_step : {1, 3, 1000}) {
      MemoryFs fs;
      auto db = open_sample(fs, saved_list);
      testing::expect_owners(*db, !saved_list, pages_per_step);
    }
  }
}

// What etcd's file has, buckets of the top level, is found in one step of a few pages.
TEST(Owner, OneStepForTheTopLevel) {
  MemoryFs fs;
  auto db = open_sample(fs, true);
  for (const auto& [id, owner] : record_owners(*db->begin_read())) {
    if (owner.use == PageUse::kTree && owner.bucket.size() > 1) continue;
    if (owner.use == PageUse::kInside && !db->page_map().known_first(owner.first)) continue;
    OwnerSearch search = db->find_owner(PageId(id));
    const auto found = search.step(16);
    ASSERT_TRUE(found && *found) << id;
    testing::expect_same(id, **found, owner);
  }
}

// Values that look like pages, at the places where pages begin.
TEST(Owner, ContentThatMimicsPages) {
  for (const bool saved_list : {false, true}) {
    MemoryFs fs;
    auto db = open_sample(fs, false);
    auto tx = db->begin_write();
    Bucket* key = *(*tx)->bucket("key");
    ASSERT_TRUE(key->put("0400", std::string(8 * kPage, 'm')));
    ASSERT_TRUE(db->commit_blocking(*std::move(tx)));
    const Owners owners = record_owners(*db->begin_read());
    const PageId host = pick(owners, "key", [](const PageOwner& o) { return o.page_count >= 8; });
    const PageId victim = pick(owners, "key", [](const PageOwner& o) { return o.page_count == 1; });
    ASSERT_TRUE(db->close_blocking(saved_list));
    db = with_changed_page(fs, std::move(db), host, [&](char* p) {
      for (uint64_t i = 2; i < 7; ++i) {
        char* inside = p + i * kPage;
        std::memcpy(inside, p - (host.v - victim.v) * kPage, kPage);
        store_le<uint64_t>(inside, host.v + i);
      }
    });
    testing::expect_owners(*db, !saved_list, 1000);
  }
}

TEST(Owner, ASearchBegunBeforeACommitAnswersForTheCommit) {
  MemoryFs fs;
  auto db = open_sample(fs, true);
  const PageId leaf = pick(record_owners(*db->begin_read()), "inner",
                           [](const PageOwner& o) { return o.parent.v != 0 && o.page_count == 1; });
  OwnerSearch search = db->find_owner(leaf);
  auto owner = search.step(1);
  ASSERT_TRUE(owner);
  EXPECT_FALSE(*owner);
  auto tx = db->begin_write();
  ASSERT_TRUE((*tx)->root().delete_bucket("outer"));
  ASSERT_TRUE(db->commit_blocking(*std::move(tx)));
  owner = search.step(1);
  ASSERT_TRUE(owner && *owner);
  EXPECT_EQ((**owner).use, PageUse::kPending);
  db->begin_write()->reset();
  owner = search.step(1);
  ASSERT_TRUE(owner && *owner);
  EXPECT_EQ((**owner).use, PageUse::kFree);
}

TEST(Owner, AnOpenWriteTransactionDoesNotMatter) {
  MemoryFs fs;
  auto db = open_sample(fs, false);
  auto tx = db->begin_write();
  ASSERT_TRUE((*(*tx)->bucket("key"))->erase(key_of(5)));
  testing::expect_owners(*db, true, 1000);
}

TEST(Owner, NotForReadersOnly) {
  MemoryFs fs;
  open_sample(fs, true).reset();
  Options o = small_options();
  o.read_only = true;
  auto db = Db::open(fs, "db", o);
  ASSERT_TRUE(db);
  EXPECT_EQ(find_owner(**db, PageId(3), 10).error().code(), Code::kUnsupported);
}

// The keys of a leaf are checked when it is read the first time, and an open with a saved list reads no leaf.
TEST(Owner, APageWhoseKeysLeadElsewhere) {
  MemoryFs fs;
  auto db = open_sample(fs, true);
  const PageId leaf = pick(record_owners(*db->begin_read()), "key",
                           [](const PageOwner& o) { return o.parent.v != 0 && o.slot > 2; });
  db = with_changed_page(fs, std::move(db), leaf, [](char* p) {
    const std::string_view first = PageView(p).key(0);
    const_cast<char*>(first.data())[0] = '!';
  });
  const auto owner = find_owner(*db, leaf, 10);
  ASSERT_FALSE(owner);
  EXPECT_EQ(owner.error().code(), Code::kCorruption);
  // Found when the leaves are read to look for nested buckets, since no bucket of the top level has it.
  EXPECT_NE(owner.error().text().find(fmt::format("on leaf page({}) needs to be >=", leaf)),
            std::string_view::npos)
      << owner.error().text();
}

// Its last key belongs to its right neighbour, though the first one leads to it.
TEST(Owner, APageWhoseKeysGoTooFar) {
  MemoryFs fs;
  auto db = open_sample(fs, true);
  const PageId leaf = pick(record_owners(*db->begin_read()), "key",
                           [](const PageOwner& o) { return o.parent.v != 0 && o.first_key > "01"; });
  db = with_changed_page(fs, std::move(db), leaf, [](char* p) {
    const std::string_view last = PageView(p).key(PageView(p).count() - 1);
    const_cast<char*>(last.data())[0] = '9';
  });
  const auto owner = find_owner(*db, leaf, 10);
  ASSERT_FALSE(owner);
  EXPECT_EQ(owner.error().code(), Code::kCorruption);
  EXPECT_NE(owner.error().text().find("than key of the next element in ancestor"), std::string_view::npos)
      << owner.error().text();
  // Looking did not make it pass for sound.
  const auto tx = db->begin_read();
  EXPECT_FALSE(tx->get("key", PageView(tx->store().page_data(leaf)).key(0)).has_value());
}

TEST(Owner, AnOverflowThatReachesIntoOthers) {
  MemoryFs fs;
  auto db = open_sample(fs, true);
  const auto one_page = [](const PageOwner& o) { return o.parent.v != 0 && o.page_count == 1; };
  const PageId leaf = pick(record_owners(*db->begin_read()), "key", one_page);
  db = with_changed_page(fs, std::move(db), leaf, [](char* p) { store_le<uint32_t>(p + 12, 3); });
  const auto owner = find_owner(*db, leaf, 10);
  ASSERT_FALSE(owner);
  EXPECT_EQ(owner.error().code(), Code::kCorruption);
  EXPECT_EQ(owner.error().text().substr(0, 40),
            fmt::format("db: page {}: 3 overflow pages reach into p", leaf).substr(0, 40));
}

TEST(Owner, APageOfAnotherKind) {
  MemoryFs fs;
  auto db = open_sample(fs, true);
  const PageId leaf = pick(record_owners(*db->begin_read()), "key",
                           [](const PageOwner& o) { return o.parent.v != 0 && o.first_key > "01"; });
  db = with_changed_page(fs, std::move(db), leaf, [](char* p) { store_le<uint16_t>(p + 8, kFlagMeta); });
  const auto owner = find_owner(*db, leaf, 10);
  ASSERT_FALSE(owner);
  EXPECT_EQ(owner.error().code(), Code::kCorruption);
}

// A saved list that leaves out a page: neither free nor in a bucket.
TEST(Owner, APageNobodyKnows) {
  MemoryFs fs;
  auto db = open_sample(fs, false);
  auto tx = db->begin_write();
  ASSERT_TRUE((*tx)->root().delete_bucket("outer"));
  ASSERT_TRUE(db->commit_blocking(*std::move(tx)));
  ASSERT_TRUE(db->close_blocking(true));
  const PageId list = db->begin_read()->meta().freelist;
  PageId lost;
  db = with_changed_page(fs, std::move(db), list, [&](char* p) {
    const uint16_t count = load_le<uint16_t>(p + 10);
    lost = PageId(load_le<uint64_t>(p + kPageHeaderBytes + 8 * (count - 1)));
    store_le<uint16_t>(p + 10, static_cast<uint16_t>(count - 1));
  });
  const auto owner = find_owner(*db, lost, 10);
  ASSERT_FALSE(owner);
  EXPECT_EQ(owner.error().text(), fmt::format("db: page {}: unreachable unfreed", lost));
}

}  // namespace
}  // namespace quoin::bolt
