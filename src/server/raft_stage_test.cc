// The raft stage alone, between a log and a state machine that the test plays.
#include "server/raft_stage_test.h"

#include <gtest/gtest.h>

#include "sim/machine.h"

namespace quoin::server {
namespace {

constexpr uint64_t kSnapshotIndex = 7;

class RaftStageTest : public ::testing::Test, public RaftSink {
 protected:
  void start(uint64_t voters) {
    auto origin = std::make_shared<raft::Snapshot>();
    for (uint64_t i = 1; i <= voters; ++i) origin->metadata.conf_state.voters.push_back(MemberId{i});
    origin->metadata.index = Index{kSnapshotIndex};
    origin->metadata.term = Term{1};
    auto storage = std::make_unique<raft::MemoryStorage>();
    ASSERT_TRUE(storage->apply_snapshot(origin));
    storage->set_hard_state({Term{1}, MemberId{}, Index{kSnapshotIndex}});
    RaftStageOptions options;
    options.raft.id = MemberId{1};
    options.raft.async_storage_writes = true;
    options.raft.check_quorum = options.raft.pre_vote = true;
    stage = std::make_unique<RaftStage>(options, std::move(storage), observer_, 1, strand_, process_.timers(),
                                        process_.clock(), waiters_, ids_, *this, machine_.log(), metrics_);
  }
  ~RaftStageTest() override { machine_.kill(); }

  // ---- RaftSink ----
  void append(AppendBatch batch) override {
    log_.push_back(std::move(batch));
    if (!stuck) write();
  }
  void install_snapshot(std::shared_ptr<const raft::Snapshot> snapshot) override {
    installing_.push_back(snapshot->metadata.index);
  }
  void send(std::vector<raft::Message> messages) override {
    std::move(messages.begin(), messages.end(), std::back_inserter(sent_));
  }
  void snapshot_wanted(raft::Message message) override { wanted_.push_back(std::move(message)); }
  bool connected_since(io::MonotonicNs, MemberId) const override { return connected; }
  void apply_entries(std::vector<raft::Entry> entries) override {
    if (slow) return to_apply_.push_back(std::move(entries));
    applied_ = entries.back().index;
    payload_ += raft::payload_size(entries);
    stage->note_applied(applied_);
    stage->post_applied(applied_, raft::encoded_size(entries), raft::payload_size(entries));
  }
  void soft_state_changed(const raft::SoftState&, Term) override {}

  void write() {
    for (AppendBatch& b : std::exchange(log_, {})) stage->post_appended(std::move(b));
  }
  void lead() {
    stage->post_campaign();
    ASSERT_TRUE(
        machine_.run_until([&] { return stage->leading() && stage->applied() > Index{kSnapshotIndex}; }));
  }
  void settle() {
    machine_.run_until([] { return false; }, io::kMillisecond);
  }
  void on_strand(Task task) {
    strand_.post(std::move(task));
    settle();
  }
  void propose(const Blob& data) {
    ASSERT_TRUE(stage->backlog().admit(data.size()));
    stage->post_proposals({{.id = ids_.next(), .data = data, .only_in_term = {}, .admitted = true}});
  }
  // Of a counter.
  double metric(std::string_view name) {
    double value = -1;
    metrics_.visit([&](const metrics::Family& f) {
      if (f.name != name) return;
      value = static_cast<double>(std::get<const metrics::Counter*>(f.cells[0].source)->value());
    });
    return value;
  }
  static raft::Message from_2(raft::MessageType type) {
    raft::Message m;
    m.type = type;
    m.from = MemberId{2};
    m.to = MemberId{1};
    m.term = Term{1};
    return m;
  }

  sim::Machine machine_{1};
  sim::Process& process_ = machine_.process();
  sim::SimExecutor& strand_ = machine_.executor();
  raft::Observer observer_;
  metrics::Registry metrics_;
  Waiters waiters_;
  RequestIds ids_{MemberId{1}, 0};
  std::vector<AppendBatch> log_;
  std::vector<raft::Message> sent_, wanted_;
  std::vector<Index> installing_;
  std::vector<std::vector<raft::Entry>> to_apply_;
  Index applied_;
  uint64_t payload_ = 0;  // applied bytes
  std::vector<Code> errors_;
  bool stuck = false;  // the disk
  bool slow = false;   // the state machine
  bool connected = true;
  std::unique_ptr<RaftStage> stage;
};

TEST_F(RaftStageTest, WhatTheSnapshotHoldsIsApplied) {
  start(1);
  EXPECT_EQ(stage->applied(), Index{kSnapshotIndex});
}

TEST_F(RaftStageTest, AStuckDiskIsSeenAndBoundsWhatIsTaken) {
  start(1);
  lead();
  stage->post_start_ticking();
  AppendBacklog& backlog = stage->backlog();
  EXPECT_EQ(backlog.bytes(), 0u);
  stuck = true;
  const Blob data = Blob::copy(std::string(1 << 20, 'x'));
  uint64_t taken = 0;
  for (; backlog.admit(data.size()); ++taken) {
    ASSERT_LT(taken, 1000u) << "no bound";
    stage->post_proposals({{.id = ids_.next(), .data = data, .only_in_term = {}, .admitted = true}});
    if (taken % 10 == 0) settle();  // on their way, in raft, at the log: each counts once
  }
  EXPECT_EQ(taken, AppendBacklog::kBytesMax / (data.size() + AppendBacklog::kEntryOverhead));
  settle();
  EXPECT_FALSE(backlog.admit(data.size()));
  EXPECT_GT(backlog.batches(), 1u);
  EXPECT_LE(backlog.bytes(), AppendBacklog::kBytesMax);
  machine_.run_until([] { return false; }, 3 * io::kSecond);
  EXPECT_GE(backlog.oldest_wait_ns(), 3 * io::kSecond);
  EXPECT_TRUE(machine_.log().contains("the disk of the log has not answered"));
  EXPECT_TRUE(machine_.log().contains("too many bytes wait for the log; proposals are refused"));
  EXPECT_LE(machine_.log().lines().size(), 4u);
  stuck = false;
  write();
  settle();
  EXPECT_EQ(backlog.bytes(), 0u);
  EXPECT_EQ(backlog.batches(), 0u);
  EXPECT_EQ(backlog.oldest_wait_ns(), 0);
  EXPECT_TRUE(backlog.admit(data.size()));
}

// Refused, parked, expired or taken: nothing stays charged.
TEST_F(RaftStageTest, EveryProposalIsGivenBack) {
  start(1);
  const Blob data = Blob::copy(std::string(1000, 'x'));
  propose(data);  // no leader: parked
  settle();
  EXPECT_EQ(RaftStagePeer::parked(*stage), 1u);
  EXPECT_EQ(stage->backlog().bytes(), 0u) << "parked proposals have a bound of their own";
  lead();
  settle();
  EXPECT_EQ(RaftStagePeer::parked(*stage), 0u);
  EXPECT_EQ(stage->backlog().bytes(), 0u);
  propose(data);
  settle();
  EXPECT_EQ(stage->backlog().bytes(), 0u);
  bool stopped = false;
  stage->post_stop(strand_, [&](raft::HardState) { stopped = true; });
  propose(data);
  settle();
  EXPECT_TRUE(stopped);
  EXPECT_EQ(stage->backlog().bytes(), 0u);
}

// The leader is lost and found again before anybody looks: it did not change, and yet somebody waits for it.
TEST_F(RaftStageTest, ParkedProposalsLeaveWhenTheSameLeaderIsBack) {
  start(2);
  on_strand([&] {
    ASSERT_TRUE(RaftStagePeer::node(*stage).step(from_2(raft::MessageType::kHeartbeat)));
    RaftStagePeer::run_ready(*stage);
  });
  EXPECT_EQ(RaftStagePeer::node(*stage).raft().lead(), MemberId{2});
  on_strand([&] { RaftStagePeer::node(*stage).forget_leader(); });
  propose(Blob::copy("x"));
  strand_.post([&] {  // behind the proposal, before its Ready
    EXPECT_EQ(RaftStagePeer::parked(*stage), 1u);
    ASSERT_TRUE(RaftStagePeer::node(*stage).step(from_2(raft::MessageType::kHeartbeat)));
  });
  settle();
  EXPECT_EQ(RaftStagePeer::parked(*stage), 0u);
}

// A client that has gone by the time there is a leader: nobody would learn what became of its request. It counted as
// failed when it went.
TEST_F(RaftStageTest, AParkedProposalWhoseClientHasGoneIsDropped) {
  start(1);
  const auto failed = [&] { return metric("etcd_server_proposals_failed_total"); };
  const Blob data = Blob::copy(std::string(1000, 'x'));
  const auto work = std::make_shared<int>();
  const auto ask = [&] {
    const uint64_t id = ids_.next();
    waiters_.add(id, {&strand_, [work](Answer) {}, process_.clock().monotonic()});
    stage->post_proposals({{.id = id, .data = data, .only_in_term = {}, .awaited = true}});
    return id;
  };
  const auto give_up = [&](uint64_t id) {  // as ClientPort does
    ASSERT_TRUE(waiters_.give_up(id));
    stage->count_failed();
  };
  const uint64_t gone = ask(), stays = ask();
  stage->post_proposals({{.id = ids_.next(), .data = data, .only_in_term = {}}});  // nobody waits, ever
  settle();
  EXPECT_EQ(RaftStagePeer::parked(*stage), 3u);
  give_up(gone);
  EXPECT_EQ(failed(), 1);
  EXPECT_EQ(work.use_count(), 3) << "it still waits, and counts";
  lead();
  settle();
  EXPECT_EQ(RaftStagePeer::parked(*stage), 0u);
  EXPECT_EQ(RaftStagePeer::parked_bytes(*stage), 0u);
  EXPECT_FALSE(waiters_.waiting(gone));
  EXPECT_TRUE(waiters_.waiting(stays));
  EXPECT_EQ(work.use_count(), 2) << "of the one that stays";
  EXPECT_EQ(payload_, 2 * data.size()) << "of the log";
  EXPECT_EQ(failed(), 1);
}

// Until there is a leader they take no room from others, and are not counted again when their time is over.
TEST_F(RaftStageTest, AParkedProposalWhoseClientHasGoneTakesNoRoom) {
  start(2);
  const Blob data = Blob::copy(std::string(1 << 20, 'x'));
  const auto work = std::make_shared<int>();
  uint64_t last = 0;
  const auto ask = [&](bool goes) {
    const uint64_t id = ids_.next();
    waiters_.add(id, {&strand_, [&, work](Answer a) { errors_.push_back(a.error->code()); },
                      process_.clock().monotonic()});
    stage->post_proposals({{.id = id, .data = data, .only_in_term = {}, .awaited = true}});
    settle();
    last = id;
    if (!goes) return;
    ASSERT_TRUE(waiters_.give_up(id));
    stage->count_failed();
  };
  constexpr size_t kRoom = RaftStage::kParkedBytesMax >> 20;
  for (size_t i = 0; i < 2 * kRoom; ++i) ask(true);
  EXPECT_LE(RaftStagePeer::parked_bytes(*stage), RaftStage::kParkedBytesMax);
  for (size_t i = 0; i < kRoom; ++i) ask(false);
  const uint64_t stays_parked = last;
  EXPECT_TRUE(errors_.empty());
  ask(false);
  EXPECT_EQ(errors_, std::vector<Code>{Code::kTooManyRequests});
  EXPECT_EQ(work.use_count(), 1 + kRoom) << "what those that went held is dropped with them";
  ASSERT_EQ(metric("etcd_server_proposals_failed_total"), 2 * kRoom + 1);
  ASSERT_TRUE(waiters_.give_up(stays_parked));
  stage->count_failed();
  stage->post_start_ticking();
  machine_.run_until([] { return false; }, 20 * io::kSecond);
  EXPECT_EQ(RaftStagePeer::parked_bytes(*stage), 0u);
  EXPECT_EQ(errors_.size(), kRoom);
  EXPECT_EQ(work.use_count(), 1);
  EXPECT_EQ(metric("etcd_server_proposals_failed_total"), 3 * kRoom + 1);
}

// raft's own hard state may speak of a commit that never reached the log; a follower could not start again.
TEST_F(RaftStageTest, AStopSavesTheHardStateThatTheLogWasGiven) {
  start(2);
  on_strand([&] {
    raft::Message append = from_2(raft::MessageType::kApp);
    append.index = Index{kSnapshotIndex};
    append.log_term = Term{1};
    append.entries.push_back({Term{1}, Index{kSnapshotIndex + 1}, raft::EntryType::kNormal, Blob::copy("x")});
    append.commit = Index{kSnapshotIndex};
    ASSERT_TRUE(RaftStagePeer::node(*stage).step(std::move(append)));
  });
  std::optional<raft::HardState> last;
  on_strand([&] {
    raft::Message heartbeat = from_2(raft::MessageType::kHeartbeat);
    heartbeat.commit = Index{kSnapshotIndex + 1};
    ASSERT_TRUE(RaftStagePeer::node(*stage).step(std::move(heartbeat)));
    stage->post_stop(strand_, [&](raft::HardState hs) { last = hs; });
  });
  ASSERT_TRUE(last.has_value());
  EXPECT_EQ(RaftStagePeer::node(*stage).raft().hard_state().commit, Index{kSnapshotIndex + 1});
  EXPECT_LE(last->commit, Index{kSnapshotIndex});
}

TEST_F(RaftStageTest, TheLogInMemoryIsBoundedInBytes) {
  start(1);
  lead();
  const Blob data = Blob::copy(std::string(1 << 20, 'x'));
  const auto bytes = [&] { return stage->progress().log_bytes.load(); };
  for (uint64_t i = 0; i < 300; ++i) {
    propose(data);
    settle();
    ASSERT_FALSE(stage->backlog().bytes());
    if (stage->wants_compaction()) {
      // Of the 5,000 entries that could stay only as many as fit.
      stage->post_compact(stage->applied(), {}, Blob(), Index{1});
      settle();
    }
    ASSERT_LE(bytes(), RaftStage::kLogBytesMax);
  }
  EXPECT_GT(bytes(), RaftStage::kLogBytesMax / 2);
}

// More is kept for a member to which a snapshot is on its way, and a cut within that is counted.
TEST_F(RaftStageTest, TheLogInMemoryIsLongerForWhoIsSentASnapshot) {
  start(1);
  lead();
  const Blob data = Blob::copy(std::string(1 << 20, 'x'));
  const auto bytes = [&] { return stage->progress().log_bytes.load(); };
  for (int i = 0; i < 140; ++i) {
    propose(data);
    settle();
  }
  const auto compact = [&](uint64_t mib) {
    EXPECT_EQ(stage->wants_compaction(mib << 20), bytes() > mib << 20);
    stage->post_compact(stage->applied(), {}, Blob(), Index{1}, mib << 20);
    settle();
  };
  compact(200);
  EXPECT_GT(bytes(), 140u << 20);
  EXPECT_EQ(metric("quoin_raft_log_cut_while_sending_total"), 0);
  compact(130);
  EXPECT_LE(bytes(), 130u << 20);
  EXPECT_EQ(metric("quoin_raft_log_cut_while_sending_total"), 1);
  compact(128);
  EXPECT_LE(bytes(), RaftStage::kLogBytesMax);
  EXPECT_EQ(metric("quoin_raft_log_cut_while_sending_total"), 1);
}

// Proposals without bytes, as only another member sends them, take room too.
TEST_F(RaftStageTest, ParkedProposalsWithoutBytesAreBounded) {
  start(2);
  raft::Message m = from_2(raft::MessageType::kProp);
  m.term = Term{};
  m.entries.resize(2'000'000);
  std::vector<raft::Message> one;
  one.push_back(std::move(m));
  stage->post_messages(std::move(one), nullptr);
  settle();
  EXPECT_GT(RaftStagePeer::parked(*stage), 100'000u);
  EXPECT_LT(RaftStagePeer::parked(*stage), 2'000'000u);
  EXPECT_LE(RaftStagePeer::parked_bytes(*stage), RaftStage::kParkedBytesMax);
}

// What raft's own check refuses of a stream is told, and does not fill the log.
TEST_F(RaftStageTest, AMalformedMessageIsTold) {
  start(2);
  const auto append = [&] {
    raft::Message m = from_2(raft::MessageType::kApp);
    m.index = Index{kSnapshotIndex};
    m.log_term = Term{1};
    m.entries.push_back({Term{1}, Index{kSnapshotIndex + 2}, raft::EntryType::kNormal, {}});
    return m;
  };
  std::vector<raft::Message> many;
  for (int i = 0; i < 50; ++i) many.push_back(append());
  stage->post_messages(std::move(many), nullptr);
  settle();
  EXPECT_EQ(machine_.log().count("failed to process Raft message"),
            static_cast<size_t>(LineLimit::kLinesMax));
  EXPECT_TRUE(machine_.log().contains("error=raft: entries of an append are not consecutive"));
  EXPECT_EQ(metric("quoin_peer_messages_refused_total"), 50);
}

// A linearizable read sees everything that was committed when it came.
TEST_F(RaftStageTest, AReadWaitsUntilItsIndexIsApplied) {
  start(1);
  lead();
  slow = true;
  propose(Blob::copy("x"));
  settle();
  ASSERT_EQ(to_apply_.size(), 1u);
  std::optional<Result<>> read;
  std::vector<RaftStage::Reader> readers;
  readers.push_back({&strand_, [&](Result<> r) { read = std::move(r); }});
  stage->post_readers(std::move(readers));
  settle();
  EXPECT_FALSE(read.has_value()) << "the write before it is committed and not applied";
  slow = false;
  on_strand([&] { apply_entries(std::move(to_apply_[0])); });
  ASSERT_TRUE(read.has_value());
  EXPECT_TRUE(read->has_value());
}

// A proposal whose outcome never comes is answered when its time is over, a read likewise.
TEST_F(RaftStageTest, WhatNeverComesTimesOut) {
  start(2);
  on_strand([&] {
    ASSERT_TRUE(RaftStagePeer::node(*stage).step(from_2(raft::MessageType::kHeartbeat)));
    RaftStagePeer::run_ready(*stage);
  });
  std::optional<Answer> answer;
  std::optional<Result<>> read;
  const uint64_t id = ids_.next();
  waiters_.add(id, {&strand_, [&](Answer a) { answer = std::move(a); }, process_.clock().monotonic()});
  stage->post_proposals({{.id = id, .data = Blob::copy("x"), .only_in_term = {}}});  // forwarded and lost
  std::vector<RaftStage::Reader> readers;
  readers.push_back({&strand_, [&](Result<> r) { read = std::move(r); }});
  stage->post_readers(std::move(readers));
  stage->post_start_ticking();
  for (int i = 0; i < 50; ++i) {  // the leader lives, and answers nothing
    on_strand([&] {
      ASSERT_TRUE(RaftStagePeer::node(*stage).step(from_2(raft::MessageType::kHeartbeat)));
      RaftStagePeer::run_ready(*stage);
    });
    machine_.run_until([] { return false; }, 300 * io::kMillisecond);
  }
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->error->code(), Code::kTimeout);
  ASSERT_TRUE(read.has_value());
  ASSERT_FALSE(read->has_value());
  EXPECT_EQ(read->error().code(), Code::kTimeout);
}

TEST_F(RaftStageTest, TicksGoOnUntilTheStop) {
  start(1);
  lead();
  stage->post_start_ticking();
  machine_.run_until([] { return false; }, 10 * io::kSecond);
  EXPECT_GE(stage->last_tick(), 9 * io::kSecond);
  stage->post_stop(strand_, [](raft::HardState) {});
  settle();
  const io::MonotonicNs last = stage->last_tick();
  machine_.run_until([] { return false; }, 10 * io::kSecond);
  EXPECT_EQ(stage->last_tick(), last);
}

// ---- other members ----

raft::Message snapshot_of(uint64_t index) {
  raft::Message m;
  m.type = raft::MessageType::kSnap;
  m.from = MemberId{2};
  m.to = MemberId{1};
  m.term = Term{1};
  auto snapshot = std::make_shared<raft::Snapshot>();
  snapshot->metadata = {{.voters = {MemberId{1}, MemberId{2}}}, Index{index}, Term{1}};
  m.snapshot = snapshot;
  return m;
}

// The leader counts on an acknowledged snapshot: until log and state machine have it, nothing is said, and nothing
// that came behind it either.
TEST_F(RaftStageTest, ASnapshotIsAcknowledgedWhenTheStateMachineHasIt) {
  start(2);
  stuck = true;
  stage->post_messages({snapshot_of(50)}, nullptr);
  settle();
  ASSERT_EQ(log_.size(), 1u);
  ASSERT_TRUE(log_[0].snapshot);
  EXPECT_EQ(log_[0].hard_state.commit, Index{50});
  EXPECT_TRUE(installing_.empty());
  raft::Message append = from_2(raft::MessageType::kApp);
  append.index = Index{50};
  append.log_term = Term{1};
  append.entries.push_back({Term{1}, Index{51}, raft::EntryType::kNormal, Blob::copy("x")});
  append.commit = Index{51};
  stage->post_messages({std::move(append)}, nullptr);
  settle();
  stuck = false;
  write();
  settle();
  EXPECT_EQ(installing_, std::vector<Index>{Index{50}});
  EXPECT_TRUE(sent_.empty());
  EXPECT_LT(applied_, Index{51}) << "applied on top of the state before the snapshot";
  stage->post_snapshot_installed(Index{50});
  settle();
  ASSERT_FALSE(sent_.empty());
  EXPECT_EQ(sent_.back().type, raft::MessageType::kAppResp);
  EXPECT_EQ(sent_.back().index, Index{51});
  EXPECT_EQ(applied_, Index{51});
}

// Whoever grants a vote counts on the entries that it was asked with. Asked before they are durable, the grant could reach
// the next life of this member, which has lost them and asks in the same term with less.
TEST_F(RaftStageTest, AVoteIsAskedForOnceTheEntriesAreDurable) {
  start(3);
  stuck = true;
  raft::Message append = from_2(raft::MessageType::kApp);
  append.index = Index{kSnapshotIndex};
  append.log_term = Term{1};
  append.entries.push_back({Term{1}, Index{kSnapshotIndex + 1}, raft::EntryType::kNormal, Blob::copy("x")});
  stage->post_messages({std::move(append)}, nullptr);
  settle();
  on_strand([&] { ASSERT_TRUE(RaftStagePeer::node(*stage).campaign()); });
  for (const uint64_t voter : {2, 3}) {
    raft::Message grant = from_2(raft::MessageType::kPreVoteResp);
    grant.from = MemberId{voter};
    grant.term = Term{2};
    stage->post_messages({std::move(grant)}, nullptr);
  }
  settle();
  const auto asked = [&] {
    return std::count_if(sent_.begin(), sent_.end(),
                         [](const raft::Message& m) { return m.type == raft::MessageType::kVote; });
  };
  on_strand([&] { EXPECT_EQ(RaftStagePeer::node(*stage).raft().role(), raft::Role::kCandidate); });
  EXPECT_EQ(asked(), 0);
  stuck = false;
  write();
  settle();
  EXPECT_EQ(asked(), 2);
}

TEST_F(RaftStageTest, OfSeveralAcknowledgementsTheLastIsSent) {
  start(2);
  stuck = true;
  for (uint64_t i = 1; i <= 3; ++i) {
    raft::Message append = from_2(raft::MessageType::kApp);
    append.index = Index{kSnapshotIndex + i - 1};
    append.log_term = Term{1};
    append.entries.push_back({Term{1}, Index{kSnapshotIndex + i}, raft::EntryType::kNormal, Blob::copy("x")});
    stage->post_messages({std::move(append)}, nullptr);
  }
  settle();
  EXPECT_TRUE(sent_.empty()) << "an acknowledgement before the write";
  stuck = false;
  write();
  settle();
  std::erase_if(sent_, [](const raft::Message& m) { return m.type != raft::MessageType::kAppResp; });
  ASSERT_FALSE(sent_.empty());
  EXPECT_EQ(sent_.back().index, Index{kSnapshotIndex + 3});
}

// A proposal that another member forwarded is not lost while there is no leader.
TEST_F(RaftStageTest, AForwardedProposalWaitsForALeader) {
  start(1);
  raft::Message forwarded = from_2(raft::MessageType::kProp);
  forwarded.term = Term{};
  forwarded.entries.push_back({Term{}, Index{}, raft::EntryType::kNormal, Blob::copy("forwarded")});
  stage->post_messages({std::move(forwarded)}, nullptr);
  settle();
  lead();
  settle();
  EXPECT_EQ(payload_, std::string_view("forwarded").size());
}

TEST_F(RaftStageTest, LeadershipIsHandedToVotersOnly) {
  start(1);
  const auto transfer = [&](uint64_t to) {
    std::optional<Result<>> result;
    stage->post_transfer(MemberId{to}, strand_, [&](Result<> r) { result = r; });
    settle();
    return result ? (*result ? std::optional<Code>() : (*result).error().code()) : Code::kStopped;
  };
  EXPECT_EQ(transfer(1), Code::kNotLeader);
  lead();
  EXPECT_EQ(transfer(2), Code::kBadLeaderTransferee);
  EXPECT_EQ(transfer(1), std::nullopt) << "it leads";
}

TEST_F(RaftStageTest, ATimeoutSaysWhatMayHaveCausedIt) {
  start(1);
  lead();
  stage->post_start_ticking();
  machine_.run_until([] { return false; }, 10 * io::kSecond);  // leadership began long ago
  stuck = true;
  for (const bool still : {true, false}) {
    connected = still;
    const uint64_t id = ids_.next();
    std::optional<Answer> answer;
    waiters_.add(id, {&strand_, [&](Answer a) { answer = std::move(a); }, process_.clock().monotonic()});
    stage->post_proposals({{.id = id, .data = Blob::copy("x"), .only_in_term = {}}});
    ASSERT_TRUE(machine_.run_until([&] { return answer.has_value(); }));
    EXPECT_EQ(answer->error->code(), still ? Code::kTimeout : Code::kTimeoutConnectionLost);
  }
}

// A configuration change is waited for as long as its client likes.
TEST_F(RaftStageTest, APatientWaiterDoesNotExpire) {
  start(1);
  lead();
  stage->post_start_ticking();
  std::optional<Answer> answer;
  Waiter waiter{&strand_, [&](Answer a) { answer = std::move(a); }, process_.clock().monotonic()};
  waiter.patient = true;
  waiters_.add(1, std::move(waiter));
  machine_.run_until([] { return false; }, 60 * io::kSecond);
  EXPECT_FALSE(answer);
  stage->post_stop(strand_, [](raft::HardState) {});
  settle();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->error->code(), Code::kServerStopped);
}

// Nor does its proposal, while there is no leader that could take it.
TEST_F(RaftStageTest, APatientProposalWaitsForALeader) {
  start(3);
  stage->post_start_ticking();
  std::optional<Answer> patient, other;
  for (const bool is_patient : {true, false}) {
    const uint64_t id = is_patient ? 1 : 2;
    Waiter waiter{&strand_, [&, is_patient](Answer a) { (is_patient ? patient : other) = std::move(a); },
                  process_.clock().monotonic()};
    waiter.patient = is_patient;
    waiters_.add(id, std::move(waiter));
    Proposal p{.id = id, .data = Blob::copy("x"), .only_in_term = {}, .awaited = true};
    p.patient = is_patient;
    std::vector<Proposal> one;
    one.push_back(std::move(p));
    stage->post_proposals(std::move(one));
  }
  ASSERT_TRUE(machine_.run_until([&] { return other.has_value(); }, 20 * io::kSecond));
  EXPECT_EQ(other->error->code(), Code::kContextDeadlineExceeded);
  machine_.run_until([] { return false; }, 60 * io::kSecond);
  EXPECT_FALSE(patient);
  stage->post_stop(strand_, [](raft::HardState) {});
  settle();
  ASSERT_TRUE(patient);
  EXPECT_EQ(patient->error->code(), Code::kServerStopped);
}

}  // namespace
}  // namespace quoin::server
