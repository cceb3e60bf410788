// Our logs read and continued by etcd 3.6's own package, and its logs by ours (src/wal/interop).
#include <gtest/gtest.h>

#include <filesystem>

#include "base/coding.h"
#include "sim/host_program.h"
#include "wal/wal_test_util.h"

namespace quoin::wal {
namespace {

// As the Go program makes them.
std::string data(uint64_t i) {
  std::string s(i * 7, '\0');
  for (size_t k = 0; k < s.size(); ++k) s[k] = static_cast<char>(i + k);
  return s;
}
SnapshotRecord two_voters(uint64_t index) {
  SnapshotRecord s = snapshot(index, 2);
  s.conf_state->voters = {MemberId(7), MemberId(9)};
  return s;
}

std::string printed(const Contents& c) {
  std::string out = fmt::format("metadata {}\nstate {} {} {}\n", hex_bytes(c.metadata.view()),
                                c.hard_state.term, c.hard_state.vote, c.hard_state.commit);
  for (const raft::Entry& e : c.entries) {
    out += fmt::format("entry {} {} {} {}\n", e.term, e.index, static_cast<int>(e.type),
                       hex_bytes(e.data.view()));
  }
  return out;
}

class Interop : public testing::Test {
 protected:
  void SetUp() override {
    auto built = sim::HostProgram::build_go(QUOIN_SOURCE_DIR "/src/wal/interop");
    if (!built && built.error().code() == Code::kUnsupported) {
      GTEST_SKIP() << "no comparison with etcd's package: " << built.error().text();
    }
    ASSERT_TRUE(built.has_value()) << built.error().text();
    go = std::make_unique<sim::HostProgram>(std::move(*built));
  }
  std::string run(const std::vector<std::string>& arguments) {
    auto out = go->run(arguments);
    EXPECT_TRUE(out.has_value()) << text(out);
    return out ? *out : "";
  }
  std::unique_ptr<sim::HostProgram> go;
  sim::HostFolder folder;
};

void append_ours(LogMachine& m, uint64_t from, uint64_t n) {
  for (uint64_t i = from; i < from + n; ++i) {
    m.save(state(2, 7, i - 1), {entry(2, i, data(i))});
    if (i % 10 == 0) {
      m.save(state(2, 7, i), {});
      m.save_snapshot(two_voters(i));
    }
  }
}

TEST_F(Interop, GoReadsAndContinuesOurLog) {
  LogMachine m(1, {.segment_bytes = 4096});
  m.create("our metadata");
  append_ours(m, 1, 47);
  m.save(state(2, 7, 47), {});
  m.close();
  const auto ours = read(m.machine.fs(), LogMachine::kDir, {}, m.machine.log());
  ASSERT_TRUE(ours.has_value());
  folder.copy_from(m.machine.disk(), LogMachine::kDir, "wal");
  const std::string dir = folder.path() + "/wal";
  EXPECT_EQ(run({"read", dir, "0", "0"}), printed(*ours));
  const auto from20 = read(m.machine.fs(), LogMachine::kDir, two_voters(20), m.machine.log());
  EXPECT_EQ(run({"read", dir, "20", "2"}), printed(*from20));
  EXPECT_EQ(
      run({"snapshots", dir}),
      "snapshot 0 0 false\nsnapshot 10 2 true\nsnapshot 20 2 true\nsnapshot 30 2 true\nsnapshot 40 2 true\n");

  // etcd appends, and we go on after it, twice.
  uint64_t next = 48;
  for (int turn = 0; turn < 2; ++turn) {
    run({"append", dir, "40", "2", "15"});
    LogMachine back(2, {.segment_bytes = 4096});
    folder.copy_to(back.machine.disk(), LogMachine::kDir, "wal");
    const Contents c = back.must_open(two_voters(40));
    ASSERT_EQ(c.last_index, quoin::Index(next + 14));
    ASSERT_EQ(c.entries.size(), next + 14 - 40);
    for (size_t i = 0; i < c.entries.size(); ++i) ASSERT_EQ(c.entries[i].data.view(), data(41 + i)) << i;
    append_ours(back, next + 15, 10);
    back.close();
    next += 25;
    std::filesystem::remove_all(dir);
    folder.copy_from(back.machine.disk(), LogMachine::kDir, "wal");
    const auto all = read(back.machine.fs(), LogMachine::kDir, {}, back.machine.log());
    ASSERT_TRUE(all.has_value());
    EXPECT_EQ(run({"read", dir, "0", "0"}), printed(*all));
  }
}

TEST_F(Interop, WeReadAndContinueGosLog) {
  const std::string dir = folder.path() + "/wal";
  run({"write", dir, "60", "1"});
  LogMachine m(3, {.segment_bytes = 4096});
  folder.copy_to(m.machine.disk(), LogMachine::kDir, "wal");
  ASSERT_GT(m.files().size(), 3u);
  const auto theirs = read(m.machine.fs(), LogMachine::kDir, {}, m.machine.log());
  ASSERT_TRUE(theirs.has_value()) << text(theirs);
  EXPECT_EQ(theirs->entries.size(), 60u);
  EXPECT_EQ(printed(*theirs), run({"read", dir, "0", "0"}));
  auto valid = valid_snapshots(m.machine.fs(), LogMachine::kDir, m.machine.log());
  ASSERT_TRUE(valid.has_value());
  ASSERT_EQ(valid->size(), 7u);
  EXPECT_EQ(valid->back().index, quoin::Index(60));
  EXPECT_EQ(valid->back().conf_state, two_voters(60).conf_state);
  m.must_open(two_voters(60));
  append_ours(m, 61, 30);
  m.close();
  folder.copy_from(m.machine.disk(), LogMachine::kDir, "both");
  const std::string both = run({"read", folder.path() + "/both", "60", "2"});
  EXPECT_NE(both.find("entry 2 90 0 " + hex_bytes(data(90))), std::string::npos);
}

// The same calls give the same bytes, state records that etcd writes per batch included.
TEST_F(Interop, TheSameCallsGiveTheSameBytes) {
  const std::string dir = folder.path() + "/wal";
  run({"write", dir, "9", "0"});
  LogMachine theirs(4), ours(5);
  folder.copy_to(theirs.machine.disk(), LogMachine::kDir, "wal");
  ours.create("go metadata");
  append_ours(ours, 1, 9);
  ours.close();
  const std::string name = segment_name(0, quoin::Index(0));
  EXPECT_TRUE(ours.file(name) == theirs.file(name));
}

}  // namespace
}  // namespace quoin::wal
