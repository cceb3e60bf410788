// Entries of callers with and without rights, and the Auth service's own, on a whole member.
#include "auth/password.h"
#include "server/life_test.h"
#include "server/logins.h"

namespace quoin::server {
namespace {

using Request = pb::InternalRaftRequest;

class AuthApplyTest : public ::testing::Test {
 protected:
  AuthApplyTest() { life_ = std::make_unique<Life>(world_, disk_, config()); }
  static Config config() {
    Config c = life_config();
    c.bcrypt_cost = 4;
    return c;
  }
  const auth::Permissions& now() {
    permissions_ = life_->member().logins().published().get();
    return *permissions_;
  }
  // As `user`, of the present auth revision; empty: nobody.
  static Request as(std::string_view user, uint64_t revision) {
    Request r;
    auto& header = r.header.emplace();
    header.username = user;
    if (!user.empty()) header.auth_revision = revision;
    return r;
  }
  Request as(std::string_view user) { return as(user, now().revision); }
  Code run(Request request) {
    const Answer answer = life_->propose(std::move(request));
    return answer.error ? answer.error->code() : kFine;
  }
  static constexpr Code kFine = Code::kNotFound;  // stands for success

  void add_user(std::string_view name) {
    Request r = as("root");
    r.auth_user_add.emplace().name = name;
    r.auth_user_add->options.emplace().no_password = true;
    ASSERT_EQ(run(std::move(r)), kFine);
  }
  void add_role(std::string_view name) {
    Request r = as("root");
    r.auth_role_add.emplace().name = name;
    ASSERT_EQ(run(std::move(r)), kFine);
  }
  void give(std::string_view user, std::string_view role) {
    Request r = as("root");
    r.auth_user_grant_role.emplace().user = user;
    r.auth_user_grant_role->role = role;
    ASSERT_EQ(run(std::move(r)), kFine);
  }
  void permit(std::string_view role, wire::authpb::Permission::Type type, std::string_view key,
              std::string_view end = {}) {
    Request r = as("root");
    auto& grant = r.auth_role_grant_permission.emplace();
    grant.name = role;
    auto& perm = grant.perm.emplace();
    perm.perm_type = type;
    perm.key = key;
    perm.range_end = end;
    ASSERT_EQ(run(std::move(r)), kFine);
  }
  void enable() {
    add_user("root");
    add_role("root");
    give("root", "root");
    Request r;
    r.auth_enable.emplace();
    ASSERT_EQ(run(std::move(r)), kFine);
    ASSERT_TRUE(now().enabled);
  }
  static Request put(Request r, std::string_view key, int64_t lease = 0) {
    r.put.emplace().key = key;
    r.put->lease = lease;
    return r;
  }
  using Type = wire::authpb::Permission::Type;

  sim::World world_{7};
  sim::SimDisk disk_{world_};
  std::unique_ptr<Life> life_;
  auth::PermissionsRef permissions_;
};

TEST_F(AuthApplyTest, TheCallerOfAnEntryIsCheckedWhereItIsApplied) {
  enable();
  add_user("alice");
  add_role("r");
  give("alice", "r");
  permit("r", Type::kReadwrite, "a", "b");
  const int64_t before = life_->view()->revision();
  EXPECT_EQ(run(put(as(""), "a")), Code::kUserEmpty);
  EXPECT_EQ(run(put(as("alice", now().revision - 1), "a")), Code::kAuthOldRevision);
  EXPECT_EQ(run(put(as("bob"), "a")), Code::kPermissionDenied);
  EXPECT_EQ(run(put(as("alice"), "b")), Code::kPermissionDenied);
  EXPECT_EQ(life_->view()->revision(), before);
  EXPECT_EQ(run(put(as("alice"), "a")), kFine);
  EXPECT_EQ(run(put(as("root"), "b")), kFine);
  Request list = as("alice");
  list.auth_user_list.emplace();
  EXPECT_EQ(run(std::move(list)), Code::kPermissionDenied);
  Request self = as("alice");
  self.auth_user_get.emplace().name = "alice";
  EXPECT_EQ(run(std::move(self)), kFine);
}

// What an answer told is there after a kill, and nothing of it twice.
TEST_F(AuthApplyTest, UsersAndTheirRevisionSurviveAKill) {
  enable();
  add_user("alice");
  const uint64_t revision = now().revision;
  life_.reset();
  life_ = std::make_unique<Life>(world_, disk_, config());
  EXPECT_TRUE(now().enabled);
  EXPECT_EQ(now().revision, revision);
  EXPECT_NE(now().users.find("alice"), nullptr);
  EXPECT_EQ(run(put(as(""), "k")), Code::kUserEmpty);
}

// Each change moves the revision by one, and is applied once: whatever a loss of power cuts off, the number of changes
// that are there and the revision agree.
TEST_F(AuthApplyTest, EveryChangeCountsOnceWhereverThePowerGoes) {
  enable();
  life_->stop();
  life_.reset();
  const auto changes = [&] {
    // Of users and roles that are there, and the one grant.
    return uint64_t{1} + now().roles.size() + now().users.size() + 1;
  };
  Prng draw(3);
  int named = 0;
  uint64_t before = 0;
  for (int round = 0; round < 60; ++round) {
    life_ = std::make_unique<Life>(world_, disk_, config());
    ASSERT_FALSE(life_->start_error);
    ASSERT_EQ(now().revision, changes()) << round;
    ASSERT_GE(now().revision, before);
    std::vector<std::string> names;
    size_t answered = 0;
    for (int i = 0; i < 8; ++i) {
      names.push_back(fmt::format("u{}", named++));
      Request r = as("root", INT64_MAX);  // of any revision from now on
      r.auth_user_add.emplace().name = names.back();
      r.auth_user_add->options.emplace().no_password = true;
      life_->start_proposal(std::move(r), [&](Answer a) { answered += a.error ? 0 : 1; });
    }
    before = now().revision;
    for (uint64_t steps = draw.below(400); steps > 0; --steps) world_.step();
    const size_t acknowledged = answered;
    life_->process().kill();
    life_.reset();
    disk_.crash();
    before += acknowledged;
  }
}

TEST_F(AuthApplyTest, ALeaseThatEndsIsRevokedAsRoot) {
  Request grant;
  grant.lease_grant.emplace().id = 7;
  grant.lease_grant->ttl = 5;
  ASSERT_EQ(run(std::move(grant)), kFine);
  ASSERT_EQ(run(put({}, "k", 7)), kFine);
  enable();
  EXPECT_TRUE(life_->run_until([&] {
    const auto view = life_->view();
    return !view->find("k", view->revision());
  }));
}

// A token is made of the entry's place in the log, so that all members make the same one.
TEST_F(AuthApplyTest, AnAuthenticateEntryMakesItsToken) {
  enable();
  Request none;
  none.authenticate.emplace().name = "nobody";
  EXPECT_EQ(run(std::move(none)), Code::kAuthFailed);
  auto with_password = as("root");
  const auto secrets = auth::system_secrets();
  const std::string hash = auth::hashed_password_field(*auth::hash_password("pw", 4, *secrets));
  with_password.auth_user_add.emplace().name = "alice";
  with_password.auth_user_add->hashed_password = hash;
  ASSERT_EQ(run(std::move(with_password)), kFine);
  Request login;
  login.authenticate.emplace().name = "alice";
  login.authenticate->simple_token = "abcdefghijklmnop";
  const Answer answer = life_->propose(std::move(login));
  ASSERT_FALSE(answer.error) << answer.error->text();
  const auto response = wire::decode<pb::AuthenticateResponse>(answer.body);
  const Index index = life_->member().applied();
  EXPECT_EQ(response->token, fmt::format("abcdefghijklmnop.{}", index.v - 1));
  const auto who = life_->member().logins().whose(response->token, now());
  ASSERT_TRUE(who);
  EXPECT_EQ(who->user, "alice");
  EXPECT_FALSE(life_->member().logins().whose("abcdefghijklmnop.1", now()));
}

// Checks and changes that need more than a task: a lease with many keys, a role that many users have, a user with
// many permissions, a long list.
TEST_F(AuthApplyTest, WhatIsLargeGoesInSteps) {
  constexpr int kMany = 3'000;
  enable();
  add_user("alice");
  add_role("r");
  give("alice", "r");
  permit("r", Type::kReadwrite, "k", "l");
  Request grant = as("root");
  grant.lease_grant.emplace().id = 7;
  grant.lease_grant->ttl = 9000;
  ASSERT_EQ(run(std::move(grant)), kFine);
  std::deque<std::string> names;
  std::vector<Request> puts, users, grants;
  for (int i = 0; i < kMany; ++i)
    puts.push_back(put(as("root"), names.emplace_back(fmt::format("k{:05}", i)), 7));
  puts.push_back(put(as("root"), "x", 7));
  for (const auto& a : life_->propose_together(std::move(puts))) ASSERT_FALSE(a->error);

  // "x" is the last key of the lease.
  EXPECT_EQ(run(put(as("alice"), "k1", 7)), Code::kPermissionDenied);
  Request revoke = as("alice");
  revoke.lease_revoke.emplace().id = 7;
  EXPECT_EQ(run(revoke), Code::kPermissionDenied);
  permit("r", Type::kWrite, "x");
  EXPECT_EQ(run(put(as("alice"), "k1", 7)), kFine);

  const uint64_t revision = now().revision;
  for (int i = 0; i < kMany; ++i) {
    Request add = as("root", revision);
    add.auth_user_add.emplace().name = names[static_cast<size_t>(i)];
    add.auth_user_add->options.emplace().no_password = true;
    users.push_back(std::move(add));
    Request role = as("root", revision);
    role.auth_user_grant_role.emplace().user = names[static_cast<size_t>(i)];
    role.auth_user_grant_role->role = "r";
    grants.push_back(std::move(role));
  }
  for (const auto& a : life_->propose_together(std::move(users))) ASSERT_FALSE(a->error) << a->error->text();
  for (const auto& a : life_->propose_together(std::move(grants))) ASSERT_FALSE(a->error) << a->error->text();
  Request list = as("root");
  list.auth_user_list.emplace();
  const Answer listed = life_->propose(std::move(list));
  ASSERT_FALSE(listed.error);
  EXPECT_GT(listed.parts.size(), 1u);
  std::string all;
  for (const Blob& part : listed.parts) all += part.view();
  EXPECT_EQ(wire::decode<pb::AuthUserListResponse>(all)->users.size(), kMany + 2u);

  Request away = as("root");
  away.auth_role_delete.emplace().role = "r";
  EXPECT_EQ(run(std::move(away)), kFine);
  EXPECT_EQ(now().roles.find("r"), nullptr);
  EXPECT_FALSE(now().users.find(names.back())->has_role("r"));
  life_.reset();
  life_ = std::make_unique<Life>(world_, disk_, config());
  EXPECT_FALSE(now().users.find(names.back())->has_role("r"));
}

}  // namespace
}  // namespace quoin::server
