// Locks and elections by users: what they do to keys counts.
#include "v3rpc/contests_test.h"

namespace quoin::v3rpc {
namespace {

using Keys = std::vector<std::string>;
using Perm = wire::authpb::Permission;

constexpr std::string_view kDenied = "2 etcdserver: permission denied";

class ContestsAuthTest : public ContestsTest {
 protected:
  static server::Config config() {
    server::Config c = test_config();
    c.bcrypt_cost = 4;
    c.token_kind = auth::TokenKind::kSimple;
    return c;
  }
  ContestsAuthTest() : ContestsTest(config()) {}

  template <class Request>
  http2::StreamId call_as(std::string_view token, std::string_view method, const Request& request) {
    auto headers = grpc::test::RawClient::post(method);
    if (!token.empty()) headers.push_back({"token", std::string(token)});
    return client_->request(headers, grpc::test::framed(wire::encode_string(request)), true);
  }
  template <class Request>
  void must(std::string_view token, std::string_view method, const Request& request) {
    ASSERT_EQ(end_of(call_as(token, method, request)), "0 ") << method;
  }
  void user(std::string_view name, std::string_view key, std::string_view end, Perm::Type type) {
    pb::AuthUserAddRequest add;
    add.name = name;
    add.password = "pw";
    must(root_, "/etcdserverpb.Auth/UserAdd", add);
    pb::AuthRoleAddRequest role;
    role.name = name;
    must(root_, "/etcdserverpb.Auth/RoleAdd", role);
    pb::AuthUserGrantRoleRequest give;
    give.user = name;
    give.role = name;
    must(root_, "/etcdserverpb.Auth/UserGrantRole", give);
    if (key.empty()) return;
    pb::AuthRoleGrantPermissionRequest grant;
    grant.name = name;
    auto& perm = grant.perm.emplace();
    perm.perm_type = type;
    perm.key = key;
    perm.range_end = end;
    must(root_, "/etcdserverpb.Auth/RoleGrantPermission", grant);
  }
  std::string login(std::string_view name) {
    pb::AuthenticateRequest r;
    r.name = name;
    r.password = "pw";
    const auto id = call("/etcdserverpb.Auth/Authenticate", r);
    EXPECT_EQ(end_of(id), "0 ");
    return std::string(wire::decode<pb::AuthenticateResponse>(message(stream(id)))->token);
  }
  void set_up() {
    for (int64_t id = 1; id <= 4; ++id) lease(id);
    user("root", {}, {}, Perm::Type::kReadwrite);
    must("", "/etcdserverpb.Auth/AuthEnable", pb::AuthEnableRequest());
    root_ = login("root");
    user("alice", "a", "b", Perm::Type::kReadwrite);
    user("writer", "a", "b", Perm::Type::kWrite);
    user("single", "a/1", {}, Perm::Type::kReadwrite);
    root_ = login("root");
    alice_ = login("alice");
  }
  Keys keys_as_root() {
    pb::RangeRequest all = everything();
    const auto id = call_as(root_, "/etcdserverpb.KV/Range", all);
    EXPECT_EQ(end_of(id), "0 ");
    Keys out;
    const auto found = wire::decode<pb::RangeResponse>(message(stream(id)));
    for (const auto& raw : found->kvs) {
      out.emplace_back(wire::decode<wire::mvccpb::KeyValue>(raw)->key);
    }
    return out;
  }
  http2::StreamId lock_as(std::string_view token, std::string_view name, int64_t lease) {
    return call_as(token, "/v3lockpb.Lock/Lock", lock_request(name, lease));
  }
  std::string root_, alice_;
};

TEST_F(ContestsAuthTest, TheCallersRightsCount) {
  set_up();
  EXPECT_EQ(end_of(lock_as("", "a", 1)), "2 etcdserver: user name is empty");
  EXPECT_EQ(end_of(lock_as("", "a", 0)), "2 etcdserver: user name is empty");
  EXPECT_EQ(end_of(lock_as("nonsense.1", "a", 1)), "2 etcdserver: invalid auth token");
  EXPECT_EQ(end_of(lock_as(alice_, "z", 1)), kDenied);
  EXPECT_EQ(end_of(lock_as(login("writer"), "a", 1)), kDenied);
  EXPECT_EQ(end_of(lock_as(login("single"), "a", 1)), kDenied);  // the prefix is read, too
  EXPECT_EQ(keys_as_root(), Keys());
  EXPECT_EQ(end_of(lock_as(alice_, "a", 1)), "0 ");

  electionpb::LeaderRequest leader;
  leader.name = "a";
  const std::string leader_method = "/v3electionpb.Election/Leader";
  EXPECT_EQ(end_of(call_as(alice_, leader_method, leader)), "0 ");
  EXPECT_EQ(end_of(call_as("", leader_method, leader)), "2 etcdserver: user name is empty");
  EXPECT_EQ(end_of(call_as(login("writer"), leader_method, leader)), kDenied);
  electionpb::ResignRequest resign;
  resign.leader.emplace().key = "a/1";
  resign.leader->lease = 1;
  EXPECT_EQ(end_of(call_as(login("writer"), "/v3electionpb.Election/Resign", resign)), kDenied);
  lockpb::UnlockRequest unlock;
  unlock.key = "z";
  EXPECT_EQ(end_of(call_as(alice_, "/v3lockpb.Lock/Unlock", unlock)), kDenied);
  unlock.key = "a/1";
  EXPECT_EQ(end_of(call_as(login("writer"), "/v3lockpb.Lock/Unlock", unlock)), "0 ");
  // An observer that may not look ends well.
  EXPECT_EQ(end_of(call_as("", "/v3electionpb.Election/Observe", leader)), "0 ");
}

TEST_F(ContestsAuthTest, AWaitingCallGivesItsKeyUpUnderItsOwnName) {
  set_up();
  ASSERT_EQ(end_of(lock_as(root_, "a", 1)), "0 ");
  const auto waits = lock_as(alice_, "a", 2);
  settle(300 * io::kMillisecond);
  EXPECT_EQ(keys_as_root(), (Keys{"a/1", "a/2"}));
  // The revision of the store that her token saw has passed.
  user("late", "a", "b", Perm::Type::kRead);
  root_ = login("root");
  client_->session.reset(waits, http2::ErrorCode::kCancel);
  settle(300 * io::kMillisecond);
  EXPECT_EQ(keys_as_root(), Keys{"a/1"});
  const auto turn = lock_as(login("alice"), "a", 3);
  settle(300 * io::kMillisecond);
  lockpb::UnlockRequest unlock;
  unlock.key = "a/1";
  must(root_, "/v3lockpb.Lock/Unlock", unlock);
  EXPECT_EQ(end_of(turn), "0 ");
}

}  // namespace
}  // namespace quoin::v3rpc
