// Requests that may touch every key there is, applied in steps: DeleteRange, LeaseRevoke and Txn.
//
// An entry stays one change: the store's transaction is open from the first change to the last step, and
// whoever runs the steps sees to it that nothing is published, frozen or applied between them. Smaller
// requests are applied in one task (applier.h), since each step costs a hand-over.
//
// Threads: apply strand. Lifetime: the request, store and lessor outlive it. Errors of step(): what the
// request may be refused with, before anything is changed; anything else is a fault of this member's storage,
// after which the store's transaction stays open and the member must stop.
// Source: spec api-semantics 2.5, 2.6, 4.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "lease/lessor.h"
#include "mvcc/store.h"
#include "server/answers.h"
#include "server/txn.h"
#include "wire/rpc.h"

namespace quoin::server {

// About how many keys a request looks at, in the newest state; costs a descent for each range in it. A key
// whose value is read counts as several, since values may be large.
size_t keys_of(const mvcc::Store& store, const wire::etcdserverpb::DeleteRangeRequest& request);
size_t keys_of(const mvcc::Store& store, const wire::etcdserverpb::TxnRequest& request);

class LargeRequest {
 public:
  virtual ~LargeRequest() = default;
  // Looks at no more than about `keys` keys, and reads no more than about kStepBytes of values. True once all
  // is done.
  virtual Result<bool> step(size_t keys) = 0;
  // Once done.
  virtual Answer take_answer() = 0;
  // The response's header as lines about slow requests show it (Applier::Outcome::Shown).
  virtual bool full_header() const { return false; }
};

class LargeDeletion final : public LargeRequest {
 public:
  // `wanted`: somebody waits for the answer, and may want what was deleted.
  LargeDeletion(mvcc::Store& store, const wire::etcdserverpb::DeleteRangeRequest& request, bool wanted);
  Result<bool> step(size_t keys) override;
  Answer take_answer() override { return std::move(answer_); }

 private:
  mvcc::Store& store_;
  const bool wanted_;
  const wire::etcdserverpb::DeleteRangeRequest& request_;
  std::optional<mvcc::RangeDelete> deletion_;  // from the first step on
  std::string prev_kvs_;                       // of the step under way, encoded
  Answer answer_;
};

class LargeTxn final : public LargeRequest {
 public:
  LargeTxn(mvcc::Store& store, const LeaseExists& lease_exists, const wire::etcdserverpb::TxnRequest& request,
           bool wanted)
      : txn_(store, lease_exists, request, wanted) {}
  Result<bool> step(size_t keys) override { return txn_.step(keys); }
  Answer take_answer() override;

 private:
  WriteTxn txn_;
};

// The keys go in ascending order, in one revision, as etcd deletes them.
class LargeRevocation final : public LargeRequest {
 public:
  LargeRevocation(mvcc::Store& store, lease::Lessor& lessor, LeaseId id)
      : store_(store), lessor_(lessor), id_(id) {}
  Result<bool> step(size_t keys) override;
  Answer take_answer() override { return {.revision = store_.revision()}; }
  bool full_header() const override { return true; }

 private:
  mvcc::Store& store_;
  lease::Lessor& lessor_;
  const LeaseId id_;
  mvcc::WriteTxn* txn_ = nullptr;
};

}  // namespace quoin::server
