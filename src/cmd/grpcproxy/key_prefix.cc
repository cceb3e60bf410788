#include "cmd/grpcproxy/key_prefix.h"

#include "wire/message.h"

namespace quoin::cmd::grpcproxy {

namespace pb = wire::etcdserverpb;

std::string KeyPrefix::end(std::string_view end) const {
  if (end.empty()) return {};
  if (end != std::string_view("\0", 1)) return prefix_ + std::string(end);
  std::string out = prefix_;
  for (size_t i = out.size(); i-- > 0;) {
    out[i] = static_cast<char>(out[i] + 1);
    if (out[i] != 0) return out;
  }
  return std::string(1, '\0');
}

void KeyPrefix::add(pb::RangeRequest& r, Store& store) const {
  r.key = store.emplace_back(key(r.key));
  r.range_end = store.emplace_back(end(r.range_end));
}
void KeyPrefix::add(pb::PutRequest& r, Store& store) const {
  r.key = store.emplace_back(key(r.key));
}
void KeyPrefix::add(pb::DeleteRangeRequest& r, Store& store) const {
  r.key = store.emplace_back(key(r.key));
  r.range_end = store.emplace_back(end(r.range_end));
}
void KeyPrefix::add(pb::TxnRequest& r, Store& store) const {
  for (pb::Compare& c : r.compare) {
    c.key = store.emplace_back(key(c.key));
    c.range_end = store.emplace_back(end(c.range_end));
  }
  for (auto* list : {&r.success, &r.failure}) {
    for (pb::RequestOp& op : *list) {
      if (auto* range = std::get_if<1>(&op.request)) add(*range, store);
      if (auto* put = std::get_if<2>(&op.request)) add(*put, store);
      if (auto* del = std::get_if<3>(&op.request)) add(*del, store);
      if (auto* txn = std::get_if<4>(&op.request); txn != nullptr && *txn) add(**txn, store);
    }
  }
}

void KeyPrefix::strip(wire::Raw<wire::mvccpb::KeyValue>& raw, Store& store) const {
  auto kv = wire::decode(raw);
  if (!kv || kv->key.size() < prefix_.size()) return;
  kv->key.remove_prefix(prefix_.size());
  raw.bytes = store.emplace_back(wire::encode_string(*kv));
}
void KeyPrefix::strip(pb::RangeResponse& r, Store& store) const {
  for (auto& kv : r.kvs) strip(kv, store);
}
void KeyPrefix::strip(pb::PutResponse& r, Store& store) const {
  if (r.prev_kv) strip(*r.prev_kv, store);
}
void KeyPrefix::strip(pb::DeleteRangeResponse& r, Store& store) const {
  for (auto& kv : r.prev_kvs) strip(kv, store);
}
void KeyPrefix::strip(pb::TxnResponse& r, Store& store) const {
  for (pb::ResponseOp& op : r.responses) {
    if (auto* range = std::get_if<1>(&op.response)) strip(*range, store);
    if (auto* put = std::get_if<2>(&op.response)) strip(*put, store);
    if (auto* del = std::get_if<3>(&op.response)) strip(*del, store);
    if (auto* txn = std::get_if<4>(&op.response); txn != nullptr && *txn) strip(**txn, store);
  }
}
void KeyPrefix::strip(pb::WatchResponse& r, Store& store) const {
  for (wire::mvccpb::Event& e : r.events) {
    if (e.kv) strip(*e.kv, store);
    if (e.prev_kv) strip(*e.prev_kv, store);
  }
}
void KeyPrefix::strip(pb::LeaseTimeToLiveResponse& r) const {
  std::erase_if(r.keys, [&](std::string_view k) { return !k.starts_with(prefix_); });
  for (std::string_view& k : r.keys) k.remove_prefix(prefix_.size());
}

}  // namespace quoin::cmd::grpcproxy
