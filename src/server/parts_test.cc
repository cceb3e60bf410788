// The parts of the member that need no other part: ids, waiters, quota, compactor, force-new-cluster, old
// requests.
#include <gtest/gtest.h>

#include "base/prng.h"
#include "membership/membership.h"
#include "raft/codec.h"
#include "server/compactor.h"
#include "server/force_new_cluster.h"
#include "server/old_request.h"
#include "server/quota.h"
#include "server/request_ids.h"
#include "server/waiters.h"
#include "wire/etcdserver.h"
#include "wire/message.h"

namespace quoin::server {
namespace {

namespace pb = wire::etcdserverpb;

TEST(RequestIds, CapturedFromARealMember) {
  // Member ba27d964516f1172: its ids begin with 1172 and the first after a start ends in 01.
  RequestIds ids(MemberId(0xba27d964516f1172), 1'700'000'000'000 * io::kMillisecond);
  const uint64_t first = ids.next(), second = ids.next();
  EXPECT_EQ(first >> 48, 0x1172u);
  EXPECT_EQ(first & 0xff, 1u);
  EXPECT_EQ(second, first + 1);
}

TEST(Waiters, EachEndsOnce) {
  Waiters waiters;
  int called = 0;
  auto waiter = [&](io::MonotonicNs since) {
    return Waiter{nullptr, [&called](Answer) { ++called; }, since};
  };
  for (uint64_t id = 1; id <= 100; ++id) waiters.add(id, waiter(static_cast<io::MonotonicNs>(id)));
  EXPECT_EQ(waiters.size(), 100u);
  for (uint64_t id = 2; id <= 100; id += 2) EXPECT_TRUE(waiters.take(id).has_value());
  EXPECT_FALSE(waiters.take(2).has_value());
  EXPECT_EQ(waiters.expire(52).size(), 26u);  // 1, 3, ... 51
  EXPECT_FALSE(waiters.take(51).has_value());
  EXPECT_TRUE(waiters.waiting(53));
  EXPECT_EQ(waiters.take_all().size(), 24u);
  EXPECT_EQ(waiters.size(), 0u);
  EXPECT_EQ(called, 0);  // who takes calls back
}

// Its outcome may never come, and nothing else would ever take it out.
TEST(Waiters, APatientOneThatIsGivenUpIsDropped) {
  Waiters waiters;
  const auto work = std::make_shared<int>();
  waiters.add(1, {nullptr, [work](Answer) {}, 10, /*given_up=*/false, /*patient=*/true});
  EXPECT_TRUE(waiters.expire(INT64_MAX).empty());
  EXPECT_EQ(work.use_count(), 2);
  EXPECT_FALSE(waiters.give_up(1));  // no proposal that failed
  EXPECT_EQ(work.use_count(), 1);
  EXPECT_FALSE(waiters.waiting(1));
  EXPECT_FALSE(waiters.take(1).has_value());
  EXPECT_EQ(waiters.size(), 0u);
  EXPECT_FALSE(waiters.give_up(1));
}

// What is done for a call that is gone goes on to count as its connection's until the entry is applied.
TEST(Waiters, GivenUpKeepsWhatItHolds) {
  Waiters waiters;
  const auto work = std::make_shared<int>();
  bool called = false;
  for (uint64_t id = 1; id <= 3; ++id)
    waiters.add(id, {nullptr, [work, &called](Answer) { called = true; }, 10});
  for (uint64_t id = 1; id <= 2; ++id) EXPECT_TRUE(waiters.give_up(id));
  EXPECT_FALSE(waiters.give_up(1));
  EXPECT_FALSE(waiters.give_up(7));
  EXPECT_FALSE(waiters.waiting(1));
  EXPECT_TRUE(waiters.waiting(3));
  EXPECT_EQ(waiters.size(), 1u);
  EXPECT_EQ(work.use_count(), 4);
  auto w = waiters.take(1);
  ASSERT_TRUE(w);
  w->done({});
  w.reset();
  EXPECT_FALSE(called);
  EXPECT_EQ(work.use_count(), 3);
  EXPECT_EQ(waiters.expire(11).size(), 1u);
  EXPECT_EQ(work.use_count(), 1);
  EXPECT_EQ(waiters.size(), 0u);
}

// Whatever the order in which they end, against a list of what must still wait.
TEST(Waiters, EndInAnyOrder) {
  Waiters waiters;
  Prng prng(3);
  std::map<uint64_t, io::MonotonicNs> want;
  io::MonotonicNs now = 0;
  uint64_t next = 1;
  for (int round = 0; round < 20'000; ++round) {
    ++now;
    if (prng.chance(1, 2)) {
      waiters.add(next, {nullptr, [](Answer) {}, now});
      want[next++] = now;
    } else if (!want.empty() && !prng.chance(1, 500)) {
      // Mostly the oldest; one that stays makes others linger behind it.
      auto it = want.begin();
      std::advance(it, prng.chance(1, 2) ? 0 : static_cast<long>(prng.below(want.size())));
      EXPECT_TRUE(waiters.take(it->first).has_value());
      EXPECT_FALSE(waiters.take(it->first).has_value());
      want.erase(it);
    } else {
      const io::MonotonicNs limit = now - static_cast<io::MonotonicNs>(prng.below(400));
      const size_t old = std::erase_if(want, [&](const auto& w) { return w.second < limit; });
      EXPECT_EQ(waiters.expire(limit).size(), old);
    }
    ASSERT_EQ(waiters.size(), want.size());
  }
  EXPECT_EQ(waiters.take_all().size(), want.size());
}

TEST(Quota, CostsAndLimits) {
  pb::PutRequest put;
  put.key = "abc";
  put.value = "12345";
  EXPECT_EQ(put_cost(put), 264u);
  pb::TxnRequest txn;
  txn.success.emplace_back().set_request_put() = put;
  txn.failure.emplace_back().set_request_put() = put;
  pb::TxnRequest inner = txn;
  txn.failure.emplace_back().request.emplace<4>(std::move(inner));
  EXPECT_EQ(txn_cost(txn), 528u);

  EXPECT_EQ(Quota(0).limit(), kDefaultQuotaBytes);
  EXPECT_TRUE(Quota(1000).fits(500, 499));
  EXPECT_FALSE(Quota(1000).fits(500, 500));
  EXPECT_TRUE(Quota(1000).fits(5000, 0));
  EXPECT_TRUE(Quota(-1).fits(uint64_t{1} << 60, 1000));
}

TEST(Compactor, PeriodicFiveMinutes) {
  // Spec operations 8.1: P = 5m compacts first about five minutes after the start, then every five minutes,
  // each to the revision seen about five minutes before.
  constexpr int64_t kMinute = 60 * io::kSecond;
  Compactor c(Config::AutoCompaction::kPeriodic, 5 * kMinute, 0);
  EXPECT_EQ(c.interval_ns(), 30 * io::kSecond);
  std::vector<std::pair<int64_t, int64_t>> compactions;  // when, revision
  for (int64_t now = 0, revision = 1; now <= 16 * kMinute; now += c.interval_ns(), revision += 10) {
    if (auto r = c.tick(now, revision, true)) {
      compactions.emplace_back(now / io::kSecond, *r);
      c.done(*r, true, now);
    }
  }
  EXPECT_EQ(compactions, (std::vector<std::pair<int64_t, int64_t>>{{300, 1}, {600, 101}, {900, 201}}));
}

// A follower takes notes, too: a new leader that had none would take the newest revision for one of an hour ago.
TEST(Compactor, ANewLeaderKnowsWhatWasBefore) {
  constexpr int64_t kMinute = 60 * io::kSecond;
  Compactor c(Config::AutoCompaction::kPeriodic, 5 * kMinute, 0);
  int64_t now = 0, revision = 1;
  for (; now < 60 * kMinute; now += c.interval_ns(), revision += 10) {
    EXPECT_FALSE(c.tick(now, revision, false)) << now;
  }
  EXPECT_EQ(c.tick(now, revision, true), revision - 100) << "of five minutes ago";
}

TEST(Compactor, RevisionKeepsSoManyAndRetries) {
  Compactor c(Config::AutoCompaction::kRevision, 100, 0);
  EXPECT_FALSE(c.tick(0, 100, true).has_value());
  EXPECT_EQ(c.tick(1, 150, true), 50);
  c.done(50, false, 1);
  EXPECT_EQ(c.tick(2, 150, true), 50);
  c.done(50, true, 2);
  EXPECT_FALSE(c.tick(3, 150, true).has_value());
  EXPECT_EQ(c.tick(4, 151, true), 51);
}

TEST(ForceNewCluster, RemovesTheOthersAndDropsWhatIsNotCommitted) {
  raft::ConfState at;
  at.voters = {MemberId(1), MemberId(2)};
  at.learners = {MemberId(3)};
  raft::HardState hs{Term(5), MemberId(2), Index(10)};
  std::vector<raft::Entry> entries;
  for (uint64_t i = 9; i <= 13; ++i) entries.push_back({Term(5), Index(i), raft::EntryType::kNormal, {}});
  auto appended = force_new_cluster(MemberId(2), at, Index(11), &hs, &entries);
  ASSERT_TRUE(appended);
  EXPECT_EQ(hs.commit, Index(13));  // 11 by the consistent index, and two removals
  ASSERT_EQ(entries.size(), 5u);    // 9, 10, 11 and the removals
  ASSERT_EQ(appended->size(), 2u);
  std::vector<MemberId> removed;
  for (const raft::Entry& e : *appended) {
    auto cc = raft::decode_conf_change(e.data);
    ASSERT_TRUE(cc);
    EXPECT_EQ(cc->type, raft::ConfChangeType::kRemoveNode);
    EXPECT_EQ(e.term, Term(5));
    removed.push_back(cc->node_id);
  }
  EXPECT_EQ(removed, (std::vector<MemberId>{MemberId(1), MemberId(3)}));
  EXPECT_EQ(entries.back().index, Index(13));
}

TEST(ForceNewCluster, ALearnerIsRefusedByName) {
  raft::ConfState at;
  at.voters = {MemberId(1)};
  at.learners = {MemberId(3)};
  raft::HardState hs{Term(5), MemberId(1), Index(10)};
  std::vector<raft::Entry> entries;
  EXPECT_EQ(force_new_cluster(MemberId(3), at, Index(10), &hs, &entries).error().code(),
            Code::kInvalidArgument);
  // Promoted behind the snapshot.
  raft::ConfChange promotion;
  promotion.type = raft::ConfChangeType::kAddNode;
  promotion.node_id = MemberId(3);
  entries.push_back({Term(5), Index(10), raft::EntryType::kConfChange, raft::encode_blob(promotion)});
  EXPECT_TRUE(force_new_cluster(MemberId(3), at, Index(10), &hs, &entries));
}

TEST(ForceNewCluster, AddsItselfIfItIsNoMember) {
  raft::HardState hs{Term(1), {}, Index(1)};
  std::vector<raft::Entry> entries;
  auto appended = force_new_cluster(MemberId(7), {}, Index(), &hs, &entries);
  ASSERT_TRUE(appended);
  ASSERT_EQ(appended->size(), 1u);
  auto cc = raft::decode_conf_change(appended->front().data);
  ASSERT_TRUE(cc);
  EXPECT_EQ(cc->context.view(), R"({"id":7,"peerURLs":["http://localhost:2380"]})");
}

TEST(OldRequest, TwoMeanSomethingTheRestEndsTheMember) {
  pb::Request r;
  r.id = 9;
  r.method = "PUT";
  r.path = "/0/members/ba27d964516f1172/attributes";
  r.val = R"({"name":"m1","clientURLs":["http://a:1","http://b:2"]})";
  const std::string bytes = wire::encode_string(r);
  auto translated = translate_old_request(bytes);
  ASSERT_TRUE(translated) << translated.error().text();
  EXPECT_EQ(translated->id, 9u);
  const auto& set = *translated->request.cluster_member_attr_set;
  EXPECT_EQ(set.member_id, 0xba27d964516f1172u);
  EXPECT_EQ(set.member_attributes->name, "m1");
  EXPECT_EQ(set.member_attributes->client_urls, (std::vector<std::string_view>{"http://a:1", "http://b:2"}));

  r.path = "/0/version";
  r.val = "3.4.0";
  translated = translate_old_request(r);
  ASSERT_TRUE(translated);
  EXPECT_EQ(translated->request.cluster_version_set->ver, "3.4.0");

  for (std::string_view path : {"/1/foo", "/0/members/xyz/attributes", "/0/versions"}) {
    r.path = path;
    auto refused = translate_old_request(r);
    ASSERT_FALSE(refused) << path;
    EXPECT_EQ(refused.error().text(), "detected disallowed v2 WAL for stage --v2-deprecation=write-only");
  }
}

// What /health of 3.4 left in the log. Nobody may propose one here: it would end a real 3.6 in the cluster.
TEST(OldRequest, AQuorumReadMeansNothingAndIsNoProposal) {
  pb::Request r;
  r.id = 9;
  r.method = "QGET";
  auto translated = translate_old_request(r);
  ASSERT_TRUE(translated) << translated.error().text();
  EXPECT_TRUE(translated->quorum_read);
  EXPECT_FALSE(check_request(wire::encode_string(r)));
  pb::InternalRaftRequest wrapped;
  wrapped.v2 = r;
  EXPECT_FALSE(check_request(wire::encode_string(wrapped)));
  r.method = "GET";
  EXPECT_FALSE(translate_old_request(r));
}

}  // namespace
}  // namespace quoin::server
