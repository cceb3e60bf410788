#include "membership/membership.h"

#include <gtest/gtest.h>

#include "backend/backend.h"
#include "base/coding.h"
#include "membership/bootstrap.h"
#include "membership/cluster.h"
#include "sim/disk.h"
#include "sim/file_system.h"
#include "sim/world.h"

namespace quoin::membership {
namespace {

// ---- ids: the captured values of spec raft-and-peers 26 ----

TEST(IdTest, CapturedValues) {
  const auto member = [](int port) {
    return member_id({fmt::format("http://127.0.0.1:{}", port)}, "capture");
  };
  EXPECT_EQ(hex(member(23011).v), "ba27d964516f1172");
  EXPECT_EQ(hex(member(23021).v), "475c9544c4aedc89");
  EXPECT_EQ(hex(member(23031).v), "34a607e04d4291c7");
  EXPECT_EQ(hex(cluster_id({member(23011), member(23021), member(23031)}).v), "6f79a4c7c63041b3");
  EXPECT_EQ(member_id({"http://b:1", "http://a:1"}, "t"), member_id({"http://a:1", "http://b:1"}, "t"));
  EXPECT_NE(member_id({"http://a:1"}, "", 1700000000), member_id({"http://a:1"}, "", 1700000001));
}

TEST(InitialClusterTest, GrammarAndChecks) {
  const auto c = parse_initial_cluster("b=http://b:1,,a=http://a:2,b=http://a:1,");
  ASSERT_TRUE(c);
  EXPECT_EQ(initial_cluster_text(*c), "a=http://a:2,b=http://a:1,b=http://b:1");
  EXPECT_EQ(c->at("b"), (std::vector<std::string>{"http://a:1", "http://b:1"}));
  EXPECT_EQ(parse_initial_cluster("m1").error().text(), "URL scheme must be http, https, unix, or unixs: ");
  EXPECT_TRUE(check_initial_cluster(*c, "a"));
  EXPECT_EQ(check_initial_cluster(*c, "x").error().text(),
            "couldn't find local name \"x\" in the initial cluster configuration");
  EXPECT_EQ(
      check_initial_cluster(*parse_initial_cluster("b=http://x:1,default=http://x:1"), "b").error().text(),
      "initial cluster b=http://x:1,default=http://x:1 has duplicate url");
  EXPECT_TRUE(parse_initial_cluster("")->empty());
}

TEST(InitialClusterTest, FoundersAndJoiners) {
  const auto flags = *parse_initial_cluster("m1=http://127.0.0.1:23011,m2=http://127.0.0.1:23021");
  const auto founded = found_cluster(flags, "capture", "m2");
  ASSERT_TRUE(founded);
  EXPECT_EQ(hex(founded->local_id.v), "475c9544c4aedc89");
  EXPECT_EQ(founded->members.size(), 2u);
  EXPECT_EQ(founded->member(founded->local_id)->name, "m2");

  const auto same = [](std::vector<std::string> a, std::vector<std::string> b) -> Result<> {
    std::ranges::sort(a);
    std::ranges::sort(b);
    if (a == b) return {};
    return make_error(Code::kInvalidArgument, "{} != {}", fmt::join(a, " "), fmt::join(b, " "));
  };
  std::vector<Member> existing = founded->list();
  existing[0].id = MemberId(7);
  existing[0].name.clear();
  auto joined = join_cluster(flags, "capture", "m2", ClusterId(5), existing, same);
  ASSERT_TRUE(joined);
  EXPECT_EQ(joined->cluster_id, ClusterId(5));
  EXPECT_EQ(joined->local_id, MemberId(7));  // m2 has the lower id of the two founders
  EXPECT_EQ(joined->member(MemberId(7))->name, "m2");
  EXPECT_EQ(join_cluster(flags, "capture", "m2", ClusterId(5), {existing[0]}, same).error().text(),
            "member count is unequal");
  existing[0].peer_urls = {"http://z:1", "http://y:1"};
  // m1 has the higher id, so it is tried last.
  EXPECT_EQ(join_cluster(flags, "capture", "m2", ClusterId(5), existing, same).error().text(),
            "PeerURLs: no match found for existing member (7, [http://z:1 http://y:1]), last resolver error "
            "(http://y:1 http://z:1 != http://127.0.0.1:23011)");
}

// ---- changes ----

Member member(uint64_t id, std::string name = "", bool learner = false) {
  Member m;
  m.id = MemberId(id);
  m.peer_urls = {fmt::format("http://m{}:1", id)};
  m.name = std::move(name);
  m.is_learner = learner;
  return m;
}

Membership cluster_of(std::initializer_list<Member> members) {
  Membership m;
  for (const Member& x : members) m.members.emplace(x.id, x);
  return m;
}

TEST(ChangeTest, EntriesAreEtcds) {
  Change c{ChangeKind::kAdd, member(5)};
  EXPECT_EQ(encode_change(c).context.view(), R"({"id":5,"peerURLs":["http://m5:1"]})");
  c.kind = ChangeKind::kAddLearner;
  EXPECT_EQ(encode_change(c).context.view(), R"({"id":5,"peerURLs":["http://m5:1"],"isLearner":true})");
  EXPECT_EQ(encode_change(c).type, raft::ConfChangeType::kAddLearnerNode);
  Member bare;
  bare.id = MemberId(18446744073709551615u);
  EXPECT_EQ(encode_change({ChangeKind::kPromote, bare}).context.view(),
            R"({"id":18446744073709551615,"peerURLs":null,"isPromote":true})");
  EXPECT_TRUE(encode_change({ChangeKind::kRemove, bare}).context.empty());
  for (const ChangeKind kind : {ChangeKind::kAdd, ChangeKind::kAddLearner, ChangeKind::kPromote,
                                ChangeKind::kUpdate, ChangeKind::kRemove}) {
    const auto back = decode_change(encode_change({kind, member(5)}));
    ASSERT_TRUE(back);
    EXPECT_EQ(back->kind, kind);
    EXPECT_EQ(back->member.id, MemberId(5));
  }
  // The founder's context carries its name.
  raft::ConfChange founder;
  founder.node_id = MemberId(1);
  founder.context = Blob::copy(R"({"id":1,"peerURLs":["http://a:1"],"name":"m1"})");
  EXPECT_EQ(decode_change(founder)->member.name, "m1");
  founder.node_id = MemberId(2);
  EXPECT_EQ(decode_change(founder).error().text(), "a configuration change of 2 names member 1");
  founder.context = Blob::copy("{");
  EXPECT_EQ(decode_change(founder).error().code(), Code::kCorruption);
}

TEST(ChangeTest, ValidationInTheOrderOfTheSheet) {
  Membership m = cluster_of({member(1, "a"), member(2, "b"), member(3, "", true)});
  m.removed = {MemberId(9)};
  const auto with_url = [](Member x, std::string url) {
    x.peer_urls = {std::move(url)};
    return x;
  };
  using K = ChangeKind;
  using R = Refusal;
  struct {
    Change change;
    int max_learners;
    Refusal want;
  } const rows[] = {
      {{K::kAdd, member(4)}, 1, R::kNone},
      {{K::kAdd, member(9)}, 1, R::kIdRemoved},
      {{K::kAdd, member(1)}, 1, R::kIdExists},
      {{K::kAdd, with_url(member(4), "http://m2:1")}, 1, R::kPeerUrlExists},
      {{K::kAdd, with_url(member(4), "http://m3:1")}, 1, R::kPeerUrlExists},
      {{K::kAddLearner, member(4)}, 1, R::kTooManyLearners},
      {{K::kAddLearner, member(4)}, 2, R::kNone},
      {{K::kAddLearner, with_url(member(4), "http://m1:1")}, 0, R::kPeerUrlExists},
      {{K::kPromote, member(3)}, 1, R::kNone},
      {{K::kPromote, member(1)}, 1, R::kNotLearner},
      {{K::kPromote, member(4)}, 1, R::kIdNotFound},
      {{K::kPromote, member(9)}, 1, R::kIdRemoved},
      {{K::kRemove, member(1)}, 1, R::kNone},
      {{K::kRemove, member(4)}, 1, R::kIdNotFound},
      {{K::kRemove, member(9)}, 1, R::kIdRemoved},
      {{K::kUpdate, member(1)}, 1, R::kNone},
      {{K::kUpdate, with_url(member(1), "http://new:1")}, 1, R::kNone},
      {{K::kUpdate, with_url(member(1), "http://m2:1")}, 1, R::kPeerUrlExists},
      {{K::kUpdate, member(4)}, 1, R::kIdNotFound},
  };
  int i = 0;
  for (const auto& row : rows) EXPECT_EQ(m.validate(row.change, row.max_learners), row.want) << "row " << i++;
  EXPECT_EQ(refusal_error(R::kIdRemoved).text(), "etcdserver: member not found");
  EXPECT_EQ(refusal_text(R::kIdRemoved), "membership: ID removed");
}

// ---- strict reconfiguration checks ----

TEST(ReconfigTest, Table) {
  const auto ask = [](auto&& check) {
    const Result<> r = check();
    return r ? std::string("ok") : std::string(error_info(r.error().code()).name);
  };
  const auto connected = [](std::set<uint64_t> ids) {
    const auto in = [ids](MemberId id) { return ids.contains(id.v); };
    return Connected{MemberId(1), in, in};
  };
  const Membership one = cluster_of({member(1, "a")});
  const Membership unstarted = cluster_of({member(1, "")});
  const Membership two = cluster_of({member(1, "a"), member(2, "")});
  const Membership three = cluster_of({member(1, "a"), member(2, "b"), member(3, "c")});
  const Membership holey = cluster_of({member(1, "a"), member(2, "b"), member(3, "")});
  const Membership learner = cluster_of({member(1, "a"), member(2, "b"), member(3, "", true)});

  // add: voter
  EXPECT_EQ(ask([&] { return check_add(one, false, connected({})); }), "ok");
  EXPECT_EQ(ask([&] { return check_add(unstarted, false, connected({})); }), "kMemberNotEnoughStarted");
  EXPECT_EQ(ask([&] { return check_add(two, false, connected({2})); }), "kMemberNotEnoughStarted");
  EXPECT_EQ(ask([&] { return check_add(three, false, connected({2, 3})); }), "ok");
  EXPECT_EQ(ask([&] { return check_add(three, false, connected({2})); }), "kUnhealthy");
  EXPECT_EQ(ask([&] { return check_add(holey, false, connected({2, 3})); }), "kMemberNotEnoughStarted");
  // add: learner
  EXPECT_EQ(ask([&] { return check_add(two, true, connected({2})); }), "ok");
  EXPECT_EQ(ask([&] { return check_add(two, true, connected({})); }), "kUnhealthy");
  EXPECT_EQ(ask([&] { return check_add(unstarted, true, connected({})); }), "ok");
  // remove
  EXPECT_EQ(ask([&] { return check_remove(one, MemberId(1), connected({})); }), "kMemberNotEnoughStarted");
  EXPECT_EQ(ask([&] { return check_remove(learner, MemberId(3), connected({})); }), "ok");
  EXPECT_EQ(ask([&] { return check_remove(two, MemberId(2), connected({})); }), "ok");
  EXPECT_EQ(ask([&] { return check_remove(two, MemberId(1), connected({2})); }), "kMemberNotEnoughStarted");
  EXPECT_EQ(ask([&] { return check_remove(three, MemberId(3), connected({2, 3})); }), "ok");
  EXPECT_EQ(ask([&] { return check_remove(three, MemberId(3), connected({2})); }), "ok");
  EXPECT_EQ(ask([&] { return check_remove(three, MemberId(2), connected({2})); }), "kUnhealthy");
  EXPECT_EQ(ask([&] { return check_remove(three, MemberId(1), connected({2})); }), "kUnhealthy");
  EXPECT_EQ(ask([&] {
              return check_remove(holey, MemberId(2), connected({2, 3}));
            }),
            "kMemberNotEnoughStarted");
  // promote
  EXPECT_EQ(ask([&] { return check_promote(learner, MemberId(3)); }), "ok");
  EXPECT_EQ(ask([&] { return check_promote(holey, MemberId(4)); }), "ok");
  EXPECT_EQ(
      ask([&] {
        return check_promote(cluster_of({member(1, ""), member(2, ""), member(3, "", true)}), MemberId(3));
      }),
      "kMemberNotEnoughStarted");
}

// ---- the record ----

class ClusterTest : public ::testing::Test {
 protected:
  ClusterTest()
      : world(1), disk(world), process(world.start_process("m")), fs(disk, process.executor("file")) {
    CHECK(fs.make_dirs("/d", 0700).has_value());
    backend::Options o;
    o.path = "/d/db";
    o.map_bytes = 1u << 30;
    auto opened = backend::Backend::open(o, fs, process.executor("apply"), process.executor("file"),
                                         process.timers(), process.clock(), metrics, log::null_logger());
    CHECK(opened.has_value());
    db = std::move(*opened);
  }
  std::string dump() {
    std::string s;
    for (const auto b :
         {backend::Bucket::kMembers, backend::Bucket::kMembersRemoved, backend::Bucket::kCluster}) {
      EXPECT_TRUE(db->scan(b, {}, {}, [&](std::string_view k, std::string_view v) {
        s += fmt::format("{}/{}={}\n", backend::bucket_name(b), k, v);
        return true;
      }));
    }
    return s;
  }
  Membership founders() {
    Membership m = cluster_of({member(0x1a, "a"), member(0x2b, "b")});
    m.cluster_id = ClusterId(3);
    m.local_id = MemberId(0x1a);
    return m;
  }

  sim::World world;
  sim::SimDisk disk;
  sim::Process& process;
  sim::SimFileSystem fs;
  metrics::Registry metrics;
  std::unique_ptr<backend::Backend> db;
};

TEST_F(ClusterTest, ChangesAreRecordedAsEtcdDoes) {
  Cluster c(founders(), {3, 6, 16}, log::null_logger());
  ASSERT_TRUE(c.recover(*db));
  // Flags alone: seen, but not in the way of the founders' own entries.
  EXPECT_EQ(c.view()->members.size(), 2u);
  EXPECT_EQ(c.record().validate({ChangeKind::kAdd, member(0x1a)}, 1), Refusal::kNone);
  c.apply({ChangeKind::kAdd, member(0x1a, "a")});
  c.apply({ChangeKind::kAdd, member(0x2b)});
  EXPECT_EQ(c.record().validate({ChangeKind::kAdd, member(0x1a)}, 1), Refusal::kIdExists);
  c.apply({ChangeKind::kAddLearner, member(0x3c, "", true)});
  EXPECT_TRUE(c.set_attributes(MemberId(0x2b), "b<>", {"http://b:2379"}));
  const auto before = c.view();
  c.apply({ChangeKind::kPromote, member(0x3c)});
  Member moved = member(0x1a);
  moved.peer_urls = {"http://x:1", "http://y:1"};
  c.apply({ChangeKind::kUpdate, moved});
  ASSERT_TRUE(c.set_version({3, 5, 0}));
  const auto set = c.set_version({3, 6, 0});
  EXPECT_EQ(set->before, (Version{3, 5, 0}));
  EXPECT_FALSE(set->lowered);
  c.set_downgrade({true, "3.5.0"});
  EXPECT_TRUE(before->member(MemberId(0x3c))->is_learner);  // a view never changes
  EXPECT_EQ(dump(),
            R"(members/1a={"id":26,"peerURLs":["http://x:1","http://y:1"],"name":"a"}
members/2b={"id":43,"peerURLs":["http://m43:1"],"name":"b\u003c\u003e","clientURLs":["http://b:2379"]}
members/3c={"id":60,"peerURLs":["http://m60:1"]}
cluster/clusterVersion=3.6.0
cluster/downgrade={"target-version":"3.5.0","enabled":true}
)");
  c.apply({ChangeKind::kRemove, member(0x3c)});
  EXPECT_FALSE(c.set_attributes(MemberId(0x3c), "late", {}));
  EXPECT_TRUE(c.set_version({3, 5, 0})->lowered);
  c.set_downgrade({false, "3.5.0"});
  EXPECT_EQ(c.set_version({3, 7, 0}).error().text(),
            "invalid downgrade; server version is lower than determined cluster version");

  Cluster again({}, {3, 6, 16}, log::null_logger());
  ASSERT_TRUE(again.recover(*db));
  const auto v = again.view();
  EXPECT_EQ(v->members, c.view()->members);
  EXPECT_EQ(v->removed, std::set<MemberId>{MemberId(0x3c)});
  EXPECT_EQ(v->version, (Version{3, 5, 0}));
  EXPECT_EQ(v->downgrade, Downgrade{});
  EXPECT_NE(dump().find("cluster/downgrade={\"target-version\":\"\",\"enabled\":false}"), std::string::npos);
  EXPECT_NE(dump().find("members_removed/3c=removed"), std::string::npos);
}

TEST_F(ClusterTest, DamagedRecordsAreRefusedByName) {
  struct {
    backend::Bucket bucket;
    const char* key;
    const char* value;
    const char* want;
  } const rows[] = {
      {backend::Bucket::kMembers, "zz", "{}", "bucket members: key 7a7a is no member id"},
      {backend::Bucket::kMembers, "1", "{", "bucket members: 1: json: syntax error"},
      {backend::Bucket::kMembersRemoved, "x", "removed", "bucket members_removed: key 78 is no member id"},
      {backend::Bucket::kCluster, "clusterVersion", "junk", "bucket cluster: clusterVersion is \"junk\""},
      {backend::Bucket::kCluster, "downgrade", R"({"enabled":true})",
       "bucket cluster: downgrade is \"{\"enabled\":true}\""},
      {backend::Bucket::kCluster, "clusterVersion", "3.7.0",
       "invalid downgrade; server version is lower than determined cluster version"},
  };
  for (const auto& row : rows) {
    db->put(row.bucket, row.key, row.value);
    Cluster c({}, {3, 6, 16}, log::null_logger());
    const auto r = c.recover(*db);
    ASSERT_FALSE(r) << row.want;
    EXPECT_EQ(r.error().text(), row.want);
    db->erase(row.bucket, row.key);
  }
}

}  // namespace
}  // namespace quoin::membership
