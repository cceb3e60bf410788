// Asynchronous operations, mappings, and a random twin of the visible image.
#include "sim/file.h"

#include <gtest/gtest.h>

#include <string>

#include "base/check.h"
#include "sim/machine.h"

namespace quoin::sim {
namespace {

const io::OpenOptions kCreate{.write = true, .create = true};

std::unique_ptr<io::File> open(Machine& m, const std::string& path) {
  auto file = m.fs().open(path, kCreate);
  CHECK(file.has_value(), "{}", file.error().text());
  return std::move(*file);
}

void ok(Result<> result) {
  ASSERT_TRUE(result.has_value()) << result.error().text();
}

TEST(SimFile, OperationsOfOneFileCompleteInOrderAndTakeTime) {
  Machine m(1);
  auto f = open(m, "/f");
  std::string order;
  const std::string a(600, 'a'), b = "b";
  f->async_write(0, {a, b}, [&](Result<> r) { order += r ? '1' : 'x'; });
  f->async_sync([&](Result<> r) { order += r ? '2' : 'x'; });
  f->async_truncate(300, [&](Result<> r) { order += r ? '3' : 'x'; });
  f->async_allocate(1000, [&](Result<> r) { order += r ? '4' : 'x'; });
  EXPECT_EQ(order, "");
  EXPECT_EQ(*f->size(), 0u);
  ASSERT_TRUE(m.run_until([&] { return order.size() == 4; }));
  EXPECT_EQ(order, "1234");
  EXPECT_GE(m.world().now(), m.disk().latencies().sync.min_ns);
  EXPECT_EQ(m.read_file("/f"), std::string(300, 'a') + std::string(700, '\0'));
  auto durable = m.disk().durable_bytes("/f");
  EXPECT_EQ(*durable, a + b) << "the cut came after the sync";
}

TEST(SimFile, ASyncCoversWhatWasWrittenBeforeItBegan) {
  Machine m(2);
  m.disk().latencies().slow_one_in = 0;
  auto f = open(m, "/f");
  ok(m.fs().sync_dir("/"));
  ok(f->write_at(0, std::string(512, 'a')));
  bool synced = false;
  f->async_sync([&](Result<> r) { synced = r.has_value(); });
  ok(f->write_at(512, std::string(512, 'b')));
  ok(f->write_at(0, std::string(512, 'c')));
  ASSERT_TRUE(m.run_until([&] { return synced; }));
  EXPECT_EQ(*m.disk().durable_bytes("/f"), std::string(512, 'a'));
  EXPECT_EQ(m.read_file("/f"), std::string(512, 'c') + std::string(512, 'b'));
}

TEST(SimFile, StuckSyncsWaitAndNothingElseDoes) {
  Machine m(3);
  auto f = open(m, "/f"), g = open(m, "/g");
  m.disk().set_syncs_stuck(true);
  bool synced = false, written = false, behind = false;
  f->async_sync([&](Result<>) { synced = true; });
  f->async_write(0, {"x"}, [&](Result<>) { behind = true; });
  g->async_write(0, {"x"}, [&](Result<>) { written = true; });
  EXPECT_FALSE(m.run_until([&] { return synced; }));
  EXPECT_TRUE(written);
  EXPECT_FALSE(behind) << "operations of one file are done in order";
  m.disk().set_syncs_stuck(false);
  EXPECT_TRUE(m.run_until([&] { return synced && behind; }));
}

TEST(SimFile, CrashDropsWhatIsUnderWay) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    Machine m(seed);
    auto f = open(m, "/f");
    ok(m.fs().sync_dir("/"));
    int completed = 0;
    const std::string bytes(2000, 'x');
    f->async_write(0, {bytes}, [&](Result<>) { ++completed; });
    f->async_sync([&](Result<>) { ++completed; });
    m.fs().async_rename("/f", "/g", [&](Result<>) { ++completed; });
    for (uint64_t n = m.world().prng().below(6); n > 0; --n) m.world().step();
    const int before = completed;
    m.crash();
    EXPECT_TRUE(m.world().run_idle());
    EXPECT_EQ(completed, before);
    if (before == 0) continue;
  }
}

TEST(SimFile, DroppedFileDropsItsOperations) {
  Machine m(4);
  auto f = open(m, "/f");
  bool completed = false;
  f->async_write(0, {"x"}, [&](Result<>) { completed = true; });
  f.reset();
  EXPECT_TRUE(m.world().run_idle());
  EXPECT_FALSE(completed);
  EXPECT_EQ(m.read_file("/f"), "");
}

TEST(SimFile, AsynchronousNamesAndErrors) {
  Machine m(5);
  std::string log;
  std::unique_ptr<io::File> file;
  m.fs().async_open("/f", kCreate, [&](Result<std::unique_ptr<io::File>> r) {
    log += r ? 'o' : 'x';
    if (r) file = std::move(*r);
  });
  ASSERT_TRUE(m.run_until([&] { return file != nullptr; }));
  m.fs().async_rename("/f", "/g", [&](Result<> r) { log += r ? 'r' : 'x'; });
  ASSERT_TRUE(m.run_until([&] { return log == "or"; }));
  m.fs().async_sync_dir("/", [&](Result<> r) { log += r ? 's' : 'x'; });
  ASSERT_TRUE(m.run_until([&] { return log == "ors"; }));
  EXPECT_EQ(m.disk().list_durable(), std::vector<std::string>{"/g"});
  m.fs().async_remove("/f", [&](Result<> r) {
    log += r.has_value() ? 'x' : r.error().code() == Code::kFileNotFound ? 'n' : '?';
  });
  m.disk().inject({.ops = kSyncDir});
  m.fs().async_sync_dir("/", [&](Result<> r) { log += r ? 'x' : 'e'; });
  ASSERT_TRUE(m.run_until([&] { return log.size() == 5; }));
  EXPECT_TRUE(log == "orsne" || log == "orsen") << log;
}

TEST(SimMapping, ShowsWritesAtOnceAndGrowthWithRefresh) {
  Machine m(6);
  auto f = open(m, "/f");
  ok(f->write_at(0, "0123456789"));
  auto mapped = f->map(1ull << 34, false);
  ASSERT_TRUE(mapped.has_value());
  io::Mapping& map = **mapped;
  const char* const base = map.data();
  EXPECT_EQ(std::string_view(map.data(), map.size()), "0123456789");
  ok(f->write_at(3, "xyz"));
  EXPECT_EQ(std::string_view(map.data(), map.size()), "012xyz6789");
  ok(f->write_at(10, std::string(100'000, 'q')));
  EXPECT_EQ(map.size(), 10u);
  ok(map.refresh());
  EXPECT_EQ(map.size(), 100'010u);
  EXPECT_EQ(map.data()[100'009], 'q');
  ok(f->truncate(5));
  EXPECT_EQ(map.data()[4], 'y');
  EXPECT_EQ(map.data()[5], '\0');
  ok(map.refresh());
  EXPECT_EQ(map.size(), 5u);
  EXPECT_EQ(map.data(), base);
  // Another handle's writes show too.
  auto g = open(m, "/f");
  bool done = false;
  g->async_write(0, {"A"}, [&](Result<>) { done = true; });
  ASSERT_TRUE(m.run_until([&] { return done; }));
  EXPECT_EQ(map.data()[0], 'A');
  auto tiny = f->map(4, false);
  ASSERT_FALSE(tiny.has_value());
  EXPECT_EQ(tiny.error().code(), Code::kLimit);
}

// The visible image against a plain string, and the durable image against the string at the last sync, under
// random writes, cuts and syncs; then a crash, which for every sector shows some state since the last sync.
TEST(SimFile, TwinOfPlainStrings) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    Machine m(seed);
    Prng prng(seed);
    auto f = open(m, "/f");
    ok(m.fs().sync_dir("/"));
    std::string visible, durable;
    std::vector<std::string> since{""};  // states since the last sync
    for (int i = 0; i < 60; ++i) {
      const uint64_t at = prng.below(20'000);
      switch (prng.below(5)) {
        case 0:
        case 1:
        case 2: {
          const std::string bytes(prng.between(1, 9000), static_cast<char>('a' + i % 26));
          if (visible.size() < at + bytes.size()) visible.resize(at + bytes.size());
          visible.replace(at, bytes.size(), bytes);
          ok(f->write_at(at, bytes));
          break;
        }
        case 3:
          visible.resize(at);
          ok(f->truncate(at));
          break;
        case 4:
          ok(f->sync());
          durable = visible;
          since.clear();
          break;
      }
      since.push_back(visible);
      ASSERT_EQ(m.read_file("/f"), visible);
      ASSERT_EQ(*m.disk().durable_bytes("/f"), durable);
    }
    m.crash();
    const std::string left = m.read_file("/f");
    for (uint64_t s = 0; s < left.size(); s += kSectorBytes) {
      const std::string now = left.substr(s, kSectorBytes);
      bool known = now == std::string(now.size(), '\0');
      for (const std::string& state : since) {
        std::string then = s < state.size() ? state.substr(s, kSectorBytes) : "";
        then.resize(kSectorBytes);
        known = known || then.substr(0, now.size()) == now;
      }
      ASSERT_TRUE(known) << "seed " << seed << " sector " << s / kSectorBytes;
    }
    ASSERT_EQ(*m.disk().durable_bytes("/f"), left);
  }
}

TEST(SimFile, OneSeedOneRun) {
  auto run = [](uint64_t seed) {
    Machine m(seed);
    std::string log;
    std::vector<std::unique_ptr<io::File>> files;
    for (int i = 0; i < 4; ++i) files.push_back(open(m, "/f" + std::to_string(i)));
    const std::string bytes(3000, 'x');
    for (int round = 0; round < 5; ++round) {
      for (int i = 0; i < 4; ++i) {
        files[static_cast<size_t>(i)]->async_write(
            0, {bytes}, [&, i](Result<>) { log += fmt::format("w{}@{} ", i, m.world().now()); });
        files[static_cast<size_t>(i)]->async_sync(
            [&, i](Result<>) { log += fmt::format("s{}@{} ", i, m.world().now()); });
      }
    }
    m.world().run_for(3 * io::kMillisecond);
    m.crash();
    for (const std::string& name : m.disk().list_visible()) {
      log += name + "=" + std::to_string(m.read_file(name).size()) + " ";
    }
    return log;
  };
  EXPECT_EQ(run(42), run(42));
  EXPECT_NE(run(42), run(43));
}

}  // namespace
}  // namespace quoin::sim
