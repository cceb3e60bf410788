// --namespace: a prefix in front of every key that goes to the members, and away from every key that comes
// back.
//
// Messages are views: what is made here lives in a Store, which outlives the message.
// Threads: none. Source: etcd's client/v3/namespace.
#pragma once
#include <deque>
#include <string>
#include <string_view>

#include "wire/rpc.h"

namespace quoin::cmd::grpcproxy {

using Store = std::deque<std::string>;

class KeyPrefix {
 public:
  explicit KeyPrefix(std::string prefix) : prefix_(std::move(prefix)) {}
  bool empty() const { return prefix_.empty(); }
  const std::string& text() const { return prefix_; }

  std::string key(std::string_view key) const { return prefix_ + std::string(key); }
  // Of a range: the end of "\0" becomes that of the prefix.
  std::string end(std::string_view end) const;

  void add(wire::etcdserverpb::RangeRequest& r, Store& store) const;
  void add(wire::etcdserverpb::PutRequest& r, Store& store) const;
  void add(wire::etcdserverpb::DeleteRangeRequest& r, Store& store) const;
  void add(wire::etcdserverpb::TxnRequest& r, Store& store) const;
  void strip(wire::etcdserverpb::RangeResponse& r, Store& store) const;
  void strip(wire::etcdserverpb::PutResponse& r, Store& store) const;
  void strip(wire::etcdserverpb::DeleteRangeResponse& r, Store& store) const;
  void strip(wire::etcdserverpb::TxnResponse& r, Store& store) const;
  void strip(wire::etcdserverpb::WatchResponse& r, Store& store) const;
  // Of a lease: keys of other namespaces are left out.
  void strip(wire::etcdserverpb::LeaseTimeToLiveResponse& r) const;

 private:
  void strip(wire::Raw<wire::mvccpb::KeyValue>& kv, Store& store) const;
  const std::string prefix_;
};

}  // namespace quoin::cmd::grpcproxy
