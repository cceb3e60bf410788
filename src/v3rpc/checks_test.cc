#include "v3rpc/checks.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <ctime>
#include <deque>

#include "base/prng.h"
#include "wire/message.h"

namespace quoin::v3rpc {
namespace {

namespace pb = wire::etcdserverpb;

pb::RequestOp put(std::string_view key) {
  pb::RequestOp op;
  op.set_request_put().key = key;
  return op;
}
pb::RequestOp erase(std::string_view key, std::string_view end = {}) {
  pb::RequestOp op;
  auto& d = op.set_request_delete_range();
  d.key = key;
  d.range_end = end;
  return op;
}
pb::RequestOp nested(pb::TxnRequest txn) {
  pb::RequestOp op;
  op.request.emplace<4>(std::move(txn));
  return op;
}
pb::TxnRequest then(std::initializer_list<pb::RequestOp> ops) {
  pb::TxnRequest t;
  t.success.assign(ops.begin(), ops.end());
  return t;
}
pb::TxnRequest either(std::initializer_list<pb::RequestOp> success,
                      std::initializer_list<pb::RequestOp> failure) {
  pb::TxnRequest t = then(success);
  t.failure.assign(failure.begin(), failure.end());
  return t;
}
Code code_of(const Result<>& r) {
  return r ? Code::kNotFound : r.error().code();
}
constexpr Code kFine = Code::kNotFound;  // stands for success in the tables below

// The rules and examples of the sheet, section 2.6.
TEST(CheckTxn, OverlapOfPutsAndDeletes) {
  using std::string_view;
  const string_view open_end("\0", 1);
  struct Case {
    const char* what;
    pb::TxnRequest txn;
    Code want;
  };
  const std::vector<Case> cases = {
      {"two keys", then({put("a"), put("b")}), kFine},
      {"a key twice", then({put("a"), put("a")}), Code::kDuplicateKey},
      {"the same key in both branches", either({put("a")}, {put("a")}), kFine},
      {"put within a deleted range", then({put("k"), erase("a", "z")}), Code::kDuplicateKey},
      {"put at the end of a deleted range", then({put("z"), erase("a", "z")}), kFine},
      {"put of a deleted key", then({put("k"), erase("k")}), Code::kDuplicateKey},
      {"an open end is taken as it stands", then({put("k"), erase("a", open_end)}), kFine},
      {"overlapping deletes", then({erase("a", "m"), erase("b", "z")}), kFine},
      {"nested put, then nested delete", then({nested(then({put("s")})), nested(then({erase("s")}))}), kFine},
      {"nested delete, then nested put", then({nested(then({erase("s")})), nested(then({put("s")}))}),
       Code::kDuplicateKey},
      {"both branches of a nested one put it", then({nested(either({put("s")}, {put("s")}))}), kFine},
      {"two nested ones put it", then({nested(then({put("s")})), nested(then({put("s")}))}),
       Code::kDuplicateKey},
      {"here and nested", then({put("s"), nested(then({put("s")}))}), Code::kDuplicateKey},
      {"deleted here, put nested", then({erase("s"), nested(then({put("s")}))}), Code::kDuplicateKey},
  };
  for (const Case& c : cases) EXPECT_EQ(code_of(check_txn(c.txn, 128)), c.want) << c.what;
}

// As many operations as 128 a transaction allow: half of the nested ones delete single keys, half put others. What they do
// to each other is told in a time that grows little faster than their number (here: seconds, if each put is compared with
// each deletion).
TEST(CheckTxn, ManyDeletionsAndPutsAreComparedFast) {
  std::deque<std::string> keys;
  const auto key = [&](char kind) -> std::string_view {
    keys.push_back(fmt::format("{}{}", kind, keys.size()));
    return keys.back();
  };
  constexpr int kGroups = 43, kInner = 43, kLeaves = 42;
  pb::TxnRequest txn;
  for (int g = 0; g < kGroups; ++g) {
    pb::TxnRequest group;
    for (int i = 0; i < kInner; ++i) {
      pb::TxnRequest inner;
      for (int l = 0; l < kLeaves; ++l) {
        inner.success.push_back(g < kGroups / 2 ? erase(key('d')) : put(key('p')));
      }
      group.success.push_back(nested(std::move(inner)));
    }
    txn.success.push_back(nested(std::move(group)));
  }
  const clock_t start = clock();
  EXPECT_TRUE(check_txn(txn, 128));
  EXPECT_LT(clock() - start, CLOCKS_PER_SEC) << "processor time";
}

// Ranges that touch, hold, or cross one another, against each of them by itself.
TEST(CheckTxn, DeletedRangesAreTheirUnion) {
  Prng prng(7);
  const auto word = [&] { return std::string(1 + prng.below(2), static_cast<char>('a' + prng.below(4))); };
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::pair<std::string, std::string>> ranges;
    for (uint64_t i = prng.between(1, 6); i > 0; --i)
      ranges.emplace_back(word(), prng.chance(1, 2) ? word() : "");
    const std::string written = word();
    pb::TxnRequest txn;
    bool deleted = false;
    for (const auto& [lo, hi] : ranges) {
      txn.success.push_back(erase(lo, hi));
      deleted |= hi.empty() ? written == lo : lo <= written && written < hi;
    }
    txn.success.push_back(put(written));
    EXPECT_EQ(check_txn(txn, 128).has_value(), !deleted) << round;
  }
}

TEST(CheckTxn, CountsAndShapes) {
  pb::TxnRequest many;
  many.compare.resize(3);
  for (auto& c : many.compare) c.key = "k";
  EXPECT_EQ(code_of(check_txn(many, 3)), kFine);
  EXPECT_EQ(code_of(check_txn(many, 2)), Code::kTooManyOps);
  many.compare[2].key = {};
  EXPECT_EQ(code_of(check_txn(many, 3)), Code::kEmptyKey);
  // A nested one gets what the outer one leaves.
  EXPECT_EQ(code_of(check_txn(then({put("a"), nested(then({put("b")}))}), 3)), kFine);
  EXPECT_EQ(code_of(check_txn(then({put("a"), nested(then({put("b")}))}), 2)), Code::kTooManyOps);
  EXPECT_EQ(code_of(check_txn(then({put("a"), nested(then({}))}), 2)), kFine);
  // No request set.
  EXPECT_EQ(code_of(check_txn(then({pb::RequestOp{}}), 2)), Code::kKeyNotFound);
  EXPECT_EQ(code_of(check_txn(then({put("")}), 2)), Code::kEmptyKey);
}

TEST(CheckTxn, VeryManyOperationsAreCountedWithoutDecoding) {
  const auto encoded = [](const pb::TxnRequest& txn) { return wire::encode_string(txn); };
  const auto of = [](size_t n) {
    pb::TxnRequest txn;
    txn.failure.resize(n);
    return txn;
  };
  EXPECT_FALSE(has_too_many_ops("", 128));
  EXPECT_FALSE(has_too_many_ops(encoded(of(kOpsDecoded)), 128));
  EXPECT_TRUE(has_too_many_ops(encoded(of(kOpsDecoded + 1)), 128));
  EXPECT_TRUE(has_too_many_ops(encoded(of(100'000)), 128));
  EXPECT_FALSE(has_too_many_ops(encoded(of(100'000)), 100'000));  // so many may be
  EXPECT_TRUE(has_too_many_ops(encoded(of(100'001)), 100'000));
  // Of each list by itself, and inside others.
  pb::TxnRequest three = of(kOpsDecoded);
  three.success.resize(kOpsDecoded);
  three.compare.resize(kOpsDecoded);
  EXPECT_FALSE(has_too_many_ops(encoded(three), 128));
  three.compare.resize(kOpsDecoded + 1);
  EXPECT_TRUE(has_too_many_ops(encoded(three), 128));
  EXPECT_TRUE(has_too_many_ops(encoded(then({put("a"), nested(then({nested(of(kOpsDecoded + 1))}))})), 128));
  // One put with a large value is one.
  const std::string large(1 << 20, '\x12');
  pb::RequestOp op;
  auto& request = op.set_request_put();
  request.key = "k";
  request.value = large;
  EXPECT_FALSE(has_too_many_ops(encoded(then({op})), 128));
  // What is no message is the decoder's to refuse.
  const std::string many = encoded(of(100'000));
  EXPECT_FALSE(has_too_many_ops("\x08\x01" + many, 128));
  EXPECT_FALSE(has_too_many_ops(std::string(4000, '\xff'), 128));
}

TEST(CheckPutAndRange, OrderOfRefusals) {
  pb::PutRequest p;
  p.ignore_value = p.ignore_lease = true;
  p.value = "v";
  p.lease = 1;
  EXPECT_EQ(code_of(check_put(p)), Code::kEmptyKey);
  p.key = "k";
  EXPECT_EQ(code_of(check_put(p)), Code::kValueProvided);
  p.value = {};
  EXPECT_EQ(code_of(check_put(p)), Code::kLeaseProvided);
  p.lease = 0;
  EXPECT_EQ(code_of(check_put(p)), kFine);

  pb::RangeRequest r;
  r.sort_order = static_cast<pb::RangeRequest::SortOrder>(3);
  EXPECT_EQ(code_of(check_range(r)), Code::kEmptyKey);
  r.key = "k";
  EXPECT_EQ(code_of(check_range(r)), Code::kInvalidSortOption);
  r.sort_order = pb::RangeRequest::SortOrder::kDescend;
  r.sort_target = static_cast<pb::RangeRequest::SortTarget>(-1);
  EXPECT_EQ(code_of(check_range(r)), Code::kInvalidSortOption);
  r.sort_target = pb::RangeRequest::SortTarget::kValue;
  EXPECT_EQ(code_of(check_range(r)), kFine);
}

}  // namespace
}  // namespace quoin::v3rpc
