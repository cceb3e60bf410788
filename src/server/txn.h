// Transactions: which branch, the checks before anything is written, execution, the answer.
//
// Threads: run_read_only on any thread, Transaction on the apply strand.
// Source: spec api-semantics 2.6.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "mvcc/read_view.h"
#include "mvcc/store.h"
#include "server/range.h"
#include "wire/rpc.h"

namespace quoin::server {

// Every operation is a Range and none is a transaction of its own.
bool is_read_only(const wire::etcdserverpb::TxnRequest& txn);
// Every Range is serializable; true for a transaction without operations.
bool is_serializable(const wire::etcdserverpb::TxnRequest& txn);

struct TxnReply {
  wire::etcdserverpb::TxnResponse response;  // without header
  int64_t header_revision = 0;
  std::shared_ptr<const mvcc::ReadView> view;
  std::deque<std::string> stripped;
};

// kCompacted, kFutureRev, kCorruption.
Result<TxnReply> run_read_only(std::shared_ptr<const mvcc::ReadView> view,
                               const wire::etcdserverpb::TxnRequest& txn);

// True if the lease exists.
using LeaseExists = std::function<bool(LeaseId)>;

// A write transaction. Encodes its answer (without header) into `body` while what it refers to is alive; with
// `body` null nobody waits and Ranges are checked but not read. Refused before anything is written:
// kCompacted, kFutureRev, kKeyNotFound, kLeaseNotFound. Returns the header's revision.
Result<int64_t> run_write_txn(mvcc::Store& store, const LeaseExists& lease_exists,
                              const wire::etcdserverpb::TxnRequest& txn, std::string* body);

}  // namespace quoin::server
