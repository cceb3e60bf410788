#include "server/txn.h"

#include "mvcc/key_value.h"
#include "server/compare.h"
#include "server/planned_keys.h"
#include "server/range.h"
#include "wire/message.h"

namespace quoin::server {

namespace pb = wire::etcdserverpb;
using Ops = absl::InlinedVector<pb::RequestOp, 1>;

namespace {

template <class Predicate>
bool all_ranges(const pb::TxnRequest& txn, Predicate&& p) {
  for (const Ops* ops : {&txn.success, &txn.failure}) {
    for (const pb::RequestOp& op : *ops) {
      if (op.request_range() == nullptr || !p(*op.request_range())) return false;
    }
  }
  return true;
}

pb::ResponseHeader revision_header(int64_t revision) {
  pb::ResponseHeader h;
  h.revision = revision;
  return h;
}

// The position in the list of branches taken, shared by the passes over a transaction.
struct Branches {
  const std::vector<bool>& taken;
  size_t next = 0;
  const Ops& choose(const pb::TxnRequest& txn, bool* succeeded) {
    *succeeded = taken[next++];
    return *succeeded ? txn.success : txn.failure;
  }
};

Result<> check_range(const pb::RangeRequest& r, int64_t current, int64_t compacted) {
  if (r.revision > current) return Error(Code::kFutureRev);
  if (r.revision != 0 && r.revision < compacted) return Error(Code::kCompacted);
  return {};
}

// Goes through the branches taken as execution will, and refuses what execution could not do.
class Checks {
 public:
  Checks(const mvcc::Store& store, const LeaseExists& lease_exists)
      : store_(store), lease_exists_(lease_exists), keys_(store) {}

  Result<> run(const pb::TxnRequest& txn, Branches& branches) {
    bool succeeded;
    for (const pb::RequestOp& op : branches.choose(txn, &succeeded)) {
      if (const auto* range = op.request_range()) {
        TRY(check_range(*range, store_.revision(), store_.compact_revision()));
      } else if (const auto* put = op.request_put()) {
        if ((put->ignore_value || put->ignore_lease) && !keys_.live(put->key)) {
          return Error(Code::kKeyNotFound);
        }
        if (put->lease != 0 && !lease_exists_(LeaseId(put->lease))) return Error(Code::kLeaseNotFound);
        keys_.put(put->key);
      } else if (const auto* erase = op.request_delete_range()) {
        keys_.erase({erase->key, erase->range_end});
      } else if (const auto* nested = op.request_txn()) {
        TRY(run(*nested, branches));
      }
    }
    return {};
  }

 private:
  const mvcc::Store& store_;
  const LeaseExists& lease_exists_;
  PlannedKeys keys_;
};

// Execution. After the checks nothing may fail but the storage itself, which is fatal to the member.
class Execution {
 public:
  Execution(mvcc::WriteTxn& txn, bool reads) : txn_(txn), reads_(reads) {}

  Result<> run(const pb::TxnRequest& request, Branches& branches, pb::TxnResponse* out) {
    const Ops& ops = branches.choose(request, &out->succeeded);
    out->responses.reserve(ops.size());
    for (const pb::RequestOp& op : ops) {
      pb::ResponseOp& r = out->responses.emplace_back();
      if (const auto* range = op.request_range()) {
        TRY(run_range(*range, &r.set_response_range()));
      } else if (const auto* put = op.request_put()) {
        TRY(run_put(*put, &r.set_response_put()));
      } else if (const auto* erase = op.request_delete_range()) {
        TRY(run_delete(*erase, &r.set_response_delete_range()));
      } else if (const auto* nested = op.request_txn()) {
        auto& box = r.response.emplace<4>();
        pb::TxnResponse& response = box.emplace();
        response.header.emplace();
        TRY(run(*nested, branches, &response));
      }
    }
    return {};
  }

 private:
  Result<> run_range(const pb::RangeRequest& request, pb::RangeResponse* out) {
    if (!reads_) return {};
    ASSIGN_OR_RETURN(mvcc::RangeScan scan, txn_.range(to_mvcc(request)));
    Result<> added;
    // A record may go with the transaction's next change, so the answer holds copies.
    TRY(scan.run([&](std::string_view encoded) {
      if (!added) return false;
      if (!request.keys_only) encoded = kept_.emplace_back(encoded);
      added = add_kv(encoded, request.keys_only, out, &kept_);
      return added.has_value();
    }));
    TRY(std::move(added));
    out->header = revision_header(scan.header_revision());
    out->count = scan.count();
    out->more = scan.more();
    return {};
  }
  Result<> run_put(const pb::PutRequest& request, pb::PutResponse* out) {
    mvcc::PutRequest put;
    put.key = request.key;
    put.value = request.value;
    put.lease = LeaseId(request.lease);
    put.ignore_value = request.ignore_value;
    put.ignore_lease = request.ignore_lease;
    put.prev_kv = request.prev_kv;
    ASSIGN_OR_RETURN(mvcc::PutResult result, txn_.put(put));
    out->header = revision_header(txn_.revision());
    if (result.prev_kv) {
      kept_.emplace_back(*result.prev_kv);
      out->prev_kv = wire::Raw<wire::mvccpb::KeyValue>{kept_.back()};
    }
    return {};
  }
  Result<> run_delete(const pb::DeleteRangeRequest& request, pb::DeleteRangeResponse* out) {
    mvcc::KvVisitor prev;
    if (request.prev_kv) {
      prev = [&](std::string_view encoded) {
        kept_.emplace_back(encoded);
        out->prev_kvs.push_back({kept_.back()});
        return true;
      };
    }
    ASSIGN_OR_RETURN(out->deleted, txn_.delete_range(request.key, request.range_end, prev));
    out->header = revision_header(txn_.revision());
    return {};
  }

  mvcc::WriteTxn& txn_;
  const bool reads_;
  std::deque<std::string> kept_;
};

}  // namespace

bool is_read_only(const pb::TxnRequest& txn) {
  return all_ranges(txn, [](const pb::RangeRequest&) { return true; });
}
bool is_serializable(const pb::TxnRequest& txn) {
  return all_ranges(txn, [](const pb::RangeRequest& r) { return r.serializable; });
}

Result<std::vector<const pb::RangeRequest*>> choose_ranges(const std::shared_ptr<const mvcc::ReadView>& view,
                                                           const pb::TxnRequest& txn, bool* succeeded,
                                                           size_t* compares) {
  ViewSource source(view);
  ASSIGN_OR_RETURN(const std::vector<bool> taken, choose_branches(txn, source));
  *compares = source.evaluated;
  Branches branches{taken};
  std::vector<const pb::RangeRequest*> ranges;
  for (const pb::RequestOp& op : branches.choose(txn, succeeded)) {
    TRY(check_range(*op.request_range(), view->revision(), view->compact_revision()));
    ranges.push_back(op.request_range());
  }
  return ranges;
}

Result<WriteTxnResult> run_write_txn(mvcc::Store& store, const LeaseExists& lease_exists,
                                     const pb::TxnRequest& txn, std::string* body) {
  StoreSource source(store);
  ASSIGN_OR_RETURN(const std::vector<bool> taken, choose_branches(txn, source));
  if (source.evaluated > 0) store.count_ranges(source.evaluated);
  Branches for_checks{taken};
  TRY(Checks(store, lease_exists).run(txn, for_checks));

  mvcc::WriteTxn& write = store.begin();
  Execution execution(write, body != nullptr);
  Branches for_execution{taken};
  pb::TxnResponse response;
  Result<> done = execution.run(txn, for_execution, &response);
  if (!done) return done.error().prefixed("a transaction failed after its checks");
  if (body != nullptr) wire::append(body, response);
  return WriteTxnResult{store.end(), response.succeeded};
}

}  // namespace quoin::server
