// The crash window of a member that received a leader's snapshot: `.snap` and its record in the log are
// there, the database still waits as `<index>.snap.db`.
#include "server/bootstrap.h"

#include "server/life_test.h"
#include "snap/snapshotter.h"

namespace quoin::server {
namespace {

constexpr const char* kDatabase = "/data/member/snap/db";

class SnapshotDatabase : public ::testing::Test {
 protected:
  static std::string read(io::FileSystem& fs, const std::string& path) {
    auto file = fs.open(path, {});
    EXPECT_TRUE(file);
    std::string bytes(*(*file)->size(), '\0');
    EXPECT_EQ(*(*file)->read_at(0, bytes), bytes.size());
    return bytes;
  }
  static void write(io::FileSystem& fs, const std::string& path, std::string_view bytes) {
    auto file = fs.open(path, {.write = true, .create = true, .truncate = true});
    ASSERT_TRUE(file);
    ASSERT_TRUE((*file)->write_at(0, bytes));
    ASSERT_TRUE((*file)->sync());
    ASSERT_TRUE(fs.sync_dir("/data/member/snap"));
  }
  static Index newest_snapshot(sim::SimDisk& disk) {
    Index newest;
    for (const std::string& path : disk.list_visible()) {
      Term term;
      Index index;
      if (snap::parse_snap_name(path.substr(path.rfind('/') + 1), &term, &index))
        newest = std::max(newest, index);
    }
    return newest;
  }

  // A directory whose log begins with a snapshot, whose database as of then is `<index>.snap.db`, and whose
  // `db` is older than the log.
  void make_directory() {
    Config c = life_config();
    std::string old, taken;
    {
      Life life(world_, disk_, c);
      life.put("a", "1");
      life.stop();
      old = read(life.files(), kDatabase);
    }
    c.snapshot_count = 5;
    Life life(world_, disk_, c);
    for (int i = 0; i < 20; ++i) life.put("b", std::to_string(i));
    life.pass(io::kSecond);
    life.stop();
    snapshot_ = newest_snapshot(disk_);
    ASSERT_GT(snapshot_, Index(5));
    received_ = fmt::format("/data/member/snap/{}", snap::snap_db_name(snapshot_));
    write(life.files(), received_, read(life.files(), kDatabase));
    write(life.files(), kDatabase, old);
  }
  static void expect_everything(Life& life) {
    const auto view = life.view();
    for (const auto& [key, version] : {std::pair("a", 1), std::pair("b", 20)}) {
      const auto meta = view->find(key, view->revision());
      ASSERT_TRUE(meta) << key;
      EXPECT_EQ(meta->version, version) << key;
    }
  }
  static bool there(sim::SimDisk& disk, std::string_view path) {
    const auto all = disk.list_visible();
    return std::find(all.begin(), all.end(), path) != all.end();
  }

  sim::World world_{3};
  sim::SimDisk disk_{world_};
  Index snapshot_;
  std::string received_;
};

TEST_F(SnapshotDatabase, TakesThePlaceOfAnOlderOne) {
  make_directory();
  {
    Life life(world_, disk_, life_config());
    ASSERT_FALSE(life.start_error) << life.start_error->text();
    EXPECT_TRUE(life.log.contains(fmt::format("snapshot-index={}", snapshot_.v)));
    EXPECT_EQ(life.log.count("Recovering from snapshot backend consistent-index="), 1u);
    EXPECT_FALSE(there(disk_, received_));
    expect_everything(life);
    life.put("a", "2");
    life.stop();
  }
  Life again(world_, disk_, life_config());
  ASSERT_FALSE(again.start_error);
  EXPECT_EQ(again.log.count("Skipping snapshot backend consistent-index="), 1u);
}

TEST_F(SnapshotDatabase, MissingIsToldAsByEtcd) {
  make_directory();
  sim::Process& process = world_.start_process("operator");
  sim::SimFileSystem fs(disk_, process.executor("file"));
  ASSERT_TRUE(fs.remove(received_));
  Life life(world_, disk_, life_config());
  ASSERT_TRUE(life.start_error);
  EXPECT_EQ(
      life.start_error->text(),
      "failed to recover v3 backend from snapshot: failed to find database snapshot file (snap: snapshot "
      "file doesn't exist)");
  EXPECT_EQ(life.log.count("failed to find [SNAPSHOT-INDEX].snap.db snapshot-index="), 1u);
}

// The older one again under the name of the received one: what is missing is not made up.
TEST_F(SnapshotDatabase, OneThatIsNoSuchSnapshotIsRefused) {
  make_directory();
  {
    sim::Process& process = world_.start_process("operator");
    sim::SimFileSystem fs(disk_, process.executor("file"));
    write(fs, received_, read(fs, kDatabase));
  }
  Life life(world_, disk_, life_config());
  ASSERT_TRUE(life.start_error);
  EXPECT_TRUE(life.start_error->text().ends_with(fmt::format("(index {})", snapshot_.v)))
      << life.start_error->text();
}

// Power is lost before every operation of the start: the next one finds everything.
TEST_F(SnapshotDatabase, SurvivesACrashAtAnyMoment) {
  make_directory();
  Prng prng(11);
  std::vector<std::unique_ptr<sim::SimDisk>> images;
  disk_.set_hook([&](auto&&...) { images.push_back(disk_.crash_image(prng)); });
  {
    Life life(world_, disk_, life_config());
    ASSERT_FALSE(life.start_error);
  }
  disk_.set_hook({});
  ASSERT_GT(images.size(), 3u);
  size_t before = 0, after = 0;
  for (auto& image : images) {
    (there(*image, received_) ? before : after) += 1;
    Life life(world_, *image, life_config());
    ASSERT_FALSE(life.start_error) << life.start_error->text();
    expect_everything(life);
    life.put("c", "1");
    life.stop();
  }
  EXPECT_GT(before, 0u);
  EXPECT_GT(after, 0u);
}

}  // namespace
}  // namespace quoin::server
