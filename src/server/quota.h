// What a request adds to the database, as the quota counts it.
//
// Threads: free functions and constants. Source: spec api-semantics 2.8, operations 8.2.
#pragma once
#include <cstdint>

#include "wire/rpc.h"

namespace quoin::server {

constexpr int64_t kDefaultQuotaBytes = 2'147'483'648;
constexpr int64_t kLargeQuotaBytes = 8'589'934'592;  // above it a warning, no refusal
constexpr uint64_t kLeaseGrantCost = 64;

uint64_t put_cost(const wire::etcdserverpb::PutRequest& put);
// The larger of both branches, nested transactions included.
uint64_t txn_cost(const wire::etcdserverpb::TxnRequest& txn);

// The limit on the database's size; any thread.
class Quota {
 public:
  // As the flag has it: 0 is the default, a negative number means none.
  explicit Quota(int64_t flag) : limit_(flag == 0 ? kDefaultQuotaBytes : flag) {}
  bool fits(uint64_t db_size, uint64_t cost) const {
    return limit_ < 0 || cost == 0 || db_size + cost < static_cast<uint64_t>(limit_);
  }
  int64_t limit() const { return limit_; }

 private:
  const int64_t limit_;
};

}  // namespace quoin::server
