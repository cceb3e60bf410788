// A restore that is cut off at any point leaves no directory that a member would start on, and one that ends leaves all
// of it on the disk.
#include "cmd/etcdutl/restore.h"

#include "cmd/etcdutl/files.h"
#include "cmd/etcdutl/snap_files.h"
#include "cmd/etcdutl/test_member_test.h"
#include "membership/cluster.h"
#include "sim/machine.h"
#include "wal/wal.h"

namespace quoin::utl {
namespace {

constexpr const char* kSnapshot = "/saved/s.db";

class RestoreTest : public testing::Test {
 protected:
  RestoreTest() {
    EXPECT_TRUE(machine_.fs().make_dirs("/saved", 0700));
    make_database(machine_.fs(), "/saved/plain.db");
    const std::string bytes = machine_.read_file("/saved/plain.db");
    machine_.disk().put_file(kSnapshot, bytes + sha256_of(bytes));
    EXPECT_TRUE(machine_.fs().sync_dir("/saved"));
    options_.snapshot = kSnapshot;
    options_.data_dir = "/d";
  }

  Result<> restore() {
    const Machine machine{machine_.fs(), machine_.process().clock(), log::null_logger()};
    return restore_snapshot(options_, machine, job_);
  }

  static bool has_log(io::FileSystem& fs, const std::string& dir) {
    const auto there = wal::exists(fs, dir);
    EXPECT_TRUE(there);
    return *there;
  }

  // All of a restored member.
  static void expect_whole(io::FileSystem& fs, const std::string& wal_dir, size_t members) {
    const auto records = wal::valid_snapshots(fs, wal_dir, log::null_logger());
    ASSERT_TRUE(records) << text_of(records);
    const auto snapshot = newest_usable_snapshot(fs, "/d/member/snap", *records);
    ASSERT_TRUE(snapshot) << text_of(snapshot);
    ASSERT_TRUE(*snapshot);
    EXPECT_EQ((*snapshot)->metadata.index, Index(members));
    EXPECT_EQ((*snapshot)->metadata.conf_state.voters.size(), members);
    const auto log = wal::read(fs, wal_dir, {}, log::null_logger());
    ASSERT_TRUE(log) << text_of(log);
    EXPECT_EQ(log->entries.size(), members);
    EXPECT_EQ(log->hard_state.commit, Index(members));
    auto db = bolt::Db::open(fs, "/d/member/snap/db", {.read_only = true});
    ASSERT_TRUE(db) << text_of(db);
    EXPECT_TRUE((*db)->check().empty());
    const auto tx = (*db)->begin_read();
    EXPECT_EQ(**tx->get("meta", "consistent_index"), be64_of(members));
    EXPECT_FALSE(*tx->get("members", "abc"));
    EXPECT_TRUE(*tx->get("key", backend::RevisionKey({2, 0}).view()));
  }

  sim::Machine machine_{1};
  RestoreOptions options_;
  Job job_;
};

TEST_F(RestoreTest, MakesAMember) {
  ASSERT_TRUE(restore());
  machine_.crash();
  expect_whole(machine_.fs(), "/d/member/wal", 1);
}

TEST_F(RestoreTest, RaisesTheRevision) {
  options_.bump_revision = 1000;
  ASSERT_TRUE(restore());
  auto db = bolt::Db::open(machine_.fs(), "/d/member/snap/db", {.read_only = true});
  ASSERT_TRUE(db);
  const auto tx = (*db)->begin_read();
  const std::string raised(backend::RevisionKey({1022, 0}).view());  // 22 was the tombstone
  EXPECT_EQ(*tx->get("key", raised), std::optional<std::string_view>(""));
  EXPECT_EQ(*tx->get("meta", "scheduledCompactRev"), std::optional<std::string_view>(raised));
}

TEST_F(RestoreTest, RefusesARevisionBeyondAll) {
  options_.bump_revision = uint64_t{1} << 62;
  EXPECT_EQ(
      text_of(restore()),
      "revision 22 cannot be raised by 4611686018427387904: beyond 4611686018427387903 no revisions follow");
}

TEST_F(RestoreTest, LogInADirectoryOfItsOwn) {
  for (const std::string dir : {"/elsewhere/deep/wal", "/d/wal", "/d/member/wal", "/d/member/log/"}) {
    SCOPED_TRACE(dir);
    options_.wal_dir = dir;
    ASSERT_TRUE(restore()) << text_of(restore());
    machine_.crash();
    expect_whole(machine_.fs(), without_slashes(dir), 1);
    ASSERT_TRUE(machine_.fs().remove_all("/d"));
    ASSERT_TRUE(machine_.fs().sync_dir("/"));
  }
}

TEST_F(RestoreTest, Refusals) {
  options_.name = "z";
  EXPECT_EQ(text_of(restore()), "couldn't find local name \"z\" in the initial cluster configuration");
  options_.name = "default";
  machine_.disk().put_file("/d/x", "");
  EXPECT_EQ(text_of(restore()), "data-dir \"/d\" not empty or could not be read");
  options_.data_dir = "/e";
  options_.wal_dir = "/d";
  EXPECT_EQ(text_of(restore()), "wal-dir \"/d\" exists");
}

TEST_F(RestoreTest, Digests) {
  const std::string bytes = machine_.read_file("/saved/plain.db");
  machine_.disk().put_file(kSnapshot, bytes);
  EXPECT_EQ(text_of(restore()), "snapshot missing hash but --skip-hash-check=false");
  EXPECT_FALSE(*machine_.fs().exists("/d"));
  std::string wrong = sha256_of(bytes);
  wrong[0] = static_cast<char>(wrong[0] ^ 1);
  machine_.disk().put_file(kSnapshot, bytes + wrong);
  EXPECT_TRUE(text_of(restore()).starts_with("expected sha256 [")) << text_of(restore());
  EXPECT_FALSE(*machine_.fs().exists("/d"));
  options_.skip_hash_check = true;
  ASSERT_TRUE(restore());
  expect_whole(machine_.fs(), "/d/member/wal", 1);
}

TEST_F(RestoreTest, NamesTheSnapshotThatIsNoDatabase) {
  machine_.disk().put_file(kSnapshot, std::string(8192, 'x'));
  options_.skip_hash_check = true;
  EXPECT_EQ(text_of(restore()), "/saved/s.db: page 0: invalid database");
}

// Power is lost at each point of it.
TEST_F(RestoreTest, WholeOrNotThereAfterACrash) {
  options_.initial_cluster = "default=http://localhost:2380,b=http://localhost:2381";
  size_t before = 0, whole = 0;
  Prng prng(7);
  machine_.disk().set_hook([&](sim::Op, std::string_view) {
    const auto image = machine_.disk().crash_image(prng);
    sim::SimFileSystem fs(*image, machine_.executor());
    if (has_log(fs, "/d/member/wal")) {
      ++whole;
      expect_whole(fs, "/d/member/wal", 2);
    } else {
      ++before;
    }
  });
  ASSERT_TRUE(restore());
  machine_.disk().set_hook({});
  EXPECT_GT(before, 20u);
  machine_.crash();
  expect_whole(machine_.fs(), "/d/member/wal", 2);
}

TEST_F(RestoreTest, ALogElsewhereComesLast) {
  options_.wal_dir = "/w/wal";
  Prng prng(8);
  machine_.disk().set_hook([&](sim::Op, std::string_view) {
    const auto image = machine_.disk().crash_image(prng);
    sim::SimFileSystem fs(*image, machine_.executor());
    if (has_log(fs, "/w/wal")) expect_whole(fs, "/w/wal", 1);
  });
  ASSERT_TRUE(restore());
  machine_.disk().set_hook({});
}

// Each operation fails once: nothing stays behind.
TEST_F(RestoreTest, LeavesNothingAfterAFailure) {
  for (const std::string wal_dir : {"", "/w"}) {
    options_.wal_dir = wal_dir;
    size_t failures = 0;
    for (uint64_t skip = 0;; ++skip) {
      machine_.disk().clear_faults();
      machine_.disk().inject({.ops = sim::kChangingOps & ~sim::kRemove, .skip = skip});
      const Result<> done = restore();
      if (done) break;
      ++failures;
      machine_.disk().clear_faults();
      for (const std::string& path : machine_.disk().list_visible()) {
        EXPECT_TRUE(path.starts_with("/saved") || path == "/") << path << " after " << text_of(done);
      }
    }
    machine_.disk().clear_faults();
    EXPECT_GT(failures, 20u);
    ASSERT_TRUE(machine_.fs().remove_all("/d"));
    ASSERT_TRUE(machine_.fs().remove_all("/w"));
  }
}

TEST_F(RestoreTest, LeavesNothingWhenInterrupted) {
  size_t interruptions = 0;
  for (int after = 0;; ++after) {
    int left = after;
    job_.interrupted = [&left] { return left-- == 0; };
    const Result<> done = restore();
    if (done) break;
    ++interruptions;
    EXPECT_EQ(done.error().code(), Code::kStopped);
    EXPECT_FALSE(*machine_.fs().exists("/d"));
  }
  EXPECT_GE(interruptions, 4u);
}

}  // namespace
}  // namespace quoin::utl
