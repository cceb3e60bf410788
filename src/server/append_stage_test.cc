// What the append stage leaves in the log, whenever it is stopped.
#include "server/append_stage.h"

#include <gtest/gtest.h>

#include "sim/machine.h"

namespace quoin::server {
namespace {

constexpr const char* kWal = "/data/member/wal";
constexpr const char* kSnap = "/data/member/snap";

constexpr uint64_t kStored = 7;

// A follower's raft and append stages on a log of seven committed entries; the leader, the other voter, is played.
class Follower : public RaftSink {
 public:
  explicit Follower(uint64_t seed) : machine(seed) {
    EXPECT_TRUE(machine.fs().make_dirs(kSnap, 0700));
    auto created = wal::create(machine.fs(), kWal, "metadata", machine.log());
    EXPECT_TRUE(created) << created.error().text();
    auto storage = std::make_unique<raft::MemoryStorage>();
    auto stored = std::make_shared<raft::Snapshot>(snapshot(kStored, 1));
    EXPECT_TRUE(storage->apply_snapshot(stored));
    const raft::HardState hs{Term{1}, MemberId{}, Index{kStored}};
    storage->set_hard_state(hs);
    RaftStageOptions options;
    options.raft.id = MemberId{1};
    options.raft.async_storage_writes = true;
    raft = std::make_unique<RaftStage>(options, std::move(storage), observer_, 1, machine.executor(),
                                       machine.process().timers(), machine.process().clock(), waiters_, ids_,
                                       *this, machine.log(), metrics_);
    auto snapshotter = std::make_unique<snap::Snapshotter>(machine.fs(), kSnap, machine.process().clock(),
                                                           machine.log(), snap_probe_);
    EXPECT_TRUE(snapshotter->open());
    append_stage = std::make_unique<AppendStage>(
        config_, machine.fs(), machine.executor(), machine.process().timers(), machine.process().clock(),
        machine.log(), wal_probe_, std::move(created->tail), std::move(snapshotter), *raft,
        [](const Error& e) { FAIL() << e.text(); });
    bool made_up = false;
    append_stage->post_made_up(hs, entries(1, kStored, 1), [&] { made_up = true; });
    EXPECT_TRUE(machine.run_until([&] { return made_up; }));
  }
  ~Follower() override { machine.kill(); }

  static raft::Snapshot snapshot(uint64_t index, uint64_t term) {
    raft::Snapshot s;
    s.metadata.index = Index{index};
    s.metadata.term = Term{term};
    s.metadata.conf_state.voters = {MemberId{1}, MemberId{2}};
    return s;
  }
  static std::vector<raft::Entry> entries(uint64_t first, uint64_t last, uint64_t term) {
    std::vector<raft::Entry> result;
    for (uint64_t i = first; i <= last; ++i) {
      result.push_back({Term{term}, Index{i}, raft::EntryType::kNormal, Blob::copy("x")});
    }
    return result;
  }
  void hear(raft::Message m) {
    m.from = MemberId{2};
    m.to = MemberId{1};
    m.term = Term{2};
    raft->post_messages({std::move(m)}, nullptr);
  }
  void hear_entries(uint64_t first, uint64_t last, uint64_t term_before, uint64_t commit) {
    raft::Message m;
    m.type = raft::MessageType::kApp;
    m.index = Index{first - 1};
    m.log_term = Term{term_before};
    m.commit = Index{commit};
    m.entries = entries(first, last, 2);
    hear(std::move(m));
  }
  void hear_snapshot(uint64_t index) {
    raft::Message m;
    m.type = raft::MessageType::kSnap;
    m.snapshot = std::make_shared<raft::Snapshot>(snapshot(index, 2));
    hear(std::move(m));
  }
  // As a member that is told to stop; the process ends behind it.
  void stop() {
    bool closed = false;
    raft->post_stop(machine.executor(), [&](raft::HardState hs) {
      append_stage->post_close(hs, machine.executor(), [&] { closed = true; });
    });
    ASSERT_TRUE(machine.run_until([&] { return closed; }));
    append_stage.reset();
    raft.reset();
    machine.restart();
  }

  // ---- RaftSink ----
  void append(AppendBatch batch) override { append_stage->post_append(std::move(batch)); }
  void install_snapshot(std::shared_ptr<const raft::Snapshot> s) override {
    raft->post_snapshot_installed(s->metadata.index);
  }
  void send(std::vector<raft::Message>) override {}
  void snapshot_wanted(raft::Message) override {}
  bool connected_since(io::MonotonicNs, MemberId) const override { return true; }
  void apply_entries(std::vector<raft::Entry> done) override {
    raft->note_applied(done.back().index);
    raft->post_applied(done.back().index, raft::encoded_size(done), raft::payload_size(done));
  }
  void soft_state_changed(const raft::SoftState&, Term) override {}

  sim::Machine machine;
  std::unique_ptr<RaftStage> raft;
  std::unique_ptr<AppendStage> append_stage;

 private:
  Config config_;
  raft::Observer observer_;
  metrics::Registry metrics_;
  wal::Probe wal_probe_{metrics_};
  snap::Probe snap_probe_{metrics_};
  Waiters waiters_;
  RequestIds ids_{MemberId{1}, 0};
};

// raft has handed out a hard state that commits the snapshot, and others behind it; the log gets none of them before
// the snapshot's file is saved. A stop meanwhile must not write the newest: the log would commit what it does not hold.
TEST(AppendStage, AStopWhileAReceivedSnapshotIsSavedLeavesALogThatOpens) {
  int before = 0, after = 0;
  for (int steps = 0; steps < 120; ++steps) {
    Follower f(steps + 1);
    f.hear_entries(8, 10, 1, 9);
    f.hear_snapshot(50);
    f.hear_entries(51, 52, 2, 52);
    int left = steps;
    f.machine.run_until([&] { return left-- == 0; }, io::kSecond);
    f.stop();
    const auto records = wal::valid_snapshots(f.machine.fs(), kWal, f.machine.log());
    ASSERT_TRUE(records) << records.error().text();
    const bool counts = !records->empty() && records->back().index == Index{50};
    const auto opened = wal::open(f.machine.fs(), kWal, counts ? records->back() : wal::SnapshotRecord{}, {},
                                  f.machine.log());
    ASSERT_TRUE(opened) << "stopped after " << steps << " steps: " << opened.error().text();
    const Index last = std::max(opened->contents.last_index, Index{counts ? 50u : 0u});
    EXPECT_LE(opened->contents.hard_state.commit, last) << "stopped after " << steps << " steps";
    EXPECT_GE(opened->contents.hard_state.commit, Index{kStored});
    ++(counts ? after : before);
  }
  EXPECT_GT(before, 0);
  EXPECT_GT(after, 0);
}

}  // namespace
}  // namespace quoin::server
