// Transactions on a store over a backend in memory: compares over ranges, checks before writing, answers.
#include "server/txn.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <deque>

#include "base/prng.h"
#include "mvcc/fake_backend_test.h"
#include "mvcc/fake_leases_test.h"
#include "mvcc/store.h"
#include "server/compare.h"
#include "server/planned_keys.h"
#include "wire/message.h"

namespace quoin::server {
namespace {

namespace pb = wire::etcdserverpb;
using Target = pb::Compare::CompareTarget;
using Operator = pb::Compare::CompareResult;

Result<std::vector<bool>> choose_branches(const pb::TxnRequest& txn, CompareSource& source) {
  BranchChoice choice(txn, source);
  size_t unlimited = SIZE_MAX;
  TRY(choice.step(&unlimited));
  return choice.branches();
}

class TxnTest : public ::testing::Test {
 protected:
  TxnTest() { store_ = std::move(*mvcc::Store::restore(backend_, leases_, metrics_)); }

  int64_t put(std::string_view key, std::string_view value) {
    mvcc::PutRequest r;
    r.key = key;
    r.value = value;
    EXPECT_TRUE(store_->begin().put(r));
    return store_->end();
  }
  static pb::Compare compare(std::string_view key, std::string_view end, Target target, Operator op,
                             int64_t n) {
    pb::Compare c;
    c.key = key;
    c.range_end = end;
    c.target = target;
    c.result = op;
    if (target == Target::kVersion) c.set_version(n);
    if (target == Target::kMod) c.set_mod_revision(n);
    return c;
  }
  static pb::Compare value_compare(std::string_view key, std::string_view end, Operator op,
                                   std::string_view value) {
    pb::Compare c;
    c.key = key;
    c.range_end = end;
    c.target = Target::kValue;
    c.result = op;
    c.set_value(value);
    return c;
  }
  // Evaluated on the store's newest state and on a published view, which must agree.
  bool holds(const pb::Compare& c) {
    pb::TxnRequest txn;
    txn.compare.push_back(c);
    StoreSource newest(*store_);
    auto on_store = choose_branches(txn, newest);
    ViewSource published(store_->publish());
    auto on_view = choose_branches(txn, published);
    EXPECT_TRUE(on_store && on_view);
    EXPECT_EQ(*on_store, *on_view);
    return on_store->front();
  }
  Result<int64_t> run(const pb::TxnRequest& txn, pb::TxnResponse* response) {
    body_.clear();
    auto revision = run_write_txn(
        *store_, [](LeaseId id) { return id == LeaseId(5); }, txn, &body_);
    if (!revision) return revision.error();
    *response = *wire::decode<pb::TxnResponse>(body_);
    EXPECT_EQ(response->succeeded, revision->succeeded);
    return revision->revision;
  }

  metrics::Registry metrics_;
  mvcc::FakeBackend backend_;
  mvcc::FakeLeases leases_;
  std::unique_ptr<mvcc::Store> store_;
  std::string body_;
};

// One key that fails decides, wherever in the range it stands; a later one does not turn it round.
TEST_F(TxnTest, CompareOverARangeNeedsEveryKey) {
  for (const char* key : {"a", "b", "c", "d"}) put(key, "1");
  put("b", "2");
  EXPECT_FALSE(holds(compare("a", "z", Target::kVersion, Operator::kEqual, 1)));
  EXPECT_TRUE(holds(compare("c", "z", Target::kVersion, Operator::kEqual, 1)));
  EXPECT_FALSE(holds(value_compare("a", "z", Operator::kEqual, "1")));
  EXPECT_TRUE(holds(value_compare("a", "b", Operator::kEqual, "1")));
  EXPECT_FALSE(holds(value_compare("a", std::string_view("\0", 1), Operator::kNotEqual, "2")));
  for (int i = 0; i < 3000; ++i) put("many/" + std::to_string(i), "x");
  put("many/1000", "y");  // neither the first nor the last step of a scan
  EXPECT_FALSE(holds(value_compare("many/", "many0", Operator::kEqual, "x")));
  EXPECT_FALSE(holds(compare("many/", "many0", Target::kVersion, Operator::kLess, 2)));
}

TEST_F(TxnTest, MissingKeysAndUnknownNumbers) {
  put("a", "1");
  // VALUE of a missing key is false whatever the operator; the others compare with 0.
  for (const Operator op : {Operator::kEqual, Operator::kNotEqual, Operator::kGreater, Operator::kLess}) {
    EXPECT_FALSE(holds(value_compare("none", {}, op, "")));
  }
  EXPECT_TRUE(holds(compare("none", {}, Target::kVersion, Operator::kEqual, 0)));
  EXPECT_TRUE(holds(compare("x", "z", Target::kMod, Operator::kEqual, 0)));  // an empty range
  EXPECT_TRUE(holds(compare("a", {}, static_cast<Target>(9), Operator::kEqual, 0)));
  EXPECT_FALSE(holds(compare("none", {}, static_cast<Target>(9), Operator::kNotEqual, 0)));
  EXPECT_TRUE(holds(compare("a", {}, Target::kVersion, static_cast<Operator>(9), 7)));
}

// A range that holds no key is compared as one missing key is.
TEST_F(TxnTest, CompareOverAnEmptyRange) {
  put("a", "1");
  EXPECT_FALSE(holds(compare("x", "z", Target::kVersion, Operator::kEqual, 1)));
  EXPECT_FALSE(holds(compare("x", "z", Target::kMod, Operator::kNotEqual, 0)));
  EXPECT_FALSE(holds(compare("x", "z", Target::kVersion, Operator::kGreater, 0)));
  EXPECT_TRUE(holds(compare("x", "z", Target::kVersion, Operator::kLess, 1)));
  EXPECT_FALSE(holds(value_compare("x", "z", Operator::kEqual, "")));
  EXPECT_FALSE(holds(value_compare("z", "x", Operator::kNotEqual, "1")));
}

// At the compact revision itself a Range is served, below it is refused; in a write transaction and in one
// that only reads.
TEST_F(TxnTest, RangesAroundTheCompactRevision) {
  for (int i = 0; i < 4; ++i) put("a", std::to_string(i));  // revisions 2 to 5
  ASSERT_TRUE(store_->compact(4, {}, {}));
  store_->publish();
  for (int64_t revision = 1; revision <= 7; ++revision) {
    pb::TxnRequest txn;
    auto& range = txn.success.emplace_back().set_request_range();
    range.key = "a";
    range.revision = revision;
    bool succeeded = false;
    const auto ranges = ranges_of_branch(*store_->published(), txn, {true}, &succeeded);
    txn.success.emplace_back().set_request_put().key = "b";
    pb::TxnResponse r;
    const auto written = run(txn, &r);
    ASSERT_EQ(ranges.has_value(), revision == 4 || revision == 5) << revision;
    ASSERT_EQ(written.has_value(), revision >= 4 && revision <= store_->revision()) << revision;
    if (!written) {
      EXPECT_EQ(written.error().code(), revision < 4 ? Code::kCompacted : Code::kFutureRev);
    }
  }
}

TEST_F(TxnTest, OneRevisionSubsInOrderAndOwnChangesSeen) {
  put("a", "1");  // revision 2
  pb::TxnRequest txn;
  txn.success.emplace_back().set_request_range().key = "a";
  auto& p = txn.success.emplace_back().set_request_put();
  p.key = "a";
  p.value = "2";
  p.prev_kv = true;
  txn.success.emplace_back().set_request_range().key = "a";
  txn.success.emplace_back().set_request_delete_range().key = "a";
  pb::TxnResponse r;
  auto revision = run(txn, &r);
  ASSERT_TRUE(revision) << revision.error().text();
  EXPECT_EQ(*revision, 3);
  ASSERT_EQ(r.responses.size(), 4u);
  EXPECT_EQ(r.responses[0].response_range()->header->revision, 2);  // nothing changed yet
  EXPECT_EQ(r.responses[1].response_put()->header->revision, 3);
  EXPECT_TRUE(r.responses[1].response_put()->prev_kv.has_value());
  EXPECT_EQ(r.responses[2].response_range()->header->revision, 3);
  auto kv = wire::decode<wire::mvccpb::KeyValue>(r.responses[2].response_range()->kvs[0]);
  ASSERT_TRUE(kv);
  EXPECT_EQ(kv->value, "2");
  EXPECT_EQ(r.responses[3].response_delete_range()->deleted, 1);
  EXPECT_FALSE(store_->find_current("a").has_value());
}

TEST_F(TxnTest, RefusedBeforeAnythingIsWritten) {
  put("a", "1");
  struct Case {
    const char* what;
    std::function<void(pb::RequestOp&)> op;
    Code want;
  };
  const std::vector<Case> cases = {
      {"future range",
       [](pb::RequestOp& o) {
         o.set_request_range().key = "a";
         std::get<1>(o.request).revision = 9;
       },
       Code::kFutureRev},
      {"unknown lease",
       [](pb::RequestOp& o) {
         o.set_request_put().key = "b";
         std::get<2>(o.request).lease = 6;
       },
       Code::kLeaseNotFound},
      {"value of a missing key",
       [](pb::RequestOp& o) {
         o.set_request_put().key = "b";
         std::get<2>(o.request).ignore_value = true;
       },
       Code::kKeyNotFound},
      {"revision -2",
       [](pb::RequestOp& o) {
         o.set_request_range().key = "a";
         std::get<1>(o.request).revision = -2;
       },
       Code::kCompacted},
  };
  for (const Case& c : cases) {
    pb::TxnRequest txn;
    txn.success.emplace_back().set_request_put().key = "first";
    c.op(txn.success.emplace_back());
    pb::TxnResponse r;
    auto revision = run(txn, &r);
    ASSERT_FALSE(revision) << c.what;
    EXPECT_EQ(revision.error().code(), c.want) << c.what;
    EXPECT_FALSE(store_->find_current("first").has_value()) << c.what;
    EXPECT_EQ(store_->revision(), 2) << c.what;
  }
}

// A put that keeps the value or the lease of a key which the same transaction deletes before: no member could
// apply it. It is refused like one of a missing key, and nothing of the transaction happens.
TEST_F(TxnTest, KeepingWhatTheTransactionDeletedIsRefused) {
  struct Case {
    const char* what;
    std::function<void(pb::TxnRequest&)> fill;
    bool refused;
  };
  auto erase = [](pb::TxnRequest& t, std::string_view key, std::string_view end) {
    auto& d = t.success.emplace_back().set_request_delete_range();
    d.key = key;
    d.range_end = end;
  };
  auto keep = [](pb::TxnRequest& t, std::string_view key, bool value) {
    auto& p = t.success.emplace_back().set_request_put();
    p.key = key;
    (value ? p.ignore_value : p.ignore_lease) = true;
  };
  auto make = [](pb::TxnRequest& t, std::string_view key) {
    t.success.emplace_back().set_request_put().key = key;
  };
  const std::string_view all("\0", 1);
  const std::vector<Case> cases = {
      {"from-key, value", [&](auto& t) { erase(t, "cfg/", all), keep(t, "cfg/a", true); }, true},
      {"from-key, lease", [&](auto& t) { erase(t, "cfg/", all), keep(t, "cfg/a", false); }, true},
      {"the key alone", [&](auto& t) { erase(t, "cfg/a", {}), keep(t, "cfg/a", true); }, true},
      {"a range before it", [&](auto& t) { erase(t, "cfg/", "cfg/a"), keep(t, "cfg/a", true); }, false},
      {"an empty range", [&](auto& t) { erase(t, "d", "c"), keep(t, "cfg/a", true); }, false},
      {"made again", [&](auto& t) { erase(t, "cfg/", all), make(t, "cfg/a"), keep(t, "cfg/a", true); },
       false},
      {"made and deleted", [&](auto& t) { make(t, "new"), erase(t, "n", "o"), keep(t, "new", true); }, true},
      {"made before", [&](auto& t) { make(t, "new"), keep(t, "new", true); }, false},
      {"two ranges",
       [&](auto& t) {
         erase(t, "a", "b"), erase(t, "cfg/a", "cfg/b"), erase(t, "b", "cfg/a"), keep(t, "cfg/a", true);
       },
       true},
      {"nested",
       [&](auto& t) {
         erase(t, "cfg/", all);
         keep(t.success.emplace_back().set_request_txn(), "cfg/a", true);
       },
       true},
      {"nested before",
       [&](auto& t) {
         erase(t.success.emplace_back().set_request_txn(), "cfg/", all);
         keep(t, "cfg/a", true);
       },
       true},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    put("cfg/a", "1");
    const int64_t before = store_->revision();
    pb::TxnRequest txn;
    make(txn, "first");
    c.fill(txn);
    pb::TxnResponse r;
    auto revision = run(txn, &r);
    ASSERT_EQ(revision.has_value(), !c.refused);
    if (!c.refused) {
      ASSERT_TRUE(store_->begin().delete_range("first", {}));
      store_->end();
      continue;
    }
    EXPECT_EQ(revision.error().code(), Code::kKeyNotFound);
    EXPECT_EQ(store_->revision(), before);
    EXPECT_TRUE(store_->find_current("cfg/a").has_value());
    EXPECT_FALSE(store_->find_current("first").has_value());
  }
}

// The plan against a list of operations gone through one by one.
TEST_F(TxnTest, PlannedKeysAgreeWithTheirSlowTwin) {
  Prng prng(7);
  const std::vector<std::string> names = {"", "a", "b", "c", "d", "e", "f", std::string("\0", 1)};
  for (const char* key : {"a", "d", "e"}) put(key, "1");
  for (int round = 0; round < 2000; ++round) {
    PlannedKeys plan(*store_);
    std::vector<std::pair<bool, mvcc::KeyRange>> ops;  // true: a put
    for (int i = 0; i < 8; ++i) {
      const std::string& key = names[1 + prng.below(6)];
      if (prng.chance(1, 3)) {
        plan.put(key);
        ops.push_back({true, {key, {}}});
      } else {
        const mvcc::KeyRange range{key, names[prng.below(names.size())]};
        plan.erase(range);
        ops.push_back({false, range});
      }
      for (size_t k = 1; k < 7; ++k) {
        bool want = store_->find_current(names[k]).has_value();
        for (const auto& [is_put, range] : ops) {
          if (range.contains(names[k])) want = is_put;
        }
        ASSERT_EQ(plan.live(names[k]), want) << round << " " << i << " " << names[k];
      }
    }
  }
}

// Any number of steps comes to the same answer and the same state as one.
TEST_F(TxnTest, StepsOfAnySizeComeToTheSame) {
  Prng prng(11);
  mvcc::FakeBackend other_backend;
  mvcc::FakeLeases other_leases;
  metrics::Registry other_metrics;
  auto other = std::move(*mvcc::Store::restore(other_backend, other_leases, other_metrics));
  std::vector<std::string> names;
  for (int i = 0; i < 12; ++i) names.push_back(fmt::format("k{:02}", i));
  const std::string all(1, '\0');
  std::deque<std::string> kept;
  const LeaseExists exists = [](LeaseId id) { return id == LeaseId(5); };
  auto name = [&]() -> std::string_view { return names[prng.below(names.size())]; };
  auto end = [&]() -> std::string_view {
    if (prng.chance(1, 3)) return {};
    return prng.chance(1, 4) ? std::string_view(all) : name();
  };
  std::function<void(pb::TxnRequest*, int)> fill = [&](pb::TxnRequest* txn, int depth) {
    for (uint64_t n = prng.below(3); n > 0; --n) {
      txn->compare.push_back(prng.chance(1, 2)
                                 ? value_compare(name(), end(), Operator::kNotEqual, "3")
                                 : compare(name(), end(), Target::kVersion, Operator::kLess, 4));
    }
    for (auto* ops : {&txn->success, &txn->failure}) {
      for (uint64_t n = prng.below(5); n > 0; --n) {
        pb::RequestOp& op = ops->emplace_back();
        switch (prng.below(depth > 0 ? 4 : 3)) {
          case 0: {
            auto& r = op.set_request_put();
            r.key = name();
            r.value = kept.emplace_back(std::to_string(prng.below(5)));
            r.prev_kv = prng.chance(1, 2);
            r.ignore_value = prng.chance(1, 8);
            break;
          }
          case 1: {
            auto& r = op.set_request_delete_range();
            r.key = name();
            r.range_end = end();
            r.prev_kv = prng.chance(1, 2);
            break;
          }
          case 2: {
            auto& r = op.set_request_range();
            r.key = name();
            r.range_end = end();
            r.keys_only = prng.chance(1, 4);
            r.limit = static_cast<int64_t>(prng.below(3));
            break;
          }
          default:
            fill(&op.set_request_txn(), depth - 1);
        }
      }
    }
  };
  int refused = 0;
  for (int round = 0; round < 2000; ++round) {
    pb::TxnRequest txn;
    fill(&txn, 2);
    std::string body;
    const auto whole = run_write_txn(*store_, exists, txn, &body);
    WriteTxn stepped(*other, exists, txn, true);
    Result<bool> done = false;
    int steps = 0;
    while (done && !*done) {
      done = stepped.step(1 + prng.below(3));
      ASSERT_LT(++steps, 1000);
    }
    ASSERT_EQ(whole.has_value(), done.has_value()) << round;
    if (!whole) {
      ++refused;
      ASSERT_EQ(whole.error().code(), done.error().code());
    } else {
      ASSERT_EQ(whole->revision, stepped.result().revision) << round;
      ASSERT_EQ(whole->succeeded, stepped.result().succeeded);
      ASSERT_EQ(body, stepped.take_body()) << round;
    }
    ASSERT_EQ(store_->revision(), other->revision());
  }
  EXPECT_GT(refused, 20);
  EXPECT_LT(refused, 1000);
}

}  // namespace
}  // namespace quoin::server
