// What a request must satisfy before it goes anywhere (spec api-semantics 2.3-2.6): pure functions of it.
//
// Errors: the codes of the error table that clients see.
#pragma once
#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "wire/rpc.h"

namespace quoin::v3rpc {

Result<> check_range(const wire::etcdserverpb::RangeRequest& r);
Result<> check_put(const wire::etcdserverpb::PutRequest& r);
Result<> check_delete_range(const wire::etcdserverpb::DeleteRangeRequest& r);
// Operation counts, every operation by itself, then puts that meet other puts or deletes.
Result<> check_txn(const wire::etcdserverpb::TxnRequest& r, uint64_t max_ops);
// Whether the encoded TxnRequest has so many operations, itself or one inside it, that its decoding would take a loop
// long, for check_txn() to refuse it as kTooManyOps: looks at the heads of the fields alone, about 3 ns each. False for
// what it cannot read, and for up to kOpsDecoded: the decoder's and check_txn's errors come first there, as in etcd.
constexpr uint64_t kOpsDecoded = 1024;
bool has_too_many_ops(std::string_view txn, uint64_t max_ops);

}  // namespace quoin::v3rpc
