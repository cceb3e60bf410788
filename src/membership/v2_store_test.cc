#include "membership/v2_store.h"

#include <gtest/gtest.h>

namespace quoin::membership {
namespace {

// The text that a Go etcd was seen to accept (spec storage-formats 4.2).
TEST(V2StoreTest, ReadsTheSheetsExample) {
  const auto s = parse_v2_store(
      R"({"Root":{"Path":"/","Children":{"0":{"Path":"/0","Children":{"members":{"Path":"/0/members","Children":{"bdae9bbc11dd390d":{"Path":"/0/members/bdae9bbc11dd390d","Children":{"attributes":{"Path":"/0/members/bdae9bbc11dd390d/attributes","Value":"{\"name\":\"m1\",\"clientURLs\":[\"http://127.0.0.1:23791\"]}"},"raftAttributes":{"Path":"/0/members/bdae9bbc11dd390d/raftAttributes","Value":"{\"peerURLs\":[\"http://127.0.0.1:23801\"]}"}}}}},"version":{"Path":"/0/version","Value":"3.4.0"}}},"1":{"Path":"/1","Children":{}}}},"CurrentIndex":4,"CurrentVersion":2})");
  ASSERT_TRUE(s) << s.error().text();
  EXPECT_FALSE(s->custom_content);
  ASSERT_EQ(s->membership.members.size(), 1u);
  const Member& m = s->membership.members.begin()->second;
  EXPECT_EQ(m.id, MemberId(0xbdae9bbc11dd390d));
  EXPECT_EQ(m.name, "m1");
  EXPECT_EQ(m.client_urls, std::vector<std::string>{"http://127.0.0.1:23791"});
  EXPECT_EQ(m.peer_urls, std::vector<std::string>{"http://127.0.0.1:23801"});
  EXPECT_EQ(s->membership.version, (Version{3, 4, 0}));
}

TEST(V2StoreTest, WhatIsWritten) {
  Membership m;
  EXPECT_EQ(
      v2_store_json(m),
      R"({"Root":{"Path":"/","CreatedIndex":0,"ModifiedIndex":0,"ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{"0":{"Path":"/0","CreatedIndex":1,"ModifiedIndex":1,"ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{}},"1":{"Path":"/1","CreatedIndex":2,"ModifiedIndex":2,"ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{}}}},"CurrentIndex":2,"CurrentVersion":2})");
  Member a;
  a.id = MemberId(0x1a);
  a.peer_urls = {"http://a:1"};
  m.members[a.id] = a;
  m.removed = {MemberId(2)};
  const std::string text = v2_store_json(m);
  EXPECT_NE(text.find(R"("1a":{"Path":"/0/members/1a",)"), std::string::npos) << text;
  EXPECT_NE(text.find(R"("raftAttributes":{"Path":"/0/members/1a/raftAttributes",)"), std::string::npos);
  EXPECT_NE(text.find(R"("Value":"{\"peerURLs\":[\"http://a:1\"]}","Children":null})"), std::string::npos);
  EXPECT_NE(text.find(R"("2":{"Path":"/0/removed_members/2",)"), std::string::npos);
  EXPECT_EQ(text.find("/attributes"), std::string::npos);  // nothing published yet
}

TEST(V2StoreTest, BothWays) {
  Membership m;
  for (uint64_t id = 1; id <= 5; ++id) {
    Member x;
    x.id = MemberId(id << 60 | id);
    x.peer_urls = {"http://a:" + std::to_string(id), "http://b:<>"};
    x.is_learner = id == 3;
    if (id != 2) {
      x.name = "m\"" + std::to_string(id);
      x.client_urls = {"http://c"};
    }
    m.members[x.id] = x;
  }
  m.removed = {MemberId(77), MemberId(78)};
  m.version = Version{3, 6, 0};
  const auto back = parse_v2_store(v2_store_json(m));
  ASSERT_TRUE(back) << back.error().text();
  EXPECT_EQ(back->membership.members, m.members);
  EXPECT_EQ(back->membership.removed, m.removed);
  EXPECT_EQ(back->membership.version, m.version);
  EXPECT_FALSE(back->custom_content);
}

TEST(V2StoreTest, ContentOfTheV2ApiIsSeen) {
  struct {
    const char* children;
    bool custom;
  } const rows[] = {
      {R"({"1":{"Children":{}}})", false},
      {R"({"1":{"Children":{"a":{"Value":"x"}}}})", true},
      {R"({"2":{"Children":{"a":{"Value":"x"}}}})", false},
      {R"({"2":{"Children":{"a":{"Children":{"b":{}}}}}})", true},
      {R"({"foo":{"Value":"x"}})", false},
  };
  for (const auto& row : rows) {
    const auto s = parse_v2_store(fmt::format(R"({{"Root":{{"Children":{}}}}})", row.children));
    ASSERT_TRUE(s);
    EXPECT_EQ(s->custom_content, row.custom) << row.children;
  }
}

TEST(V2StoreTest, WhatIsRefused) {
  for (
      const char* bad :
      {"", "{", "[]", R"({"Root":7})",
       R"({"Root":{"Children":{"0":{"Children":{"members":{"Children":{"xyz":{}}}}}}}})",
       R"({"Root":{"Children":{"0":{"Children":{"members":{"Children":{"1":{"Children":{}}}}}}}}})",
       R"({"Root":{"Children":{"0":{"Children":{"members":{"Children":{"1":{"Children":{"raftAttributes":{"Value":"{"}}}}}}}}}})",
       R"({"Root":{"Children":{"0":{"Children":{"members":{"Children":{"1":{"Children":{"other":{}}}}}}}}}})",
       R"({"Root":{"Children":{"0":{"Children":{"version":{"Value":"x"}}}}}})"}) {
    EXPECT_FALSE(parse_v2_store(bad)) << bad;
  }
  EXPECT_TRUE(parse_v2_store("{}"));
}

}  // namespace
}  // namespace quoin::membership
