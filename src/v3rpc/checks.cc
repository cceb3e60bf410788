#include "v3rpc/checks.h"

#include <algorithm>
#include <map>
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

// A set of keys as ranges [lo, hi) that do not touch: an insertion or a look costs the logarithm of their number. A single
// key k is [k, k + "\0"); here "\0" as an end is taken as it stands.
class KeyRanges {
 public:
  bool contains(std::string_view key) const {
    auto after = ranges_.upper_bound(key);
    return after != ranges_.begin() && key < std::string_view(std::prev(after)->second);
  }
  void add(std::string lo, std::string hi) {
    if (hi <= lo) return;
    auto at = ranges_.upper_bound(lo);
    if (at != ranges_.begin() && std::prev(at)->second >= lo) {
      --at;
      lo = at->first;
    }
    while (at != ranges_.end() && at->first <= hi) {
      if (at->second > hi) hi = std::move(at->second);
      at = ranges_.erase(at);
    }
    ranges_.emplace_hint(at, std::move(lo), std::move(hi));
  }
  void add(KeyRanges&& other) {
    if (other.ranges_.size() > ranges_.size()) ranges_.swap(other.ranges_);
    for (const auto& [lo, hi] : other.ranges_) add(lo, hi);
  }

 private:
  std::map<std::string, std::string, std::less<>> ranges_;
};
// What a list of operations writes. Views into the request.
struct Writes {
  std::set<std::string_view> puts;
  KeyRanges deletes;
};

Result<Writes> overlap(const Ops& ops) {
  Writes w;
  for (const pb::RequestOp& op : ops) {
    const auto* erase = op.request_delete_range();
    if (erase == nullptr) continue;
    std::string lo(erase->key);
    std::string hi = erase->range_end.empty() ? lo + '\0' : std::string(erase->range_end);
    w.deletes.add(std::move(lo), std::move(hi));
  }
  for (const pb::RequestOp& op : ops) {
    const auto* txn = op.request_txn();
    if (txn == nullptr) continue;
    ASSIGN_OR_RETURN(Writes then, overlap(txn->success));
    ASSIGN_OR_RETURN(Writes otherwise, overlap(txn->failure));
    for (std::string_view key : then.puts) {
      if (w.deletes.contains(key) || !w.puts.insert(key).second) return Error(Code::kDuplicateKey);
    }
    for (std::string_view key : otherwise.puts) {
      // Both branches may put the same key: only one of them runs.
      if (w.deletes.contains(key) || (!w.puts.insert(key).second && !then.puts.contains(key))) {
        return Error(Code::kDuplicateKey);
      }
    }
    w.deletes.add(std::move(then.deletes));
    w.deletes.add(std::move(otherwise.deletes));
  }
  for (const pb::RequestOp& op : ops) {
    const auto* put = op.request_put();
    if (put == nullptr) continue;
    if (w.deletes.contains(put->key) || !w.puts.insert(put->key).second) return Error(Code::kDuplicateKey);
  }
  return w;
}

// Fields with a length, one after another. False at the end, and before anything else.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : rest_(bytes) {}
  bool next() {
    uint64_t tag, size;
    if (!varint(&tag) || (tag & 7) != 2 || !varint(&size) || size > rest_.size()) return false;
    number = tag >> 3;
    value = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }
  uint64_t number = 0;
  std::string_view value;

 private:
  bool varint(uint64_t* v) {
    *v = 0;
    for (size_t i = 0; i < rest_.size() && i < 10; ++i) {
      const auto byte = static_cast<uint8_t>(rest_[i]);
      *v |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
      if (byte < 0x80) {
        rest_.remove_prefix(i + 1);
        return true;
      }
    }
    return false;
  }
  std::string_view rest_;
};

bool has_more_ops_than(std::string_view txn, uint64_t max, int depth) {
  constexpr uint64_t kCompare = 1, kFailure = 3, kNested = 4;  // kNested: of an operation
  constexpr int kDepthMax = 32;
  uint64_t counts[kFailure + 1] = {};
  for (Fields f(txn); f.next();) {
    if (f.number > kFailure) return false;
    if (++counts[f.number] > max) return true;
    Fields op(f.value);
    if (f.number == kCompare || !op.next() || op.number != kNested || depth == kDepthMax) continue;
    if (has_more_ops_than(op.value, max, depth + 1)) return true;
  }
  return false;
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

bool has_too_many_ops(std::string_view txn, uint64_t max_ops) {
  // A short message has few.
  constexpr size_t kOpBytesMin = 2;
  const uint64_t max = std::max(max_ops, kOpsDecoded);
  return txn.size() / kOpBytesMin > max && has_more_ops_than(txn, max, 0);
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
