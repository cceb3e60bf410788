// Planted damages: each is named, with the file it is in; what is merely unusual is a note; a sound directory is sound.
#include "cmd/etcdutl/check.h"

#include "cmd/etcdutl/files.h"
#include "cmd/etcdutl/restore.h"
#include "cmd/etcdutl/test_member_test.h"
#include "raft/codec.h"
#include "sim/machine.h"
#include "wal/record.h"
#include "wal/wal.h"

namespace quoin::utl {
namespace {

constexpr const char* kDatabase = "/d/member/snap/db";
constexpr const char* kSegment = "/d/member/wal/0000000000000000-0000000000000000.wal";
constexpr const char* kSnap = "/d/member/snap/0000000000000001-0000000000000001.snap";

// A restored member that has written kEntries entries since, each with its hard state, and applied all of them.
class CheckTest : public testing::Test {
 protected:
  static constexpr uint64_t kEntries = 40;

  CheckTest() {
    auto& fs = machine_.fs();
    EXPECT_TRUE(fs.make_dirs("/saved", 0700));
    make_database(fs, "/saved/s.db");
    RestoreOptions options;
    options.snapshot = "/saved/s.db";
    options.data_dir = "/d";
    options.skip_hash_check = true;
    EXPECT_TRUE(restore_snapshot(options, where(), {}));
    append_entries(2, kEntries);
    set_index(kEntries, 2);
  }

  Machine where() { return {machine_.fs(), machine_.process().clock(), log::null_logger()}; }

  void append_entries(uint64_t from, uint64_t to) {
    auto log =
        wal::open(machine_.fs(), "/d/member/wal", {Index(1), Term(1), std::nullopt}, {}, log::null_logger());
    ASSERT_TRUE(log) << text_of(log);
    wal::BatchEncoder records(log->tail.crc);
    for (uint64_t i = from; i <= to; ++i) {
      records.add_entry({Term(2), Index(i), raft::EntryType::kNormal, Blob::copy(std::string(100, 'x'))});
      records.add_state({Term(2), MemberId(1), Index(i)});
    }
    uint64_t at = log->tail.offset;
    for (const std::string_view part : records.parts()) {
      ASSERT_TRUE(log->tail.segments.back().file->write_at(at, part));
      at += part.size();
    }
    end_of_log_ = at;
  }

  void set_index(uint64_t index, uint64_t term) {
    change_database("meta", "consistent_index", be64_of(index));
    change_database("meta", "term", be64_of(term));
  }
  void change_database(std::string_view bucket, std::string_view key, std::string_view value) {
    auto db = bolt::Db::open(machine_.fs(), kDatabase);
    ASSERT_TRUE(db) << text_of(db);
    auto tx = (*db)->begin_write();
    ASSERT_TRUE((*(*tx)->bucket(bucket))->put(key, value));
    ASSERT_TRUE((*db)->commit_blocking(std::move(*tx)));
    ASSERT_TRUE((*db)->close_blocking(false));
  }

  // "sound", or the faults: file name and text of each, a line each.
  std::string faults() { return findings(true); }
  std::string notes() { return findings(false); }
  std::string findings(bool faults) {
    const auto report = check_directory("/d", "", where(), {});
    EXPECT_TRUE(report) << text_of(report);
    std::string out;
    for (const Finding& f : report->findings()) {
      if (f.fault == faults) out += f.where.substr(f.where.rfind('/') + 1) + ": " + f.what + "\n";
      EXPECT_FALSE(f.fault && f.remedy.empty()) << f.what;
    }
    return out.empty() ? "sound" : out;
  }

  sim::Machine machine_{1};
  uint64_t end_of_log_ = 0;
};

TEST_F(CheckTest, Sound) {
  EXPECT_EQ(faults(), "sound");
  EXPECT_EQ(notes(), "sound");
}

TEST_F(CheckTest, NoMember) {
  const auto report = check_directory("/saved", "", where(), {});
  ASSERT_TRUE(report);
  EXPECT_FALSE(report->sound());
}

TEST_F(CheckTest, RunningMember) {
  const auto db = bolt::Db::open(machine_.fs(), kDatabase);
  EXPECT_EQ(faults(), "db: a member runs on this directory: its database is locked\n");
}

TEST_F(CheckTest, DatabaseMissing) {
  ASSERT_TRUE(machine_.fs().remove(kDatabase));
  EXPECT_EQ(faults(), "db: the database is missing\n");
}

TEST_F(CheckTest, DatabaseCutShort) {
  const std::string bytes = machine_.read_file(kDatabase);
  machine_.disk().put_file(kDatabase, bytes.substr(0, 3 * 4096));
  EXPECT_NE(faults(), "sound");
  machine_.disk().put_file(kDatabase, bytes.substr(0, 100));
  EXPECT_EQ(faults(), "db: file size too small 100\n");
}

TEST_F(CheckTest, PageDamaged) {
  const auto root = [&] {
    const auto db = bolt::Db::open(machine_.fs(), kDatabase, {.read_only = true});
    return (*(*db)->begin_read()->bucket("key"))->root();
  }();
  ASSERT_TRUE(machine_.disk().flip_bit(kDatabase, root.v * 4096 + 8, 1));  // its kind
  EXPECT_NE(faults().find(fmt::format("page {}", root)), std::string::npos) << faults();
}

TEST_F(CheckTest, RecordsThatNoMemberWrites) {
  const std::string key(backend::RevisionKey({30, 0}).view());
  change_database("key", key, mvcc::encode_key_value({"k", 5, 29, 1, "v", LeaseId{}}).view());
  EXPECT_EQ(faults(), "db: bucket key, revision 30_0: says that it is of revision 29\n");
  change_database("key", key, mvcc::encode_key_value({"k", 31, 30, 1, "v", LeaseId{}}).view());
  EXPECT_EQ(faults(), "db: bucket key, revision 30_0: created at revision 31\n");
  change_database("key", key, mvcc::encode_key_value({"k", 5, 30, 0, "v", LeaseId{}}).view());
  EXPECT_EQ(faults(), "db: bucket key, revision 30_0: version 0\n");
  change_database("key", key, "");  // as a restore raises the revision
  EXPECT_EQ(faults(), "sound");
  change_database("key", "short", "x");
  EXPECT_NE(faults().find("db: bucket key, a key that is no revision"), std::string::npos);
}

TEST_F(CheckTest, ManyOfOneKindAreCounted) {
  for (int i = 0; i < 25; ++i) change_database("key", backend::RevisionKey({100 + i, 0}).view(), "\x0a\x09z");
  EXPECT_NE(faults().find("db: 5 more of these\n"), std::string::npos) << faults();
}

TEST_F(CheckTest, KeyOfAMissingLease) {
  const std::string key(backend::RevisionKey({30, 0}).view());
  change_database("key", key, mvcc::encode_key_value({"k", 30, 30, 1, "v", LeaseId(77)}).view());
  EXPECT_EQ(faults(), "sound");
  EXPECT_EQ(notes(), "db: 1 keys hang on leases that do not exist, so nothing removes them\n");
}

TEST_F(CheckTest, MembersOfAnotherCluster) {
  membership::Member m;
  m.id = MemberId(0x77);
  m.peer_urls = {"http://x:2380"};
  change_database("members", "77", membership::member_json(m));
  EXPECT_NE(faults().find("of snapshot and log: "), std::string::npos) << faults();
  change_database("members_removed", "77", "removed");
  EXPECT_NE(faults().find("member 77 is listed as a member and as removed"), std::string::npos) << faults();
}

TEST_F(CheckTest, LogMissing) {
  ASSERT_TRUE(machine_.fs().remove_all("/d/member/wal"));
  EXPECT_EQ(faults(), "wal: the log is missing\n");
}

// Not so the bytes that fill a record up to a multiple of 8: they mean nothing.
TEST_F(CheckTest, EveryFlippedBitOfTheLogIsNamed) {
  const auto contents = [&]() -> std::string {
    const auto log = wal::read(machine_.fs(), "/d/member/wal", {}, log::null_logger());
    if (!log) return std::string(log.error().text());
    std::string out = fmt::format("{} {} ", log->hard_state.commit, log->hard_state.term);
    for (const raft::Entry& e : log->entries) out += fmt::format("{} {} {} ", e.index, e.term, e.data.view());
    return out;
  };
  const std::string whole = contents();
  size_t named = 0;
  for (uint64_t at = 0; at < end_of_log_; at += 37) {
    ASSERT_TRUE(machine_.disk().flip_bit(kSegment, at, static_cast<int>(at % 8)));
    const bool said = faults() + notes() != "soundsound";
    EXPECT_TRUE(said || contents() == whole) << "byte " << at;
    named += said ? 1 : 0;
    ASSERT_TRUE(machine_.disk().flip_bit(kSegment, at, static_cast<int>(at % 8)));
  }
  EXPECT_GT(named, 100u);
  EXPECT_EQ(faults(), "sound");
}

TEST_F(CheckTest, TornLastWriteIsNoFault) {
  set_index(kEntries - 1, 2);
  // The hard state of the last entry, and the end of that entry.
  auto file = machine_.fs().open(kSegment, {.write = true});
  ASSERT_TRUE((*file)->truncate(end_of_log_ - 60));
  EXPECT_EQ(faults(), "sound");
  EXPECT_NE(notes().find("the last write is incomplete"), std::string::npos) << notes();
}

TEST_F(CheckTest, LogEndsBeforeTheDatabase) {
  set_index(kEntries + 5, 2);
  EXPECT_EQ(faults(), "wal: the database holds entries up to 45, but the log ends with 40\n");
}

TEST_F(CheckTest, AnotherHistory) {
  set_index(kEntries, 3);
  EXPECT_EQ(faults(), "db: entry 40 is of term 3 for the database and of term 2 in the log\n");
}

TEST_F(CheckTest, DatabaseOlderThanTheSnapshot) {
  set_index(0, 0);
  EXPECT_EQ(faults(), "db: the database is at index 0, older than the newest snapshot (index 1)\n");
}

TEST_F(CheckTest, GapInTheLog) {
  append_entries(kEntries + 3, kEntries + 4);
  EXPECT_EQ(faults(), "wal: entries 41 to 42 are missing\n");
}

TEST_F(CheckTest, SnapshotFiles) {
  ASSERT_TRUE(machine_.disk().flip_bit(kSnap, 30, 1));
  EXPECT_NE(faults().find("snap: snap: crc mismatch"), std::string::npos) << faults();
  ASSERT_TRUE(machine_.fs().remove(kSnap));
  EXPECT_NE(faults().find("the log has a record of this snapshot, but the file is missing"),
            std::string::npos)
      << faults();
}

TEST_F(CheckTest, SegmentMissing) {
  ASSERT_TRUE(machine_.fs().rename(kSegment, "/d/member/wal/0000000000000002-0000000000000029.wal"));
  machine_.disk().put_file(kSegment, "");
  EXPECT_NE(faults().find("segments are missing between"), std::string::npos) << faults();
}

TEST_F(CheckTest, ChangesNothing) {
  const auto before = machine_.disk().ops_done();
  (void)faults();
  machine_.disk().flip_random_bits(kDatabase, 5);
  machine_.disk().flip_random_bits(kSegment, 5);
  (void)faults();
  // Opening a file counts as an operation; nothing was written.
  for (const std::string& path : machine_.disk().list_visible())
    EXPECT_EQ(path.find("broken"), std::string::npos);
  EXPECT_LT(machine_.disk().ops_done() - before, 20u);
}

TEST_F(CheckTest, Interrupted) {
  EXPECT_EQ(text_of(check_directory("/d", "", where(), {.interrupted = [] { return true; }})), "interrupted");
}

// Whatever stands in the files, a check ends, with a report.
TEST_F(CheckTest, RandomDamages) {
  const std::string db = machine_.read_file(kDatabase), log = machine_.read_file(kSegment);
  size_t named = 0;
  for (int round = 0; round < 60; ++round) {
    machine_.disk().flip_random_bits(kDatabase, 1 + round % 20);
    const auto report = check_directory("/d", "", where(), {});
    ASSERT_TRUE(report);
    named += report->sound() ? 0 : 1;
    machine_.disk().put_file(kDatabase, db);
  }
  EXPECT_GT(named, 10u);
}

}  // namespace
}  // namespace quoin::utl
