// The Auth service and the checks of every call, through a connection.
#include <gtest/gtest.h>

#include "auth/tokens.h"
#include "v3rpc/callers.h"
#include "v3rpc/services_test.h"

namespace quoin::v3rpc {
namespace {

using Perm = wire::authpb::Permission;

server::Config auth_config(auth::TokenKind kind = auth::TokenKind::kSimple) {
  server::Config c = test_config();
  c.bcrypt_cost = 4;
  c.token_kind = kind;
  return c;
}

class AuthServiceTest : public ServicesTest {
 protected:
  explicit AuthServiceTest(const server::Config& config = auth_config()) : ServicesTest(config) {}

  template <class Request>
  http2::StreamId call_as(std::string_view token, std::string_view method, const Request& request) {
    auto headers = grpc::test::RawClient::post(method);
    if (!token.empty()) headers.push_back({"token", std::string(token)});
    return client_->request(headers, grpc::test::framed(wire::encode_string(request)), true);
  }
  // "<code> <text>" of a call that ends.
  template <class Request>
  std::string result(std::string_view token, std::string_view method, const Request& request) {
    const http2::StreamId id = call_as(token, method, request);
    run_until([&] { return stream(id).ended; });
    return stream(id).status();
  }
  void set_up(std::string_view user, std::string_view password, std::string_view role) {
    pb::AuthUserAddRequest add;
    add.name = user;
    add.password = password;
    ASSERT_EQ(result(root_, "/etcdserverpb.Auth/UserAdd", add), "0 ");
    pb::AuthRoleAddRequest role_add;
    role_add.name = role;
    ASSERT_EQ(result(root_, "/etcdserverpb.Auth/RoleAdd", role_add), "0 ");
    pb::AuthUserGrantRoleRequest give;
    give.user = user;
    give.role = role;
    ASSERT_EQ(result(root_, "/etcdserverpb.Auth/UserGrantRole", give), "0 ");
  }
  std::string login(std::string_view user, std::string_view password) {
    pb::AuthenticateRequest r;
    r.name = user;
    r.password = password;
    const http2::StreamId id = call("/etcdserverpb.Auth/Authenticate", r);
    run_until([&] { return stream(id).ended; });
    if (stream(id).status() != "0 ") return stream(id).status();
    return std::string(wire::decode<pb::AuthenticateResponse>(message(stream(id)))->token);
  }
  void enable() {
    set_up("root", "pw", "root");
    ASSERT_EQ(result("", "/etcdserverpb.Auth/AuthEnable", pb::AuthEnableRequest()), "0 ");
    root_ = login("root", "pw");
    ASSERT_NE(root_.find('.'), std::string::npos) << root_;
    set_up("alice", "secret", "r");
    pb::AuthRoleGrantPermissionRequest grant;
    grant.name = "r";
    auto& perm = grant.perm.emplace();
    perm.perm_type = Perm::Type::kReadwrite;
    perm.key = "a";
    perm.range_end = "b";
    ASSERT_EQ(result(root_, "/etcdserverpb.Auth/RoleGrantPermission", grant), "0 ");
  }
  static pb::PutRequest put_of(std::string_view key) {
    pb::PutRequest r;
    r.key = key;
    return r;
  }
  static pb::RangeRequest get_of(std::string_view key, std::string_view end = {}) {
    pb::RangeRequest r;
    r.key = key;
    r.range_end = end;
    return r;
  }
  std::string root_;
};

constexpr std::string_view kDenied = "7 etcdserver: permission denied";
constexpr std::string_view kNobody = "3 etcdserver: user name is empty";
constexpr std::string_view kBadToken = "16 etcdserver: invalid auth token";

TEST_F(AuthServiceTest, LoginsAndWhatTheyOpen) {
  EXPECT_EQ(login("root", "pw"), "9 etcdserver: authentication is not enabled");
  enable();
  EXPECT_EQ(login("root", "wrong"), "3 etcdserver: authentication failed, invalid user ID or password");
  EXPECT_EQ(login("nobody", "pw"), "3 etcdserver: authentication failed, invalid user ID or password");
  const std::string alice = login("alice", "secret");
  EXPECT_EQ(result(alice, "/etcdserverpb.KV/Put", put_of("a")), "0 ");
  EXPECT_EQ(result("Bearer " + alice, "/etcdserverpb.KV/Range", get_of("a")), "0 ");
  EXPECT_EQ(result(alice, "/etcdserverpb.KV/Put", put_of("b")), kDenied);
  EXPECT_EQ(result(alice, "/etcdserverpb.KV/Range", get_of("a", "c")), kDenied);
  EXPECT_EQ(result("", "/etcdserverpb.KV/Range", get_of("a")), kNobody);
  EXPECT_EQ(result("", "/etcdserverpb.KV/Put", put_of("a")), kNobody);
  for (const std::string_view bad : {"x", "x.y", "a.b.c", "abc.1", "", "Bearer "}) {
    auto headers = grpc::test::RawClient::post("/etcdserverpb.KV/Put");
    headers.push_back({"token", std::string(bad)});
    const auto id = client_->request(headers, grpc::test::framed(wire::encode_string(put_of("a"))), true);
    run_until([&] { return stream(id).ended; });
    EXPECT_EQ(stream(id).status(), kBadToken) << bad;
  }
  pb::TxnRequest txn;
  txn.success.emplace_back().set_request_range().key = "b";
  EXPECT_EQ(result(alice, "/etcdserverpb.KV/Txn", txn), kDenied);
  pb::CompactionRequest compact;
  compact.revision = 1;
  EXPECT_EQ(result(alice, "/etcdserverpb.KV/Compact", compact), kDenied);
  EXPECT_EQ(result("", "/etcdserverpb.Maintenance/Status", pb::StatusRequest()), kNobody);
  EXPECT_EQ(result(alice, "/etcdserverpb.Maintenance/Status", pb::StatusRequest()), "0 ");
  EXPECT_EQ(result(alice, "/etcdserverpb.Maintenance/Snapshot", pb::SnapshotRequest()), kDenied);
  pb::AlarmRequest alarm;
  EXPECT_EQ(result(alice, "/etcdserverpb.Maintenance/Alarm", alarm), "0 ");
  alarm.action = pb::AlarmRequest::AlarmAction::kActivate;
  EXPECT_EQ(result(alice, "/etcdserverpb.Maintenance/Alarm", alarm), kDenied);
}

TEST_F(AuthServiceTest, ChangesEndTokens) {
  enable();
  const std::string alice = login("alice", "secret");
  pb::AuthUserChangePasswordRequest change;
  change.name = "alice";
  change.password = "other";
  ASSERT_EQ(result(root_, "/etcdserverpb.Auth/UserChangePassword", change), "0 ");
  EXPECT_EQ(result(alice, "/etcdserverpb.KV/Put", put_of("a")), kBadToken);
  EXPECT_EQ(login("alice", "secret"), "3 etcdserver: authentication failed, invalid user ID or password");
  const std::string again = login("alice", "other");
  EXPECT_EQ(result(again, "/etcdserverpb.KV/Put", put_of("a")), "0 ");
  ASSERT_EQ(result(root_, "/etcdserverpb.Auth/AuthDisable", pb::AuthDisableRequest()), "0 ");
  // Nobody looks at tokens now.
  EXPECT_EQ(result(again, "/etcdserverpb.KV/Put", put_of("z")), "0 ");
}

// A password that is too long for bcrypt, and the hash a client sends along.
TEST_F(AuthServiceTest, OnlyTheHashReachesTheLog) {
  pb::AuthUserAddRequest add;
  const std::string longest(73, 'x');
  add.name = "u";
  add.password = longest;
  EXPECT_EQ(result("", "/etcdserverpb.Auth/UserAdd", add), "2 bcrypt: password length exceeds 72 bytes");
  add.password = "pw";
  add.hashed_password = "c29tZXRoaW5nIGVsc2U=";
  EXPECT_EQ(result("", "/etcdserverpb.Auth/UserAdd", add), "0 ");
  const auto now = member_->logins().published().get();
  EXPECT_TRUE(now->users.find("u")->record.password.starts_with("$2a$04$"));
}

// A token of an entry that this member has not applied yet: the call waits for it; if it ends before, nothing
// of it is left.
TEST_F(AuthServiceTest, ATokenFromAheadIsWaitedFor) {
  enable();
  const uint64_t ahead = member_->applied().v + 5;
  const auto waits =
      call_as(fmt::format("abcdefghijklmnop.{}", ahead), "/etcdserverpb.KV/Range", get_of("a"));
  run_until([&] { return services_->callers_waiting() == 1; });
  for (int i = 0; i < 6; ++i) ASSERT_EQ(result(root_, "/etcdserverpb.KV/Put", put_of("z")), "0 ");
  run_until([&] { return stream(waits).ended; });
  EXPECT_EQ(stream(waits).status(), kBadToken);

  auto headers = grpc::test::RawClient::post("/etcdserverpb.KV/Range");
  headers.push_back({"token", "abcdefghijklmnop.9000000000000000000"});
  std::vector<http2::StreamId> ids;
  for (int i = 0; i < 50; ++i) {
    ids.push_back(client_->request(headers, grpc::test::framed(wire::encode_string(get_of("a"))), true));
  }
  run_until([&] { return services_->callers_waiting() == 50; });
  for (const auto id : ids) client_->session.reset(id, http2::ErrorCode::kCancel);
  settle(200 * io::kMillisecond);
  EXPECT_EQ(services_->callers_waiting(), 0u);
}

// However many wait for one index and stay: those that have gone behind them are forgotten.
TEST_F(AuthServiceTest, CallsThatLeftAreForgottenBehindThoseThatWait) {
  enable();
  auto headers = grpc::test::RawClient::post("/etcdserverpb.KV/Range");
  headers.push_back({"token", "abcdefghijklmnop.9000000000000000000"});
  auto request = get_of("a");
  request.serializable = true;
  const std::string body = grpc::test::framed(wire::encode_string(request));
  std::vector<http2::StreamId> leaving;
  const size_t staying = 2 * Callers::kSweptPerLook;
  for (size_t i = 0; i < staying + 500; ++i) {
    const auto id = client_->request(headers, body, true);
    if (i >= staying) leaving.push_back(id);
  }
  run_until([&] { return services_->callers_waiting() == staying + 500; });
  for (const auto id : leaving) client_->session.reset(id, http2::ErrorCode::kCancel);
  run_until([&] { return services_->callers_waiting() == staying; });
}

// A password costs 100 ms of a thread: only who may set one is given that.
TEST_F(AuthServiceTest, WhoMayNotSetAPasswordCostsNoHash) {
  enable();
  const std::string alice = login("alice", "secret");
  pb::AuthUserAddRequest add;
  add.name = "mallory";
  add.password = "pw";
  const auto jobs_of = [&](std::string_view token, std::string_view refusal) {
    const auto id = call_as(token, "/etcdserverpb.Auth/UserAdd", add);
    double most = 0;
    run_until([&] {
      most = std::max(most, metric("quoin_auth_password_jobs"));
      return stream(id).ended;
    });
    EXPECT_EQ(stream(id).status(), refusal);
    return most;
  };
  EXPECT_EQ(jobs_of("", kNobody), 0);
  EXPECT_EQ(jobs_of(alice, kDenied), 0);
  EXPECT_EQ(jobs_of(root_, "0 "), 1);
}

TEST_F(AuthServiceTest, WatchesAreRefusedWithTheWholeStatus) {
  enable();
  const std::string alice = login("alice", "secret");
  auto headers = grpc::test::RawClient::post("/etcdserverpb.Watch/Watch");
  headers.push_back({"token", alice});
  pb::WatchRequest good, bad, open;
  good.set_create_request().key = "a";
  bad.set_create_request().key = "b";
  auto& o = open.set_create_request();
  o.key = "a";
  o.range_end = std::string_view("\0", 1);
  std::string body;
  for (const auto* r : {&bad, &good, &open}) body += grpc::test::framed(wire::encode_string(*r));
  const auto id = client_->request(headers, body, false);
  run_until([&] { return messages(stream(id).body).size() == 3; });
  const auto got = messages(stream(id).body);
  const auto refused = wire::decode<pb::WatchResponse>(got[0]);
  EXPECT_TRUE(refused->canceled && refused->created);
  EXPECT_EQ(refused->watch_id, -1);
  EXPECT_EQ(refused->cancel_reason,
            "rpc error: code = PermissionDenied desc = etcdserver: permission denied");
  EXPECT_FALSE(wire::decode<pb::WatchResponse>(got[1])->canceled);
  EXPECT_TRUE(wire::decode<pb::WatchResponse>(got[2])->canceled);
}

TEST_F(AuthServiceTest, LeasesBelongToWhoMayWriteTheirKeys) {
  enable();
  const std::string alice = login("alice", "secret");
  pb::LeaseGrantRequest grant;
  grant.id = 7;
  grant.ttl = 100;
  EXPECT_EQ(result("", "/etcdserverpb.Lease/LeaseGrant", grant), kNobody);
  EXPECT_EQ(result(alice, "/etcdserverpb.Lease/LeaseGrant", grant), "0 ");
  auto put = put_of("z");
  put.lease = 7;
  ASSERT_EQ(result(root_, "/etcdserverpb.KV/Put", put), "0 ");
  pb::LeaseTimeToLiveRequest ttl;
  ttl.id = 7;
  EXPECT_EQ(result(alice, "/etcdserverpb.Lease/LeaseTimeToLive", ttl), "0 ");
  ttl.keys = true;
  EXPECT_EQ(result(alice, "/etcdserverpb.Lease/LeaseTimeToLive", ttl), kDenied);
  EXPECT_EQ(result(root_, "/etcdserverpb.Lease/LeaseTimeToLive", ttl), "0 ");
  EXPECT_EQ(result(alice, "/etcdserverpb.Lease/LeaseLeases", pb::LeaseLeasesRequest()), kDenied);
  EXPECT_EQ(result(root_, "/etcdserverpb.Lease/LeaseLeases", pb::LeaseLeasesRequest()), "0 ");
  pb::LeaseRevokeRequest revoke;
  revoke.id = 7;
  EXPECT_EQ(result(alice, "/etcdserverpb.Lease/LeaseRevoke", revoke), kDenied);
  pb::LeaseKeepAliveRequest keep;
  keep.id = 7;
  EXPECT_EQ(result(alice, "/etcdserverpb.Lease/LeaseKeepAlive", keep), kDenied);
  EXPECT_EQ(result("", "/etcdserverpb.Lease/LeaseKeepAlive", keep), kNobody);
  EXPECT_EQ(result(root_, "/etcdserverpb.Lease/LeaseKeepAlive", keep), "0 ");
}

class NoTokensTest : public AuthServiceTest {
 protected:
  NoTokensTest() : AuthServiceTest(auth_config(auth::TokenKind::kNone)) {}
};

TEST_F(NoTokensTest, NobodyCanLogIn) {
  set_up("root", "pw", "root");
  ASSERT_EQ(result("", "/etcdserverpb.Auth/AuthEnable", pb::AuthEnableRequest()), "0 ");
  EXPECT_EQ(login("root", "pw"), "3 etcdserver: authentication failed, invalid user ID or password");
}

}  // namespace
}  // namespace quoin::v3rpc
