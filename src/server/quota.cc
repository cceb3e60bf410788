#include "server/quota.h"

#include <algorithm>

namespace quoin::server {

namespace pb = wire::etcdserverpb;

namespace {
constexpr uint64_t kPutOverhead = 256;

template <class Ops>
uint64_t branch_cost(const Ops& ops) {
  uint64_t sum = 0;
  for (const pb::RequestOp& op : ops) {
    if (const auto* put = op.request_put()) sum += put_cost(*put);
    if (const auto* nested = op.request_txn()) sum += txn_cost(*nested);
  }
  return sum;
}
}  // namespace

uint64_t put_cost(const pb::PutRequest& put) {
  return kPutOverhead + put.key.size() + put.value.size();
}

uint64_t txn_cost(const pb::TxnRequest& txn) {
  return std::max(branch_cost(txn.success), branch_cost(txn.failure));
}

}  // namespace quoin::server
