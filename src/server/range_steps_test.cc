// Ranges in steps against the same read in one go: bytes must be equal whatever the step, while the store
// changes and compacts between steps.
#include "server/range_steps.h"

#include <gtest/gtest.h>

#include "base/prng.h"
#include "mvcc/fake_backend_test.h"
#include "mvcc/fake_leases_test.h"
#include "mvcc/store.h"
#include "server/range.h"
#include "wire/message.h"

namespace quoin::server {
namespace {

namespace pb = wire::etcdserverpb;

class RangeStepsTest : public ::testing::Test {
 protected:
  RangeStepsTest() { store_ = std::move(*mvcc::Store::restore(backend_, leases_, metrics_)); }

  static std::string key(uint64_t n) { return fmt::format("k{:04}", n); }
  void put(std::string_view key, std::string_view value) {
    mvcc::PutRequest r;
    r.key = key;
    r.value = value;
    ASSERT_TRUE(store_->begin().put(r));
    store_->end();
  }
  void change() {
    if (prng_.chance(1, 6)) {
      ASSERT_TRUE(store_->begin().delete_range(key(prng_.below(400)), {}));
      store_->end();
    } else {
      put(key(prng_.below(400)), std::string(prng_.below(60), 'v') + std::to_string(prng_.below(1000)));
    }
  }
  void compact(int64_t revision) {
    if (store_->compact(revision, {}, {})) {
      while (store_->maintain(1'000)) {
      }
    }
  }
  pb::RangeRequest request() {
    pb::RangeRequest r;
    const uint64_t at = prng_.below(400);
    r.key = keep(key(at));
    if (!prng_.chance(1, 10)) {
      r.range_end = keep(prng_.chance(1, 3) ? std::string(1, '\0') : key(at + prng_.below(400 - at)));
    }
    if (prng_.chance(1, 2)) r.limit = static_cast<int64_t>(prng_.below(300));
    if (prng_.chance(1, 4)) {
      const int64_t back = static_cast<int64_t>(prng_.below(50));
      r.revision = std::max(store_->revision() - back, std::max<int64_t>(1, store_->compact_revision()));
    }
    r.sort_order = static_cast<pb::RangeRequest::SortOrder>(prng_.below(3));
    r.sort_target = static_cast<pb::RangeRequest::SortTarget>(prng_.below(5));
    r.keys_only = prng_.chance(1, 4);
    r.count_only = prng_.chance(1, 10);
    if (prng_.chance(1, 5)) r.min_mod_revision = store_->revision() - 200;
    return r;
  }
  std::string_view keep(std::string s) { return texts_.emplace_back(std::move(s)); }

  // Runs to the end in steps of a few keys or bytes while the store moves on.
  AnswerParts run(SteppedRead& read, const std::function<void()>& between) {
    for (;;) {
      auto done = read.step({prng_.between(1, 30), prng_.chance(1, 2) ? prng_.between(1, 500) : 1 << 20});
      EXPECT_TRUE(done.has_value());
      if (!done || *done) break;
      between();
      read.go_on(store_->publish());
    }
    return read.take();
  }
  static std::string joined(const AnswerParts& answer) {
    std::string all;
    for (const Blob& b : answer.parts) all += b.view();
    EXPECT_EQ(all.size(), answer.bytes);
    return all;
  }

  Prng prng_{17};
  metrics::Registry metrics_;
  mvcc::FakeLeases leases_;
  mvcc::FakeBackend backend_;
  std::unique_ptr<mvcc::Store> store_;
  std::deque<std::string> texts_;
};

TEST_F(RangeStepsTest, SameBytesAsInOneGo) {
  for (uint64_t n = 0; n < 300; ++n) put(key(n), "first");
  size_t steps = 0;
  for (int round = 0; round < 1500; ++round) {
    change();
    const pb::RangeRequest r = request();
    auto view = store_->publish();
    auto whole = read_range(view, r);
    ASSERT_TRUE(whole) << whole.error().text();
    auto started = RangeSteps::start(view, r);
    ASSERT_TRUE(started);
    view.reset();
    SteppedRange stepped(std::move(*started));
    const std::string got = joined(run(stepped, [&] {
      ++steps;
      change();
      // Past the revision being read now and then: what was begun is finished all the same.
      if (prng_.chance(1, 20)) compact(store_->revision() - static_cast<int64_t>(prng_.below(3)));
    }));
    ASSERT_EQ(got, wire::encode_string(whole->response)) << "round " << round;
    EXPECT_EQ(stepped.header_revision(), whole->header_revision);
    EXPECT_EQ(stepped.range().kvs(), whole->response.kvs.size());
    texts_.clear();
  }
  EXPECT_GT(steps, 5'000u);
}

TEST_F(RangeStepsTest, TransactionOfRanges) {
  for (uint64_t n = 0; n < 300; ++n) put(key(n), "first");
  for (int round = 0; round < 300; ++round) {
    change();
    pb::TxnRequest txn;
    for (uint64_t n = prng_.below(5); n > 0; --n) txn.success.emplace_back().set_request_range() = request();
    txn.failure.emplace_back().set_request_range() = request();
    if (prng_.chance(1, 3)) {
      pb::Compare& c = txn.compare.emplace_back();
      c.key = "absent";
      c.target = pb::Compare::CompareTarget::kVersion;
      c.set_version(1);
    }
    const auto view = store_->publish();
    pb::TxnResponse want;
    want.succeeded = txn.compare.empty();
    std::deque<RangeReply> replies;
    for (const pb::RequestOp& op : want.succeeded ? txn.success : txn.failure) {
      auto reply = read_range(view, *op.request_range());
      ASSERT_TRUE(reply) << reply.error().text();
      RangeReply& kept = replies.emplace_back(std::move(*reply));
      kept.response.header.emplace().revision = kept.header_revision;
      want.responses.emplace_back().set_response_range() = kept.response;
    }
    SteppedTxn direct(view, txn);
    auto done = direct.step({});
    ASSERT_TRUE(done && *done);
    EXPECT_EQ(direct.encoded_size(), wire::encode_string(want).size());
    EXPECT_EQ(wire::encode_string(direct.response()), wire::encode_string(want));

    SteppedTxn stepped(view, txn);
    const std::string got = joined(run(stepped, [&] { change(); }));
    ASSERT_EQ(got, wire::encode_string(want)) << "round " << round;
    EXPECT_EQ(stepped.header_revision(), view->revision());
    texts_.clear();
  }
}

TEST_F(RangeStepsTest, FailsAsInOneGo) {
  for (uint64_t n = 0; n < 20; ++n) put(key(n), "v");
  compact(10);
  pb::RangeRequest r;
  r.key = "k";
  r.range_end = "l";
  r.revision = 5;
  auto started = RangeSteps::start(store_->publish(), r);
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code(), Code::kCompacted);
  pb::TxnRequest txn;
  r.revision = 1'000;
  txn.success.emplace_back().set_request_range() = r;
  const auto in_txn = SteppedTxn(store_->publish(), txn).step({});
  ASSERT_FALSE(in_txn);
  EXPECT_EQ(in_txn.error().code(), Code::kFutureRev);
}

// A compare over a range may look at every key there is; it decides in steps, on the view of the beginning.
TEST_F(RangeStepsTest, ComparesGoInSteps) {
  for (uint64_t n = 0; n < 400; ++n) put(key(n), "v");
  pb::TxnRequest txn;
  auto& compare = txn.compare.emplace_back();
  compare.key = "k";
  compare.range_end = "l";
  compare.target = pb::Compare::CompareTarget::kVersion;
  compare.set_version(1);
  txn.success.emplace_back().set_request_range().key = keep(key(399));
  SteppedTxn stepped(store_->publish(), txn);
  const int64_t revision = store_->revision();
  int steps = 1;
  for (; !*stepped.step({50, 1 << 20}); ++steps) {
    put(key(399), "later");  // not seen
    stepped.go_on(store_->publish());
  }
  EXPECT_GE(steps, 8);
  EXPECT_TRUE(stepped.succeeded());
  EXPECT_EQ(stepped.header_revision(), revision);
  EXPECT_EQ(stepped.ranges_and_compares(), 2u);
}

TEST_F(RangeStepsTest, HoldsWhatItFoundAndNoView) {
  for (uint64_t n = 0; n < 100; ++n) put(key(n), std::string(100, 'v'));
  pb::RangeRequest r;
  r.key = "k";
  r.range_end = "l";
  auto view = store_->publish();
  std::weak_ptr<const mvcc::ReadView> first = view;
  SteppedRange stepped(std::move(*RangeSteps::start(std::move(view), r)));
  ASSERT_FALSE(*stepped.step({50, 1 << 20}));
  // At once, so that a client is held back before it has begun more of them.
  EXPECT_GT(stepped.bytes_held(), 50u * 100);
  put("other", "");
  stepped.go_on(store_->publish());
  EXPECT_TRUE(first.expired());
  EXPECT_GT(stepped.bytes_held(), 50u * 100);
  EXPECT_LT(stepped.bytes_held(), 50u * 200);
  ASSERT_TRUE(*stepped.step({50, 1 << 20}));
  EXPECT_EQ(stepped.take().parts.size(), 2u);
}

}  // namespace
}  // namespace quoin::server
