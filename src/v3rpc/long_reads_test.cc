// What a long read may hold up, and what becomes of it when its call ends.
#include "v3rpc/long_reads.h"

#include "v3rpc/services_test.h"

namespace quoin::v3rpc {
namespace {

class LongReadsTest : public ServicesTest {};

TEST_F(LongReadsTest, AnotherCallIsAnsweredBetweenTwoSteps) {
  fill();
  const auto all = call("/etcdserverpb.KV/Range", everything());
  run_until([&] { return calls_.size() == 1; });
  ASSERT_FALSE(stream(all).ended);
  const auto single = call("/etcdserverpb.KV/Range", one());
  run_until([&] { return stream(single).ended; });
  EXPECT_FALSE(stream(all).ended);
  // A change between the steps is none of the answer.
  pb::PutRequest put;
  put.key = "k9";
  const auto later = call("/etcdserverpb.KV/Put", put);
  run_until([&] { return stream(all).ended && stream(later).ended; });

  ASSERT_EQ(stream(all).status(), "0 ");
  auto response = wire::decode<pb::RangeResponse>(message(stream(all)));
  ASSERT_TRUE(response);
  EXPECT_EQ(response->count, kKeys);
  ASSERT_EQ(response->kvs.size(), static_cast<size_t>(kKeys));
  EXPECT_EQ(response->header->revision, 1 + kKeys / 100);
  EXPECT_EQ(response->header->member_id, member_->id().v);
  EXPECT_EQ(connection_->held_bytes(), 0u);
}

// What a deletion gives back is collected by apply in steps, and put together by nobody.
TEST_F(LongReadsTest, ADeletionGivesBackEverything) {
  fill();
  pb::DeleteRangeRequest request;
  request.key = everything().key;
  request.range_end = everything().range_end;
  request.prev_kv = true;
  const auto id = call("/etcdserverpb.KV/DeleteRange", request);
  run_until([&] { return stream(id).ended; });
  ASSERT_EQ(stream(id).status(), "0 ");
  auto response = wire::decode<pb::DeleteRangeResponse>(message(stream(id)));
  ASSERT_TRUE(response);
  EXPECT_EQ(response->deleted, kKeys);
  ASSERT_EQ(response->prev_kvs.size(), static_cast<size_t>(kKeys));
  EXPECT_EQ(response->header->revision, 2 + kKeys / 100);
  EXPECT_EQ(response->header->member_id, member_->id().v);
  EXPECT_EQ(connection_->held_bytes(), 0u);
}

TEST_F(LongReadsTest, LeasesAndTheirKeysAreEncodedInTurns) {
  constexpr int kLeases = 4'500;
  std::vector<http2::StreamId> calls;
  for (int i = 1; i <= kLeases; ++i) {
    pb::LeaseGrantRequest grant;
    grant.id = i;
    grant.ttl = 10'000;
    calls.push_back(call("/etcdserverpb.Lease/LeaseGrant", grant));
  }
  for (int n = 0; n < kLeases;) {
    pb::TxnRequest txn;
    std::deque<std::string> texts;
    for (int i = 0; i < 100; ++i, ++n) {
      auto& put = txn.success.emplace_back().set_request_put();
      put.key = texts.emplace_back(fmt::format("k{:06}", n));
      put.lease = 7;
    }
    calls.push_back(call("/etcdserverpb.KV/Txn", txn));
  }
  run_until([&] {
    return std::all_of(calls.begin(), calls.end(), [&](http2::StreamId id) { return stream(id).ended; });
  });
  const auto answer = [&](http2::StreamId id) {
    size_t turns = 0;
    run_until([&] {
      turns += services_->steps_waiting();
      return stream(id).ended;
    });
    EXPECT_GE(turns, 1u);
    EXPECT_EQ(stream(id).status(), "0 ");
    return message(stream(id));
  };
  auto list = wire::decode<pb::LeaseLeasesResponse>(
      answer(call("/etcdserverpb.Lease/LeaseLeases", pb::LeaseLeasesRequest{})));
  ASSERT_TRUE(list);
  EXPECT_EQ(list->header->revision, 1 + kLeases / 100);
  std::vector<int64_t> ids;
  for (const auto& l : list->leases) ids.push_back(l.id);
  std::sort(ids.begin(), ids.end());
  ASSERT_EQ(ids.size(), static_cast<size_t>(kLeases));
  EXPECT_EQ(ids.front(), 1);
  EXPECT_EQ(ids.back(), kLeases);
  pb::LeaseTimeToLiveRequest ask;
  ask.id = 7;
  ask.keys = true;
  auto times =
      wire::decode<pb::LeaseTimeToLiveResponse>(answer(call("/etcdserverpb.Lease/LeaseTimeToLive", ask)));
  ASSERT_TRUE(times);
  EXPECT_EQ(times->id, 7);
  EXPECT_EQ(times->granted_ttl, 10'000);
  ASSERT_EQ(times->keys.size(), static_cast<size_t>(kLeases));
  EXPECT_EQ(times->keys.front(), "k000000");
  EXPECT_EQ(times->keys.back(), fmt::format("k{:06}", kLeases - 1));
  EXPECT_EQ(connection_->held_bytes(), 0u);
}

TEST_F(LongReadsTest, TransactionOfLongRanges) {
  fill();
  pb::TxnRequest txn;
  txn.success.emplace_back().set_request_range() = everything();
  txn.success.emplace_back().set_request_range() = one();
  txn.success.emplace_back().set_request_range() = everything();
  const auto both = call("/etcdserverpb.KV/Txn", txn);
  run_until([&] { return calls_.size() == 1; });
  const auto single = call("/etcdserverpb.KV/Range", one());
  run_until([&] { return stream(single).ended; });
  EXPECT_FALSE(stream(both).ended);
  run_until([&] { return stream(both).ended; });
  auto response = wire::decode<pb::TxnResponse>(message(stream(both)));
  ASSERT_TRUE(response);
  EXPECT_TRUE(response->succeeded);
  ASSERT_EQ(response->responses.size(), 3u);
  for (size_t i : {0, 2}) {
    EXPECT_EQ(response->responses[i].response_range()->kvs.size(), static_cast<size_t>(kKeys));
    EXPECT_EQ(response->responses[i].response_range()->count, kKeys);
  }
  EXPECT_EQ(response->responses[1].response_range()->kvs.size(), 1u);
}

// Others hold more than the budget: one read at a time goes on, the oldest first, and all end well.
TEST_F(LongReadsTest, OverTheBudgetOnlyTheOldestGoesOn) {
  fill();
  memory_.add(int64_t{2} << 30);
  std::vector<http2::StreamId> reads;
  for (int i = 0; i < 6; ++i) reads.push_back(call("/etcdserverpb.KV/Range", everything()));
  run_until([&] { return calls_.size() == 6; });
  size_t most = 0, waiting = 0;
  std::vector<http2::StreamId> ended;
  run_until([&] {
    most = std::max(most, connection_->held_bytes());
    waiting = std::max(waiting, static_cast<size_t>(rpc_metrics_.reads_waiting.value()));
    for (const auto id : reads) {
      if (stream(id).ended && std::find(ended.begin(), ended.end(), id) == ended.end()) ended.push_back(id);
    }
    // One whose call has ended is dropped before the oldest goes on.
    if (ended.size() == 2 && !stream(reads[4]).closed) {
      client_->session.reset(reads[4], http2::ErrorCode::kCancel);
      ended.push_back(reads[4]);
    }
    return ended.size() == reads.size();
  });
  EXPECT_EQ(ended,
            (std::vector<http2::StreamId>{reads[0], reads[1], reads[4], reads[2], reads[3], reads[5]}));
  EXPECT_EQ(waiting, 5u);
  EXPECT_EQ(rpc_metrics_.reads_waiting.value(), 0);
  const size_t one_answer = stream(reads[0]).body.size();
  EXPECT_LT(most, one_answer + one_answer / 2);
  for (const auto id : {reads[0], reads[5]}) EXPECT_EQ(stream(id).status(), "0 ");
  EXPECT_EQ(log_.count("long reads wait"), 1u);
  memory_.add(-(int64_t{2} << 30));
}

TEST_F(LongReadsTest, ACancelledCallIsReadNoFurther) {
  fill();
  const auto all = call("/etcdserverpb.KV/Range", everything());
  run_until([&] { return calls_.size() == 1; });
  // Some steps: what they found is counted.
  for (int i = 0; i < 3; ++i) {
    const size_t held = connection_->held_bytes();
    run_until([&] { return connection_->held_bytes() > held; });
  }
  client_->session.reset(all, http2::ErrorCode::kCancel);
  run_until([&] { return calls_.size() == 0; });
  EXPECT_EQ(connection_->held_bytes(), 0u);
  // The read is dropped at its next turn, and nothing goes on.
  const auto single = call("/etcdserverpb.KV/Range", one());
  run_until([&] { return stream(single).ended && loop_.queued() == 0; });
}

}  // namespace
}  // namespace quoin::v3rpc
