#include "v3rpc/checks.h"

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace quoin::v3rpc {

namespace pb = wire::etcdserverpb;
using Ops = absl::InlinedVector<pb::RequestOp, 1>;

namespace {

Result<> check_shape(const pb::TxnRequest& r, int64_t max_ops);

Result<> check_op(const pb::RequestOp& op, int64_t max_ops) {
  if (const auto* range = op.request_range()) return check_range(*range);
  if (const auto* put = op.request_put()) return check_put(*put);
  if (const auto* erase = op.request_delete_range()) return check_delete_range(*erase);
  if (const auto* txn = op.request_txn()) return check_shape(*txn, max_ops);
  return Error(Code::kKeyNotFound);  // no request set
}

Result<> check_shape(const pb::TxnRequest& r, int64_t max_ops) {
  const auto n = static_cast<int64_t>(std::max({r.compare.size(), r.success.size(), r.failure.size()}));
  if (n > max_ops) return Error(Code::kTooManyOps);
  for (const pb::Compare& c : r.compare) {
    if (c.key.empty()) return Error(Code::kEmptyKey);
  }
  for (const Ops* ops : {&r.success, &r.failure}) {
    for (const pb::RequestOp& op : *ops) TRY(check_op(op, max_ops - n));
  }
  return {};
}

// Deleted ranges, [lo, hi). A single key k is [k, k + "\0"); here "\0" as an end is taken as it stands.
struct Interval {
  std::string lo, hi;
  bool contains(std::string_view key) const { return lo <= key && key < std::string_view(hi); }
};
// What a list of operations writes. Views into the request.
struct Writes {
  std::set<std::string_view> puts;
  std::vector<Interval> deletes;
  bool deleted(std::string_view key) const {
    return std::any_of(deletes.begin(), deletes.end(), [&](const Interval& i) { return i.contains(key); });
  }
};

Result<Writes> overlap(const Ops& ops) {
  Writes w;
  for (const pb::RequestOp& op : ops) {
    const auto* erase = op.request_delete_range();
    if (erase == nullptr) continue;
    Interval& i = w.deletes.emplace_back();
    i.lo = erase->key;
    i.hi = erase->range_end.empty() ? std::string(erase->key) + '\0' : std::string(erase->range_end);
  }
  for (const pb::RequestOp& op : ops) {
    const auto* txn = op.request_txn();
    if (txn == nullptr) continue;
    ASSIGN_OR_RETURN(Writes then, overlap(txn->success));
    ASSIGN_OR_RETURN(Writes otherwise, overlap(txn->failure));
    for (std::string_view key : then.puts) {
      if (w.deleted(key) || !w.puts.insert(key).second) return Error(Code::kDuplicateKey);
    }
    for (std::string_view key : otherwise.puts) {
      // Both branches may put the same key: only one of them runs.
      if (w.deleted(key) || (!w.puts.insert(key).second && !then.puts.contains(key))) {
        return Error(Code::kDuplicateKey);
      }
    }
    std::move(then.deletes.begin(), then.deletes.end(), std::back_inserter(w.deletes));
    std::move(otherwise.deletes.begin(), otherwise.deletes.end(), std::back_inserter(w.deletes));
  }
  for (const pb::RequestOp& op : ops) {
    const auto* put = op.request_put();
    if (put == nullptr) continue;
    if (w.deleted(put->key) || !w.puts.insert(put->key).second) return Error(Code::kDuplicateKey);
  }
  return w;
}

template <class Enum>
bool within(Enum value, Enum last) {
  return static_cast<int32_t>(value) >= 0 && static_cast<int32_t>(value) <= static_cast<int32_t>(last);
}

}  // namespace

Result<> check_range(const pb::RangeRequest& r) {
  if (r.key.empty()) return Error(Code::kEmptyKey);
  if (!within(r.sort_order, pb::RangeRequest::SortOrder::kDescend) ||
      !within(r.sort_target, pb::RangeRequest::SortTarget::kValue)) {
    return Error(Code::kInvalidSortOption);
  }
  return {};
}

Result<> check_put(const pb::PutRequest& r) {
  if (r.key.empty()) return Error(Code::kEmptyKey);
  if (r.ignore_value && !r.value.empty()) return Error(Code::kValueProvided);
  if (r.ignore_lease && r.lease != 0) return Error(Code::kLeaseProvided);
  return {};
}

Result<> check_delete_range(const pb::DeleteRangeRequest& r) {
  if (r.key.empty()) return Error(Code::kEmptyKey);
  return {};
}

Result<> check_txn(const pb::TxnRequest& r, uint64_t max_ops) {
  TRY(check_shape(r, static_cast<int64_t>(max_ops)));
  // Most transactions write at most one key in each branch: nothing to compare.
  auto simple = [](const Ops& ops) {
    return ops.size() <= 1 && (ops.empty() || ops[0].request_txn() == nullptr);
  };
  for (const Ops* ops : {&r.success, &r.failure}) {
    if (!simple(*ops)) TRY(overlap(*ops));
  }
  return {};
}

}  // namespace quoin::v3rpc
