// Requests without gRPC on a gRPC connection: what the handler sees, what the client gets, what it costs.
#include "grpc/harness_test.h"

namespace quoin::grpc::test {
namespace {

struct Pages final : HttpHandler {
  struct Seen {
    std::string method, path, query, authority, body;
    std::vector<std::pair<std::string, std::string>> fields;
  };
  std::vector<Seen> seen;
  std::vector<Reply> replies;  // of those below /later
  void on_request(const http1::Request& r, Reply reply) override {
    Seen& s = seen.emplace_back(Seen{std::string(r.method),
                                     std::string(r.path),
                                     std::string(r.query),
                                     std::string(r.authority),
                                     std::string(r.body),
                                     {}});
    for (const auto& [name, value] : r.fields) s.fields.emplace_back(name, value);
    if (r.path == "/later") return replies.push_back(std::move(reply));
    if (r.path == "/none") return reply({204, {}, ""});
    if (r.path == "/large") return reply({200, {}, std::string(1 << 20, 'x')});
    reply({200, {{"Content-Type", "text/plain"}}, "hello"});
  }
};

struct HttpOverHttp2 : testing::Test, Harness {
  HttpOverHttp2() { context.http = &pages; }
  RawClient::Stream& get(std::string_view path, std::string_view method = "GET", RawClient::Headers more = {},
                         std::string_view body = {}, bool end = true) {
    RawClient::Headers headers = {{":method", std::string(method)},
                                  {":scheme", "https"},
                                  {":path", std::string(path)},
                                  {":authority", "x:1"}};
    headers.insert(headers.end(), more.begin(), more.end());
    last_id = client.request(headers, body, end, end && body.empty());
    return *client.streams[last_id];
  }
  http2::StreamId last_id = 0;
  Pages pages;
};

TEST_F(HttpOverHttp2, ARequestIsAnswered) {
  auto& s = get("/health?serializable=true", "GET", {{"accept", "*/*"}});
  run();
  ASSERT_EQ(pages.seen.size(), 1u);
  const auto& seen = pages.seen[0];
  EXPECT_EQ(seen.method + " " + seen.path + " " + seen.query + " " + seen.authority,
            "GET /health serializable=true x:1");
  EXPECT_EQ(seen.fields, (std::vector<std::pair<std::string, std::string>>{{"accept", "*/*"}}));
  EXPECT_EQ(s.headers[":status"], "200");
  EXPECT_EQ(s.headers["content-type"], "text/plain");
  EXPECT_EQ(s.headers["content-length"], "5");
  EXPECT_EQ(s.body, "hello");
  EXPECT_TRUE(s.closed);
  EXPECT_EQ(s.code, http2::ErrorCode::kNoError);
  EXPECT_EQ(server->held_bytes(), 0u);
}

TEST_F(HttpOverHttp2, GrpcGoesOnBesideIt) {
  auto& page = get("/health");
  auto& call = this->call("/test.Echo/Unary", framed("a"));
  run();
  EXPECT_EQ(page.body, "hello");
  EXPECT_EQ(call.body, framed("a"));
  EXPECT_TRUE(call.status().starts_with("0 ")) << call.status();
}

TEST_F(HttpOverHttp2, WithoutAHandlerItIs415) {
  context.http = nullptr;
  auto& s = get("/health");
  run();
  EXPECT_EQ(s.headers[":status"], "415");
}

TEST_F(HttpOverHttp2, ABodyIsCollectedByteByByte) {
  get("/v3/kv/range", "POST", {{"content-type", "application/json"}}, std::string(200'000, 'b'));
  run(1000);
  ASSERT_EQ(pages.seen.size(), 1u);
  EXPECT_EQ(pages.seen[0].body.size(), 200'000u);
  EXPECT_EQ(server->held_bytes(), 0u);
}

TEST_F(HttpOverHttp2, ABodyThatIsTooLongIs413) {
  auto& s = get("/v3/kv/range", "POST", {}, std::string(http1::Limits{}.body_bytes + 1, 'b'), false);
  run();
  EXPECT_TRUE(pages.seen.empty());
  EXPECT_EQ(s.headers[":status"], "413");
  EXPECT_TRUE(s.closed);
  EXPECT_EQ(server->held_bytes(), 0u);
}

TEST_F(HttpOverHttp2, HeadGetsHeadersAlone) {
  auto& s = get("/health", "HEAD");
  auto& none = get("/none");
  run();
  EXPECT_EQ(s.headers["content-length"], "5");
  EXPECT_EQ(s.body, "");
  EXPECT_EQ(none.headers[":status"], "204");
  EXPECT_FALSE(none.headers.contains("content-length"));
}

TEST_F(HttpOverHttp2, ATargetThatDoesNotParseIs400) {
  auto& s = get("health");
  run();
  EXPECT_TRUE(pages.seen.empty());
  EXPECT_EQ(s.headers[":status"], "400");
}

TEST_F(HttpOverHttp2, ALargeAnswerWaitsForTheClient) {
  client.read = false;
  auto& s = get("/large");
  run();
  EXPECT_FALSE(s.headers.contains("content-length"));
  EXPECT_EQ(s.body.size(), http2::Session::kInitialWindowBytes);
  EXPECT_GT(server->held_bytes(), 900'000u);
  client.read = true;
  client.session.consume_connection(s.body.size());
  client.session.consume_stream(last_id, s.body.size());
  run();
  EXPECT_EQ(s.body.size(), size_t{1} << 20);
  EXPECT_EQ(server->held_bytes(), 0u);
}

TEST_F(HttpOverHttp2, AReplyAfterTheEndFindsNobody) {
  auto& reset = get("/later");
  run();
  client.session.reset(last_id, http2::ErrorCode::kCancel);
  run();
  EXPECT_TRUE(reset.closed);
  pages.replies[0]({200, {}, "late"});
  get("/later");
  run();
  server->close(CancelReason::kServerStopped);
  pages.replies[1]({200, {}, "late"});
  server.reset();
  EXPECT_EQ(memory.used(), 0u);
}

TEST_F(HttpOverHttp2, AStopWaitsForTheAnswer) {
  auto& s = get("/later");
  run();
  server->shutdown(now);
  run();
  EXPECT_FALSE(server->done());
  pages.replies[0]({200, {}, "now"});
  run();
  EXPECT_EQ(s.body, "now");
  EXPECT_TRUE(server->done());
}

// Who asks for pages and reads none of them holds a bounded number.
TEST_F(HttpOverHttp2, PagesThatAreNotReadAreBounded) {
  client.read = false;
  for (size_t i = 0; i < ServerConnection::kHttpStreams + 50; ++i) get("/large");
  run();
  EXPECT_EQ(pages.seen.size(), ServerConnection::kHttpStreams);
  EXPECT_GT(probe.bounds[Bound::kAnswers], 0);
  size_t refused = 0;
  for (auto& [id, s] : client.streams) refused += s->code == http2::ErrorCode::kRefusedStream ? 1 : 0;
  EXPECT_EQ(refused, 50u);
  for (auto& [id, s] : client.streams) {
    if (!s->closed) client.session.reset(id, http2::ErrorCode::kCancel);
  }
  run();
  get("/health");
  run();
  EXPECT_EQ(pages.seen.back().path, "/health");
}

// Bodies that never end hold no more than the connection may: the youngest are refused.
TEST(HttpBounds, UnfinishedBodiesAreBounded) {
  ConnectionLimits limits = Harness::small_limits();
  limits.request_bytes = 256 << 10;
  Harness h(limits);
  Pages pages;
  h.context.http = &pages;
  for (int i = 0; i < 64; ++i) {
    h.client.request({{":method", "POST"}, {":scheme", "https"}, {":path", "/v3/x"}, {":authority", "x"}},
                     std::string(60'000, 'b'), false);
  }
  h.run();
  EXPECT_LE(h.server->held_bytes(), size_t{4} * (256 << 10) + (1 << 20) + 64 * 1024);
  size_t refused = 0;
  for (auto& [id, s] : h.client.streams) refused += s->code == http2::ErrorCode::kRefusedStream ? 1 : 0;
  EXPECT_GT(refused, 0u);
  EXPECT_GT(h.probe.bounds[Bound::kRequests], 0);
  for (auto& [id, s] : h.client.streams) {
    if (!s->closed) h.client.send(id, "", true);
  }
  h.run();
  EXPECT_EQ(pages.seen.size(), 64 - refused);
  EXPECT_EQ(h.server->held_bytes(), 0u);
}

}  // namespace
}  // namespace quoin::grpc::test
