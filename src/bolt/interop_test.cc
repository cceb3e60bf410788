// Go's bbolt (interop/main.go) and our code on the same files, in turn: each must find what the other wrote,
// and the other's check must pass. Skipped where there is no Go.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/prng.h"
#include "bolt/compact_copy.h"
#include "bolt/snapshot_stream.h"
#include "bolt/testing/layout.h"
#include "bolt/testing/memory_fs.h"
#include "bolt/testing/model.h"

namespace quoin::bolt {
namespace {

using testing::MemoryFs;
using testing::Model;
using testing::read_model;

struct Ran {
  int status = -1;
  std::string output;
};
Ran run(const std::string& command) {
  Ran r;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (!pipe) return r;
  char buffer[4096];
  while (const size_t n = fread(buffer, 1, sizeof buffer, pipe)) r.output.append(buffer, n);
  const int raw = pclose(pipe);
  r.status = WIFEXITED(raw) ? WEXITSTATUS(raw) : -1;
  return r;
}

void dump(const std::string& indent, const Model& m, std::string* out) {
  // Buckets and items stand in one order.
  auto bucket = m.buckets.begin();
  auto item = m.items.begin();
  while (bucket != m.buckets.end() || item != m.items.end()) {
    if (bucket != m.buckets.end() && (item == m.items.end() || bucket->first < item->first)) {
      *out +=
          fmt::format("{}bucket {} sequence {}\n", indent, hex_bytes(bucket->first), bucket->second.sequence);
      dump(indent + " ", bucket->second, out);
      ++bucket;
    } else {
      *out += fmt::format("{}{}={}\n", indent, hex_bytes(item->first), hex_bytes(item->second));
      ++item;
    }
  }
}

class InteropTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (run("go version").status != 0) GTEST_SKIP() << "no Go here: bbolt cannot judge our files";
    const std::string dir = QUOIN_BOLT_INTEROP_DIR;
    std::filesystem::create_directories(dir);
    program_ = dir + "/interop";
    const Ran built =
        run(fmt::format("flock {0}/lock sh -c 'cd {1}/src/bolt/interop && go build -o {0}/interop .'", dir,
                        QUOIN_SOURCE_DIR));
    ASSERT_EQ(built.status, 0) << built.output;
    file_ = fmt::format("{}/{}.db", dir, getpid());
    options_.reserve_bytes = 1u << 30;
    options_.growth_bytes = 64 << 10;
    options_.cut_slack_bytes = 64 << 10;
  }
  void TearDown() override {
    if (!file_.empty() && !HasFailure()) std::filesystem::remove(file_);
  }

  Ran go(const std::string& command, const std::string& arguments = "") {
    return run(fmt::format("{} {} {} {}", program_, command, file_, arguments));
  }
  void put_on_disk(std::string_view bytes) {
    std::ofstream out(file_, std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  void take_from_disk() {
    std::ifstream in(file_, std::ios::binary);
    fs_.set_contents("db", std::string(std::istreambuf_iterator<char>(in), {}));
  }
  // Go opens the bytes, checks them, and finds `model`.
  void expect_go_reads(std::string_view bytes, const Model& model) {
    put_on_disk(bytes);
    const Ran dumped = go("dump");
    std::string expected;
    dump("", model, &expected);
    ASSERT_EQ(dumped.status, 0) << dumped.output;
    ASSERT_EQ(dumped.output.size(), expected.size());
    ASSERT_TRUE(dumped.output == expected);
    const Ran found = go("findings");
    ASSERT_EQ(found.output, "");
    const Ran checked = go("check");
    ASSERT_EQ(checked.status, 0) << checked.output;
  }
  // We open what Go left in the file, check it, and find what Go finds.
  Model expect_we_read() {
    const Ran dumped = go("dump");
    EXPECT_EQ(dumped.status, 0) << dumped.output;
    take_from_disk();
    options_.check_all = true;
    auto db = Db::open(fs_, "db", options_);
    EXPECT_TRUE(db) << db.error().text();
    if (!db) return {};
    EXPECT_EQ((*db)->check(), std::vector<std::string>());
    auto model = read_model((*db)->begin_read()->root());
    EXPECT_TRUE(model) << model.error().text();
    if (!model) return {};
    std::string ours;
    dump("", *model, &ours);
    EXPECT_TRUE(ours == dumped.output);
    return *model;
  }
  void random_transaction(Db& db, Model* model, Prng& prng) {
    auto tx = db.begin_write();
    ASSERT_TRUE(tx);
    const std::string name = fmt::format("bucket{}", prng.below(5));
    if (prng.chance(1, 12) && model->buckets.count(name) > 0) {
      ASSERT_TRUE((*tx)->delete_bucket(name));
      model->buckets.erase(name);
    } else {
      Bucket* b = *(*tx)->create_bucket(name);
      Model* m = &model->buckets[name];
      if (prng.chance(1, 3)) {
        b = *b->create_bucket("nested");
        m = &m->buckets["nested"];
        b->set_sequence(m->sequence = prng.below(100));
      }
      const uint64_t style = prng.below(4);
      if (style == 0) b->set_fill_percent(kFillSequential);
      uint64_t next = m->items.empty() ? 0 : std::strtoull(m->items.rbegin()->first.c_str(), nullptr, 10) + 1;
      for (uint64_t n = prng.below(800); n > 0; --n) {
        const std::string key = fmt::format("{:06}", style == 0 ? next++ : prng.below(2000));
        if (style == 1) {
          ASSERT_TRUE(b->erase(key));
          m->items.erase(key);
        } else {
          const std::string value(prng.below(prng.chance(1, 50) ? 20000 : 100),
                                  static_cast<char>(prng.below(256)));
          ASSERT_TRUE(b->put(key, value));
          m->items[key] = value;
        }
      }
    }
    ASSERT_TRUE(db.commit_blocking(std::move(*tx)));
  }
  std::unique_ptr<Db> open() {
    auto db = Db::open(fs_, "db", options_);
    EXPECT_TRUE(db) << db.error().text();
    return db ? std::move(*db) : nullptr;
  }

  std::string program_, file_;
  MemoryFs fs_;
  Options options_;
};

TEST_F(InteropTest, GoReadsEveryCommitOfOurs) {
  Prng prng(7);
  Model model;
  auto db = open();
  ASSERT_TRUE(db);
  expect_go_reads(fs_.contents("db"), model);
  for (int i = 0; i < 25 && !HasFailure(); ++i) {
    random_transaction(*db, &model, prng);
    expect_go_reads(fs_.contents("db"), model);
    if (i % 5 != 0) continue;
    // The list of a clean stop is used unread by Go; its check tells whether it was exact.
    ASSERT_TRUE(db->close_blocking(true));
    ASSERT_TRUE(db->stats().freelist_saved);
    db.reset();
    expect_go_reads(fs_.contents("db"), model);
    db = open();
    ASSERT_TRUE(db);
  }
}

TEST_F(InteropTest, WeReadGoAndTakeTurns) {
  for (int seed = 1; seed <= 6 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    const Ran wrote = go("write", std::to_string(seed));
    ASSERT_EQ(wrote.status, 0) << wrote.output;
    Model model = expect_we_read();
    Prng prng(static_cast<uint64_t>(seed));
    for (int turn = 0; turn < 4 && !HasFailure(); ++turn) {
      auto db = open();
      ASSERT_TRUE(db);
      for (uint64_t n = prng.between(1, 6); n > 0; --n) random_transaction(*db, &model, prng);
      ASSERT_TRUE(db->close_blocking(prng.chance(1, 2)));
      db.reset();
      expect_go_reads(fs_.contents("db"), model);
      const Ran changed = go("change", std::to_string(100 * seed + turn));
      ASSERT_EQ(changed.status, 0) << changed.output;
      model = expect_we_read();
    }
  }
}

TEST_F(InteropTest, GoReadsOurStreamsAndCopies) {
  ASSERT_EQ(go("write", "9").status, 0);
  Model model = expect_we_read();
  Prng prng(9);
  auto db = open();
  ASSERT_TRUE(db);
  for (int i = 0; i < 3; ++i) {
    random_transaction(*db, &model, prng);
    SnapshotStream stream(db->begin_read());
    std::string bytes(stream.size_bytes(), '\0');
    stream.read(0, bytes);
    expect_go_reads(bytes, model);
  }
  auto to = Db::open(fs_, "copy", options_);
  ASSERT_TRUE(to);
  CompactCopy copy(db->begin_read(), **to, {.items_max = 300});
  while (!copy.finished()) ASSERT_TRUE(copy.step_blocking());
  auto copied = read_model((*to)->begin_read()->root());
  ASSERT_TRUE(copied);
  expect_go_reads(fs_.contents("copy"), *copied);
}

// One damaged page of a kind; Go's check and ours tell the same story.
TEST_F(InteropTest, FindingsInGosWords) {
  auto db = open();
  ASSERT_TRUE(db);
  auto tx = db->begin_write();
  ASSERT_TRUE(tx);
  Bucket* b = *(*tx)->create_bucket("b");
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(b->put(fmt::format("{:06}", i), "value"));
  ASSERT_TRUE(db->commit_blocking(std::move(*tx)));
  const PageId root = (*db->begin_read()->bucket("b"))->root();
  const uint32_t page_size = db->page_size();
  ASSERT_TRUE(db->close_blocking(true));  // with a list, Go's check goes on after a finding
  db.reset();
  const std::string sound = fs_.contents("db");
  const PageView branch(sound.data() + root.v * page_size);
  ASSERT_FALSE(branch.leaf());
  const auto leaf_at = [&](size_t i) { return branch.child(i).v * page_size; };
  const auto branch_key_at = [&](size_t i) {
    return static_cast<size_t>(branch.branch_key(i).data() - sound.data());
  };
  const auto leaf_key_at = [&](size_t child, size_t i) {
    const PageView leaf(sound.data() + leaf_at(child));
    return static_cast<size_t>(leaf.leaf_key(i).data() - sound.data());
  };
  const size_t branch_child = root.v * page_size + kPageHeaderBytes + 8;
  struct Case {
    std::string name;
    size_t at;
    std::string bytes;
    bool first_only = false;  // bolt looks further than we do
  };
  const std::string meta_type("\x04\0", 2), no_type("\x08\0", 2), page_two("\2\0\0\0", 4);
  const std::vector<Case> cases = {
      {"first key below the separator", leaf_key_at(2, 0), "000000"},
      {"keys out of order within a leaf", leaf_key_at(2, 5), "000000"},
      {"a key twice", leaf_key_at(2, 1), sound.substr(leaf_key_at(2, 0), 6)},
      {"last key beyond the next separator", leaf_key_at(2, 40), "999999"},
      {"separator above its child", branch_key_at(1), "000900"},
      {"two children share a page", branch_child, sound.substr(branch_child + kElementBytes, 8), true},
      {"a leaf of no known type", leaf_at(1) + 8, no_type},
      {"a meta page as a leaf", leaf_at(1) + 8, meta_type, true},
      {"a page with another's number", leaf_at(1), page_two},
      {"a meta page of no known type", 8, no_type},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    std::string bytes = sound;
    bytes.replace(c.at, c.bytes.size(), c.bytes);
    put_on_disk(bytes);
    // Go's check panics beside its main routine, which now and then ends the program first, without a word.
    std::string theirs;
    for (int i = 0; i < 10 && theirs.empty(); ++i) theirs = go("findings").output;
    // A panic ends Go's check with one line and a stack.
    const bool panic = theirs.rfind("panic: ", 0) == 0;
    if (panic) theirs = theirs.substr(7, theirs.find('\n') - 6);
    fs_.set_contents("db", bytes);
    Options read_only = options_;
    read_only.read_only = true;
    auto damaged = Db::open(fs_, "db", read_only);
    ASSERT_TRUE(damaged) << damaged.error().text();
    const std::vector<std::string> findings = (*damaged)->check();
    std::string ours;
    for (const std::string& finding : findings) ours += finding + "\n";
    if ((panic || c.first_only) && !findings.empty()) ours = findings.front() + "\n";
    if (c.first_only) theirs.resize(theirs.find('\n') + 1);
    EXPECT_EQ(ours, theirs);
  }
}

// A list of 65,535 pages or more has its length in front.
TEST_F(InteropTest, LongSavedFreelist) {
  fs_.track_durability = false;
  options_.page_size = 1024;
  options_.lower_hwm = false;
  auto db = open();
  ASSERT_TRUE(db);
  auto tx = db->begin_write();
  ASSERT_TRUE(tx);
  Bucket* b = *(*tx)->create_bucket("big");
  const std::string value(1024 * 1000 - 100, 'v');
  std::vector<std::string> keys;
  for (int i = 0; i < 70; ++i) keys.push_back(fmt::format("{:03}", i));
  for (const std::string& key : keys) ASSERT_TRUE(b->put_ref(key, value));
  Model model;
  model.buckets["big"].items["k"] = "v";
  ASSERT_TRUE(db->commit_blocking(std::move(*tx)));

  tx = db->begin_write();
  ASSERT_TRUE((*tx)->delete_bucket("big"));
  ASSERT_TRUE((*(*tx)->create_bucket("big"))->put("k", "v"));
  ASSERT_TRUE(db->commit_blocking(std::move(*tx)));
  ASSERT_TRUE(db->close_blocking(true));
  ASSERT_GT(db->stats().free_pages + db->stats().pending_pages, 65535u);
  db.reset();
  db = open();
  ASSERT_TRUE(db);
  EXPECT_EQ(db->check(), std::vector<std::string>());
  EXPECT_GT(db->stats().free_pages, 65535u);
  db.reset();
  expect_go_reads(fs_.contents("db"), model);
}

// The page counts that layout_test holds ours against are bbolt's. It merges pages in the order of a Go map, so
// some differ a little from run to run.
TEST_F(InteropTest, RecordedLayoutsAreBbolts) {
  for (const testing::RecordedLayout& recorded : testing::kBboltLayouts) {
    if (recorded.value_bytes > 20'000) continue;
    SCOPED_TRACE(recorded.value_bytes);
    const uint64_t value = recorded.value_bytes;
    const Ran ran = go("layout", fmt::format("{} {}", testing::layout_records(value), value));
    ASSERT_EQ(ran.status, 0) << ran.output;
    std::array<uint64_t, 8> n{};
    std::istringstream words(ran.output);
    for (uint64_t& x : n) ASSERT_TRUE(words >> x);
    EXPECT_EQ(n[0], recorded.filled);
    EXPECT_NEAR(static_cast<double>(n[2]), static_cast<double>(recorded.updated), n[2] * 0.03);
    EXPECT_EQ(n[4], recorded.defragmented);
    EXPECT_NEAR(static_cast<double>(n[6]), static_cast<double>(recorded.scattered), n[6] * 0.03);
  }
}

}  // namespace
}  // namespace quoin::bolt
