// Texts recorded from a real 3.6.14 (tests/interop/slow_lines.py compares more of them live).
#include "server/request_text.h"

#include <gtest/gtest.h>

#include "server/slow_requests.h"

namespace quoin::server {
namespace {

namespace pb = wire::etcdserverpb;

pb::InternalRaftRequest with_id(uint64_t id) {
  pb::InternalRaftRequest r;
  r.header.emplace().id = id;
  return r;
}

TEST(RequestText, Ranges) {
  pb::RangeRequest r;
  EXPECT_EQ(request_text(r), "");
  r.key = std::string_view("\0", 1);
  r.range_end = std::string_view("\0", 1);
  r.limit = 2;
  EXPECT_EQ(request_text(r), R"(key:"\000" range_end:"\000" limit:2 )");
  r.key = "q\"uo\\te\t\n\r\xc3\xbc\x7f ~";
  r.range_end = "";
  r.limit = -1;
  r.revision = 3;
  r.sort_order = pb::RangeRequest::SortOrder::kDescend;
  r.sort_target = static_cast<pb::RangeRequest::SortTarget>(7);
  r.serializable = r.keys_only = r.count_only = true;
  r.min_mod_revision = 1;
  r.max_mod_revision = 2;
  r.min_create_revision = 3;
  r.max_create_revision = 4;
  EXPECT_EQ(request_text(r),
            R"(key:"q\"uo\\te\t\n\r\303\274\177 ~" limit:-1 revision:3 sort_order:DESCEND sort_target:7 )"
            "serializable:true keys_only:true count_only:true min_mod_revision:1 max_mod_revision:2 "
            "min_create_revision:3 max_create_revision:4 ");
}

TEST(RequestText, PutsHideTheirValues) {
  auto r = with_id(1901823046761126661);
  r.put.emplace().key = "foo";
  r.put->value = "bar";
  EXPECT_EQ(request_text(r), R"(header:<ID:1901823046761126661 > put:<key:"foo" value_size:3 >)");
  r.header->username = "v1";
  r.header->auth_revision = 25;
  r.put->value = "";
  r.put->lease = 123;
  r.put->prev_kv = r.put->ignore_value = r.put->ignore_lease = true;
  EXPECT_EQ(request_text(r),
            R"(header:<ID:1901823046761126661 username:"v1" auth_revision:25 > put:<key:"foo" lease:123 )"
            "prev_kv:true ignore_value:true ignore_lease:true >");
  r.header.reset();
  EXPECT_TRUE(request_text(r).starts_with("header:<<nil>> put:<"));
}

TEST(RequestText, Transactions) {
  pb::TxnRequest t;
  EXPECT_EQ(request_text(t), "compare:<> success:<> failure:<>");
  t.compare.resize(2);
  t.compare[0].result = pb::Compare::CompareResult::kGreater;
  t.compare[0].target = pb::Compare::CompareTarget::kMod;
  t.compare[0].key = "foo";
  t.compare[0].set_mod_revision(0);
  t.compare[1].target = pb::Compare::CompareTarget::kValue;
  t.compare[1].key = "foo";
  t.compare[1].set_value("ab");
  t.compare[1].range_end = "fop";
  t.success.emplace_back().set_request_put().key = "a";
  t.success.emplace_back().set_request_range().key = "foo";
  t.failure.emplace_back().set_request_delete_range().key = "x";
  t.failure.emplace_back().set_request_txn().success.emplace_back().set_request_range().key = "y";
  EXPECT_EQ(request_text(t),
            R"(compare:<result:GREATER target:MOD key:"foo" mod_revision:0  )"
            R"(target:VALUE key:"foo" value_size:2 range_end:"fop" > success:<request_put:<key:"a" > )"
            R"(request_range:<key:"foo" > > failure:<request_delete_range:<key:"x" >  )"
            R"(request_txn:<compare:<> success:<request_range:<key:"y" > > failure:<>>>)");
}

TEST(RequestText, TheOthers) {
  auto grant = with_id(7);
  grant.lease_grant.emplace().ttl = 100;
  grant.lease_grant->id = 0x1a64a1fc17d91b07;
  EXPECT_EQ(request_text(grant), "header:<ID:7 > lease_grant:<ttl:100-second id:1a64a1fc17d91b07>");
  auto revoke = with_id(7);
  revoke.lease_revoke.emplace().id = 123;
  EXPECT_EQ(request_text(revoke), "header:<ID:7 > lease_revoke:<id:000000000000007b>");
  auto erase = with_id(7);
  erase.delete_range.emplace().key = "foo";
  EXPECT_EQ(request_text(erase), R"(header:<ID:7 > delete_range:<key:"foo" > )");
  auto compact = with_id(7);
  compact.compaction.emplace().revision = 2;
  compact.compaction->physical = true;
  EXPECT_EQ(request_text(compact), "header:<ID:7 > compaction:<revision:2 physical:true > ");
  auto alarm = with_id(7);
  auto& a = alarm.alarm.emplace();
  a.action = pb::AlarmRequest::AlarmAction::kActivate;
  a.member_id = 5;
  a.alarm = pb::AlarmType::kNospace;
  EXPECT_EQ(request_text(alarm), "header:<ID:7 > alarm:<action:ACTIVATE memberID:5 alarm:NOSPACE > ");
  auto version = with_id(7);
  version.cluster_version_set.emplace().ver = "3.6.0";
  EXPECT_EQ(request_text(version), R"(header:<ID:7 > cluster_version_set:<ver:"3.6.0" > )");
  auto attributes = with_id(7);
  auto& m = attributes.cluster_member_attr_set.emplace();
  m.member_id = 10971135352719343375u;
  m.member_attributes.emplace().name = "n1";
  m.member_attributes->client_urls = {"http://127.0.0.1:2379", ""};
  EXPECT_EQ(request_text(attributes),
            "header:<ID:7 > cluster_member_attr_set:<member_ID:10971135352719343375 "
            R"(member_attributes:<name:"n1" client_urls:"http://127.0.0.1:2379" client_urls:"" > > )");
  auto downgrade = with_id(7);
  downgrade.downgrade_info_set.emplace().enabled = true;
  downgrade.downgrade_info_set->ver = "3.5.0";
  EXPECT_EQ(request_text(downgrade), R"(header:<ID:7 > downgrade_info_set:<enabled:true ver:"3.5.0" > )");
  auto checkpoint = with_id(7);
  auto& c = checkpoint.lease_checkpoint.emplace().checkpoints.emplace_back();
  c.id = 5;
  c.remaining_ttl = 10;
  EXPECT_EQ(request_text(checkpoint),
            "header:<ID:7 > lease_checkpoint:<checkpoints:<ID:5 remaining_TTL:10 > > ");
}

TEST(SlowRequests, ErrorsAsTheServerCallsThem) {
  EXPECT_EQ(internal_text(Error(Code::kCompacted)), "mvcc: required revision has been compacted");
  EXPECT_EQ(internal_text(Error(Code::kLeaseNotFound)), "lease not found");
  EXPECT_EQ(internal_text(Error(Code::kNoSpace)), "etcdserver: no space");
  EXPECT_EQ(internal_text(Error(Code::kKeyNotFound)), "etcdserver: key not found");
}

// Neither passwords nor their hashes nor what makes a token are shown.
TEST(RequestText, UsersWithoutTheirSecrets) {
  auto add = with_id(7);
  add.auth_user_add.emplace().name = "u";
  add.auth_user_add->password = "SECRET";
  add.auth_user_add->hashed_password = "SECRET";
  EXPECT_EQ(request_text(add), "header:<ID:7 > auth_user_add:<name:u>");
  auto change = with_id(7);
  change.auth_user_change_password.emplace().name = "u";
  change.auth_user_change_password->hashed_password = "SECRET";
  EXPECT_EQ(request_text(change), "header:<ID:7 > auth_user_change_password:<name:u>");
  auto login = with_id(7);
  login.authenticate.emplace().name = "u";
  login.authenticate->simple_token = "SECRETSECRETSECR";
  EXPECT_EQ(request_text(login).find("SECRET"), std::string::npos);
  EXPECT_TRUE(request_text(login).starts_with("header:<ID:7 > authenticate:<name:u token-fingerprint:"));
  auto grant = with_id(7);
  grant.auth_role_grant_permission.emplace().name = "r";
  auto& perm = grant.auth_role_grant_permission->perm.emplace();
  perm.perm_type = wire::authpb::Permission::Type::kReadwrite;
  perm.key = "k";
  EXPECT_EQ(request_text(grant),
            "header:<ID:7 > auth_role_grant_permission:<name:\"r\" perm:<permType:READWRITE key:\"k\" > > ");
}

}  // namespace
}  // namespace quoin::server
