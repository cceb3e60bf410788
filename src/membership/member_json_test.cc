#include <gtest/gtest.h>

#include "membership/bounded_json.h"
#include "membership/member.h"

namespace quoin::membership {
namespace {

TEST(MemberJsonTest, BothWays) {
  Member m;
  m.id = MemberId(18446744073709551615u);
  EXPECT_EQ(member_json(m), R"({"id":18446744073709551615,"peerURLs":null})");
  EXPECT_EQ(*parse_member(member_json(m)), m);
  m.peer_urls = {"http://a:1", "http://b:1"};
  m.is_learner = true;
  m.name = "m<1>";
  m.client_urls = {"http://c:2379"};
  EXPECT_EQ(
      member_json(m),
      R"({"id":18446744073709551615,"peerURLs":["http://a:1","http://b:1"],"isLearner":true,"name":"m\u003c1\u003e","clientURLs":["http://c:2379"]})");
  EXPECT_EQ(*parse_member(member_json(m)), m);
  EXPECT_EQ(raft_attributes_json(m), R"({"peerURLs":["http://a:1","http://b:1"],"isLearner":true})");
  EXPECT_EQ(attributes_json(m), R"({"name":"m\u003c1\u003e","clientURLs":["http://c:2379"]})");
  Member halves;
  halves.id = m.id;
  EXPECT_TRUE(parse_raft_attributes(raft_attributes_json(m), &halves));
  EXPECT_TRUE(parse_attributes(attributes_json(m), &halves));
  EXPECT_EQ(halves, m);
  EXPECT_EQ(*parse_members(members_json({m, halves})), (std::vector<Member>{m, halves}));
  EXPECT_EQ(members_json({}), "[]");
}

TEST(MemberJsonTest, ReadersTakeAnyOrderAndCaseAndUnknownKeys) {
  const auto m = parse_member(R"( {"NAME":"x","more":{"a":[1]},"clienturls":["c"],"PeerUrls":null,"Id":7} )");
  ASSERT_TRUE(m);
  EXPECT_EQ(m->name, "x");
  EXPECT_EQ(m->id, MemberId(7));
  EXPECT_EQ(m->client_urls, std::vector<std::string>{"c"});
  EXPECT_TRUE(parse_member("null"));
  bool promote = false;
  EXPECT_TRUE(parse_change_context(R"({"id":1,"peerURLs":null,"isPromote":true})", &promote));
  EXPECT_TRUE(promote);
}

TEST(MemberJsonTest, WhatIsRefused) {
  for (const char* bad : {"", "{", "[]", "7", R"({"id":-1})", R"({"id":1.0})", R"({"id":"1"})",
                          R"({"id":18446744073709551616})", R"({"name":1})", R"({"peerURLs":"x"})",
                          R"({"peerURLs":[1]})", R"({"isLearner":1})", "{} x"}) {
    EXPECT_FALSE(parse_member(bad)) << bad;
  }
}

TEST(MemberJsonTest, DowngradeAndConfState) {
  EXPECT_EQ(downgrade_json({true, "3.5.0"}), R"({"target-version":"3.5.0","enabled":true})");
  EXPECT_EQ(downgrade_json({}), R"({"target-version":"","enabled":false})");
  EXPECT_EQ(*parse_downgrade(R"({"target-version":"3.5.0","enabled":true})"), (Downgrade{true, "3.5.0"}));
  raft::ConfState s;
  EXPECT_EQ(conf_state_json(s), R"({"auto_leave":false})");
  s.voters = {MemberId(1), MemberId(18446744073709551615u)};
  s.learners = {MemberId(3)};
  s.voters_outgoing = {MemberId(4)};
  s.learners_next = {MemberId(5)};
  s.auto_leave = true;
  EXPECT_EQ(
      conf_state_json(s),
      R"({"voters":[1,18446744073709551615],"learners":[3],"voters_outgoing":[4],"learners_next":[5],"auto_leave":true})");
  EXPECT_EQ(*parse_conf_state(conf_state_json(s)), s);
  EXPECT_EQ(*parse_conf_state("{}"), raft::ConfState{});
}

// The time that an object takes grows with the square of its keys; a member's answer of a megabyte would hold a strand
// for ten seconds.
TEST(MemberJsonTest, ObjectsOfManyKeysAreRefused) {
  const auto object = [](size_t keys, std::string_view end) {
    std::string s = "{";
    for (size_t i = 0; i < keys; ++i) s += fmt::format("\"key{}\":{},", i, i);
    return s.append(end) + "}";
  };
  const std::string most = object(kObjectKeysMax - 1, R"("id":5)"),
                    more = object(kObjectKeysMax, R"("id":5)");
  EXPECT_EQ(parse_member(most)->id, MemberId(5));
  EXPECT_FALSE(parse_member(more));
  // Each object by itself.
  std::string list = "[";
  for (int i = 0; i < 50; ++i) list += most + ",";
  EXPECT_EQ(parse_members(list + most + "]")->size(), 51u);
  EXPECT_FALSE(parse_members(list + more + "]"));
  EXPECT_FALSE(parse_members(list + R"({"id":1,"x":)" + more + "}]"));
  EXPECT_FALSE(parse_member(object(100'000, R"("id":5)")));
}

}  // namespace
}  // namespace quoin::membership
