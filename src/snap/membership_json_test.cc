#include "snap/membership_json.h"

#include <gtest/gtest.h>

namespace quoin::snap {
namespace {

// Accepted by a Go etcd at start (spec storage-formats 4.2).
constexpr std::string_view kMinimal =
    R"({"Root":{"Path":"/","Children":{"0":{"Path":"/0","Children":{"members":{"Path":"/0/members","Children":{"bdae9bbc11dd390d":{"Path":"/0/members/bdae9bbc11dd390d","Children":{"attributes":{"Path":"/0/members/bdae9bbc11dd390d/attributes","Value":"{\"name\":\"m1\",\"clientURLs\":[\"http://127.0.0.1:23791\"]}"},"raftAttributes":{"Path":"/0/members/bdae9bbc11dd390d/raftAttributes","Value":"{\"peerURLs\":[\"http://127.0.0.1:23801\"]}"}}}}},"version":{"Path":"/0/version","Value":"3.4.0"}}},"1":{"Path":"/1","Children":{}}}},"CurrentIndex":4,"CurrentVersion":2})";

MembershipState one_member() {
  MembershipState s;
  s.members.push_back({MemberId(0xbdae9bbc11dd390dull),
                       {"http://127.0.0.1:23801"},
                       false,
                       MemberState::Attributes{"m1", {"http://127.0.0.1:23791"}}});
  s.cluster_version = "3.4.0";
  return s;
}

TEST(MembershipJson, WritesTheTextThatGoAccepts) {
  EXPECT_EQ(write_membership_json(one_member(), 4), kMinimal);
}

TEST(MembershipJson, ReadsItBack) {
  auto text = read_membership_json(kMinimal);
  ASSERT_TRUE(text.has_value()) << text.error().text();
  EXPECT_EQ(text->state, one_member());
  EXPECT_TRUE(text->custom_content.empty());
}

TEST(MembershipJson, ReadsWhatGoWrites) {
  // With indexes, expiry times, nulls and the event history, as 3.5 and 3.6 have them.
  constexpr std::string_view kGo =
      R"({"Root":{"Path":"/","CreatedIndex":0,"ModifiedIndex":0,"ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{"0":{"Path":"/0","CreatedIndex":0,"ModifiedIndex":0,"ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{"members":{"Path":"/0/members","CreatedIndex":1,"ModifiedIndex":1,"ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{"d":{"Path":"/0/members/d","CreatedIndex":1,"ModifiedIndex":1,"ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{"raftAttributes":{"Path":"/0/members/d/raftAttributes","CreatedIndex":1,"ModifiedIndex":1,"ExpireTime":"0001-01-01T00:00:00Z","Value":"{\"peerURLs\":[\"http://a:1\",\"http://b:2\"],\"isLearner\":true}","Children":null}}}}},"removed_members":{"Path":"/0/removed_members","Children":{"ffffffffffffffff":{"Path":"/0/removed_members/ffffffffffffffff","Value":"","Children":null},"a":{"Path":"/0/removed_members/a","Value":"","Children":null}}}}},"1":{"Path":"/1","Children":{}}}},"WatcherHub":{"EventHistory":{"Queue":{"Events":[null,null],"Size":0,"Front":0,"Back":0,"Capacity":2},"StartIndex":0,"LastIndex":0}},"CurrentIndex":1,"Stats":{"getsSuccess":0},"CurrentVersion":2})";
  auto text = read_membership_json(kGo);
  ASSERT_TRUE(text.has_value()) << text.error().text();
  ASSERT_EQ(text->state.members.size(), 1u);
  const MemberState& m = text->state.members[0];
  EXPECT_EQ(m.id, MemberId(13));
  EXPECT_TRUE(m.is_learner);
  EXPECT_EQ(m.peer_urls, (std::vector<std::string>{"http://a:1", "http://b:2"}));
  EXPECT_FALSE(m.attributes.has_value());
  EXPECT_EQ(text->state.removed, (std::vector<MemberId>{MemberId(10), MemberId(UINT64_MAX)}));
  EXPECT_EQ(text->state.cluster_version, "");
}

TEST(MembershipJson, RoundTripsAndOrdersByHexadecimalId) {
  MembershipState s;
  for (uint64_t id : {0xaull, 0x1000ull, 0x9ull, 0xffffffffffffffffull, 0x10ull}) {
    s.members.push_back({MemberId(id), {"http://x"}, id % 2 == 1, std::nullopt});
  }
  s.members[1].attributes = MemberState::Attributes{"<a&b> \"\\\n\x01 \xe2\x80\xa8 ü", {"unix:///tmp/s"}};
  s.members[2].attributes = MemberState::Attributes{};
  s.removed = {MemberId(3), MemberId(0x20)};
  s.cluster_version = "3.6.0";
  const std::string json = write_membership_json(s, 1);
  EXPECT_LT(json.find("members/10\""), json.find("members/1000\""));
  EXPECT_LT(json.find("members/1000\""), json.find("members/9\""));
  EXPECT_NE(json.find(R"(\\u003ca\\u0026b\\u003e \\\"\\\\\\n\\u0001 \\u2028 ü)"), std::string::npos) << json;
  EXPECT_NE(json.find(R"("Path":"/0/members/9/attributes","Value":"{}")"), std::string::npos);
  auto text = read_membership_json(json);
  ASSERT_TRUE(text.has_value()) << text.error().text();
  std::sort(s.members.begin(), s.members.end(), [](auto& a, auto& b) { return a.id < b.id; });
  EXPECT_EQ(text->state, s);
}

TEST(MembershipJson, InvalidUtf8BecomesTheReplacementCharacterAsInGo) {
  MembershipState s;
  s.members.push_back({MemberId(1), {"http://x\xff\xc0\x80\xed\xa0\x80"}, false, std::nullopt});
  auto text = read_membership_json(write_membership_json(s, 1));
  ASSERT_TRUE(text.has_value());
  EXPECT_EQ(text->state.members[0].peer_urls[0],
            "http://x\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}

TEST(MembershipJson, CustomContentIsListed) {
  struct Case {
    const char* root;
    std::vector<std::string> custom;
  };
  const Case cases[] = {
      {R"({})", {}},
      {R"({"1":{"Children":{}}})", {}},
      {R"({"1":{"Children":{"k":{"Value":"v"}}}})", {"/1"}},
      {R"({"2":{"Children":{"k":{"Value":"v"}}}})", {}},
      {R"({"2":{"Children":{"k":{"Children":{"x":{}}}}}})", {"/2"}},
      {R"({"app":{"Value":"a file"}})", {}},
      {R"({"app":{"Children":{"k":{}}},"b":{"Children":{"k":{}}}})", {"/app", "/b"}},
  };
  for (const Case& c : cases) {
    auto text = read_membership_json(fmt::format(R"({{"Root":{{"Path":"/","Children":{}}}}})", c.root));
    ASSERT_TRUE(text.has_value()) << c.root;
    EXPECT_EQ(text->custom_content, c.custom) << c.root;
  }
}

TEST(MembershipJson, WhatGoPanicsOnIsAnError) {
  const auto member = [](std::string_view children) {
    return fmt::format(
        R"({{"Root":{{"Children":{{"0":{{"Children":{{"members":{{"Children":{{"a":{{"Children":{}}}}}}}}}}}}}}}}})",
        children);
  };
  EXPECT_TRUE(read_membership_json(member(R"({"raftAttributes":{"Value":"{}"}})")).has_value());
  struct Case {
    std::string json;
    const char* error;
  };
  const Case cases[] = {
      {"", "v2 store: /: not a JSON object"},
      {"[]", "v2 store: /: not a JSON object"},
      {"{\"Root\":", "v2 store: /: not a JSON object"},
      {R"({"Root":7})", "v2 store: /: not a node"},
      {member("{}"), "v2 store: /0/members/a: raftAttributes key doesn't exist"},
      {member("null"), "v2 store: /0/members/a: a file, where a directory is expected"},
      {member(R"({"other":{"Value":""}})"), "v2 store: /0/members/a/other: unknown child of a member"},
      {member(R"({"raftAttributes":{"Value":"no json"}})"),
       "v2 store: /0/members/a/raftAttributes: Value is not a JSON object"},
      {member(R"({"raftAttributes":{"Value":"{\"peerURLs\":[1]}"}})"),
       "v2 store: /0/members/a/raftAttributes: peerURLs holds something else than strings"},
      {member(R"({"raftAttributes":{"Children":{}}})"),
       "v2 store: /0/members/a/raftAttributes: a directory, where a file is expected"},
      {R"({"Root":{"Children":{"0":{"Children":{"members":{"Children":{"zz":{"Children":{}}}}}}}}})",
       "v2 store: /0/members/zz: not a member id"},
  };
  for (const Case& c : cases) {
    auto text = read_membership_json(c.json);
    ASSERT_FALSE(text.has_value()) << c.json;
    EXPECT_EQ(text.error().text(), c.error);
  }
}

}  // namespace
}  // namespace quoin::snap
