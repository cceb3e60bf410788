// When the lines about slow requests are written; their words stand in tests/interop/slow_lines.py.
#include "v3rpc/request_stats.h"

#include "v3rpc/services_test.h"

namespace quoin::v3rpc {
namespace {

constexpr std::string_view kSlow = "apply request took too long", kStats = "request stats";

server::Config with_thresholds(int64_t apply_ns, int64_t unary_ns) {
  server::Config c = test_config();
  c.warning_apply_ns = apply_ns;
  c.warning_unary_request_ns = unary_ns;
  return c;
}

// In the simulation a task takes no time of its own while it runs, so only what waits is slow.
class NothingIsSlow : public ServicesTest {};
class EverythingIsSlow : public ServicesTest {
 protected:
  EverythingIsSlow() : ServicesTest(with_thresholds(-1, -1)) { log_.clear(); }
};

TEST_F(NothingIsSlow, LeavesNoLine) {
  fill();
  const auto single = call("/etcdserverpb.KV/Range", one());
  run_until([&] { return stream(single).ended; });
  EXPECT_FALSE(log_.contains(kSlow));
  EXPECT_FALSE(log_.contains(kStats));
  // Debug shows every call, at that level.
  log_.set_level(log::Level::kDebug);
  const auto again = call("/etcdserverpb.KV/Range", one());
  run_until([&] { return stream(again).ended; });
  EXPECT_EQ(log_.count(kStats), 1u);
  EXPECT_TRUE(log_.contains("debug request stats"));
}

TEST_F(EverythingIsSlow, TellsOfEachCallOnce) {
  pb::PutRequest put;
  put.key = "foo";
  put.value = "bar";
  const auto id = call("/etcdserverpb.KV/Put", put);
  run_until([&] { return stream(id).ended; });
  EXPECT_EQ(log_.count("> put:<"), 1u);
  EXPECT_TRUE(log_.contains("> put:<key:\"foo\" value_size:3 > response=size:4"));
  EXPECT_EQ(log_.count("warn request stats"), 1u);
  EXPECT_TRUE(
      log_.contains("response type=/etcdserverpb.KV/Put request count=1 request size=10 response count=0"));
  log_.clear();
  const auto health = client_->request(grpc::test::RawClient::post("/grpc.health.v1.Health/Check"),
                                       grpc::test::framed(""), true);
  run_until([&] { return stream(health).ended; });
  EXPECT_FALSE(log_.contains(kSlow));
  EXPECT_TRUE(log_.contains("request count=-1 request size=-1 response count=-1 response size=-1"));
}

TEST_F(EverythingIsSlow, LongReadsAndCancelledOnes) {
  fill();
  log_.clear();
  const auto all = call("/etcdserverpb.KV/Range", everything());
  run_until([&] { return stream(all).ended; });
  EXPECT_EQ(log_.count("prefix=read-only range "), 1u);
  EXPECT_TRUE(log_.contains(fmt::format("response=range_response_count:{} size:", kKeys)));
  EXPECT_TRUE(
      log_.contains(fmt::format("response count={} response size={}", kKeys, message(stream(all)).size())));
  log_.clear();
  const auto cancelled = call("/etcdserverpb.KV/Range", everything());
  run_until([&] { return calls_.size() == 1; });
  client_->session.reset(cancelled, http2::ErrorCode::kCancel);
  run_until([&] { return calls_.size() == 0; });
  EXPECT_EQ(log_.count(kSlow), 1u);
  EXPECT_TRUE(log_.contains("error=context canceled"));
  EXPECT_TRUE(log_.contains("response count=0 response size=0"));
  const auto last = call("/etcdserverpb.KV/Range", one());
  run_until([&] { return stream(last).ended; });
  EXPECT_EQ(log_.count("prefix=read-only range "), 2u);
}

}  // namespace
}  // namespace quoin::v3rpc
