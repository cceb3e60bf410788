// What becomes of entries that cannot be applied, of the quota, and of snapshots taken during a replay.
#include <algorithm>

#include "backend/backend.h"
#include "membership/membership.h"
#include "membership/snapshot_state.h"
#include "raft/codec.h"
#include "server/life_test.h"
#include "server/quota.h"
#include "snap/snapshotter.h"
#include "wal/appender.h"
#include "wal/wal.h"
#include "wire/etcdserver.h"

namespace quoin::server {
namespace {

pb::InternalRaftRequest put_request(std::string_view key, std::string_view value) {
  pb::InternalRaftRequest r;
  r.put.emplace().key = key;
  r.put->value = value;
  return r;
}

class ApplyTest : public ::testing::Test {
 protected:
  static std::optional<int64_t> version_of(Life& life, std::string_view key) {
    const auto view = life.view();
    const auto meta = view->find(key, view->revision());
    if (!meta) return std::nullopt;
    return meta->version;
  }
  sim::World world_{5};
  sim::SimDisk disk_{world_};
};

// A transaction that deletes a key and then keeps its value: refused, now and at every replay.
TEST_F(ApplyTest, APoisonedTransactionIsRefusedNowAndAtEveryStart) {
  {
    Life life(world_, disk_, life_config());
    life.put("cfg/a", "1");
    const int64_t before = life.view()->revision();
    pb::InternalRaftRequest poison;
    auto& txn = poison.txn.emplace();
    txn.success.emplace_back().set_request_put().key = "cfg/b";
    auto& erase = txn.success.emplace_back().set_request_delete_range();
    erase.key = "cfg/";
    erase.range_end = std::string_view("\0", 1);
    auto& keep = txn.success.emplace_back().set_request_put();
    keep.key = "cfg/a";
    keep.ignore_value = true;
    const Answer answer = life.propose(poison);
    ASSERT_TRUE(answer.error);
    EXPECT_EQ(answer.error->code(), Code::kKeyNotFound);
    EXPECT_EQ(life.view()->revision(), before);
  }
  // Killed: what the log holds behind the database's index is applied again.
  Life life(world_, disk_, life_config());
  ASSERT_FALSE(life.start_error);
  EXPECT_EQ(version_of(life, "cfg/a"), 1);
  EXPECT_FALSE(version_of(life, "cfg/b"));
}

// Entries whose content has no meaning change nothing and end nothing; one that a newer version may know
// ends the member by name.
TEST_F(ApplyTest, EntriesWithoutAMeaning) {
  {
    Life life(world_, disk_, life_config());
    pb::InternalRaftRequest version;
    version.cluster_version_set.emplace().ver = "three";
    EXPECT_TRUE(life.propose(version).error);
    pb::InternalRaftRequest stranger;
    stranger.cluster_member_attr_set.emplace().member_id = 4711;
    EXPECT_FALSE(life.propose(stranger).error);
    pb::InternalRaftRequest downgrade;
    downgrade.downgrade_info_set.emplace().enabled = true;
    downgrade.downgrade_info_set->ver = "down";
    EXPECT_TRUE(life.propose(downgrade).error);
    pb::InternalRaftRequest alarm;
    alarm.alarm.emplace().action = static_cast<pb::AlarmRequest::AlarmAction>(9);
    EXPECT_TRUE(life.propose(alarm).error);
    life.put("k", "v");
    life.stop();
  }
  Life again(world_, disk_, life_config());
  ASSERT_FALSE(again.start_error) << again.start_error->text();
  EXPECT_EQ(version_of(again, "k"), 1);
}

// The entry that ends the member is not recorded as applied, whatever commits afterwards; who was in the same
// batch before it has its answer.
TEST_F(ApplyTest, AnEntryThatFailsIsNotRecordedAsApplied) {
  {
    Life life(world_, disk_, life_config(), true);
    life.put("before", "1");
    const auto answers = life.propose_together({put_request("k", "v"), {}, put_request("late", "v")});
    ASSERT_TRUE(life.failed);
    EXPECT_NE(life.failed->text().find("a request that this version does not know"), std::string::npos)
        << life.failed->text();
    EXPECT_TRUE(answers[0] && !answers[0]->error);
    EXPECT_FALSE(answers[2] && !answers[2]->error);
    life.stop();
  }
  // It fails again, at the same entry, with the one before it applied.
  Life again(world_, disk_, life_config(), true);
  ASSERT_FALSE(again.start_error);
  ASSERT_TRUE(again.failed);
  EXPECT_NE(again.failed->text().find("a request that this version does not know"), std::string::npos);
}

// ---- quota ----

class QuotaTest : public ApplyTest {
 protected:
  // As the services do it: asked before the proposal, and told by an alarm.
  static bool admitted(Life& life, const pb::InternalRaftRequest& r) {
    return life.member().quota_allows(put_cost(*r.put));
  }
  static void raise(Life& life, pb::AlarmRequest::AlarmAction action) {
    pb::InternalRaftRequest r;
    auto& alarm = r.alarm.emplace();
    alarm.action = action;
    alarm.member_id = life.member().id().v;
    alarm.alarm = pb::AlarmType::kNospace;
    life.ask(r);
  }
  static Config config() {
    Config c = life_config();
    c.quota_backend_bytes = 16 << 20;
    return c;
  }
  const std::string value_ = std::string(1 << 20, 'x');
};

// A put in every quarter of a second until one is refused: what was refused is not there.
TEST_F(QuotaTest, WhatIsRefusedIsNotApplied) {
  Life life(world_, disk_, config());
  bool refused = false;
  for (int i = 0; i < 40 && !refused; ++i) {
    const std::string key = fmt::format("k{}", i);  // the request holds views
    const auto request = put_request(key, value_);
    const int64_t before = life.view()->revision();
    refused = !admitted(life, request);
    if (!refused) {
      const Answer answer = life.propose(request);
      refused = answer.error.has_value();
      EXPECT_EQ(life.view()->revision(), before + (refused ? 0 : 1));
    }
    life.pass(io::kSecond / 4);
  }
  EXPECT_TRUE(refused);
  EXPECT_LE(life.db_size(), (16u << 20) + (2u << 20));
}

// A burst passes the first check together; the entry that finds the file over the quota is applied and says
// so, the alarm is raised, and what follows is refused and not applied.
TEST_F(QuotaTest, OverTheQuotaAtApply) {
  Config c = config();
  c.quota_backend_bytes = 1;
  Life life(world_, disk_, c);
  const Answer first = life.propose(put_request("a", "1"));
  EXPECT_FALSE(first.error);
  EXPECT_EQ(version_of(life, "a"), 1);
  ASSERT_EQ(life.member().status().alarms.size(), 1u);
  EXPECT_EQ(life.member().status().alarms[0].type, kAlarmNospace);
  const int64_t before = life.view()->revision();
  const Answer second = life.propose(put_request("a", "2"));
  ASSERT_TRUE(second.error);
  EXPECT_EQ(second.error->code(), Code::kNoSpace);
  // A grant and a transaction that puts are refused too, whatever they cost; a deletion is not.
  pb::InternalRaftRequest grant;
  grant.lease_grant.emplace().id = 7;
  grant.lease_grant->ttl = 60;
  const Answer granted = life.propose(grant);
  ASSERT_TRUE(granted.error);
  EXPECT_EQ(granted.error->code(), Code::kNoSpace);
  pb::InternalRaftRequest txn;
  txn.txn.emplace().success.emplace_back().set_request_put().key = "b";
  EXPECT_TRUE(life.propose(txn).error);
  EXPECT_EQ(life.view()->revision(), before);
  pb::InternalRaftRequest erase;
  erase.delete_range.emplace().key = "a";
  EXPECT_FALSE(life.propose(erase).error);
  EXPECT_EQ(life.view()->revision(), before + 1);
}

// The way out that operators are told: compact, disarm, defragment, write. The last step asks the size as the
// defragmentation left it, though nothing was applied since.
TEST_F(QuotaTest, TheWayOutOfNospace) {
  Life life(world_, disk_, config());
  for (int i = 0; i < 20; ++i) {
    const auto request = put_request("k", value_);
    if (!admitted(life, request)) break;
    life.ask(request);
    life.pass(io::kSecond / 4);
  }
  ASSERT_FALSE(admitted(life, put_request("k", value_)));
  raise(life, pb::AlarmRequest::AlarmAction::kActivate);
  EXPECT_EQ(life.member().status().alarms.size(), 1u);
  life.compact(life.view()->revision());
  raise(life, pb::AlarmRequest::AlarmAction::kDeactivate);
  EXPECT_TRUE(life.member().status().alarms.empty());
  bool defragmented = false;
  life.member().defragment(life.loop(), [&](Result<> r) {
    EXPECT_TRUE(r);
    defragmented = true;
  });
  ASSERT_TRUE(life.run_until([&] { return defragmented; }));
  EXPECT_LT(life.db_size(), 4u << 20);
  const auto request = put_request("k", value_);
  EXPECT_TRUE(admitted(life, request));
  EXPECT_FALSE(life.propose(request).error);
  EXPECT_TRUE(life.member().status().alarms.empty());
}

TEST_F(QuotaTest, AlarmsOutliveARestart) {
  {
    Life life(world_, disk_, config());
    raise(life, pb::AlarmRequest::AlarmAction::kActivate);
    life.stop();
  }
  Life life(world_, disk_, config());
  ASSERT_EQ(life.member().status().alarms.size(), 1u);
  const Answer refused = life.propose(put_request("a", "1"));
  ASSERT_TRUE(refused.error);
  EXPECT_EQ(refused.error->code(), Code::kNoSpace);
}

// While a member is known to be corrupt nothing that reads or changes keys or leases is applied; alarms are.
TEST_F(QuotaTest, WhatACorruptAlarmRefuses) {
  Life life(world_, disk_, life_config());
  life.put("a", "1");
  pb::InternalRaftRequest alarm;
  alarm.alarm.emplace().action = pb::AlarmRequest::AlarmAction::kActivate;
  alarm.alarm->member_id = 4711;
  alarm.alarm->alarm = pb::AlarmType::kCorrupt;
  life.ask(alarm);
  std::vector<pb::InternalRaftRequest> requests(7);
  requests[0] = put_request("a", "2");
  requests[1].range.emplace().key = "a";
  requests[2].delete_range.emplace().key = "a";
  requests[3].txn.emplace();
  requests[4].compaction.emplace().revision = 2;
  requests[5].lease_grant.emplace().id = 7;
  requests[6].lease_revoke.emplace().id = 7;
  for (size_t i = 0; i < requests.size(); ++i) {
    const Answer answer = life.propose(std::move(requests[i]));
    ASSERT_TRUE(answer.error) << i;
    EXPECT_EQ(answer.error->code(), Code::kCorrupt) << i;
  }
  EXPECT_EQ(version_of(life, "a"), 1);
  alarm.alarm->action = pb::AlarmRequest::AlarmAction::kDeactivate;
  life.ask(alarm);
  life.put("a", "2");
}

// ---- snapshots during a replay ----

// A log in which the cluster shrank from three members to one, and a database that holds all of it: every
// `.snap` that the replay makes carries the members of its own index, as its ConfState does.
TEST_F(ApplyTest, ASnapshotCarriesTheMembersOfItsIndex) {
  const MemberId a(0xa), b(0xb), c(0xc);
  const ClusterId cluster(0x1);
  sim::Process& maker = world_.start_process("maker");
  sim::SimFileSystem fs(disk_, maker.executor("append"));
  sim::LogSink log;
  metrics::Registry metrics;
  wal::Probe probe(metrics);
  ASSERT_TRUE(fs.make_dirs("/data/member/snap", 0700));
  wire::etcdserverpb::Metadata metadata;
  metadata.node_id = a.v;
  metadata.cluster_id = cluster.v;
  auto made = wal::create(fs, "/data/member/wal", wire::encode_string(metadata), log);
  ASSERT_TRUE(made) << made.error().text();
  std::vector<raft::Entry> entries;
  uint64_t next_id = 1;
  auto add = [&](raft::EntryType type, Blob data) {
    entries.push_back({Term(1), Index(entries.size() + 1), type, std::move(data)});
  };
  auto change = [&](membership::ChangeKind kind, MemberId id) {
    membership::Change m;
    m.kind = kind;
    m.member.id = id;
    m.member.peer_urls = {fmt::format("http://{}:2380", id.v)};
    add(raft::EntryType::kConfChange, raft::encode_blob(membership::encode_change(m)));
  };
  auto request = [&](pb::InternalRaftRequest r) {
    r.header.emplace().id = next_id++;
    add(raft::EntryType::kNormal, wire::encode_blob(r));
  };
  auto attributes = [&](MemberId id, std::string_view name) {
    pb::InternalRaftRequest r;
    auto& set = r.cluster_member_attr_set.emplace();
    set.member_id = id.v;
    set.member_attributes.emplace().name = name;
    set.member_attributes->client_urls.push_back("http://client");
    request(r);
  };
  for (const MemberId id : {a, b, c}) change(membership::ChangeKind::kAdd, id);
  attributes(a, "first");
  attributes(b, "second");
  for (int i = 0; i < 300; ++i) request(put_request("k", "v"));
  change(membership::ChangeKind::kRemove, c);
  for (int i = 0; i < 300; ++i) request(put_request("k", "v"));
  change(membership::ChangeKind::kRemove, b);
  attributes(a, "renamed");
  for (int i = 0; i < 300; ++i) request(put_request("k", "v"));
  const Index end = entries.back().index;
  {
    std::optional<Error> failed;
    wal::Appender appender(fs, maker.executor("append"), maker.clock(), log, probe, {}, std::move(made->tail),
                           [&](Error e) { failed = e; });
    bool closed = false;
    maker.executor("append").post([&] {
      appender.save({Term(1), a, end}, entries, [] {});
      appender.close({Term(1), a, end}, [&](Result<>) { closed = true; });
    });
    ASSERT_TRUE(world_.run_until([&] { return closed || failed; }, kMaxNs));
    ASSERT_FALSE(failed);
  }
  Config config = life_config();
  {
    Life life(world_, disk_, config);  // fills the database and makes no snapshot
    ASSERT_FALSE(life.start_error) << life.start_error->text();
    life.pass(io::kSecond);
    life.stop();
  }
  config.snapshot_count = 4;
  config.max_snapshots = 0;
  {
    Life life(world_, disk_, config);
    ASSERT_FALSE(life.start_error) << life.start_error->text();
    life.put("k", "last");
    life.stop();
  }
  sim::SimFileSystem reading(disk_, world_.start_process("reader").executor("append"));
  std::set<size_t> seen;
  for (const std::string& path : disk_.list_visible()) {
    Term term;
    Index index;
    if (!snap::parse_snap_name(path.substr(path.rfind('/') + 1), &term, &index)) continue;
    SCOPED_TRACE(path);
    auto file = reading.open(path, {});
    ASSERT_TRUE(file);
    Blob bytes = Blob::make(*(*file)->size(), [&](char* p) {
      (void)(*file)->read_at(0, {p, *(*file)->size()});
    });
    auto snapshot = snap::decode_snap(bytes);
    ASSERT_TRUE(snapshot);
    auto text = snap::read_membership_json(snapshot->data.view());
    ASSERT_TRUE(text) << text.error().text();
    auto members = membership::from_snapshot_state(text->state);
    ASSERT_TRUE(members);
    EXPECT_EQ(members->voters(), snapshot->metadata.conf_state.voters);
    seen.insert(members->members.size());
    if (members->members.contains(b)) {
      EXPECT_EQ(members->member(b)->name, "second");
    }
    if (members->members.size() > 1) {
      EXPECT_EQ(members->member(a)->name, "first");
    }
    EXPECT_EQ(members->is_removed(c), members->members.size() < 3);
  }
  EXPECT_TRUE(seen.contains(3)) << "no snapshot fell into the replay";
}

// The ConfState goes into the database with the change that makes it.
TEST_F(ApplyTest, TheConfStateIsStored) {
  MemberId id;
  {
    Life life(world_, disk_, life_config());
    id = life.member().id();
    life.stop();
  }
  sim::Process& reader = world_.start_process("reader");
  sim::SimFileSystem fs(disk_, reader.executor("file"));
  sim::LogSink log;
  metrics::Registry metrics;
  backend::Options options;
  options.path = "/data/member/snap/db";
  auto db = backend::Backend::open(options, fs, reader.executor("apply"), reader.executor("file"),
                                   reader.timers(), reader.clock(), metrics, log);
  ASSERT_TRUE(db) << db.error().text();
  const auto stored = (*db)->get(backend::Bucket::kMeta, "confState");
  ASSERT_TRUE(stored);
  EXPECT_NE(stored->find(fmt::format("\"voters\":[{}]", id.v)), std::string::npos) << *stored;
}

TEST_F(ApplyTest, OldSnapshotFilesArePurged) {
  Config config = life_config();
  config.snapshot_count = 3;
  config.max_snapshots = 2;
  auto snaps = [&] {
    size_t n = 0;
    for (const std::string& path : disk_.list_visible()) n += path.ends_with(".snap");
    return n;
  };
  Life life(world_, disk_, config);
  for (int i = 0; i < 40; ++i) life.put("k", std::to_string(i));
  life.pass(io::kSecond);
  EXPECT_GT(snaps(), 2u);
  life.pass(35 * io::kSecond);
  EXPECT_LE(snaps(), 2u);
  EXPECT_GE(snaps(), 1u);
}

// ---- a log that lost what was acknowledged ----

class LostLog : public ApplyTest {
 protected:
  static constexpr const char* kWal = "/data/member/wal/0000000000000000-0000000000000000.wal";
  std::string read(const char* path) {
    auto file = fs_.open(path, {});
    EXPECT_TRUE(file);
    std::string bytes(*(*file)->size(), '\0');
    EXPECT_EQ(*(*file)->read_at(0, bytes), bytes.size());
    return bytes;
  }
  // Keys k1 to k<keys> acknowledged. `commit`: the database holds them as well.
  void fill(bool commit, int keys = 9) {
    Life life(world_, disk_, life_config());
    for (int i = 1; i <= keys; ++i)
      life.put(fmt::format("k{}", i), std::string(2000, static_cast<char>('a' + i)));
    if (commit) life.pass(io::kSecond);
    if (commit) life.stop();
  }
  Config allowed() {
    Config c = life_config();
    c.allow_wal_cut = true;
    return c;
  }
  sim::SimFileSystem fs_{disk_, world_.start_process("operator").executor("file")};
};

// Neither the database nor a snapshot knows of the keys: the records behind the damage tell.
TEST_F(LostLog, AZeroedSectorBeforeWholeRecordsIsRefused) {
  fill(false);
  std::string bytes = read(kWal);
  const size_t damaged = bytes.find(std::string(1000, 'f'));  // of k5
  ASSERT_NE(damaged, std::string::npos);
  bytes.replace((damaged / 512 + 1) * 512, 512, 512, '\0');
  disk_.put_file(kWal, bytes);
  {
    Life life(world_, disk_, life_config());
    ASSERT_TRUE(life.start_error);
    for (const char* part :
         {"0000000000000000-0000000000000000.wal", "hard state beyond the damage", "--quoin-allow-wal-cut"}) {
      EXPECT_NE(life.start_error->text().find(part), std::string::npos) << life.start_error->text();
    }
  }
  EXPECT_EQ(read(kWal), bytes) << "left as it is";
  Life life(world_, disk_, allowed());
  ASSERT_FALSE(life.start_error) << life.start_error->text();
  EXPECT_EQ(version_of(life, "k4"), 1);
  EXPECT_FALSE(version_of(life, "k9"));
  life.put("k9", "again");
}

TEST_F(LostLog, AMissingLogBesideADatabaseIsRefused) {
  fill(true);
  ASSERT_TRUE(fs_.remove(kWal));
  {
    Life life(world_, disk_, life_config());
    ASSERT_TRUE(life.start_error);
    for (const char* part : {"/data/member/snap/db", "/data/member/wal", "--quoin-allow-wal-cut"}) {
      EXPECT_NE(life.start_error->text().find(part), std::string::npos) << life.start_error->text();
    }
  }
  for (int start = 0; start < 2; ++start) {
    Life life(world_, disk_, start == 0 ? allowed() : life_config());
    ASSERT_FALSE(life.start_error) << life.start_error->text();
    EXPECT_EQ(version_of(life, "k9"), 1);
    life.put("more", "v");
    EXPECT_EQ(version_of(life, "more"), start + 1);
    life.stop();
  }
}

TEST_F(LostLog, ALogThatEndsBeforeTheDatabaseIsRefused) {
  fill(true, 20);
  std::string bytes = read(kWal);
  const size_t value = bytes.find(std::string(1000, 'c'));
  ASSERT_NE(value, std::string::npos);
  // The frame of k2: its length field stands some 40 bytes before the value, at a multiple of 8. What is lost is
  // more than a start appends by itself, so the put below gets an index that the database has seen.
  size_t frame = value / 8 * 8;
  while (bytes.substr(frame, 8).substr(2, 5) != std::string(5, '\0')) frame -= 8;
  bytes.replace(frame, bytes.size() - frame, bytes.size() - frame, '\0');
  disk_.put_file(kWal, bytes);
  {
    Life life(world_, disk_, life_config());
    ASSERT_TRUE(life.start_error);
    EXPECT_NE(life.start_error->text().find("consistent index"), std::string::npos)
        << life.start_error->text();
  }
  for (int start = 0; start < 2; ++start) {
    Life life(world_, disk_, start == 0 ? allowed() : life_config());
    ASSERT_FALSE(life.start_error) << life.start_error->text();
    EXPECT_EQ(version_of(life, "k9"), 1);
    life.put("more", "v");
    EXPECT_EQ(version_of(life, "more"), start + 1);
    life.stop();
  }
}

}  // namespace
}  // namespace quoin::server
