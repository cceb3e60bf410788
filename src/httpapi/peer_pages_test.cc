// The answers of real members, as they came over the wire: spec raft-and-peers 25.
#include "httpapi/peer_pages.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "httpapi/httpapi.h"
#include "wire/lease.h"
#include "wire/message.h"

namespace quoin::httpapi {
namespace {

namespace pb = wire::etcdserverpb;
using namespace std::string_literals;

class Source final : public HealthSource, public PeerSource {
 public:
  std::vector<Alarm> alarms() override { return {}; }
  bool has_leader() override { return true; }
  bool is_learner() override { return false; }
  void probe_read(bool, absl::AnyInvocable<void(Result<>)> done) override { done({}); }
  std::string cluster_version() override { return "3.6.0"; }
  std::string storage_version() override { return "3.6.0"; }

  std::string cluster_id() override { return "cdf818194e3a8c32"; }
  std::string members_json() override { return R"([{"id":1,"peerURLs":["http://a:1"]}])"; }
  bool downgrade_enabled() override { return downgrading; }
  void linearizable_read(Done<void> done) override { done(error ? Result<>(*error) : Result<>()); }
  void promote(uint64_t id, std::string token, Done<std::string> done) override {
    asked = fmt::format("promote {} {}", id, token);
    error ? done(*error) : done(members_json());
  }
  void hash_kv(int64_t revision, Done<PeerHash> done) override {
    asked = fmt::format("hash {}", revision);
    error ? done(*error) : done(hash);
  }
  void renew_lease(int64_t id, Done<int64_t> done) override {
    asked = fmt::format("renew {}", id);
    error ? done(*error) : done(7);
  }
  void lease_times(int64_t id, bool keys, Done<PeerLease> done) override {
    asked = fmt::format("times {} {}", id, keys);
    error ? done(*error) : done(lease);
  }

  bool downgrading = false;
  std::optional<Error> error;
  PeerHash hash;
  PeerLease lease;
  std::string asked;
};

class PeerPagesTest : public testing::Test {
 protected:
  PeerPagesTest() { endpoints_.set_peer_source(source_); }

  // "200 Content-Type: text/plain | body", fields in order of their names.
  std::string ask(std::string_view method, std::string_view path, std::string_view body = {},
                  std::vector<std::pair<std::string_view, std::string_view>> headers = {},
                  Surface surface = Surface::kPeer) {
    Request r{method, path, {}, std::move(headers)};
    r.body = body;
    std::optional<Response> got;
    endpoints_.serve(surface, false, r, [&](Response response) { got = std::move(response); });
    if (!got) return "no answer";
    std::sort(got->headers.begin(), got->headers.end());
    std::string out = fmt::format("{}", got->status);
    for (const auto& [name, value] : got->headers) {
      if (name != "X-Content-Type-Options") out += fmt::format(" {}: {}", name, value);
    }
    return out + " | " + got->body;
  }
  static std::string keep_alive(int64_t id) {
    pb::LeaseKeepAliveRequest r;
    r.id = id;
    return wire::encode_string(r);
  }
  static std::string times(int64_t id, bool keys) {
    wire::leasepb::LeaseInternalRequest r;
    r.lease_time_to_live_request.emplace().id = id;
    r.lease_time_to_live_request->keys = keys;
    return wire::encode_string(r);
  }

  static constexpr std::string_view kText = "Content-Type: text/plain; charset=utf-8";
  static constexpr std::string_view kCluster = "X-Etcd-Cluster-Id: cdf818194e3a8c32";
  Source source_;
  metrics::Registry registry_;
  Endpoints endpoints_{source_, registry_, log::null_logger(), {}};
};

TEST_F(PeerPagesTest, Members) {
  EXPECT_EQ(
      ask("GET", "/members"),
      fmt::format("200 Content-Type: application/json {} | [{{\"id\":1,\"peerURLs\":[\"http://a:1\"]}}]\n",
                  kCluster));
  EXPECT_EQ(ask("POST", "/members"), fmt::format("405 Allow: GET {} | Method Not Allowed\n", kText));
  EXPECT_EQ(ask("GET", "/members/"), fmt::format("404 {} | 404 page not found\n", kText));
  for (const Surface s : {Surface::kClient, Surface::kMetrics}) {
    for (const char* path : {"/members", "/members/hashkv", "/members/promote/1", "/leases",
                             "/leases/internal", "/downgrade/enabled"}) {
      EXPECT_EQ(ask("POST", path, {}, {}, s).substr(0, 3), "404") << path;
    }
  }
}

TEST_F(PeerPagesTest, Promote) {
  EXPECT_EQ(
      ask("POST", "/members/promote/18446744073709551615", {}, {{"Authorization", "t.1"}}),
      fmt::format("200 Content-Type: application/json {} | [{{\"id\":1,\"peerURLs\":[\"http://a:1\"]}}]\n",
                  kCluster));
  EXPECT_EQ(source_.asked, "promote 18446744073709551615 t.1");
  source_.asked.clear();
  for (const char* id : {"", "x", "-1", "+1", "1x", "0x1", "18446744073709551616", "1/2"}) {
    EXPECT_EQ(ask("POST", fmt::format("/members/promote/{}", id)),
              fmt::format("404 {} {} | member {} not found in cluster\n", kText, kCluster, id));
  }
  EXPECT_EQ(source_.asked, "");
  EXPECT_EQ(ask("GET", "/members/promote/1"),
            fmt::format("405 Allow: POST {} | Method Not Allowed\n", kText));
  EXPECT_EQ(ask("POST", "/members/promote"), "307 Location: /members/promote/ | ");

  const auto refused = [&](Code code) {
    source_.error = Error(code);
    return ask("POST", "/members/promote/1");
  };
  EXPECT_EQ(refused(Code::kMemberNotFound),
            fmt::format("404 {} {} | membership: ID not found\n", kText, kCluster));
  EXPECT_EQ(refused(Code::kMemberNotLearner),
            fmt::format("412 {} {} | membership: can only promote a learner member\n", kText, kCluster));
  EXPECT_EQ(
      refused(Code::kLearnerNotReady),
      fmt::format("412 {} {} | etcdserver: can only promote a learner member which is in sync with leader\n",
                  kText, kCluster));
  for (const Code code : {Code::kUnhealthy, Code::kTimeout, Code::kNoLeader, Code::kMemberNotEnoughStarted}) {
    EXPECT_EQ(refused(code), fmt::format("500 Content-Type: application/json {} | "
                                         "{{\"message\":\"Internal Server Error\"}}",
                                         kCluster));
  }
}

TEST_F(PeerPagesTest, HashKv) {
  source_.hash = {3, 2782514397, -1, 3};
  const std::string good = fmt::format(
      "200 Content-Type: application/json {} | "
      "{{\"header\":{{\"revision\":3}},\"hash\":2782514397,\"compact_revision\":-1,\"hash_revision\":3}}",
      kCluster);
  const std::string bad = fmt::format("400 {} | error unmarshalling request\n", kText);
  for (const char* body :
       {"{\"revision\":5}", " {\"Revision\" : 5, \"other\": [1, {}]} ", "{\"revision\":1,\"revision\":5}"}) {
    source_.asked.clear();
    EXPECT_EQ(ask("GET", "/members/hashkv", body), good) << body;
    EXPECT_EQ(source_.asked, "hash 5") << body;
  }
  for (const char* body : {"{}", "null", "{\"revision\":null}"}) {
    EXPECT_EQ(ask("GET", "/members/hashkv", body), good) << body;
    EXPECT_EQ(source_.asked, "hash 0") << body;
  }
  EXPECT_EQ(ask("GET", "/members/hashkv", "{\"revision\":-9223372036854775808}"), good);
  for (const char* body : {"", "x", "[]", "5", "{\"revision\":\"5\"}", "{\"revision\":5.0}",
                           "{\"revision\":1e2}", "{\"revision\":9223372036854775808}", "{\"revision\":5}x"}) {
    EXPECT_EQ(ask("GET", "/members/hashkv", body), bad) << body;
  }
  EXPECT_EQ(ask("GET", "/members/hashkv", std::string(PeerPages::kBodyMax + 1, ' ')), bad);
  std::string keys = "{";
  for (int i = 0; i < 300; ++i) keys += fmt::format("\"{}\":1,", i);
  EXPECT_EQ(ask("GET", "/members/hashkv", keys + "\"revision\":5}"), bad)
      << "each costs as much as there are before";

  EXPECT_EQ(ask("GET", "/members/hashkv", "{}", {{"x-etcd-cluster-id", "cdf818194e3a8c32"}}), good);
  EXPECT_EQ(ask("GET", "/members/hashkv", "{}", {{"X-Etcd-Cluster-ID", "cdf"}}),
            fmt::format("412 {} | cluster ID mismatch\n", kText));
  EXPECT_EQ(ask("POST", "/members/hashkv", "{}"),
            fmt::format("405 Allow: GET {} | Method Not Allowed\n", kText));

  source_.hash = {};
  EXPECT_EQ(ask("GET", "/members/hashkv", "{}"),
            fmt::format("200 Content-Type: application/json {} | {{\"header\":{{}}}}", kCluster));
  source_.error = Error(Code::kCompacted);
  EXPECT_EQ(ask("GET", "/members/hashkv", "{}"),
            fmt::format("400 {} | mvcc: required revision has been compacted\n", kText));
  source_.error = Error(Code::kFutureRev);
  EXPECT_EQ(ask("GET", "/members/hashkv", "{}"),
            fmt::format("400 {} | mvcc: required revision is a future revision\n", kText));
}

TEST_F(PeerPagesTest, Leases) {
  EXPECT_EQ(ask("POST", "/leases", keep_alive(9)),
            std::string("200 Content-Type: application/protobuf | \x10\x09\x18\x07"));
  EXPECT_EQ(source_.asked, "renew 9");
  // Without a message the lease is 0, as protobuf has it.
  EXPECT_EQ(ask("POST", "/leases"), "200 Content-Type: application/protobuf | \x18\x07");
  for (const char* path : {"/leases", "/leases/internal"}) {
    EXPECT_EQ(ask("POST", path, "\x0b"), fmt::format("400 {} | error unmarshalling request\n", kText));
    EXPECT_EQ(ask("POST", path, std::string(PeerPages::kBodyMax + 1, '\0')),
              fmt::format("413 {} | request body too large\n", kText));
    EXPECT_EQ(ask("GET", path), fmt::format("405 {} | Method Not Allowed\n", kText));
  }
  EXPECT_EQ(ask("POST", "/leases/"), fmt::format("404 {} | 404 page not found\n", kText));

  source_.lease = {3, 10, {}};
  EXPECT_EQ(ask("POST", "/leases/internal", times(9, false)),
            "200 Content-Type: application/protobuf | \x0a\x08\x0a\0\x10\x09\x18\x03\x20\x0a"s);
  EXPECT_EQ(source_.asked, "times 9 false");
  source_.lease.keys = {"a"};
  EXPECT_EQ(ask("POST", "/leases/internal", times(9, true)),
            "200 Content-Type: application/protobuf | \x0a\x0b\x0a\0\x10\x09\x18\x03\x20\x0a\x2a\x01"
            "a"s);
  // It has run out and is about to be revoked.
  source_.lease = {-1, 10, {}};
  EXPECT_EQ(ask("POST", "/leases/internal", times(9, false)).substr(0, 3), "200");
  source_.lease = {-1, 0, {}};
  EXPECT_EQ(ask("POST", "/leases/internal", times(9, false)),
            fmt::format("404 {} | lease not found\n", kText));
  EXPECT_EQ(ask("POST", "/leases/internal"), fmt::format("400 {} | error unmarshalling request\n", kText));

  const auto refused = [&](Code code, const char* path, const std::string& body) {
    source_.error = Error(code);
    return ask("POST", path, body);
  };
  EXPECT_EQ(refused(Code::kLeaseNotFound, "/leases", keep_alive(9)),
            fmt::format("404 {} | lease not found\n", kText));
  EXPECT_EQ(refused(Code::kNotPrimary, "/leases", keep_alive(9)),
            fmt::format("400 {} | not a primary lessor\n", kText));
  EXPECT_EQ(refused(Code::kNotPrimary, "/leases/internal", times(9, false)),
            fmt::format("500 {} | not a primary lessor\n", kText));
  for (const bool renewal : {false, true}) {
    EXPECT_EQ(refused(Code::kTimeoutWaitAppliedIndex, renewal ? "/leases" : "/leases/internal",
                      renewal ? keep_alive(9) : times(9, false)),
              fmt::format("408 {} | waiting for node to catch up its applied index has timed out\n", kText));
  }
}

TEST_F(PeerPagesTest, DowngradeEnabled) {
  EXPECT_EQ(ask("GET", "/downgrade/enabled"),
            fmt::format("200 Content-Type: text/plain {} | false", kCluster));
  source_.downgrading = true;
  EXPECT_EQ(ask("GET", "/downgrade/enabled"),
            fmt::format("200 Content-Type: text/plain {} | true", kCluster));
  EXPECT_EQ(ask("PUT", "/downgrade/enabled"), fmt::format("405 Allow: GET {} | Method Not Allowed\n", kText));
  source_.error = Error(Code::kTimeout);
  EXPECT_EQ(
      ask("GET", "/downgrade/enabled"),
      fmt::format("500 {} {} | failed linearized read: etcdserver: request timed out\n", kText, kCluster));
}

TEST_F(PeerPagesTest, ManyKeysAreEncodedInTheBackground) {
  std::vector<Task> tasks;
  Options options;
  options.background = [&](Task task) { tasks.push_back(std::move(task)); };
  Endpoints endpoints(source_, registry_, log::null_logger(), options);
  endpoints.set_peer_source(source_);
  source_.lease = {3, 10, {}};
  for (int i = 0; i < 5000; ++i) source_.lease.keys.push_back(fmt::format("k{}", i));
  const std::string body = times(9, true);
  Request r{"POST", "/leases/internal", {}, {}};
  r.body = body;
  std::string got;
  endpoints.serve(Surface::kPeer, false, r, [&](Response response) { got = std::move(response.body); });
  EXPECT_TRUE(got.empty());
  ASSERT_EQ(tasks.size(), 1u);
  std::move(tasks[0])();
  const auto answer = wire::decode<wire::leasepb::LeaseInternalResponse>(got);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->lease_time_to_live_response->keys.size(), 5000u);
}

}  // namespace
}  // namespace quoin::httpapi
