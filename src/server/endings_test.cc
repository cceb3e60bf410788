// How a member ends when its disk does not let it go on, and what it refuses to begin with.
#include "membership/bootstrap.h"
#include "raft/codec.h"
#include "server/life_test.h"
#include "server/single_voter.h"
#include "wal/appender.h"

namespace quoin::server {
namespace {

constexpr int kEnospc = 28;

TEST(Endings, AFullLogDiskAtStartEndsTheMemberByName) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    sim::World world(seed);
    sim::SimDisk disk(world);
    { Life(world, disk, life_config()).stop(); }
    MemberProcess m(world, disk, life_config());
    ASSERT_FALSE(m.start_error) << m.start_error->text();
    disk.inject(
        {.ops = sim::kWrite, .path_contains = ".wal", .times = sim::Fault::kForever, .error = kEnospc});
    m.run();
    ASSERT_TRUE(m.run_until([&] { return m.failed.has_value(); }));
    EXPECT_EQ(m.failed->code(), Code::kNoSpaceOnDevice) << m.failed->text();
    m.pass(10 * io::kSecond);
    EXPECT_EQ(m.failures, 1);
    EXPECT_FALSE(m.ready);
    EXPECT_EQ(m.log.count("failed to publish local member"), 0u);
    EXPECT_LE(m.log.count("stopped publish because server is stopped"), 1u);
    EXPECT_TRUE(m.stop());
  }
}

// Between start() and run() nobody listens yet.
TEST(Endings, AFailureBeforeRunIsToldByRun) {
  sim::World world(1);
  sim::SimDisk disk(world);
  MemberProcess m(world, disk, life_config());
  ASSERT_FALSE(m.start_error) << m.start_error->text();
  disk.inject({.ops = sim::kWrite | sim::kSync, .path_contains = "snap/db", .times = sim::Fault::kForever});
  m.pass(10 * io::kSecond);  // the first commit of the database fails
  EXPECT_FALSE(m.failed);
  m.run();
  ASSERT_TRUE(m.run_until([&] { return m.failed.has_value(); }));
  EXPECT_EQ(m.failed->code(), Code::kIo);
  EXPECT_TRUE(m.stop());
}

// The log fails before, while or after a stop is asked for: the stop ends.
TEST(Endings, AStopEndsAlthoughTheLogFails) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    sim::World world(seed);
    sim::SimDisk disk(world);
    MemberProcess m(world, disk, life_config());
    ASSERT_FALSE(m.start_error) << m.start_error->text();
    m.run();
    ASSERT_TRUE(m.run_until([&] { return m.ready; }));
    disk.inject({.ops = seed % 2 == 0 ? sim::kWrite : sim::kSync,
                 .path_contains = ".wal",
                 .skip = seed % 3,
                 .times = sim::Fault::kForever});
    if (seed % 5 == 0) m.pass(10 * io::kSecond);
    EXPECT_TRUE(m.stop());
  }
}

// The database's consistent index proves what was committed, where the log's last commit was only in memory.
TEST(Endings, ALostCommitIsMadeUpFromTheDatabase) {
  sim::World world(5);
  sim::SimDisk disk(world);
  Index applied;
  {
    MemberProcess m(world, disk, life_config());
    m.run();
    ASSERT_TRUE(m.run_until([&] { return m.ready; }));
    m.pass(5 * io::kSecond);
    applied = m.member().status().applied;
  }
  disk.crash();
  MemberProcess m(world, disk, life_config());
  ASSERT_FALSE(m.start_error) << m.start_error->text();
  EXPECT_EQ(m.member().status().committed, applied);
}

// Adds one entry to the log of a member that was stopped. `make` may change the hard state, which is written behind the
// entry.
void add_to_log(sim::World& world, sim::SimDisk& disk,
                absl::FunctionRef<raft::Entry(raft::HardState& hs, Index next)> make) {
  sim::Process& process = world.start_process("writer");
  sim::SimFileSystem fs(disk, process.executor("append"));
  sim::LogSink log;
  metrics::Registry metrics;
  auto opened = wal::open(fs, "/data/member/wal", {}, {}, log);
  ASSERT_TRUE(opened) << opened.error().text();
  raft::HardState hs = opened->contents.hard_state;
  const Term term = hs.term;
  raft::Entry entry = make(hs, opened->contents.last_index + 1);
  entry.term = std::max(entry.term, term);
  wal::Probe probe(metrics);
  wal::Appender appender(fs, process.executor("append"), process.clock(), log, probe, {},
                         std::move(opened->tail), [](const Error& e) { FAIL() << e.text(); });
  bool closed = false;
  appender.save(hs, {entry}, nullptr);
  appender.close({}, [&](const Result<>& r) { closed = r.has_value(); });
  ASSERT_TRUE(world.run_until([&] { return closed; }, kMaxNs));
  process.kill();
}

// The hard state that came with the last entries stood behind them in the write that the crash cut short.
TEST(Endings, ALostTermIsMadeUpFromTheLog) {
  sim::World world(5);
  sim::SimDisk disk(world);
  { Life(world, disk, life_config()).stop(); }
  Term later;
  add_to_log(world, disk, [&](raft::HardState& hs, Index next) {
    later = hs.term + 5;
    return raft::Entry{later, next, raft::EntryType::kNormal, {}};
  });
  {
    MemberProcess m(world, disk, life_config());
    ASSERT_FALSE(m.start_error) << m.start_error->text();
    EXPECT_EQ(m.member().term(), later);
  }
  Life life(world, disk, life_config());
  ASSERT_FALSE(life.start_error) << life.start_error->text();
  EXPECT_GT(life.member().term(), later);
}

// While the disk does not answer, clients are told so before their requests fill the memory.
TEST(Endings, AStuckDiskRefusesWhatItCannotTake) {
  sim::World world(6);
  sim::SimDisk disk(world);
  MemberProcess m(world, disk, life_config());
  m.run();
  ASSERT_TRUE(m.run_until([&] { return m.ready; }));
  disk.set_syncs_stuck(true);
  ClientPort port(m.member(), m.loop());
  std::map<Code, int> refused;
  int answered = 0, ok = 0;
  constexpr int kAsked = 250;
  for (int i = 0; i < kAsked; ++i) {
    m.loop().post([&] {
      pb::InternalRaftRequest r;
      const uint64_t id = m.member().next_id();
      r.header.emplace().id = id;
      const std::string value(1'400'000, 'x');
      r.put.emplace().key = "k";
      r.put->value = value;
      port.propose(id, wire::encode_blob(r), [&](Answer a) {
        ++answered;
        if (a.error) {
          ++refused[a.error->code()];
        } else {
          ++ok;
        }
      });
    });
  }
  ASSERT_TRUE(m.run_until([&] { return refused[Code::kTooManyRequests] > 0; }));
  EXPECT_TRUE(m.run_until([&] { return answered >= kAsked; })) << "the others run out of time";
  EXPECT_GT(refused[Code::kTimeout], 0);
  EXPECT_EQ(ok, 0);
  disk.set_syncs_stuck(false);
  EXPECT_TRUE(m.stop());
}

raft::Entry change_entry(uint64_t index, membership::ChangeKind kind, uint64_t id, uint64_t url = 0) {
  membership::Change change;
  change.kind = kind;
  change.member.id = MemberId{id};
  change.member.peer_urls = {fmt::format("http://h{}:2380", url != 0 ? url : id)};
  raft::Entry e;
  e.term = Term{1};
  e.index = Index{index};
  e.type = raft::EntryType::kConfChange;
  e.data = raft::encode_blob(membership::encode_change(change));
  return e;
}

TEST(SingleVoter, OnlyALogThatLeadsToThisMemberAlone) {
  using K = membership::ChangeKind;
  membership::Membership three;
  three.local_id = MemberId{1};
  raft::ConfState of_three, of_one;
  for (uint64_t id : {1, 2, 3}) {
    membership::Member& m = three.members[MemberId{id}];
    m.id = MemberId{id};
    m.peer_urls = {fmt::format("http://h{}:2380", id)};
    of_three.voters.push_back(MemberId{id});
  }
  membership::Membership one = three;
  one.members.erase(MemberId{2});
  one.members.erase(MemberId{3});
  of_one.voters = {MemberId{1}};
  const std::vector<raft::Entry> shrink = {change_entry(11, K::kRemove, 2), change_entry(12, K::kRemove, 3)};
  const std::vector<raft::Entry> grow = {change_entry(11, K::kAdd, 2)};
  const std::vector<raft::Entry> learner = {change_entry(11, K::kAddLearner, 2)};
  const std::vector<raft::Entry> refused = {change_entry(11, K::kAdd, 2, 1)};  // member 1's peer URL
  const std::vector<raft::Entry> leave = {change_entry(11, K::kAdd, 2), change_entry(12, K::kRemove, 1)};
  EXPECT_TRUE(*is_single_voter(one, of_one, {}, Index{10}, 1));
  EXPECT_FALSE(*is_single_voter(three, of_three, {}, Index{10}, 1));
  EXPECT_TRUE(*is_single_voter(three, of_three, shrink, Index{12}, 1)) << "shrank to this one";
  EXPECT_FALSE(*is_single_voter(three, of_three, shrink, Index{11}, 1)) << "not committed";
  EXPECT_FALSE(*is_single_voter(one, of_one, grow, Index{11}, 1));
  EXPECT_FALSE(*is_single_voter(one, of_one, grow, Index{10}, 1)) << "will be committed";
  EXPECT_TRUE(*is_single_voter(one, of_one, learner, Index{11}, 1));
  EXPECT_TRUE(*is_single_voter(one, of_one, refused, Index{11}, 1));
  EXPECT_FALSE(*is_single_voter(one, of_one, leave, Index{12}, 1)) << "not a voter itself";
}

// A directory whose log adds a second voter, as etcd leaves it behind after `member add`: the member starts, and
// without the other one it waits.
TEST(Endings, AMemberOfTwoWaitsForTheOther) {
  sim::World world(3);
  sim::SimDisk disk(world);
  const Config config = life_config();
  { Life(world, disk, config).stop(); }
  add_to_log(world, disk, [](raft::HardState& hs, Index next) {
    hs.commit = next;
    return change_entry(next.v, membership::ChangeKind::kAdd, 77);
  });
  MemberProcess m(world, disk, config);
  ASSERT_FALSE(m.start_error) << m.start_error->text();
  m.run();
  const Term term = m.member().term();
  m.pass(60 * io::kSecond);
  EXPECT_FALSE(m.ready);
  EXPECT_FALSE(m.failed);
  EXPECT_EQ(m.member().leader(), MemberId());
  EXPECT_EQ(m.member().term(), term) << "asks for votes before it raises the term";
  EXPECT_EQ(m.member().members().size(), 2u);
  EXPECT_TRUE(m.stop());
}

// A start with --force-new-cluster makes entries up, and a hard state that commits them. If it ends before they are in the
// log (a port is taken, the defragmentation goes on), the hard state alone must not get there.
TEST(Endings, AForcedStartThatEndsAtOnceLeavesTheLogAsItWas) {
  for (const bool run : {false, true}) {
    sim::World world(3);
    sim::SimDisk disk(world);
    Config config = life_config();
    { Life(world, disk, config).stop(); }
    add_to_log(world, disk, [](raft::HardState& hs, Index next) {
      hs.commit = next;
      return change_entry(next.v, membership::ChangeKind::kAdd, 77);
    });
    {
      Config forced = config;
      forced.force_new_cluster = true;
      MemberProcess m(world, disk, forced);
      ASSERT_FALSE(m.start_error) << m.start_error->text();
      if (run) m.run();
      EXPECT_TRUE(m.stop());
    }
    config.force_new_cluster = true;
    Life life(world, disk, config);
    ASSERT_FALSE(life.start_error) << life.start_error->text();
    life.put("k", "v");
    life.stop();
  }
}

// All that is left of a cluster of two is a directory whose log was cut; its database holds more. Nobody sends the rest.
TEST(Endings, AForcedStartGoesOnFromTheEndOfALogThatWasCut) {
  constexpr const char* kWal = "/data/member/wal/0000000000000000-0000000000000000.wal";
  sim::World world(3);
  sim::SimDisk disk(world);
  Config config = life_config();
  {
    Life life(world, disk, config);
    for (int i = 0; i < 9; ++i)
      life.put(fmt::format("k{}", i), std::string(2000, static_cast<char>('a' + i)));
    life.stop();
  }
  add_to_log(world, disk, [](raft::HardState& hs, Index next) {
    hs.commit = next;
    return change_entry(next.v, membership::ChangeKind::kAdd, 77);
  });
  {
    MemberProcess m(world, disk, config);  // applies the change, and waits for the other
    m.run();
    m.pass(5 * io::kSecond);
    EXPECT_EQ(m.member().members().size(), 2u);
    EXPECT_TRUE(m.stop());
  }
  std::string bytes = *disk.visible_bytes(kWal);
  const size_t cut = bytes.find(std::string(1000, 'f'));
  ASSERT_NE(cut, std::string::npos);
  std::fill(bytes.begin() + static_cast<ptrdiff_t>(cut), bytes.end(), '\0');
  disk.put_file(kWal, bytes);
  config.allow_wal_cut = config.force_new_cluster = true;
  Life life(world, disk, config);
  ASSERT_FALSE(life.start_error) << life.start_error->text();
  life.put("k", "v");
  EXPECT_EQ(life.member().members().size(), 1u);
  life.stop();
}

// A snapshot of what such a commit covers, made before any leader was heard: its record counts.
TEST(Endings, ASnapshotCountsWhereTheCommitWasMadeUp) {
  sim::World world(5);
  sim::SimDisk disk(world);
  Config config = life_config();
  { Life(world, disk, config).stop(); }
  add_to_log(world, disk, [](raft::HardState& hs, Index next) {
    hs.commit = next;
    return change_entry(next.v, membership::ChangeKind::kAdd, 77);
  });
  add_to_log(world, disk, [](raft::HardState& hs, Index next) {
    hs.commit = next;
    return raft::Entry{hs.term, next, raft::EntryType::kNormal, {}};
  });
  Index applied;
  {
    MemberProcess m(world, disk, config);  // waits for the other one, with all of it in its database
    m.run();
    m.pass(5 * io::kSecond);
    applied = m.member().status().applied;
    EXPECT_FALSE(m.ready);
  }
  add_to_log(world, disk, [](raft::HardState& hs, Index next) {
    hs.commit = Index(1);
    return raft::Entry{hs.term, next, raft::EntryType::kNormal, {}};
  });
  config.snapshot_count = 1;
  {
    MemberProcess m(world, disk, config);
    m.run();
    ASSERT_TRUE(m.run_until([&] { return m.log.contains("saved snapshot to disk"); }));
    EXPECT_EQ(m.member().status().committed, applied);
    EXPECT_FALSE(m.ready);
  }
  disk.crash();
  sim::Process& reader = world.start_process("reader");
  sim::SimFileSystem fs(disk, reader.executor("reader"));
  sim::LogSink log;
  const auto records = wal::valid_snapshots(fs, "/data/member/wal", log);
  ASSERT_TRUE(records) << records.error().text();
  EXPECT_EQ(records->back().index, applied);
  reader.kill();
}

}  // namespace
}  // namespace quoin::server
