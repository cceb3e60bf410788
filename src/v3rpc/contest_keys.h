// Where the keys of locks and elections lie: under <name>/, one for each lease, the oldest one in front.
//
// Threads: free functions. Source: spec api-semantics 7.
#pragma once
#include <string>
#include <string_view>

#include "base/ids.h"
#include "wire/rpc.h"

namespace quoin::v3rpc {

inline constexpr std::string_view kElectionNotLeader = "election: not leader";

inline std::string contest_prefix(std::string_view name) {
  return std::string(name) + '/';
}
// Where the keys under a prefix, which ends with a slash, end.
inline std::string prefix_end(std::string_view prefix) {
  std::string end(prefix);
  ++end.back();
  return end;
}

// The conditions under which one who is in front, or waits, changes its key: it is still the one it created.
inline void if_created_at(wire::etcdserverpb::TxnRequest* txn, std::string_view key, int64_t revision) {
  wire::etcdserverpb::Compare& same = txn->compare.emplace_back();
  same.key = key;
  same.target = wire::etcdserverpb::Compare::CompareTarget::kCreate;
  same.set_create_revision(revision);
}
inline void proclaim_txn(wire::etcdserverpb::TxnRequest* txn, std::string_view key, int64_t revision,
                         std::string_view value, LeaseId lease) {
  if_created_at(txn, key, revision);
  wire::etcdserverpb::PutRequest& put = txn->success.emplace_back().set_request_put();
  put.key = key;
  put.value = value;
  put.lease = lease.v;
}
inline void resign_txn(wire::etcdserverpb::TxnRequest* txn, std::string_view key, int64_t revision) {
  if_created_at(txn, key, revision);
  txn->success.emplace_back().set_request_delete_range().key = key;
}

}  // namespace quoin::v3rpc
