#include "server/txn.h"

#include <algorithm>
#include <deque>
#include <optional>

#include "base/check.h"
#include "mvcc/key_value.h"
#include "server/compare.h"
#include "server/planned_keys.h"
#include "server/range.h"
#include "wire/message.h"

namespace quoin::server {

namespace pb = wire::etcdserverpb;
using Ops = absl::InlinedVector<pb::RequestOp, 1>;
// Places in ResponseOp's union.
constexpr size_t kRangeResponse = 1, kDeleteResponse = 3, kTxnResponse = 4;

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

// Execution, in steps. After the checks nothing may fail but the storage itself, which is fatal to the member.
class Execution {
 public:
  Execution(mvcc::WriteTxn& txn, bool reads, const pb::TxnRequest& request, const std::vector<bool>& taken,
            pb::TxnResponse* out)
      : txn_(txn), reads_(reads), branches_{taken} {
    enter(request, out);
  }

  // True once all operations are done. Stops after about `bytes` of values, too.
  Result<bool> step(size_t* budget, size_t bytes) {
    bytes_left_ = bytes;
    while (!frames_.empty()) {
      Frame& frame = frames_.back();
      if (frame.next == frame.ops->size()) {
        frames_.pop_back();
        continue;
      }
      if (*budget == 0 || bytes_left_ == 0) return false;
      const pb::RequestOp& op = (*frame.ops)[frame.next];
      ASSIGN_OR_RETURN(const bool done, run(op, frame, budget));
      if (!done) return false;
    }
    return true;
  }

 private:
  // A transaction whose operations are being done; nested ones on top.
  struct Frame {
    const Ops* ops;
    size_t next = 0;
    pb::TxnResponse* out;
  };
  void enter(const pb::TxnRequest& request, pb::TxnResponse* out) {
    const Ops& ops = branches_.choose(request, &out->succeeded);
    out->responses.reserve(ops.size());  // so that no response moves
    frames_.push_back({&ops, 0, out});
  }

  // True once the operation is done; then the frame stands at the next one.
  Result<bool> run(const pb::RequestOp& op, Frame& frame, size_t* budget) {
    // One that goes on has its response already.
    const bool begins = frame.out->responses.size() == frame.next;
    pb::ResponseOp& r = begins ? frame.out->responses.emplace_back() : frame.out->responses.back();
    bool done = true;
    if (const auto* range = op.request_range()) {
      if (begins) r.set_response_range();
      ASSIGN_OR_RETURN(done, run_range(*range, begins, &std::get<kRangeResponse>(r.response), budget));
    } else if (const auto* put = op.request_put()) {
      *budget -= 1;
      TRY(run_put(*put, &r.set_response_put()));
    } else if (const auto* erase = op.request_delete_range()) {
      if (begins) r.set_response_delete_range();
      ASSIGN_OR_RETURN(done, run_delete(*erase, begins, &std::get<kDeleteResponse>(r.response), budget));
    } else if (const auto* nested = op.request_txn()) {
      ++frame.next;
      auto& box = r.response.emplace<kTxnResponse>();
      pb::TxnResponse& response = box.emplace();
      response.header.emplace();
      enter(*nested, &response);
      return true;
    }
    if (done) ++frame.next;
    return done;
  }
  Result<bool> run_range(const pb::RangeRequest& request, bool begins, pb::RangeResponse* out,
                         size_t* budget) {
    if (!reads_) return true;
    if (begins) {
      ASSIGN_OR_RETURN(scan_, txn_.range(to_mvcc(request)));
    }
    Result<> added;
    // A record may go with the transaction's next change, so the answer holds copies.
    ASSIGN_OR_RETURN(const bool done, scan_->step(budget, [&](std::string_view encoded) {
      if (!request.keys_only) encoded = kept_.emplace_back(encoded);
      added = add_kv(encoded, request.keys_only, out, &kept_);
      bytes_left_ -= std::min(bytes_left_, encoded.size());
      return added.has_value() && bytes_left_ > 0;
    }));
    TRY(std::move(added));
    if (!done) return false;
    out->header = revision_header(scan_->header_revision());
    out->count = scan_->count();
    out->more = scan_->more();
    scan_.reset();
    return true;
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
  Result<bool> run_delete(const pb::DeleteRangeRequest& request, bool begins, pb::DeleteRangeResponse* out,
                          size_t* budget) {
    if (begins) deletion_.emplace(txn_, std::string(request.key), std::string(request.range_end));
    mvcc::KvVisitor prev;
    if (request.prev_kv) {
      prev = [&](std::string_view encoded) {
        bytes_left_ -= std::min(bytes_left_, encoded.size());
        kept_.emplace_back(encoded);
        out->prev_kvs.push_back({kept_.back()});
        return true;
      };
    }
    ASSIGN_OR_RETURN(const bool done, deletion_->step(budget, prev, bytes_left_));
    if (!done) return false;
    out->deleted = deletion_->deleted();
    deletion_.reset();
    out->header = revision_header(txn_.revision());
    return true;
  }

  mvcc::WriteTxn& txn_;
  const bool reads_;
  Branches branches_;
  std::vector<Frame> frames_;
  std::optional<mvcc::RangeScan> scan_;        // of the Range being read
  std::optional<mvcc::RangeDelete> deletion_;  // being made
  std::deque<std::string> kept_;
  size_t bytes_left_ = SIZE_MAX;  // of values, in this step
};

}  // namespace

bool is_read_only(const pb::TxnRequest& txn) {
  return all_ranges(txn, [](const pb::RangeRequest&) { return true; });
}
bool is_serializable(const pb::TxnRequest& txn) {
  return all_ranges(txn, [](const pb::RangeRequest& r) { return r.serializable; });
}

Result<std::vector<const pb::RangeRequest*>> ranges_of_branch(const mvcc::ReadView& view,
                                                              const pb::TxnRequest& txn,
                                                              const std::vector<bool>& taken,
                                                              bool* succeeded) {
  Branches branches{taken};
  std::vector<const pb::RangeRequest*> ranges;
  for (const pb::RequestOp& op : branches.choose(txn, succeeded)) {
    TRY(check_range(*op.request_range(), view.revision(), view.compact_revision()));
    ranges.push_back(op.request_range());
  }
  return ranges;
}

struct WriteTxn::State {
  State(mvcc::Store& store, const LeaseExists& lease_exists, const pb::TxnRequest& txn, bool wanted)
      : store(store),
        lease_exists(lease_exists),
        txn(txn),
        wanted(wanted),
        source(store),
        choice(txn, source) {}

  mvcc::Store& store;
  const LeaseExists& lease_exists;
  const pb::TxnRequest& txn;
  const bool wanted;
  StoreSource source;
  BranchChoice choice;
  pb::TxnResponse response;
  std::optional<Execution> execution;  // from the checks on
  WriteTxnResult result;
  std::string body;
};

WriteTxn::WriteTxn(mvcc::Store& store, const LeaseExists& lease_exists, const pb::TxnRequest& txn,
                   bool wanted)
    : state_(std::make_unique<State>(store, lease_exists, txn, wanted)) {}
WriteTxn::~WriteTxn() = default;

const WriteTxnResult& WriteTxn::result() const {
  return state_->result;
}
std::string WriteTxn::take_body() {
  return std::move(state_->body);
}

Result<bool> WriteTxn::step(size_t keys) {
  State& s = *state_;
  if (!s.execution) {
    ASSIGN_OR_RETURN(const bool chosen, s.choice.step(&keys));
    if (!chosen) return false;
    if (s.source.evaluated > 0) s.store.count_ranges(s.source.evaluated);
    Branches branches{s.choice.branches()};
    TRY(Checks(s.store, s.lease_exists).run(s.txn, branches));
    s.execution.emplace(s.store.begin(), s.wanted, s.txn, s.choice.branches(), &s.response);
  }
  auto executed = s.execution->step(&keys, keys == SIZE_MAX ? SIZE_MAX : kStepBytes);
  if (!executed) return executed.error().prefixed("a transaction failed after its checks");
  if (!*executed) return false;
  // While what the answer refers to is alive.
  if (s.wanted) wire::append(&s.body, s.response);
  s.result = {s.store.end(), s.response.succeeded};
  return true;
}

Result<WriteTxnResult> run_write_txn(mvcc::Store& store, const LeaseExists& lease_exists,
                                     const pb::TxnRequest& txn, std::string* body) {
  WriteTxn write(store, lease_exists, txn, body != nullptr);
  ASSIGN_OR_RETURN(const bool done, write.step(SIZE_MAX));
  CHECK(done);
  if (body != nullptr) *body += write.take_body();
  return write.result();
}

}  // namespace quoin::server
