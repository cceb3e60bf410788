#include "server/compare.h"

#include "mvcc/key_value.h"

namespace quoin::server {

namespace pb = wire::etcdserverpb;
using Target = pb::Compare::CompareTarget;
using Operator = pb::Compare::CompareResult;

Result<> StoreSource::for_each(std::string_view key, std::string_view range_end,
                               const std::function<bool(const mvcc::KeyMeta&)>& visit) {
  store_.for_each_current(key, range_end,
                          [&](std::string_view, const mvcc::KeyMeta& meta) { return visit(meta); });
  return {};
}

namespace {
constexpr size_t kKeysPerStep = 1024;
}

Result<> ViewSource::for_each(std::string_view key, std::string_view range_end,
                              const std::function<bool(const mvcc::KeyMeta&)>& visit) {
  mvcc::RangeRequest request;
  request.key = key;
  request.range_end = range_end;
  ASSIGN_OR_RETURN(mvcc::RangeScan scan, mvcc::RangeScan::start(view_, request));
  // False from the visitor ends a step only, so the steps are taken here.
  Result<> failed;
  bool stopped = false;
  while (!stopped) {
    ASSIGN_OR_RETURN(const bool complete, scan.step(kKeysPerStep, [&](std::string_view encoded) {
      auto kv = mvcc::decode_key_value(encoded);
      if (!kv) {
        failed = kv.error();
        stopped = true;
        return false;
      }
      auto meta = view_->find(kv->key, view_->revision());
      stopped = meta && !visit(*meta);
      return !stopped;
    }));
    if (complete) break;
  }
  return failed;
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

Result<bool> holds_all(const pb::Compare& c, CompareSource& source) {
  if (c.range_end.empty()) {
    const auto meta = source.find(c.key);
    return holds_for(c, meta ? &*meta : nullptr, source);
  }
  bool any = false, all = true;
  Result<> failed;
  TRY(source.for_each(c.key, c.range_end, [&](const mvcc::KeyMeta& meta) {
    any = true;
    auto r = holds_for(c, &meta, source);
    if (!r) failed = r.error();
    all = r && *r;
    return all;
  }));
  TRY(std::move(failed));
  if (!any) return holds_for(c, nullptr, source);
  return all;
}

Result<> choose(const pb::TxnRequest& txn, CompareSource& source, std::vector<bool>* branches) {
  bool succeeded = true;
  for (const pb::Compare& c : txn.compare) {
    ++source.evaluated;
    ASSIGN_OR_RETURN(succeeded, holds_all(c, source));
    if (!succeeded) break;
  }
  branches->push_back(succeeded);
  for (const pb::RequestOp& op : succeeded ? txn.success : txn.failure) {
    if (const pb::TxnRequest* nested = op.request_txn()) TRY(choose(*nested, source, branches));
  }
  return {};
}

}  // namespace

Result<std::vector<bool>> choose_branches(const pb::TxnRequest& txn, CompareSource& source) {
  std::vector<bool> branches;
  TRY(choose(txn, source, &branches));
  return branches;
}

}  // namespace quoin::server
