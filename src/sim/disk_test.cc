// Each promise of disk.h, by name.
#include "sim/disk.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/check.h"
#include "sim/machine.h"

namespace quoin::sim {
namespace {

const io::OpenOptions kCreate{.write = true, .create = true};

std::unique_ptr<io::File> open(Machine& m, const std::string& path, io::OpenOptions options = kCreate) {
  auto file = m.fs().open(path, options);
  CHECK(file.has_value(), "{}", file.error().text());
  return std::move(*file);
}

void ok(Result<> result) {
  ASSERT_TRUE(result.has_value()) << result.error().text();
}

// What `seeds` crashes at this point leave of one file ("-": missing).
std::set<std::string> outcomes(Machine& m, const std::string& path, int seeds = 300) {
  std::set<std::string> out;
  for (int seed = 0; seed < seeds; ++seed) {
    Prng prng(static_cast<uint64_t>(seed));
    auto bytes = m.disk().crash_image(prng)->visible_bytes(path);
    out.insert(bytes ? *bytes : "-");
  }
  return out;
}

std::string sector(char c) {
  return std::string(kSectorBytes, c);
}

TEST(SimDisk, WhatIsSyncedSurvivesEveryCrash) {
  Machine m(1);
  auto f = open(m, "/f");
  ok(f->write_at(0, "hello"));
  ok(f->sync());
  ok(m.fs().sync_dir("/"));
  EXPECT_EQ(outcomes(m, "/f"), std::set<std::string>{"hello"});
  m.crash();
  EXPECT_EQ(m.read_file("/f"), "hello");
}

TEST(SimDisk, UnsyncedSectorsAreLostEachByItself) {
  Machine m(1);
  auto f = open(m, "/f");
  ok(f->write_at(0, sector('a') + sector('b')));
  ok(f->sync());
  ok(m.fs().sync_dir("/"));
  ok(f->write_at(0, sector('A') + sector('B')));
  EXPECT_EQ(m.read_file("/f"), sector('A') + sector('B')) << "seen at once";
  EXPECT_EQ(outcomes(m, "/f"), (std::set<std::string>{sector('a') + sector('b'), sector('A') + sector('b'),
                                                      sector('a') + sector('B'), sector('A') + sector('B')}));
}

TEST(SimDisk, SizeIsDurableWithSyncAndGrowsInSectors) {
  Machine m(1);
  auto f = open(m, "/f");
  ok(f->write_at(0, sector('a')));
  ok(f->sync());
  ok(m.fs().sync_dir("/"));
  ok(f->write_at(kSectorBytes, sector('b') + "cc"));
  const std::string zeros(kSectorBytes, '\0');
  const auto seen = outcomes(m, "/f");
  for (const std::string& s : seen) {
    EXPECT_EQ(s.substr(0, kSectorBytes), sector('a'));
    EXPECT_TRUE(s.size() == kSectorBytes || s.size() == 2 * kSectorBytes || s.size() == 2 * kSectorBytes + 2);
  }
  EXPECT_TRUE(seen.count(sector('a')));
  EXPECT_TRUE(seen.count(sector('a') + sector('b') + "cc"));
  EXPECT_TRUE(seen.count(sector('a') + zeros + "cc")) << "a torn write: the later sector without the earlier";
  EXPECT_TRUE(seen.count(sector('a') + sector('b')));
  ok(f->sync());
  EXPECT_EQ(outcomes(m, "/f"), std::set<std::string>{sector('a') + sector('b') + "cc"});
}

TEST(SimDisk, AnUnsyncedCutMayBeUndoneAndOldBytesComeBack) {
  Machine m(1);
  auto f = open(m, "/f");
  ok(f->write_at(0, sector('a') + sector('b')));
  ok(f->sync());
  ok(m.fs().sync_dir("/"));
  ok(f->truncate(10));
  ok(f->truncate(2 * kSectorBytes));
  const std::string zeroed = std::string(10, 'a') + std::string(2 * kSectorBytes - 10, '\0');
  EXPECT_EQ(m.read_file("/f"), zeroed);
  const auto seen = outcomes(m, "/f");
  EXPECT_TRUE(seen.count(zeroed));
  EXPECT_TRUE(seen.count(sector('a') + sector('b')));
  ok(f->sync());
  EXPECT_EQ(outcomes(m, "/f"), std::set<std::string>{zeroed});
}

TEST(SimDisk, NamesAreDurableWithSyncDirEachByItself) {
  Machine m(1);
  ok(m.fs().make_dir("/d", 0700));
  ok(m.fs().sync_dir("/"));
  auto a = open(m, "/d/a");
  auto b = open(m, "/d/b");
  std::set<std::vector<std::string>> seen;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Prng prng(seed);
    seen.insert(m.disk().crash_image(prng)->list_visible());
  }
  EXPECT_EQ(seen, (std::set<std::vector<std::string>>{
                      {"/d/"}, {"/d/", "/d/a"}, {"/d/", "/d/b"}, {"/d/", "/d/a", "/d/b"}}));
  EXPECT_EQ(m.disk().list_durable(), std::vector<std::string>{"/d/"});
  ok(m.fs().sync_dir("/d"));
  EXPECT_EQ(m.disk().list_durable(), (std::vector<std::string>{"/d/", "/d/a", "/d/b"}));
  ok(m.fs().remove("/d/a"));
  EXPECT_EQ(outcomes(m, "/d/a"), (std::set<std::string>{"", "-"}));
}

TEST(SimDisk, ARenameIsOneUnit) {
  Machine m(1);
  for (const char* name : {"/old", "/new"}) {
    auto f = open(m, name);
    ok(f->write_at(0, name));
    ok(f->sync());
  }
  ok(m.fs().make_dir("/sub", 0700));
  ok(m.fs().sync_dir("/"));
  ok(m.fs().rename("/old", "/new"));
  ok(m.fs().rename("/new", "/sub/third"));
  std::set<std::vector<std::string>> seen;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    Prng prng(seed);
    auto image = m.disk().crash_image(prng);
    auto names = image->list_visible();
    for (auto& n : names) n += "=" + image->visible_bytes(n).value_or("dir");
    seen.insert(names);
  }
  EXPECT_EQ(seen, (std::set<std::vector<std::string>>{{"/new=/new", "/old=/old", "/sub/=dir"},
                                                      {"/new=/old", "/sub/=dir"},
                                                      {"/sub/=dir", "/sub/third=/old"}}));
  // Syncing the directory it came to makes it durable, with the rename before it that it builds on.
  ok(m.fs().sync_dir("/sub"));
  EXPECT_EQ(m.disk().list_durable(), (std::vector<std::string>{"/sub/", "/sub/third"}));
}

TEST(SimDisk, ANewDirectoryNeedsItsParentsSync) {
  Machine m(1);
  ok(m.fs().make_dirs("/a/b", 0700));
  auto f = open(m, "/a/b/f");
  ok(f->sync());
  ok(m.fs().sync_dir("/a/b"));
  EXPECT_EQ(outcomes(m, "/a/b/f"), (std::set<std::string>{"-", ""}));
  ok(m.fs().sync_dir("/a"));
  ok(m.fs().sync_dir("/"));
  EXPECT_EQ(outcomes(m, "/a/b/f"), std::set<std::string>{""});
  ok(m.fs().remove_all("/a"));
  EXPECT_EQ(m.disk().list_visible(), std::vector<std::string>{});
  EXPECT_EQ(outcomes(m, "/a/b/f"), (std::set<std::string>{"-", ""}));
}

TEST(SimDisk, AFailedSyncForgetsWhatItDidNotWrite) {
  std::set<std::string> seen;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    Machine m(seed);
    auto f = open(m, "/f");
    ok(f->truncate(2 * kSectorBytes));
    ok(f->sync());
    ok(m.fs().sync_dir("/"));
    ok(f->write_at(0, sector('a') + sector('b')));
    m.disk().inject({.ops = kSync});
    auto failed = f->sync();
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error().code(), Code::kIo);
    EXPECT_EQ(failed.error().text(), "fdatasync /f: input/output error");
    ok(f->sync());  // says ok, yet covers nothing of it
    EXPECT_EQ(m.read_file("/f"), sector('a') + sector('b'));
    m.crash();
    std::string left = m.read_file("/f");
    seen.insert({left[0], left[kSectorBytes]});
  }
  const std::string zero(1, '\0');
  EXPECT_EQ(seen, (std::set<std::string>{zero + zero, "a" + zero, zero + "b", "ab"}));
}

TEST(SimDisk, FullDiskWritesAPartAndHealsWithRoom) {
  Machine m(1);
  m.disk().set_byte_limit(3 * kChunkBytes);
  auto f = open(m, "/f");
  ok(f->truncate(100 * kChunkBytes));  // extending alone takes no room
  auto failed = f->allocate(4 * kChunkBytes);
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code(), Code::kNoSpaceOnDevice);
  ok(f->truncate(0));
  ok(f->allocate(2 * kChunkBytes));
  ok(f->write_at(0, std::string(2 * kChunkBytes, 'x')));
  auto g = open(m, "/g");
  failed = g->write_at(0, std::string(2 * kChunkBytes, 'y'));
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code(), Code::kNoSpaceOnDevice);
  EXPECT_LE(*g->size(), kChunkBytes);
  f.reset();
  ok(m.fs().remove("/f"));
  ok(g->write_at(0, std::string(2 * kChunkBytes, 'y')));
}

TEST(SimDisk, FaultsByNumberKindPathAndChance) {
  Machine m(1);
  auto f = open(m, "/f");
  auto g = open(m, "/g");
  m.disk().inject({.ops = kWrite, .path_contains = "f", .skip = 2, .times = 2, .error = 28});
  std::string results;
  for (int i = 0; i < 6; ++i) {
    results += f->write_at(0, "x") ? 'o' : 'E';
    results += g->write_at(0, "x") ? 'o' : 'E';
  }
  EXPECT_EQ(results, "ooooEoEooooo");
  m.disk().set_error_chance(kRead, 500'000);
  int errors = 0;
  char c;
  for (int i = 0; i < 100; ++i) errors += !f->read_at(0, {&c, 1});
  EXPECT_GT(errors, 20);
  EXPECT_LT(errors, 80);
  m.disk().clear_faults();
  EXPECT_TRUE(f->read_at(0, {&c, 1}).has_value());
}

TEST(SimDisk, FlippedBitsAreSeenOrWaitBehindTheCache) {
  Machine m(1);
  m.disk().put_file("/x/f", std::string(10, '\0'));
  EXPECT_TRUE(m.disk().flip_bit("/x/f", 3, 7, /*cached=*/true));
  EXPECT_EQ(m.read_file("/x/f"), std::string(10, '\0'));
  m.crash();
  std::string expected(10, '\0');
  expected[3] = '\x80';
  EXPECT_EQ(m.read_file("/x/f"), expected);
  EXPECT_TRUE(m.disk().flip_bit("/x/f", 3, 7));
  EXPECT_EQ(m.read_file("/x/f"), std::string(10, '\0'));
  EXPECT_FALSE(m.disk().flip_bit("/x/f", 10, 0));
  m.disk().flip_random_bits("/x/f", 1);
  EXPECT_NE(m.read_file("/x/f"), std::string(10, '\0'));
}

TEST(SimDisk, PowerLossStopsEverythingAtOnePoint) {
  Machine m(1);
  auto f = open(m, "/f");
  ok(m.fs().sync_dir("/"));
  m.disk().lose_power_after(2);
  ok(f->write_at(0, "a"));
  ok(f->sync());
  auto gone = f->write_at(1, "b");
  ASSERT_FALSE(gone.has_value());
  EXPECT_EQ(gone.error().code(), Code::kStopped);
  EXPECT_TRUE(m.disk().power_lost());
  bool completed = false;
  f->async_sync([&](Result<>) { completed = true; });
  m.world().run_idle();
  EXPECT_FALSE(completed);
  m.crash();
  EXPECT_EQ(m.read_file("/f"), "a");
  auto dead = f->write_at(0, "z");
  ASSERT_FALSE(dead.has_value());
  EXPECT_EQ(dead.error().code(), Code::kStopped) << "a handle does not survive a crash";
  auto again = open(m, "/f");
  ok(again->write_at(0, "z"));
}

TEST(SimDisk, LocksExcludeAndEndWithTheHandleOrTheCrash) {
  Machine m(1);
  auto a = open(m, "/f"), b = open(m, "/f"), c = open(m, "/f");
  ok(a->lock(io::LockMode::kShared));
  ok(b->lock(io::LockMode::kShared));
  EXPECT_EQ(c->lock(io::LockMode::kExclusive).error().code(), Code::kLocked);
  b.reset();
  EXPECT_FALSE(c->lock(io::LockMode::kExclusive).has_value());
  ok(a->unlock());
  ok(c->lock(io::LockMode::kExclusive));
  EXPECT_EQ(a->lock(io::LockMode::kShared).error().code(), Code::kLocked);
  ok(a->lock_ofd());  // the two kinds do not exclude each other
  EXPECT_EQ(c->lock_ofd().error().text(), "file already locked");
  ok(m.fs().sync_dir("/"));
  m.crash();
  auto d = open(m, "/f");
  ok(d->lock(io::LockMode::kExclusive));
  ok(d->lock_ofd());
}

TEST(SimDisk, DirectoriesAndOpenModesFailAsAnOperatingSystemWould) {
  Machine m(1);
  auto& fs = m.fs();
  EXPECT_EQ(fs.open("/none", {}).error().code(), Code::kFileNotFound);
  EXPECT_EQ(fs.open("/none/f", kCreate).error().code(), Code::kFileNotFound);
  m.write_file("/f", "abc");
  EXPECT_EQ(fs.open("/f", {.write = true, .create = true, .exclusive = true}).error().code(),
            Code::kFileExists);
  EXPECT_EQ(*open(m, "/f", {.write = true, .truncate = true})->size(), 0u);
  auto reader = open(m, "/f", {});
  EXPECT_FALSE(reader->write_at(0, "x").has_value());
  ok(fs.make_dirs("/d/e", 0700));
  ok(fs.make_dir("/d", 0700));
  EXPECT_EQ(*fs.permissions("/d"), 0700u);
  EXPECT_FALSE(fs.remove("/d").has_value());
  EXPECT_FALSE(fs.rename("/f", "/d").has_value());
  EXPECT_FALSE(fs.rename("/d", "/f").has_value());
  EXPECT_FALSE(fs.rename("/none", "/x").has_value());
  m.write_file("/d/b", "");
  m.write_file("/d/a", "");
  auto entries = fs.list("/d");
  ASSERT_TRUE(entries.has_value());
  std::string text;
  for (auto& e : *entries) text += e.name + (e.directory ? "/ " : " ");
  EXPECT_EQ(text, "a b e/ ");
  ok(fs.rename("/d", "/moved"));
  EXPECT_TRUE(*fs.exists("//moved/./a"));
  EXPECT_FALSE(*fs.exists("/d"));
}

}  // namespace
}  // namespace quoin::sim
