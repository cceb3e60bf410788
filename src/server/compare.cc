#include "server/compare.h"

#include <algorithm>
#include <utility>

#include "mvcc/key_value.h"

namespace quoin::server {

namespace pb = wire::etcdserverpb;
using Target = pb::Compare::CompareTarget;
using Operator = pb::Compare::CompareResult;

Result<> StoreSource::begin(std::string_view key, std::string_view range_end) {
  from_ = key;
  range_end_ = range_end;
  return {};
}

Result<bool> StoreSource::go_on(size_t* budget, const std::function<bool(const mvcc::KeyMeta&)>& visit) {
  bool complete = true;
  store_.for_each_current(from_, range_end_, [&](std::string_view key, const mvcc::KeyMeta& meta) {
    if (*budget == 0) {
      from_ = key;
      return complete = false;
    }
    --*budget;
    return visit(meta);
  });
  return complete;
}

Result<> ViewSource::begin(std::string_view key, std::string_view range_end) {
  mvcc::RangeRequest request;
  request.key = key;
  request.range_end = range_end;
  ASSIGN_OR_RETURN(scan_, mvcc::RangeScan::start(view_, request));
  return {};
}

Result<bool> ViewSource::go_on(size_t* budget, const std::function<bool(const mvcc::KeyMeta&)>& visit) {
  Result<> failed;
  ASSIGN_OR_RETURN(const bool complete, scan_->step(budget, [&](std::string_view encoded) {
    auto kv = mvcc::decode_key_value(encoded);
    if (!kv) {
      failed = kv.error();
      return false;
    }
    const auto meta = view_->find(kv->key, view_->revision());
    return !meta || visit(*meta);
  }));
  TRY(std::move(failed));
  return complete;
}

namespace {

// -1, 0, 1 for the state's value against the request's.
struct Order {
  template <class T>
  static int of(const T& a, const T& b) {
    return a < b ? -1 : (b < a ? 1 : 0);
  }
};

bool holds(Operator op, int order) {
  switch (op) {
    case Operator::kEqual:
      return order == 0;
    case Operator::kNotEqual:
      return order != 0;
    case Operator::kGreater:
      return order > 0;
    case Operator::kLess:
      return order < 0;
  }
  return true;  // an unknown operator holds
}

int64_t number_of(const int64_t* p) {
  return p != nullptr ? *p : 0;
}

// One key's state (or that of a missing key) against one compare.
Result<bool> holds_for(const pb::Compare& c, const mvcc::KeyMeta* meta, CompareSource& source) {
  mvcc::KeyValueRef kv;
  const bool needs_record =
      c.target == Target::kValue || (c.target == Target::kLease && meta && meta->has_lease);
  if (meta != nullptr && needs_record) {
    ASSIGN_OR_RETURN(const std::string_view encoded, source.record(*meta));
    ASSIGN_OR_RETURN(kv, mvcc::decode_key_value(encoded));
  }
  switch (c.target) {
    case Target::kVersion:
      return holds(c.result, Order::of(meta ? meta->version : 0, number_of(c.version())));
    case Target::kCreate:
      return holds(c.result, Order::of(meta ? meta->create_revision : 0, number_of(c.create_revision())));
    case Target::kMod:
      return holds(c.result, Order::of(meta ? meta->revision.main : 0, number_of(c.mod_revision())));
    case Target::kLease:
      return holds(c.result, Order::of(kv.lease.v, number_of(c.lease())));
    case Target::kValue:
      if (meta == nullptr) return false;  // whatever the operator
      return holds(c.result, Order::of(kv.value, c.value() != nullptr ? *c.value() : std::string_view()));
  }
  return holds(c.result, 0);  // an unknown target compares as equal
}

}  // namespace

// True once holds_ is this compare's outcome.
Result<bool> BranchChoice::compare(const pb::Compare& c, size_t* budget) {
  if (c.range_end.empty()) {
    *budget -= std::min<size_t>(*budget, 1);
    const auto meta = source_.find(c.key);
    ASSIGN_OR_RETURN(holds_, holds_for(c, meta ? &*meta : nullptr, source_));
    return true;
  }
  if (!in_range_) {
    TRY(source_.begin(c.key, c.range_end));
    in_range_ = true;
    any_ = false;
  }
  bool all = true;
  Result<> failed;
  ASSIGN_OR_RETURN(const bool complete, source_.go_on(budget, [&](const mvcc::KeyMeta& meta) {
    any_ = true;
    auto r = holds_for(c, &meta, source_);
    if (!r) failed = r.error();
    all = r && *r;
    return all;
  }));
  TRY(std::move(failed));
  if (all && !complete) return false;
  in_range_ = false;
  holds_ = all;
  if (!any_) {
    ASSIGN_OR_RETURN(holds_, holds_for(c, nullptr, source_));
  }
  return true;
}

Result<bool> BranchChoice::step(size_t* budget) {
  while (!todo_.empty()) {
    const pb::TxnRequest& txn = *todo_.back();
    while (holds_ && at_ < txn.compare.size()) {
      if (*budget == 0) return false;
      ASSIGN_OR_RETURN(const bool decided, compare(txn.compare[at_], budget));
      if (!decided) return false;
      ++source_.evaluated;
      ++at_;
    }
    const bool succeeded = std::exchange(holds_, true);
    branches_.push_back(succeeded);
    at_ = 0;
    todo_.pop_back();
    const auto& ops = succeeded ? txn.success : txn.failure;
    for (size_t i = ops.size(); i > 0; --i) {
      if (const pb::TxnRequest* nested = ops[i - 1].request_txn()) todo_.push_back(nested);
    }
  }
  return true;
}

}  // namespace quoin::server
