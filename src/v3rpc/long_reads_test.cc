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
