// A member whose clients hold locks and elections.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "v3rpc/cluster_service_test.h"
#include "wire/v3election.h"
#include "wire/v3lock.h"

namespace quoin::v3rpc {

namespace lockpb = wire::v3lockpb;
namespace electionpb = wire::v3electionpb;

class ContestsTest : public ClusterServiceTest {
 protected:
  using ClusterServiceTest::ClusterServiceTest;
  void lease(int64_t id, int64_t ttl = 1000) {
    pb::LeaseGrantRequest grant;
    grant.id = id;
    grant.ttl = ttl;
    ASSERT_EQ(ask("Lease/LeaseGrant", grant).status(), "0 ");
  }
  void revoke(int64_t id) {
    pb::LeaseRevokeRequest revoke;
    revoke.id = id;
    ASSERT_EQ(ask("Lease/LeaseRevoke", revoke).status(), "0 ");
  }
  static lockpb::LockRequest lock_request(std::string_view name, int64_t lease) {
    lockpb::LockRequest r;
    r.name = name;
    r.lease = lease;
    return r;
  }
  static electionpb::CampaignRequest campaign_request(std::string_view name, int64_t lease,
                                                      std::string_view value) {
    electionpb::CampaignRequest r;
    r.name = name;
    r.lease = lease;
    r.value = value;
    return r;
  }
  http2::StreamId lock(std::string_view name, int64_t lease) {
    return call("/v3lockpb.Lock/Lock", lock_request(name, lease));
  }
  http2::StreamId campaign(std::string_view name, int64_t lease, std::string_view value) {
    return call("/v3electionpb.Election/Campaign", campaign_request(name, lease, value));
  }
  http2::StreamId observe(std::string_view name) {
    electionpb::LeaderRequest r;
    r.name = name;
    return call("/v3electionpb.Election/Observe", r);
  }
  // Starts and lets it come as far as it can.
  http2::StreamId waiting_lock(std::string_view name, int64_t lease) {
    const auto id = lock(name, lease);
    settle(300 * io::kMillisecond);
    EXPECT_FALSE(stream(id).ended);
    return id;
  }
  std::string end_of(http2::StreamId id) {
    run_until([&] { return stream(id).ended; });
    return stream(id).status();
  }
  template <class Response>
  Response answer(http2::StreamId id) {
    EXPECT_EQ(end_of(id), "0 ");
    if (stream(id).status() != "0 ") return {};
    auto r = wire::decode<Response>(message(stream(id)));
    EXPECT_TRUE(r);
    return *std::move(r);
  }
  template <class Request>
  std::string end_of_call(std::string_view method, const Request& request) {
    return end_of(call(method, request));
  }
  std::string unlock(std::string_view key) {
    lockpb::UnlockRequest r;
    r.key = key;
    return end_of_call("/v3lockpb.Lock/Unlock", r);
  }
  std::string proclaim(const electionpb::LeaderKey& leader, std::string_view value) {
    electionpb::ProclaimRequest r;
    r.leader = leader;
    r.value = value;
    return end_of_call("/v3electionpb.Election/Proclaim", r);
  }
  std::string resign(const electionpb::LeaderKey& leader) {
    electionpb::ResignRequest r;
    r.leader = leader;
    return end_of_call("/v3electionpb.Election/Resign", r);
  }
  void put(std::string_view key, std::string_view value) {
    pb::PutRequest put;
    put.key = key;
    put.value = value;
    ASSERT_EQ(ask("KV/Put", put).status(), "0 ");
  }
  // The keys there are, each as key=value@lease.
  std::vector<std::string> keys() {
    pb::RangeRequest all = everything();
    all.serializable = false;
    const auto& s = ask("KV/Range", all);
    std::vector<std::string> out;
    const auto r = wire::decode<pb::RangeResponse>(message(s));
    EXPECT_TRUE(r);
    for (const auto& raw : r->kvs) {
      const auto kv = wire::decode<wire::mvccpb::KeyValue>(raw);
      out.push_back(fmt::format("{}={}@{}", kv->key, kv->value, kv->lease));
    }
    return out;
  }
  double watchers() { return metric("etcd_debugging_mvcc_watcher_total"); }
  void expect_no_watch() {
    settle(300 * io::kMillisecond);
    EXPECT_EQ(watchers(), 0);
    EXPECT_EQ(metric("etcd_debugging_mvcc_watch_stream_total"), 0);
    EXPECT_EQ(services_->steps_waiting(), 0u);
  }
  void drop_connection() {
    bool done = false;
    loop_.post([&] {
      connection_.reset();
      connection_ = std::make_unique<grpc::ServerConnection>(*context_, grpc::PeerInfo{"127.0.0.1:1", ""},
                                                             *this, process_.clock().monotonic());
      client_ = std::make_unique<grpc::test::RawClient>();
      done = true;
    });
    ASSERT_TRUE(world_.run_until([&] { return done; }, kMaxNs));
  }
};

}  // namespace quoin::v3rpc
