// What a request must satisfy before it goes anywhere (spec api-semantics 2.3-2.6): pure functions of it.
//
// Errors: the codes of the error table that clients see.
#pragma once
#include <cstdint>

#include "base/result.h"
#include "wire/rpc.h"

namespace quoin::v3rpc {

Result<> check_range(const wire::etcdserverpb::RangeRequest& r);
Result<> check_put(const wire::etcdserverpb::PutRequest& r);
Result<> check_delete_range(const wire::etcdserverpb::DeleteRangeRequest& r);
// Operation counts, every operation by itself, then puts that meet other puts or deletes.
Result<> check_txn(const wire::etcdserverpb::TxnRequest& r, uint64_t max_ops);

}  // namespace quoin::v3rpc
