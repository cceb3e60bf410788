// The apply stage alone: consensus and the `.snap` files are played by the test.
#include "server/apply_stage.h"

#include <gtest/gtest.h>

#include "backend/probe.h"
#include "membership/snapshot_state.h"
#include "raft/codec.h"
#include "server/bootstrap.h"
#include "server/life_test.h"
#include "server/raft_stage.h"
#include "snap/snapshotter.h"

namespace quoin::server {
namespace {

using membership::ChangeKind;

// Goes on by a step with each look at it.
class SteppingClock final : public io::Clock {
 public:
  io::MonotonicNs monotonic() const override {
    ++looks;
    return now += step_ns;
  }
  io::WallNs wall() const override { return 0; }
  int64_t step_ns = 0;
  mutable io::MonotonicNs now = 0;
  mutable int looks = 0;
};

class ApplyStageTest : public ::testing::Test, public ApplySink {
 protected:
  void start(Config config) {
    config_ = std::move(config);
    auto b = bootstrap(config_, env_);
    ASSERT_TRUE(b) << b.error().text();
    self_ = b->self;
    server_metrics_ = std::make_unique<ServerMetrics>(metrics_, self_, 0);
    slow_ = std::make_unique<SlowRequests>(log_, io::kSecond, server_metrics_->slow_applies);
    ids_ = std::make_unique<RequestIds>(self_, 0);
    logins_ = std::make_unique<Logins>(config_, b->state.auth->published,
                                       std::vector<io::Executor*>{&env_.file}, env_.clock, log_, metrics_);
    stage_ = std::make_unique<ApplyStage>(
        config_, self_, std::move(b->state), env_.apply, env_.file, env_.clock, log_, metrics_,
        *server_metrics_, *slow_, waiters_, *ids_, *logins_, *this,
        [this](Index index, std::shared_ptr<backend::Probe> probe, mvcc::CompactionObserver* compactions) {
          if (while_opening_) while_opening_();
          return open_received(config_, env_, index, std::move(probe), compactions);
        },
        [](Error e) { ADD_FAILURE() << e.text(); });
    ASSERT_EQ(b->founders.size(), 1u);
    change({.node_id = self_, .context = b->founders[0].context});
    settle();
    switch_configuration();
  }
  ~ApplyStageTest() override { process_.kill(); }

  // ---- ApplySink ----
  void propose(Proposal) override {}
  void note_applied(Index) override {}
  void entries_applied(Index last, uint64_t, uint64_t) override {
    applied_ = last;
    batches_.push_back(last);
  }
  void conf_change_applied(raft::ConfChange change, Index,
                           absl::AnyInvocable<void(raft::ConfState)> done) override {
    ASSERT_FALSE(switched_) << "two changes at once";
    change_ = std::move(change);
    switched_ = std::move(done);
  }
  void compact_log(Index at, raft::ConfState, Blob, Index upto, uint64_t bytes_max) override {
    cuts_.push_back({at, upto, bytes_max});
  }
  bool wants_compaction(uint64_t) const override { return false; }
  void save_snapshot(raft::Snapshot, Task) override {}
  void member_changed(const membership::Change&) override {}
  void members_replaced(const membership::Membership&) override {}
  void removed_self() override {}
  void empty_entry_applied() override {}
  void send_snapshot(raft::Message message, std::shared_ptr<backend::SnapshotSource>) override {
    ++sent_;
    sent_snapshot_ = message.snapshot;
  }
  void snapshot_failed(MemberId) override {}
  void snapshot_installed(raft::SnapshotMetadata) override {}

  raft::Entry entry(raft::EntryType type, Blob data) { return {Term{1}, ++last_, type, std::move(data)}; }
  raft::Entry put(std::string_view key) {
    pb::InternalRaftRequest r;
    r.header.emplace().id = ids_->next();
    r.put.emplace().key = key;
    r.put->value = "1";
    return entry(raft::EntryType::kNormal, wire::encode_blob(r));
  }
  void post(raft::Entry one) {
    std::vector<raft::Entry> entries;
    entries.push_back(std::move(one));
    stage_->post_entries(std::move(entries));
  }
  void change(const raft::ConfChange& change) {
    post(entry(raft::EntryType::kConfChange, raft::encode_blob(change)));
  }
  // A change that somebody waits for.
  void ask(ChangeKind kind, uint64_t id) {
    membership::Change c;
    c.kind = kind;
    c.member.id = MemberId{id};
    c.member.peer_urls = {fmt::format("http://h{}:2380", id)};
    raft::ConfChange cc = membership::encode_change(c);
    cc.id = ids_->next();
    answer_.reset();
    waiters_.add(cc.id, {&loop_, [this](Answer a) { answer_ = std::move(a); }, 0});
    change(cc);
    settle();
  }
  // raft takes the change that apply told of.
  void switch_configuration() {
    ASSERT_TRUE(switched_);
    env_.apply.post([done = std::exchange(switched_, nullptr)]() mutable { done(raft::ConfState{}); });
    settle();
  }
  void settle() {
    world_.run_until([] { return false; }, io::kMillisecond);
  }

  sim::World world_{1};
  sim::SimDisk disk_{world_};
  sim::Process& process_ = world_.start_process("member");
  sim::SimExecutor& loop_ = process_.executor("loop");
  sim::SimFileSystem append_fs_{disk_, process_.executor("append")};
  sim::SimFileSystem file_fs_{disk_, process_.executor("file")};
  sim::LogSink log_;
  metrics::Registry metrics_;
  SteppingClock clock_;
  Environment env_{process_.executor("raft"),
                   process_.executor("apply"),
                   process_.executor("append"),
                   process_.executor("file"),
                   append_fs_,
                   file_fs_,
                   process_.timers(),
                   clock_,
                   log_,
                   metrics_,
                   1};
  Config config_;
  MemberId self_;
  Waiters waiters_;
  std::unique_ptr<Logins> logins_;
  std::unique_ptr<ServerMetrics> server_metrics_;
  std::unique_ptr<SlowRequests> slow_;
  std::unique_ptr<RequestIds> ids_;
  std::unique_ptr<ApplyStage> stage_;
  Index last_, applied_;
  std::vector<Index> batches_;  // the last of each
  struct Cut {
    Index at, upto;
    uint64_t bytes_max;
  };
  std::vector<Cut> cuts_;
  int sent_ = 0;  // snapshots
  std::shared_ptr<const raft::Snapshot> sent_snapshot_;
  Task while_opening_;  // runs when a received database is about to be read
  raft::ConfChange change_;
  absl::AnyInvocable<void(raft::ConfState)> switched_;
  std::optional<Answer> answer_;
};

// Whoever has the answer may ask for the next change at once; raft would drop it as one too many while it has yet
// to count this one as applied.
TEST_F(ApplyStageTest, AChangeIsAnsweredOnceRaftCountsItAsApplied) {
  start(life_config());
  ask(ChangeKind::kAddLearner, 2);
  EXPECT_EQ(change_.node_id, MemberId{2});
  EXPECT_EQ(applied_, last_);
  EXPECT_FALSE(answer_) << "raft has yet to switch";
  // Nor is anything after it applied.
  post(entry(raft::EntryType::kNormal, {}));
  settle();
  EXPECT_EQ(applied_ + 1, last_);
  switch_configuration();
  ASSERT_TRUE(answer_);
  EXPECT_FALSE(answer_->error);
  EXPECT_EQ(applied_, last_);
}

TEST_F(ApplyStageTest, MaxLearnersBoundsTheLearners) {
  Config config = life_config();
  config.max_learners = 2;
  start(config);
  for (const uint64_t id : {2, 3, 4}) {
    ask(ChangeKind::kAddLearner, id);
    switch_configuration();
    ASSERT_TRUE(answer_);
    if (id < 4) {
      EXPECT_FALSE(answer_->error);
      continue;
    }
    // raft is told all the same, as of a change of nobody.
    EXPECT_EQ(change_.node_id, MemberId{});
    ASSERT_TRUE(answer_->error);
    EXPECT_EQ(answer_->error->code(), Code::kTooManyLearners);
    EXPECT_EQ(answer_->error->text(), "etcdserver: too many learner members in cluster");
  }
  EXPECT_EQ(stage_->members()->learners().size(), 2u);
}

// A batch takes no further entry after half a millisecond, and small puts hardly pay for the clock.
TEST_F(ApplyStageTest, TheClockBoundsABatch) {
  start(life_config());
  constexpr size_t kPuts = ApplyStage::kBatchEntries;
  for (const bool slow : {false, true}) {
    batches_.clear();
    clock_.looks = 0;
    clock_.step_ns = slow ? ApplyStage::kBatchNs / 16 : 0;
    std::vector<raft::Entry> entries;
    for (size_t i = 0; i < kPuts; ++i) entries.push_back(put("a"));
    stage_->post_entries(std::move(entries));
    settle();
    clock_.step_ns = 0;
    EXPECT_EQ(applied_, last_);
    EXPECT_EQ(batches_.size(), slow ? kPuts / ApplyStage::kWorkPerClockRead : 1);
    // Two looks tell how long a request took.
    const size_t spent = static_cast<size_t>(clock_.looks) - 2 * kPuts;
    if (!slow) {
      EXPECT_LE(spent, kPuts / ApplyStage::kWorkPerClockRead + 3);
    }
  }
}

// A member to which a database is on its way goes on from the log as it was when that was made; also while it reads the
// database in, which takes about as long as the way.
TEST_F(ApplyStageTest, TheLogIsKeptForWhoIsSentASnapshot) {
  Config config = life_config();
  config.snapshot_catchup_entries = 10;
  start(config);
  const auto cut = [&] {
    cuts_.clear();
    for (int i = 0; i < 101; ++i) post(put("a"));
    settle();
    EXPECT_EQ(cuts_.size(), 1u);
    return cuts_.empty() ? Cut{} : cuts_.back();
  };
  Cut c = cut();
  EXPECT_EQ(c.upto + 10, c.at);
  EXPECT_EQ(c.bytes_max, RaftStage::kLogBytesMax);
  raft::Message wanted;
  wanted.type = raft::MessageType::kSnap;
  wanted.to = MemberId{2};
  stage_->post_snapshot_wanted(std::move(wanted));
  ASSERT_TRUE(world_.run_until([&] { return sent_ == 1; }, kMaxNs));
  EXPECT_EQ(cut().upto, Index{1});
  constexpr int64_t kWay = 100 * io::kSecond;
  clock_.now += kWay;
  stage_->post_snapshot_sent(/*failed=*/false);
  settle();
  EXPECT_EQ(cut().upto, Index{1});
  clock_.now += 2 * kWay - io::kSecond;
  EXPECT_EQ(cut().upto, Index{1});
  clock_.now += io::kSecond;
  c = cut();
  EXPECT_EQ(c.upto + 10, c.at);

  // Of a short way there is a minimum; of none there is nothing to wait for.
  for (const bool failed : {false, true}) {
    wanted = {};
    wanted.to = MemberId{2};
    stage_->post_snapshot_wanted(std::move(wanted));
    ASSERT_TRUE(world_.run_until([&] { return sent_ == (failed ? 3 : 2); }, kMaxNs));
    stage_->post_snapshot_sent(failed);
    settle();
    EXPECT_EQ(cut().upto == Index{1}, !failed);
    clock_.now += Snapshots::kKeepAfterSentNs;
    EXPECT_NE(cut().upto, Index{1});
  }
}

TEST(SnapshotsTest, TheLogForWhoIsSentADatabaseIsAsLongAsThatAtMost) {
  EXPECT_EQ(Snapshots::log_bytes_max(false, 8ull << 30), RaftStage::kLogBytesMax);
  EXPECT_EQ(Snapshots::log_bytes_max(true, 1 << 20), RaftStage::kLogBytesMax);
  EXPECT_EQ(Snapshots::log_bytes_max(true, 500 << 20), 500u << 20);
  EXPECT_EQ(Snapshots::log_bytes_max(true, 8ull << 30), RaftStage::kLogBytesSendingMax);
}

// Reading a large database in takes seconds; what the chores ask for meanwhile must not publish a view of the backend
// that is closed. Whoever reads goes on with the view of before.
TEST_F(ApplyStageTest, UpkeepWaitsWhileASnapshotIsInstalled) {
  start(life_config());
  post(put("a"));
  settle();
  bool committed = false;
  stage_->with_backend([&] { stage_->backend().commit([&] { committed = true; }); });
  ASSERT_TRUE(world_.run_until([&] { return committed; }, kMaxNs));
  auto snapshot = std::make_shared<raft::Snapshot>();
  snapshot->metadata.index = last_ + 10;
  snapshot->metadata.term = Term{1};
  snapshot->metadata.conf_state.voters = {self_};
  snapshot->data = Blob::copy(snap::write_membership_json(membership::snapshot_state(*stage_->members()),
                                                          snapshot->metadata.index.v));
  const auto bytes = disk_.visible_bytes(database_path(config_));
  ASSERT_TRUE(bytes);
  auto file = file_fs_.open(fmt::format("/data/member/snap/{}", snap::snap_db_name(snapshot->metadata.index)),
                            {.write = true, .create = true, .truncate = true});
  ASSERT_TRUE(file && (*file)->write_at(0, *bytes));
  bool read = false;
  while_opening_ = [&] {
    stage_->maintain();
    const auto value = stage_->view()->get("a", 2);
    EXPECT_TRUE(value && *value);
    read = true;
  };
  stage_->post_snapshot(snapshot);
  ASSERT_TRUE(
      world_.run_until([&] { return read && stage_->applied() == snapshot->metadata.index; }, kMaxNs));
  const auto value = stage_->view()->get("a", 2);
  EXPECT_TRUE(value && *value);
}

// etcdutl's restore gives the database of one cluster to the members of another, and leaves the ConfState in it.
TEST_F(ApplyStageTest, ASnapshotHasTheConfStateOfRaft) {
  start(life_config());
  ask(ChangeKind::kAddLearner, 77);
  raft::ConfState state;
  state.voters = {self_};
  state.learners = {MemberId{77}};
  env_.apply.post([&, done = std::exchange(switched_, nullptr)]() mutable { done(state); });
  settle();
  raft::ConfState old;
  old.voters = {MemberId{5}};
  stage_->backend().set_conf_state(membership::conf_state_json(old));
  raft::Message wanted;
  wanted.type = raft::MessageType::kSnap;
  wanted.to = MemberId{77};
  stage_->post_snapshot_wanted(std::move(wanted));
  ASSERT_TRUE(world_.run_until([&] { return sent_ == 1; }, kMaxNs));
  EXPECT_EQ(sent_snapshot_->metadata.conf_state.voters, state.voters);
  EXPECT_EQ(sent_snapshot_->metadata.conf_state.learners, state.learners);
}

// Whoever asked for it is answered when the snapshot has replaced what was to be compacted.
TEST_F(ApplyStageTest, APhysicalCompactionUnderWayEndsWithTheStateItWasOf) {
  start(life_config());
  for (int i = 0; i < 3; ++i) post(put("a"));
  settle();
  bool committed = false;
  stage_->with_backend([&] { stage_->backend().commit([&] { committed = true; }); });
  ASSERT_TRUE(world_.run_until([&] { return committed; }, kMaxNs));
  const auto bytes = disk_.visible_bytes(database_path(config_));
  ASSERT_TRUE(bytes);
  auto snapshot = std::make_shared<raft::Snapshot>();
  snapshot->metadata.index = last_ + 10;
  snapshot->metadata.term = Term{1};
  snapshot->metadata.conf_state.voters = {self_};
  snapshot->data = Blob::copy(snap::write_membership_json(membership::snapshot_state(*stage_->members()),
                                                          snapshot->metadata.index.v));
  auto file = file_fs_.open(fmt::format("/data/member/snap/{}", snap::snap_db_name(snapshot->metadata.index)),
                            {.write = true, .create = true, .truncate = true});
  ASSERT_TRUE(file && (*file)->write_at(0, *bytes));
  // Slow enough that the records are still there when the snapshot comes.
  env_.file.post([this] { process_.executor("file").set_busy(Prng(1), 1, 2); });
  pb::InternalRaftRequest r;
  r.header.emplace().id = ids_->next();
  r.compaction.emplace().revision = 3;
  r.compaction->physical = true;
  waiters_.add(r.header->id, {&loop_, [this](Answer a) { answer_ = std::move(a); }, 0});
  post(entry(raft::EntryType::kNormal, wire::encode_blob(r)));
  stage_->post_snapshot(snapshot);
  ASSERT_TRUE(world_.run_until([&] { return stage_->applied() == snapshot->metadata.index; }, kMaxNs));
  settle();
  EXPECT_TRUE(answer_ && !answer_->error);
}

// A change is in the members bucket from when it is applied, and in the ConfState once raft has taken it. A stop in between
// must not save the one without the other: what is sent to other members would contradict itself.
TEST_F(ApplyStageTest, AStopWaitsUntilRaftHasTakenTheConfigurationChange) {
  start(life_config());
  ask(ChangeKind::kAddLearner, 77);
  ASSERT_TRUE(switched_);
  bool stopped = false;
  env_.apply.post([&] { stage_->stop(loop_, [&] { stopped = true; }); });
  settle();
  EXPECT_FALSE(stopped);
  raft::ConfState state;
  state.voters = {self_};
  state.learners = {MemberId{77}};
  env_.apply.post([&, done = std::exchange(switched_, nullptr)]() mutable { done(state); });
  ASSERT_TRUE(world_.run_until([&] { return stopped; }, kMaxNs));
  stage_.reset();
  metrics::Registry metrics;
  const auto saved_state = open_backend(config_, env_, std::make_shared<backend::Probe>(metrics));
  ASSERT_TRUE(saved_state) << saved_state.error().text();
  const backend::Backend& db = **saved_state;
  EXPECT_EQ(db.consistent_index(), last_);
  EXPECT_TRUE(db.get(backend::Bucket::kMembers, "4d"));
  const auto saved = membership::parse_conf_state(db.get(backend::Bucket::kMeta, "confState").value_or(""));
  ASSERT_TRUE(saved) << saved.error().text();
  EXPECT_EQ(saved->learners, state.learners);
}

// Who asks after the stop is told so; keys and numbers are still those of the end.
TEST_F(ApplyStageTest, TheViewAfterTheStop) {
  start(life_config());
  post(put("a"));
  settle();
  const auto before = stage_->view();
  ASSERT_EQ(before->revision(), 2);
  bool stopped = false;
  env_.apply.post([&] { stage_->stop(loop_, [&] { stopped = true; }); });
  ASSERT_TRUE(world_.run_until([&] { return stopped; }, kMaxNs));
  const auto after = stage_->view();
  ASSERT_NE(after, nullptr);
  EXPECT_NE(after, before);
  EXPECT_EQ(after->revision(), 2);
  EXPECT_EQ(after->count("a", "", 2), 1);
  const auto value = after->get("a", 2);
  ASSERT_FALSE(value);
  EXPECT_EQ(value.error().code(), Code::kServerStopped);
  stage_->count_ranges(1);
  const auto held = before->get("a", 2);
  ASSERT_TRUE(held && *held) << "who has an older view keeps what it reads from";
}

}  // namespace
}  // namespace quoin::server
