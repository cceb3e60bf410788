// What metrics say of calls that ended before they were answered, and of reads.
#include "v3rpc/services_test.h"

namespace quoin::v3rpc {
namespace {

class CallMetricsTest : public ServicesTest {
 protected:
  // As the status of calls that ended: "handled Put 2".
  size_t handled(std::string_view line) {
    return static_cast<size_t>(std::count(probe_.lines.begin(), probe_.lines.end(), line));
  }
  template <class Request>
  http2::StreamId call_with_deadline(std::string_view method, const Request& request) {
    auto headers = grpc::test::RawClient::post(method);
    headers.emplace_back("grpc-timeout", "50m");
    return client_->request(headers, grpc::test::framed(wire::encode_string(request)), true);
  }
  // The request is with the server, which has got no further.
  void deliver() {
    bool done = false;
    loop_.post([&] {
      carry();
      done = true;
    });
    while (!done) world_.step();
    ASSERT_EQ(calls_.size(), 1u);
  }
  void cancel(http2::StreamId id) {
    client_->session.reset(id, http2::ErrorCode::kCancel);
    bool done = false;
    loop_.post([&] {
      carry();
      done = true;
    });
    while (!done) world_.step();
    ASSERT_EQ(calls_.size(), 0u);
  }
  // Its deadline passes before anything else happens.
  void expire() {
    bool done = false;
    loop_.post([&] {
      (void)connection_->tick(process_.clock().monotonic() + io::kSecond);
      done = true;
    });
    while (!done) world_.step();
    ASSERT_EQ(calls_.size(), 0u);
  }
};

// A proposal that was handed to raft has an outcome that nobody knows.
TEST_F(CallMetricsTest, AWriteThatNobodyWaitsFor) {
  pb::PutRequest put;
  put.key = "a";
  pb::DeleteRangeRequest erase;
  erase.key = "a";
  pb::TxnRequest txn;
  txn.success.emplace_back().set_request_put().key = "a";
  pb::LeaseGrantRequest grant;
  grant.ttl = 10;
  settle(10 * io::kSecond);  // what the member proposes by itself
  double failed = metric("etcd_server_proposals_failed_total");
  const auto both = [&](std::string_view method, std::string_view name, const auto& request) {
    SCOPED_TRACE(name);
    const auto id = call(method, request);
    deliver();
    cancel(id);
    EXPECT_EQ(handled(fmt::format("handled {} 2", name)), 1u);
    EXPECT_EQ(metric("etcd_server_proposals_failed_total"), failed += 1);
    call_with_deadline(method, request);
    deliver();
    expire();
    EXPECT_EQ(handled(fmt::format("handled {} 14", name)), 1u);
    EXPECT_EQ(metric("etcd_server_proposals_failed_total"), failed += 1);
    EXPECT_EQ(metric("etcd_server_proposals_pending"), 0);
    settle();
  };
  both("/etcdserverpb.KV/Put", "Put", put);
  both("/etcdserverpb.KV/DeleteRange", "DeleteRange", erase);
  both("/etcdserverpb.KV/Txn", "Txn", txn);
  both("/etcdserverpb.Lease/LeaseGrant", "LeaseGrant", grant);
  // It was applied all the same, and one that is answered does not fail.
  EXPECT_GT(member_->view()->revision(), 4);
  const auto id = call("/etcdserverpb.KV/Put", put);
  run_until([&] { return stream(id).ended; });
  EXPECT_EQ(handled("handled Put 0"), 1u);
  EXPECT_EQ(metric("etcd_server_proposals_failed_total"), failed);
}

TEST_F(CallMetricsTest, AReadThatNobodyWaitsFor) {
  pb::RangeRequest range;
  range.key = "a";
  const auto id = call("/etcdserverpb.KV/Range", range);
  deliver();
  cancel(id);
  EXPECT_EQ(handled("handled Range 1"), 1u);
  call_with_deadline("/etcdserverpb.KV/Range", range);
  deliver();
  expire();
  EXPECT_EQ(handled("handled Range 4"), 1u);
  EXPECT_EQ(metric("etcd_server_proposals_failed_total"), 0);
}

// Measured at etcd 3.6.16: of 200 keepalive streams that were reset or whose connection went, 200 count as Unavailable;
// of 200 watch streams, 200 as Canceled.
TEST_F(CallMetricsTest, AStreamThatItsClientLeaves) {
  pb::LeaseKeepAliveRequest alive;
  alive.id = 1;
  pb::WatchRequest watch;
  watch.set_create_request().key = "a";
  const auto both = [&](std::string_view method, std::string_view name, int left, const auto& request) {
    SCOPED_TRACE(name);
    const auto open = [&](bool deadline) {
      auto headers = grpc::test::RawClient::post(method);
      if (deadline) headers.emplace_back("grpc-timeout", "50m");
      return client_->request(headers, grpc::test::framed(wire::encode_string(request)), false);
    };
    const auto id = open(false);
    deliver();
    settle(io::kMillisecond);
    cancel(id);
    EXPECT_EQ(handled(fmt::format("handled {} {}", name, left)), 1u);
    open(true);
    deliver();
    expire();
    EXPECT_EQ(handled(fmt::format("handled {} 4", name)), 1u);
  };
  both("/etcdserverpb.Lease/LeaseKeepAlive", "LeaseKeepAlive", 14, alive);
  both("/etcdserverpb.Watch/Watch", "Watch", 1, watch);
}

TEST_F(CallMetricsTest, RangesAndTransactions) {
  double ranges = metric("etcd_mvcc_range_total"), txns = metric("etcd_mvcc_txn_total");
  const auto expect = [&](std::string_view method, const auto& request, int more_ranges, int more_txns) {
    const auto id = call(method, request);
    run_until([&] { return stream(id).ended; });
    EXPECT_EQ(metric("etcd_mvcc_range_total"), ranges += more_ranges);
    EXPECT_EQ(metric("etcd_mvcc_txn_total"), txns += more_txns);
  };
  expect("/etcdserverpb.KV/Range", one(), 1, 0);
  pb::RangeRequest future = one();
  future.revision = 1'000'000;
  expect("/etcdserverpb.KV/Range", future, 1, 0);
  pb::TxnRequest read;
  read.success.emplace_back().set_request_range() = one();
  read.success.emplace_back().set_request_range() = one();
  expect("/etcdserverpb.KV/Txn", read, 2, 1);
  pb::TxnRequest compared;
  for (const int version : {0, 5, 0}) {  // the second does not hold, so the third is not looked at
    auto& c = compared.compare.emplace_back();
    c.key = "none";
    c.target = pb::Compare::CompareTarget::kVersion;
    c.set_version(version);
  }
  compared.failure.emplace_back().set_request_range() = one();
  expect("/etcdserverpb.KV/Txn", compared, 3, 1);
  pb::TxnRequest write = compared;
  write.failure.clear();
  write.failure.emplace_back().set_request_put().key = "a";
  expect("/etcdserverpb.KV/Txn", write, 2, 1);
}

}  // namespace
}  // namespace quoin::v3rpc
