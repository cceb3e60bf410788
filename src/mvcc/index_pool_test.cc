// The key index's memory: objects keep their bytes and never share any, whatever is freed in between, and what
// is freed is used again or given back.
#include "mvcc/index_pool.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
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

// Keeps tasks until they are asked for.
class Later final : public io::Executor {
 public:
  void post(Task task) override { tasks.push_back(std::move(task)); }
  bool running_here() const override { return true; }
  void run() {
    for (Task& t : std::exchange(tasks, {})) std::move(t)();
  }
  std::vector<Task> tasks;
};

TEST(IndexPool, ChunksComeFromTheReserve) {
  Later later;
  const auto reserve = std::make_shared<ChunkReserve>(later);
  IndexPool pool;
  pool.set_reserve(reserve);
  const auto fill_to = [&](size_t chunks) {
    while (pool.held_bytes() < chunks * IndexPool::kChunkBytes) pool.allocate(2000);
  };
  const auto use = [&](size_t spans) {
    for (size_t i = 0; i < spans * (IndexPool::kSpanBytes / 2048); ++i) pool.allocate(2000);
  };
  fill_to(1);
  EXPECT_EQ(later.tasks.size(), 0u) << "a small index needs no second chunk";
  use(20);
  ASSERT_EQ(later.tasks.size(), 1u);
  later.run();
  // What is ready is what the pool takes.
  void* ready = reserve->take();
  ASSERT_NE(ready, nullptr);
  EXPECT_EQ(reserve->take(), nullptr);
  std::free(ready);
  reserve->order();
  later.run();
  for (size_t chunks = 2; chunks <= 5; ++chunks) {
    fill_to(chunks);
    EXPECT_EQ(reserve->take(), nullptr) << "taken by the pool";
    use(20);
    ASSERT_EQ(later.tasks.size(), 1u) << "one order at a time";
    later.run();
  }
  // A reserve that is late holds nobody up.
  fill_to(6);
  use(20);
  ASSERT_EQ(later.tasks.size(), 1u);
  fill_to(9);
  EXPECT_EQ(later.tasks.size(), 1u);
}

TEST(IndexPool, AnOrderOutlivesThePool) {
  Later later;
  {
    IndexPool pool;
    pool.set_reserve(std::make_shared<ChunkReserve>(later));
    for (int i = 0; i < 1000; ++i) pool.allocate(2000);
    ASSERT_EQ(later.tasks.size(), 1u);
  }
  later.run();
}

}  // namespace
}  // namespace quoin::mvcc
