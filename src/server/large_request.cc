#include "server/large_request.h"

#include <algorithm>
#include <utility>

#include "wire/coding.h"
#include "wire/message.h"

namespace quoin::server {

namespace pb = wire::etcdserverpb;

namespace {
constexpr size_t kKeysPerValue = 4;

size_t keys_in(const mvcc::Store& store, std::string_view key, std::string_view range_end) {
  return range_end.empty() ? 1 : static_cast<size_t>(store.count_current(key, range_end));
}
size_t keys_of(const mvcc::Store& store, const pb::RangeRequest& request) {
  const size_t keys = keys_in(store, request.key, request.range_end);
  return request.count_only || request.keys_only ? keys : keys * kKeysPerValue;
}
}  // namespace

size_t keys_of(const mvcc::Store& store, const pb::DeleteRangeRequest& request) {
  return keys_in(store, request.key, request.range_end) * (request.prev_kv ? kKeysPerValue : 1);
}

size_t keys_of(const mvcc::Store& store, const pb::TxnRequest& txn) {
  size_t sum = 0;
  for (const pb::Compare& c : txn.compare) sum += keys_in(store, c.key, c.range_end);
  size_t branches[2] = {0, 0};
  size_t* branch = branches;
  for (const auto* ops : {&txn.success, &txn.failure}) {
    for (const pb::RequestOp& op : *ops) {
      if (op.request_put() != nullptr) *branch += 1;
      if (const auto* r = op.request_range()) *branch += keys_of(store, *r);
      if (const auto* r = op.request_delete_range()) *branch += keys_of(store, *r);
      if (const auto* r = op.request_txn()) *branch += keys_of(store, *r);
    }
    ++branch;
  }
  return sum + std::max(branches[0], branches[1]);
}

// ---- DeleteRange ----

LargeDeletion::LargeDeletion(mvcc::Store& store, const pb::DeleteRangeRequest& request, bool wanted)
    : store_(store), wanted_(wanted), request_(request) {}

Result<bool> LargeDeletion::step(size_t keys) {
  if (!deletion_) {
    deletion_.emplace(store_.begin(), std::string(request_.key), std::string(request_.range_end));
  }
  mvcc::KvVisitor prev;
  if (request_.prev_kv && wanted_) {
    prev = [this](std::string_view encoded) {
      pb::DeleteRangeResponse one;
      one.prev_kvs.push_back({encoded});
      wire::append(&prev_kvs_, one);
      return true;
    };
  }
  ASSIGN_OR_RETURN(const bool done, deletion_->step(&keys, prev, kStepBytes));
  if (!prev_kvs_.empty()) {
    answer_.parts.push_back(Blob::copy(prev_kvs_));  // they come behind the number of keys
    prev_kvs_.clear();
  }
  if (!done) return false;
  answer_.revision = store_.end();
  answer_.count = deletion_->deleted();
  if (!wanted_) return true;
  pb::DeleteRangeResponse head;
  head.deleted = deletion_->deleted();
  answer_.body = wire::encode_string(head);
  return true;
}

// ---- Txn ----

Answer LargeTxn::take_answer() {
  Answer answer;
  answer.revision = txn_.result().revision;
  answer.count = txn_.result().succeeded ? 1 : 0;
  answer.body = txn_.take_body();
  return answer;
}

// ---- LeaseRevoke ----

Result<bool> LargeRevocation::step(size_t keys) {
  if (txn_ == nullptr) txn_ = &store_.begin();
  for (const std::string& key : lessor_.take_keys(id_, keys)) TRY(txn_->delete_range(key, {}));
  if (lessor_.key_count(id_) > 0) return false;
  store_.end();
  TRY(lessor_.revoke(id_));
  return true;
}

}  // namespace quoin::server
