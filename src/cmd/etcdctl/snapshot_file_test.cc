#include "cmd/etcdctl/snapshot_file.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace quoin::ctl {
namespace {

namespace fs = std::filesystem;

class SnapshotFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "snapshot_file_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    path_ = folder_ / "s.db";
  }
  void TearDown() override { fs::remove_all(folder_); }
  size_t files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_, path_;
};

TEST_F(SnapshotFileTest, TakesItsNameWhenItIsWhole) {
  SnapshotFile f(path_);
  ASSERT_FALSE(f.open());
  ASSERT_FALSE(f.append("abc"));
  ASSERT_FALSE(f.append("def"));
  EXPECT_FALSE(fs::exists(path_));
  EXPECT_TRUE(fs::exists(f.part()));
  struct stat s {};
  ASSERT_EQ(stat(f.part().c_str(), &s), 0);
  EXPECT_EQ(s.st_mode & 0777, 0600u);
  ASSERT_FALSE(f.sync());
  ASSERT_FALSE(f.close());
  ASSERT_FALSE(f.rename());
  EXPECT_EQ(f.size(), 6u);
  EXPECT_EQ(fs::file_size(path_), 6u);
  EXPECT_EQ(files(), 1u);
}

TEST_F(SnapshotFileTest, LeavesNothingWhenItIsGivenUp) {
  {
    SnapshotFile f(path_);
    ASSERT_FALSE(f.open());
    ASSERT_FALSE(f.append("abc"));
  }
  EXPECT_EQ(files(), 0u);
}

TEST_F(SnapshotFileTest, BeginsAnewOverAnOldPart) {
  std::ofstream(path_.string() + ".part") << "left by a killed program";
  SnapshotFile f(path_);
  ASSERT_FALSE(f.open());
  EXPECT_EQ(fs::file_size(f.part()), 0u);
}

TEST_F(SnapshotFileTest, ReplacesASnapshotOnlyWithAWholeOne) {
  std::ofstream(path_) << "old";
  {
    SnapshotFile f(path_);
    ASSERT_FALSE(f.open());
    ASSERT_FALSE(f.append("new one"));
  }
  EXPECT_EQ(fs::file_size(path_), 3u);
}

TEST_F(SnapshotFileTest, TellsWhatFailed) {
  SnapshotFile nowhere(folder_ / "no" / "s.db");
  EXPECT_EQ(nowhere.open(), fmt::format("open {}/no/s.db.part: no such file or directory", folder_.string()));

  fs::create_directory(path_);
  SnapshotFile over_directory(path_);
  ASSERT_FALSE(over_directory.open());
  ASSERT_FALSE(over_directory.close());
  EXPECT_EQ(over_directory.rename(), fmt::format("rename {0}.part {0}: file exists", path_.string()));
}

}  // namespace
}  // namespace quoin::ctl
