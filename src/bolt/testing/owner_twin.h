// The obvious twin of OwnerSearch: walks the whole file, writes down what each page is, and compares.
#pragma once
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "bolt/db.h"
#include "bolt/page_map.h"
#include "bolt/store.h"

namespace quoin::bolt::testing {

using Owners = std::map<uint64_t, PageOwner>;

inline void record_tree(const Store& store, PageId hwm, const std::vector<std::string>& bucket, PageId id,
                        PageId parent, uint32_t slot, Owners* owners) {
  const PageView page = *store.peek(id, hwm);
  PageOwner owner;
  owner.use = PageUse::kTree;
  owner.first = id;
  owner.page_count = uint64_t{page.overflow()} + 1;
  owner.bucket = bucket;
  owner.parent = parent;
  owner.slot = slot;
  if (page.count() > 0) owner.first_key = page.key(0);
  ASSERT_TRUE(owners->emplace(id.v, owner).second);
  for (uint64_t i = 1; i < owner.page_count; ++i) {
    PageOwner inside;
    inside.use = PageUse::kInside;
    inside.first = id;
    inside.page_count = owner.page_count;
    ASSERT_TRUE(owners->emplace((id + i).v, inside).second);
  }
  for (uint32_t i = 0; i < page.count(); ++i) {
    if (!page.leaf()) {
      record_tree(store, hwm, bucket, page.child(i), id, i, owners);
    } else if (page.item_flags(i) == kItemBucket) {
      const PageId root = BucketHeader::read(page.value(i)).root;
      std::vector<std::string> nested = bucket;
      nested.emplace_back(page.key(i));
      if (root != PageId()) record_tree(store, hwm, nested, root, PageId(), 0, owners);
    }
  }
}

// What the walk says of every page that is reachable.
inline Owners record_owners(const ReadTx& tx) {
  Owners owners;
  record_tree(tx.store(), tx.meta().hwm, {}, tx.meta().root, PageId(), 0, &owners);
  return owners;
}

inline Result<PageOwner> find_owner(Db& db, PageId page, uint64_t pages_per_step) {
  OwnerSearch search = db.find_owner(page);
  for (;;) {
    ASSIGN_OR_RETURN(auto owner, search.step(pages_per_step));
    if (owner) return *std::move(owner);
  }
}

inline void expect_same(uint64_t id, const PageOwner& found, const PageOwner& recorded) {
  EXPECT_EQ(found.use, recorded.use) << id;
  EXPECT_EQ(found.first, recorded.first) << id;
  EXPECT_EQ(found.page_count, recorded.page_count) << id;
  EXPECT_EQ(found.bucket, recorded.bucket) << id;
  EXPECT_EQ(found.parent, recorded.parent) << id;
  EXPECT_EQ(found.slot, recorded.slot) << id;
  EXPECT_EQ(found.first_key, recorded.first_key) << id;
}

// Asks for every page below the high-water mark. `map_complete`: the map must know every first page before
// the first question.
inline void expect_owners(Db& db, bool map_complete, uint64_t pages_per_step) {
  const auto tx = db.begin_read();
  const Owners owners = record_owners(*tx);
  const Meta& meta = tx->meta();
  const auto is_first = [&](uint64_t id) {
    const auto it = owners.find(id);
    return it != owners.end() && it->second.use == PageUse::kTree;
  };
  for (uint64_t id = 0; id < meta.hwm.v + 100; ++id) {
    if (map_complete || !is_first(id)) {
      ASSERT_EQ(db.page_map().known_first(PageId(id)), is_first(id)) << id;
    }
  }
  std::map<PageUse, uint64_t> uses;
  for (uint64_t id = 0; id < meta.hwm.v; ++id) {
    const auto found = find_owner(db, PageId(id), pages_per_step);
    ASSERT_TRUE(found) << found.error().text();
    ++uses[found->use];
    const auto recorded = owners.find(id);
    if (recorded != owners.end()) {
      expect_same(id, *found, recorded->second);
    } else {
      EXPECT_TRUE(found->use != PageUse::kTree && found->use != PageUse::kInside) << id;
      EXPECT_EQ(found->use == PageUse::kMeta, id < 2) << id;
    }
    EXPECT_EQ(db.page_map().known_first(PageId(id)), is_first(id)) << id;
  }
  const Stats stats = db.stats();
  EXPECT_EQ(uses[PageUse::kFree], stats.free_pages);
  EXPECT_EQ(uses[PageUse::kPending], stats.pending_pages);
  EXPECT_EQ(uses[PageUse::kFreelist] > 0, stats.freelist_saved);
  EXPECT_EQ(find_owner(db, meta.hwm, pages_per_step).error().code(), Code::kInvalidArgument);
}

}  // namespace quoin::bolt::testing
