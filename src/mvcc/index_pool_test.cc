// The key index's memory: objects keep their bytes and never share any, whatever is freed in between, and what
// is freed is used again or given back.
#include "mvcc/index_pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "base/prng.h"

namespace quoin::mvcc {
namespace {

struct Object {
  char* at = nullptr;
  size_t bytes = 0;
  char mark = 0;

  void fill() const { std::memset(at, mark, bytes); }
  bool intact() const {
    for (size_t i = 0; i < bytes; ++i) {
      if (at[i] != mark) return false;
    }
    return true;
  }
};

size_t random_size(Prng& prng) {
  switch (prng.below(4)) {
    case 0:
      return 1 + prng.below(IndexPool::kSlotMax);
    case 1:
      return IndexPool::kSlotMax - 1 + prng.below(3);  // the border to large objects
    case 2:
      return 48;
    default:
      return 40 + prng.below(100);
  }
}

TEST(IndexPool, ObjectsKeepTheirBytes) {
  Prng prng(11);
  IndexPool pool;
  std::vector<Object> objects;
  size_t used = 0;
  const auto free_one = [&](size_t i) {
    ASSERT_TRUE(objects[i].intact());
    pool.free(objects[i].at, objects[i].bytes);
    used -= objects[i].bytes;
    objects[i] = objects.back();
    objects.pop_back();
  };
  for (int round = 0; round < 200'000; ++round) {
    // Grows to many chunks, shrinks to few, and so on.
    const bool growing = round / 20'000 % 2 == 0;
    if (objects.empty() || prng.chance(growing ? 4 : 1, 5)) {
      Object o;
      o.bytes = random_size(prng);
      o.at = static_cast<char*>(pool.allocate(o.bytes));
      o.mark = static_cast<char>(round);
      const auto address = reinterpret_cast<uintptr_t>(o.at);
      ASSERT_EQ(address % (o.bytes > 256 && o.bytes <= IndexPool::kSlotMax ? 64 : 16), 0u);
      o.fill();
      used += o.bytes;
      objects.push_back(o);
    } else {
      free_one(prng.below(objects.size()));
    }
    ASSERT_EQ(pool.used_bytes(), used);
  }
  for (const Object& o : objects) ASSERT_TRUE(o.intact());
  while (!objects.empty()) free_one(objects.size() - 1);
  EXPECT_EQ(pool.used_bytes(), 0u);
  EXPECT_EQ(pool.held_bytes(), IndexPool::kChunkBytes) << "one empty chunk is kept";
}

TEST(IndexPool, WhatIsFreedServesEverySize) {
  IndexPool pool;
  constexpr size_t kObjects = 100'000;
  std::vector<void*> objects(kObjects);
  size_t held = 0;
  for (const size_t bytes : {48u, 80u, 784u, 2064u, 48u}) {
    const size_t count = kObjects * 48 / bytes;
    for (size_t i = 0; i < count; ++i) objects[i] = pool.allocate(bytes);
    held = std::max(held, pool.held_bytes());
    for (size_t i = 0; i < count; ++i) pool.free(objects[i], bytes);
  }
  // 4.8 MB at a time: at most a quarter is lost to the ends of spans and the heads of chunks.
  EXPECT_LE(held, 3 * IndexPool::kChunkBytes);
  EXPECT_EQ(pool.held_bytes(), IndexPool::kChunkBytes);
}

TEST(IndexPool, ASmallIndexHoldsOneChunk) {
  IndexPool pool;
  for (size_t bytes = 1; bytes <= IndexPool::kSlotMax; bytes += 100) pool.allocate(bytes);
  EXPECT_EQ(pool.held_bytes(), IndexPool::kChunkBytes);
  pool.allocate(0);
}

TEST(IndexPool, TheDestructorFreesAll) {
  // What it leaves is the leak checker's to find.
  IndexPool pool;
  for (int i = 0; i < 3000; ++i) pool.allocate(i % 3 == 0 ? 5000 : 784);
}

}  // namespace
}  // namespace quoin::mvcc
