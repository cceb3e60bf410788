// The engines that read or rewrite one database: status, hash, defragmentation, migration.
#include "cmd/etcdutl/db_status.h"
#include "cmd/etcdutl/defrag.h"
#include "cmd/etcdutl/hash_file.h"
#include "cmd/etcdutl/migrate.h"
#include "cmd/etcdutl/printer.h"
#include "cmd/etcdutl/test_member_test.h"
#include "sim/machine.h"
#include "wal/wal.h"

namespace quoin::utl {
namespace {

constexpr const char* kDatabase = "/d/member/snap/db";

class EnginesTest : public testing::Test {
 protected:
  EnginesTest() {
    EXPECT_TRUE(machine_.fs().make_dirs("/d/member/snap", 0700));
    make_database(machine_.fs(), kDatabase);
    for (const char* dir : {"/", "/d", "/d/member", "/d/member/snap"})
      EXPECT_TRUE(machine_.fs().sync_dir(dir));
  }
  std::unique_ptr<bolt::Db> open(bool read_only) {
    auto db = bolt::Db::open(machine_.fs(), kDatabase, {.read_only = read_only});
    EXPECT_TRUE(db) << text_of(db);
    return std::move(*db);
  }
  Machine where() { return {machine_.fs(), machine_.process().clock(), log::null_logger()}; }
  Result<> defragment_it(const Job& job = {}) {
    auto db = open(false);
    return defragment(where(), std::move(db), job);
  }

  sim::Machine machine_{1};
};

TEST_F(EnginesTest, Status) {
  const auto status = db_status(*open(true), {});
  ASSERT_TRUE(status) << text_of(status);
  EXPECT_EQ(status->revision, 22);
  EXPECT_EQ(status->total_keys, 19u);  // k0 was deleted
  EXPECT_EQ(status->version, "3.6.0");
  EXPECT_EQ(print_status(*status, Format::kFields).substr(0, 9), "\"Hash\" : ");
}

TEST_F(EnginesTest, StatusOfADamagedFile) {
  // The page of bucket `key` says that it is another.
  const auto db = open(true);
  const PageId root = (*db->begin_read()->bucket("key"))->root();
  ASSERT_TRUE(machine_.disk().flip_bit(kDatabase, root.v * 4096, 3));
  const auto status = db_status(*open(true), {});
  EXPECT_EQ(text_of(status).substr(0, 56), "snapshot file integrity check failed. 1 errors found.\nas");
}

TEST_F(EnginesTest, Hash) {
  const auto hash = hash_file(*open(true), 0, {});
  ASSERT_TRUE(hash) << text_of(hash);
  EXPECT_EQ(hash->hash_revision, 22);
  EXPECT_EQ(hash->compact_revision, -1);
  EXPECT_EQ(text_of(hash_file(*open(true), 23, {})),
            "etcdserver: mvcc: required revision is a future revision");
}

TEST_F(EnginesTest, DefragmentationKeepsTheContents) {
  const auto before = db_status(*open(true), {});
  ASSERT_TRUE(defragment_it());
  machine_.crash();
  const auto after = db_status(*open(true), {});
  ASSERT_TRUE(after);
  EXPECT_EQ(after->hash, before->hash);
}

TEST_F(EnginesTest, DefragmentationThatFailsLeavesTheOldFile) {
  const auto before = db_status(*open(true), {});
  size_t failures = 0;
  for (uint64_t skip = 0;; ++skip) {
    machine_.disk().clear_faults();
    auto db = open(false);
    machine_.disk().inject({.ops = sim::kChangingOps & ~sim::kRemove, .path_contains = "/d", .skip = skip});
    const Result<> done = defragment(where(), std::move(db), {});
    machine_.disk().clear_faults();
    if (done) break;
    ++failures;
    for (const std::string& path : machine_.disk().list_visible()) {
      EXPECT_EQ(path.find(".tmp"), std::string::npos) << path << " after " << text_of(done);
    }
    EXPECT_EQ(db_status(*open(true), {})->hash, before->hash);
  }
  EXPECT_GT(failures, 4u);
}

TEST_F(EnginesTest, DefragmentationInterrupted) {
  const auto before = machine_.read_file(kDatabase);
  EXPECT_EQ(text_of(defragment_it({.interrupted = [] { return true; }})), "interrupted");
  EXPECT_EQ(db_status(*open(true), {})->total_keys, 19u);
}

TEST_F(EnginesTest, Migration) {
  ASSERT_TRUE(wal::create(machine_.fs(), "/d/member/wal", "meta", log::null_logger()));
  const auto version = [&] { return db_status(*open(true), {})->version; };
  const auto go = [&](std::string_view target, bool force = false) {
    const auto parsed = parse_target_version(target);
    EXPECT_TRUE(parsed);
    return text_of(migrate({"/d", *parsed, force}, where(), open(false)));
  };
  EXPECT_EQ(go("3.6"), "ok");
  EXPECT_EQ(version(), "3.6.0");
  EXPECT_EQ(go("3.5"), "ok");
  EXPECT_EQ(version(), "");
  EXPECT_EQ(go("3.6"), "ok");
  EXPECT_EQ(go("3.7"), "cannot create migration plan: version \"3.7.0\" is not supported");
  EXPECT_EQ(version(), "3.6.0");
  EXPECT_EQ(go("4.0"), "cannot create migration plan: changing major storage version is not supported");
  EXPECT_EQ(go("3.7", true), "ok");
  EXPECT_EQ(version(), "3.7.0");
}

TEST_F(EnginesTest, MigrationNeedsTheLog) {
  EXPECT_EQ(text_of(migrate({"/d", backend::kSchema35, false}, where(), open(false))).substr(0, 35),
            "failed to get the lastest snapshot:");
}

TEST(TargetVersion, AsGoReadsIt) {
  const std::pair<const char*, const char*> cases[] = {
      {"3.6", "ok"},
      {"03.5", "ok"},
      {"3.6.1", "wrong target version format, expected \"X.Y\", got \"3.6.1\""},
      {"3", "wrong target version format, expected \"X.Y\", got \"3\""},
      {"3.4", "target version \"3.4\" not supported. Minimal \"3.5\""},
      {"a.b", "failed to parse target version: strconv.ParseInt: parsing \"a\": invalid syntax"},
      {"3.", "failed to parse target version: strconv.ParseInt: parsing \"\": invalid syntax"},
      {"3.6-x", "failed to parse target version: 3.6 is not in dotted-tri format"},
      {"3.99999999999999999999",
       "failed to parse target version: strconv.ParseInt: parsing \"99999999999999999999\": value out of "
       "range"},
  };
  for (const auto& [text, answer] : cases) EXPECT_EQ(text_of(parse_target_version(text)), answer) << text;
}

}  // namespace
}  // namespace quoin::utl
