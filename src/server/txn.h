// Transactions: which branch, the checks before anything is written, execution, the answer.
//
// Threads: ranges_of_branch on any thread, run_write_txn on the apply strand.
// Source: spec api-semantics 2.6.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "mvcc/read_view.h"
#include "mvcc/store.h"
#include "wire/rpc.h"

namespace quoin::server {

// Every operation is a Range and none is a transaction of its own.
bool is_read_only(const wire::etcdserverpb::TxnRequest& txn);
// Every Range is serializable; true for a transaction without operations.
bool is_serializable(const wire::etcdserverpb::TxnRequest& txn);

// The Ranges of the branch that a read-only transaction takes (`taken`, see BranchChoice), in order; views
// into `txn`. kCompacted, kFutureRev.
Result<std::vector<const wire::etcdserverpb::RangeRequest*>> ranges_of_branch(
    const mvcc::ReadView& view, const wire::etcdserverpb::TxnRequest& txn, const std::vector<bool>& taken,
    bool* succeeded);

// Values that one step of a large request reads.
constexpr size_t kStepBytes = 1u << 20;

// True if the lease exists.
using LeaseExists = std::function<bool(LeaseId)>;

struct WriteTxnResult {
  int64_t revision = 0;  // for the header
  bool succeeded = false;
};

// A write transaction, in steps: its compares, deletions and Ranges may each touch every key there is. It is
// one change all the same: the store's transaction stays open until the last step, and whoever runs the steps
// sees to it that nothing is published, frozen or applied between them.
//
// Refused before anything is written: kCompacted, kFutureRev, kKeyNotFound, kLeaseNotFound. Any other error
// is a fault of the storage: a part may be written, the store's transaction is still open, and the member
// must stop.
class WriteTxn {
 public:
  // All outlive it. `wanted`: somebody waits for the answer; else Ranges are checked but not read.
  WriteTxn(mvcc::Store& store, const LeaseExists& lease_exists, const wire::etcdserverpb::TxnRequest& txn,
           bool wanted);
  ~WriteTxn();
  // Looks at no more than about `keys` keys, and reads no more than about kStepBytes of values unless `keys`
  // is SIZE_MAX. True once it is done, and the store's transaction has ended.
  Result<bool> step(size_t keys);
  // Once done.
  const WriteTxnResult& result() const;
  // The encoded answer, without header; if it was wanted.
  std::string take_body();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// In one go; `body` null: nobody waits.
Result<WriteTxnResult> run_write_txn(mvcc::Store& store, const LeaseExists& lease_exists,
                                     const wire::etcdserverpb::TxnRequest& txn, std::string* body);

}  // namespace quoin::server
