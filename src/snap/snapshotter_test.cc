#include "snap/snapshotter.h"

#include <gtest/gtest.h>

#include "base/coding.h"
#include "sim/machine.h"

namespace quoin::snap {
namespace {

raft::Snapshot snapshot(uint64_t term, uint64_t index, std::string_view data = "membership") {
  raft::Snapshot s;
  s.data = Blob::copy(data);
  s.metadata.conf_state.voters = {MemberId(0xbdae9bbc11dd390dull)};
  s.metadata.index = Index(index);
  s.metadata.term = Term(term);
  return s;
}

struct SnapDir {
  explicit SnapDir(uint64_t seed) : machine(seed) {
    CHECK(machine.fs().make_dirs("/snap", 0700).has_value());
    CHECK(machine.fs().sync_dir("/").has_value());
    start();
  }
  ~SnapDir() { machine.kill(); }
  void start() {
    snaps =
        std::make_unique<Snapshotter>(machine.fs(), "/snap", machine.process().clock(), machine.log(), probe);
    const auto opened = snaps->open();
    CHECK(opened.has_value(), "{}", opened.error().text());
  }
  void crash() {
    machine.kill();
    snaps.reset();
    machine.crash();
    start();
  }
  Result<> wait(absl::FunctionRef<void(io::Completion)> begin) {
    std::optional<Result<>> result;
    begin([&](Result<> r) { result = r; });
    CHECK(machine.run_until([&] { return result.has_value(); }));
    return *result;
  }
  Result<> save(const raft::Snapshot& s) {
    return wait([&](io::Completion done) { snaps->save(s, std::move(done)); });
  }
  std::vector<std::string> files() {
    std::vector<std::string> out;
    const auto entries = machine.fs().list("/snap");
    CHECK(entries.has_value());
    for (const auto& e : *entries) out.push_back(e.name);
    return out;
  }
  Index newest() {
    auto s = snaps->load_newest([](Term, Index) { return true; });
    return s ? s->metadata.index : Index(0);
  }

  sim::Machine machine;
  metrics::Registry registry;
  Probe probe{registry};
  std::unique_ptr<Snapshotter> snaps;
};

TEST(SnapFile, NamesAndBytes) {
  EXPECT_EQ(snap_name(Term(3), Index(0x16)), "0000000000000003-0000000000000016.snap");
  EXPECT_EQ(snap_db_name(Index(0x16)), "0000000000000016.snap.db");
  Term term;
  Index index;
  EXPECT_TRUE(parse_snap_name("0000000000000003-0000000000000016.snap", &term, &index));
  EXPECT_FALSE(parse_snap_name("0000000000000003-0000000000000016.snap.broken", &term, &index));
  EXPECT_FALSE(parse_snap_name("0000000000000016.snap.db", &term, &index));
  EXPECT_TRUE(parse_snap_db_name("0000000000000016.snap.db", &index));
  EXPECT_EQ(index, Index(0x16));

  const raft::Snapshot s = snapshot(3, 0x16, "{}");
  const std::string bytes = encode_snap(s);
  // As in spec storage-formats 4.1: crc, then the snapshot with its metadata last.
  EXPECT_EQ(static_cast<uint8_t>(bytes[0]), 0x08);
  EXPECT_EQ(hex_bytes(bytes).substr(hex_bytes(bytes).size() - 42),
            "12130a0d088df2f48ec1f7a6d7bd01280010161803");
  auto back = decode_snap(Blob::copy(bytes));
  ASSERT_TRUE(back.has_value()) << back.error().text();
  EXPECT_EQ(back->data.view(), "{}");
  EXPECT_EQ(back->metadata.index, Index(0x16));
  EXPECT_EQ(back->metadata.term, Term(3));
  EXPECT_EQ(back->metadata.conf_state, s.metadata.conf_state);
}

TEST(SnapFile, EveryFlippedBitIsFound) {
  const std::string good = encode_snap(snapshot(3, 22));
  for (size_t at = 0; at < good.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
      auto s = decode_snap(Blob::copy(bad));
      ASSERT_FALSE(s.has_value()) << at << "." << bit;
      EXPECT_EQ(s.error().code(), Code::kCorruption);
    }
  }
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(decode_snap(Blob::copy(good.substr(0, size))).has_value()) << size;
  }
  EXPECT_EQ(decode_snap(Blob()).error().text(), "snap: empty snapshot");
  EXPECT_EQ(decode_snap(Blob::copy(std::string_view("\x08\x00\x12\x01x", 5))).error().text(),
            "snap: empty snapshot");
  EXPECT_EQ(decode_snap(Blob::copy(std::string_view("\x08\x01\x12\x01x", 5))).error().text(),
            "snap: crc mismatch");
}

TEST(Snapshotter, WhatIsSavedIsThereAfterACrash) {
  SnapDir d(1);
  EXPECT_EQ(d.snaps->load_newest([](Term, Index) { return true; }).error().text(),
            "snap: no available snapshot");
  ASSERT_TRUE(d.save(snapshot(1, 10)).has_value());
  ASSERT_TRUE(d.save(snapshot(2, 20)).has_value());
  EXPECT_EQ(d.probe.save_seconds.sum() > 0, true);
  d.crash();
  EXPECT_EQ(d.snaps->snap_names(),
            (std::vector<std::string>{snap_name(Term(2), Index(20)), snap_name(Term(1), Index(10))}));
  EXPECT_EQ(d.newest(), Index(20));
  auto older = d.snaps->load_newest([](Term t, Index i) { return t == Term(1) && i == Index(10); });
  ASSERT_TRUE(older.has_value());
  EXPECT_EQ(older->data.view(), "membership");
}

TEST(Snapshotter, BrokenFilesAreRenamedAndTheNextIsTaken) {
  SnapDir d(2);
  ASSERT_TRUE(d.save(snapshot(1, 10)).has_value());
  for (uint64_t i : {20, 30}) ASSERT_TRUE(d.save(snapshot(1, i)).has_value());
  ASSERT_TRUE(d.machine.disk().flip_bit("/snap/" + snap_name(Term(1), Index(30)), 40, 3));
  d.machine.disk().put_file("/snap/" + snap_name(Term(1), Index(20)), "");
  EXPECT_EQ(d.newest(), Index(10));
  EXPECT_EQ(d.files(), (std::vector<std::string>{snap_name(Term(1), Index(10)),
                                                 snap_name(Term(1), Index(20)) + ".broken",
                                                 snap_name(Term(1), Index(30)) + ".broken"}));
  EXPECT_TRUE(d.machine.log().contains("warn failed to read a snap file"));
  EXPECT_TRUE(d.machine.log().contains("error=snap: empty snapshot"));
  EXPECT_TRUE(d.machine.log().contains("warn renamed to a broken snap file"));
}

TEST(Snapshotter, OpenRemovesLeftoversAndWarns) {
  SnapDir d(3);
  for (const char* name : {"tmp123", "db.tmp.456", "db", "odd", "x.broken"}) {
    d.machine.disk().put_file(std::string("/snap/") + name, "x");
  }
  ASSERT_TRUE(d.snaps->open().has_value());
  EXPECT_EQ(d.files(), (std::vector<std::string>{"db", "odd", "x.broken"}));
  EXPECT_TRUE(d.machine.log().contains("found unexpected non-snap file; skipping path=odd"));
  EXPECT_EQ(d.machine.log().count("skipping"), 1u);
}

TEST(Snapshotter, DatabasesAreReceivedReleasedAndPurged) {
  SnapDir d(4);
  for (uint64_t i : {5, 6, 7}) {
    const std::string tmp = d.snaps->new_tmp_path();
    d.machine.write_file(tmp, fmt::format("db {}", i));
    auto file = d.machine.fs().open(tmp, {.write = true});
    ASSERT_TRUE((*file)->sync().has_value());
    ASSERT_TRUE(
        d.wait([&](io::Completion done) { d.snaps->commit_db(tmp, Index(i), std::move(done)); }).has_value());
  }
  // The same index again: the copy that is there stays.
  const std::string tmp = d.snaps->new_tmp_path();
  d.machine.write_file(tmp, "other");
  ASSERT_TRUE(
      d.wait([&](io::Completion done) { d.snaps->commit_db(tmp, Index(7), std::move(done)); }).has_value());
  d.crash();
  auto path = d.snaps->db_path(Index(7));
  ASSERT_TRUE(path.has_value());
  EXPECT_EQ(d.machine.read_file(*path), "db 7");
  EXPECT_EQ(d.snaps->db_path(Index(8)).error().text(), "snap: snapshot file doesn't exist");
  ASSERT_TRUE(
      d.wait([&](io::Completion done) { d.snaps->release_snap_dbs(Index(6), std::move(done)); }).has_value());
  EXPECT_EQ(d.files(), (std::vector<std::string>{snap_db_name(Index(6)), snap_db_name(Index(7))}));
  for (uint64_t i = 1; i <= 4; ++i) ASSERT_TRUE(d.save(snapshot(1, i)).has_value());
  ASSERT_TRUE(d.wait([&](io::Completion done) { d.snaps->purge(0, std::move(done)); }).has_value());
  EXPECT_EQ(d.files().size(), 6u);
  // No record in the log yet: any of them may be needed.
  ASSERT_TRUE(d.wait([&](io::Completion done) { d.snaps->purge(1, std::move(done)); }).has_value());
  EXPECT_EQ(d.files().size(), 6u);
  // 3 is what a start would begin from; 4 may never get its record.
  d.snaps->recorded(Term(1), Index(3));
  d.snaps->recorded(Term(1), Index(2));
  ASSERT_TRUE(d.wait([&](io::Completion done) { d.snaps->purge(1, std::move(done)); }).has_value());
  EXPECT_EQ(d.files(), (std::vector<std::string>{snap_name(Term(1), Index(3)), snap_name(Term(1), Index(4)),
                                                 snap_db_name(Index(6)), snap_db_name(Index(7))}));
  d.snaps->recorded(Term(2), Index(8));
  ASSERT_TRUE(d.wait([&](io::Completion done) { d.snaps->purge(1, std::move(done)); }).has_value());
  EXPECT_EQ(d.files(), (std::vector<std::string>{snap_name(Term(1), Index(4)), snap_db_name(Index(7))}));
  d.snaps->db_taken(Index(7));
}

// The life before this one renamed the database into place and ended before it synced the directory.
TEST(Snapshotter, ADatabaseThatIsThereAlreadyIsMadeDurable) {
  SnapDir d(4);
  const std::string name = snap_db_name(Index(7));
  d.machine.write_file("/snap/tmp9", "db 7");
  ASSERT_TRUE(d.machine.fs().rename("/snap/tmp9", "/snap/" + name).has_value());
  ASSERT_TRUE(d.snaps->open().has_value());
  const std::string tmp = d.snaps->new_tmp_path();
  d.machine.write_file(tmp, "the same again");
  ASSERT_TRUE(
      d.wait([&](io::Completion done) { d.snaps->commit_db(tmp, Index(7), std::move(done)); }).has_value());
  EXPECT_EQ(d.files(), std::vector<std::string>{name});
  d.crash();
  auto path = d.snaps->db_path(Index(7));
  ASSERT_TRUE(path.has_value());
  EXPECT_EQ(d.machine.read_file(*path), "db 7");
}

TEST(Snapshotter, AFailedSaveIsRemovedAndReported) {
  for (uint64_t n = 0; n < 4; ++n) {  // open, write, sync, sync of the directory
    SnapDir d(5 + n);
    ASSERT_TRUE(d.save(snapshot(1, 10)).has_value());
    d.machine.disk().inject({.ops = sim::kChangingOps, .skip = n, .error = 28});
    auto failed = d.save(snapshot(1, 20));
    ASSERT_FALSE(failed.has_value()) << n;
    EXPECT_EQ(failed.error().code(), Code::kNoSpaceOnDevice);
    EXPECT_EQ(d.files(), std::vector<std::string>{snap_name(Term(1), Index(10))});
    EXPECT_EQ(d.newest(), Index(10));
    EXPECT_TRUE(d.save(snapshot(1, 20)).has_value());
  }
}

TEST(Snapshotter, ACrashDuringASaveLeavesTheOlderOnes) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    SnapDir d(seed);
    ASSERT_TRUE(d.save(snapshot(1, 10)).has_value());
    bool saved = false;
    d.snaps->save(snapshot(1, 20, std::string(5000, 's')), [&](Result<> r) { saved = r.has_value(); });
    for (uint64_t steps = d.machine.world().prng().below(12); steps > 0; --steps) d.machine.world().step();
    d.crash();
    const Index newest = d.newest();
    EXPECT_TRUE(newest == Index(20) || (!saved && newest == Index(10))) << seed;
  }
}

}  // namespace
}  // namespace quoin::snap
