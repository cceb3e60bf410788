#include "grpc/server_connection.h"

#include <gtest/gtest.h>

#include "grpc/gzip.h"
#include "grpc/harness_test.h"

namespace quoin::grpc::test {
namespace {
using Lines = std::vector<std::string>;

TEST(ServerConnection, UnaryEcho) {
  for (const size_t chunk : {SIZE_MAX, size_t{1}, size_t{7}}) {
    Harness h;
    auto& s = h.call("/test.Echo/Unary", framed("hello"));
    h.run(chunk);
    EXPECT_EQ(s.headers.at(":status"), "200");
    EXPECT_EQ(s.headers.at("content-type"), "application/grpc");
    EXPECT_EQ(s.headers.size(), 2u);
    EXPECT_EQ(s.body, framed("hello"));
    EXPECT_EQ(s.status(), "0 ");
    EXPECT_EQ(s.last.size(), 2u);
    EXPECT_TRUE(s.closed);
    EXPECT_EQ(s.code, http2::ErrorCode::kNoError);
    EXPECT_EQ(h.probe.lines, (Lines{"sent Unary 5", "started Unary", "handled Unary 0", "received Unary 5"}));
    EXPECT_EQ(h.calls.size(), 0u);
    EXPECT_EQ(h.server->held_bytes(), 0u);
    EXPECT_TRUE(h.server_result);
  }
}

TEST(ServerConnection, ErrorsAreTrailersOnlyAndEncoded) {
  Harness h;
  auto& s = h.call("/test.Echo/Unary", framed("fail:9:50% of \xc3\xa9\n"));
  h.run();
  EXPECT_TRUE(s.trailers_only());
  EXPECT_EQ(s.status(), "9 50%25 of %C3%A9%0A");
  EXPECT_EQ(decode_message("50%25 of %C3%A9%0A"), "50% of \xc3\xa9\n");
  EXPECT_EQ(s.body, "");
}

TEST(ServerConnection, UndecodableRequestsCountAsNeverStarted) {
  Harness h;
  auto& s = h.call("/test.Echo/Unary", framed("bad"));
  h.run();
  EXPECT_EQ(s.status(), "13 grpc: error unmarshalling request: proto: integer overflow");
  EXPECT_EQ(h.probe.lines, Lines{});
  auto& b = h.call("/test.Echo/Bidi", framed("bad"), false);
  h.run();
  EXPECT_EQ(b.status(), "13 grpc: failed to unmarshal the received message: unexpected EOF");
  EXPECT_EQ(h.probe.lines, (Lines{"started Bidi", "handled Bidi 13"}));
}

struct Malformed {
  const char* what;
  RawClient::Headers headers;  // replace or add to those of a good request; an empty value removes
  std::string body;
  const char* http_status;
  const char* status;
  bool end = true;
};

class MalformedInput : public testing::TestWithParam<Malformed> {};

TEST_P(MalformedInput, IsAnsweredAsGoDoes) {
  const Malformed& m = GetParam();
  Harness h;
  RawClient::Headers headers = RawClient::post("/test.Echo/Unary");
  for (const auto& [name, value] : m.headers) {
    std::erase_if(headers, [&](const auto& f) { return f.first == name; });
  }
  RawClient::Headers pseudo;
  for (const auto& f : m.headers) {
    if (!f.second.empty()) (f.first[0] == ':' ? pseudo : headers).push_back(f);
  }
  pseudo.insert(pseudo.end(), headers.begin(), headers.end());
  auto& s = *h.client.streams[h.client.request(pseudo, m.body, m.end)];
  h.run();
  EXPECT_EQ(s.headers[":status"], m.http_status);
  EXPECT_EQ(s.status(), m.status);
  EXPECT_TRUE(s.trailers_only());
  EXPECT_EQ(h.probe.lines, Lines{});
  EXPECT_TRUE(s.closed);
  EXPECT_EQ(h.server->held_bytes(), 0u);
}

const std::string kBad = "not gzip at all";
INSTANTIATE_TEST_SUITE_P(
    Table, MalformedInput,
    testing::Values(
        Malformed{"no authority",
                  {{":authority", ""}},
                  framed("x"),
                  "400",
                  "13 no host or :authority header present"},
        Malformed{"unknown service", {{":path", "/a.B/C"}}, framed("x"), "200", "12 unknown service a.B"},
        Malformed{"unknown method",
                  {{":path", "/test.Echo/C"}},
                  framed("x"),
                  "200",
                  "12 unknown method C for service test.Echo"},
        Malformed{
            "last slash separates", {{":path", "/a.B/C/"}}, framed("x"), "200", "12 unknown service a.B/C"},
        Malformed{"query",
                  {{":path", "/test.Echo/Unary?a=b"}},
                  framed("x"),
                  "200",
                  "12 unknown method Unary?a=b for service test.Echo"},
        Malformed{"path", {{":path", "/foo"}}, framed("x"), "200", "12 malformed method name: \"/foo\""},
        Malformed{"bare path", {{":path", "foo"}}, framed("x"), "200", "12 malformed method name: \"foo\""},
        Malformed{"no first slash",
                  {{":path", "test.Echo/Unary"}},
                  framed("x"),
                  "200",
                  "12 malformed method name: \"test.Echo/Unary\""},
        Malformed{"no path", {{":path", ""}}, framed("x"), "200", "12 malformed method name: \"\""},
        Malformed{"timeout 1n", {{"grpc-timeout", "1n"}}, framed("x"), "200", "4 context deadline exceeded"},
        Malformed{"timeout sign",
                  {{"grpc-timeout", "-1S"}},
                  framed("x"),
                  "400",
                  "13 malformed grpc-timeout: strconv.ParseUint: parsing \"-1\": invalid syntax"},
        Malformed{"content type before method",
                  {{":method", "GET"}, {"content-type", "text/plain"}},
                  framed("x"),
                  "415",
                  "3 invalid gRPC request content-type \"text/plain\""},
        Malformed{"timeout before method",
                  {{":method", "GET"}, {"grpc-timeout", "5X"}},
                  framed("x"),
                  "400",
                  "13 malformed grpc-timeout: transport: timeout unit is not recognized: \"5X\""},
        Malformed{"method before path",
                  {{":method", "GET"}, {":path", "/x"}},
                  framed("x"),
                  "405",
                  "13 Received a HEADERS frame with :method \"GET\" which should be POST"},
        Malformed{
            "last malformed header",
            {{"grpc-timeout", "5X"}, {"x-bin", "AA=A"}},
            framed("x"),
            "400",
            "13 malformed binary metadata \"AA=A\" in header \"x-bin\": illegal base64 data at input byte 2"},
        Malformed{"path before encoding",
                  {{":path", "/a/b"}, {"grpc-encoding", "snappy"}},
                  framed("x"),
                  "200",
                  "12 unknown service a"},
        Malformed{"gzip cut",
                  {{"grpc-encoding", "gzip"}},
                  framed(std::string("\x1f\x8b\x08\0\0\0\0\0\0\xff\x4b\x4c", 12), 1),
                  "200",
                  "13 grpc: failed to read decompressed data: unexpected EOF"},
        Malformed{"gzip corrupt",
                  {{"grpc-encoding", "gzip"}},
                  framed(std::string("\x1f\x8b\x08\0\0\0\0\0\0\xff\xff\xff\xff\xff", 14), 1),
                  "200",
                  "13 grpc: failed to read decompressed data: flate: corrupt input before offset 1"},
        Malformed{"method",
                  {{":method", "GET"}},
                  framed("x"),
                  "405",
                  "13 Received a HEADERS frame with :method \"GET\" which should be POST"},
        Malformed{"content type",
                  {{"content-type", "application/grpcx"}},
                  framed("x"),
                  "415",
                  "3 invalid gRPC request content-type \"application/grpcx\""},
        Malformed{"no content type",
                  {{"content-type", ""}},
                  framed("x"),
                  "415",
                  "3 invalid gRPC request content-type \"\""},
        Malformed{"grpc-web",
                  {{"content-type", "application/grpc-web"}},
                  framed("x"),
                  "415",
                  "3 invalid gRPC request content-type \"application/grpc-web\""},
        Malformed{"capitals",
                  {{"content-type", "application/GRPC"}},
                  framed("x"),
                  "415",
                  "3 invalid gRPC request content-type \"application/GRPC\""},
        Malformed{"timeout unit",
                  {{"grpc-timeout", "5X"}},
                  framed("x"),
                  "400",
                  "13 malformed grpc-timeout: transport: timeout unit is not recognized: \"5X\""},
        Malformed{"timeout short",
                  {{"grpc-timeout", "S"}},
                  framed("x"),
                  "400",
                  "13 malformed grpc-timeout: transport: timeout string is too short: \"S\""},
        Malformed{"timeout long",
                  {{"grpc-timeout", "123456789S"}},
                  framed("x"),
                  "400",
                  "13 malformed grpc-timeout: transport: timeout string is too long: \"123456789S\""},
        Malformed{
            "timeout over", {{"grpc-timeout", "0S"}}, framed("x"), "200", "4 context deadline exceeded"},
        Malformed{
            "binary header",
            {{"x-bin", "!!!!"}},
            framed("x"),
            "400",
            "13 malformed binary metadata \"!!!!\" in header \"x-bin\": illegal base64 data at input byte 0"},
        Malformed{"encoding",
                  {{"grpc-encoding", "snappy"}},
                  framed("x"),
                  "200",
                  "12 grpc: Decompressor is not installed for grpc-encoding \"snappy\""},
        Malformed{"flag without encoding",
                  {},
                  framed("x", 1),
                  "200",
                  "13 grpc: compressed flag set with identity or empty encoding"},
        Malformed{"flag with identity",
                  {{"grpc-encoding", "identity"}},
                  framed("x", 1),
                  "200",
                  "13 grpc: compressed flag set with identity or empty encoding"},
        Malformed{"flag 2", {}, framed("x", 2), "200", "13 grpc: received unexpected payload format 2"},
        Malformed{"gzip garbage",
                  {{"grpc-encoding", "gzip"}},
                  framed(kBad, 1),
                  "200",
                  "13 grpc: failed to decompress the message: gzip: invalid header"},
        Malformed{"gzip short",
                  {{"grpc-encoding", "gzip"}},
                  framed("xy", 1),
                  "200",
                  "13 grpc: failed to decompress the message: unexpected EOF"},
        Malformed{"no message", {}, "", "200", "2 EOF"},
        Malformed{"cut in the prefix", {}, std::string(3, '\0'), "200", "2 EOF"},
        Malformed{"cut in the body", {}, framed("hello").substr(0, 7), "200", "2 unexpected EOF"},
        Malformed{"too large",
                  {},
                  std::string("\0\0\x10\0\1", 5),
                  "200",
                  "8 grpc: received message larger than max (1048577 vs. 1048576)"},
        Malformed{"refused with the request still open",
                  {{":path", "/foo"}},
                  "",
                  "200",
                  "12 malformed method name: \"/foo\"",
                  false},
        Malformed{"server stream without a message", {{":path", "/test.Echo/Unary"}}, "", "200", "2 EOF"}),
    [](const auto& info) {
      std::string name = info.param.what;
      std::replace_if(
          name.begin(), name.end(), [](char c) { return !std::isalnum(c); }, '_');
      return name;
    });

TEST(ServerConnection, OddButAcceptedHeaders) {
  const RawClient::Headers odd[] = {
      {{":method", "POST"},
       {":path", "/test.Echo/Unary"},
       {"content-type", "application/grpc"},
       {"host", "x"}},
      {{":method", "POST"},
       {":authority", "x"},
       {":path", "/test.Echo/Unary"},
       {"content-type", "application/grpc"},
       {"grpc-encoding", "identity"}},
      {{":method", "POST"},
       {":authority", "x"},
       {":path", "/test.Echo/Unary"},
       {"content-type", "application/grpc"},
       {"y-bin", "AAE"}},
      {{":method", "POST"},
       {":authority", "x"},
       {":path", "/test.Echo/Unary"},
       {"content-type", "application/grpc"},
       {"y-bin", "AAE="}},
  };
  for (const auto& headers : odd) {
    Harness h;
    auto& s = *h.client.streams[h.client.request(headers, framed("x"), true)];
    h.run();
    EXPECT_EQ(s.status(), "0 ") << headers.back().first;
  }
  for (const auto& [sent, echoed] :
       std::map<std::string, std::string>{{"application/grpc+proto", "application/grpc+proto"},
                                          {"application/grpc;x", "application/grpc+x"},
                                          {"application/grpc+", "application/grpc"},
                                          {"application/grpc+json", "application/grpc+json"}}) {
    Harness h;
    RawClient::Headers headers = RawClient::post("/test.Echo/Unary");
    headers[4].second = sent;
    auto& s = *h.client.streams[h.client.request(headers, framed("x"), true)];
    h.run();
    EXPECT_EQ(s.status(), "0 ");
    EXPECT_EQ(s.headers["content-type"], echoed);
  }
}

TEST(ServerConnection, ForbiddenHeadersResetTheStream) {
  const std::pair<std::string, std::string> bad[] = {
      {"connection", "close"}, {"Upper", "x"},    {"x y", "z"},
      {"x", "a\nb"},           {":unknown", "x"}, {":status", "200"}};
  for (const auto& field : bad) {
    Harness h;
    auto headers = RawClient::post("/test.Echo/Unary");
    headers.insert(field.first[0] == ':' ? headers.begin() : headers.end(), field);
    auto& s = *h.client.streams[h.client.request(headers, framed("x"), true)];
    h.run();
    EXPECT_EQ(s.status(), "none") << field.first;
    EXPECT_TRUE(s.closed);
    EXPECT_EQ(s.code, http2::ErrorCode::kProtocolError) << field.first;
    EXPECT_TRUE(h.server_result);
  }
}

TEST(ServerConnection, EndStreamOnHeadersIsAHalfClose) {
  Harness h;
  auto& s = *h.client.streams[h.client.request(RawClient::post("/test.Echo/Unary"), "", true, true)];
  h.run();
  EXPECT_EQ(s.status(), "2 EOF");
}

TEST(ServerConnection, AnsweredBeforeTheHalfCloseEndsWithAReset) {
  Harness h;
  auto& s = h.call("/test.Echo/Unary", framed("x"), false);
  h.run();
  EXPECT_EQ(s.status(), "0 ");
  EXPECT_EQ(s.body, framed("x"));
  EXPECT_TRUE(s.closed);
  EXPECT_EQ(s.code, http2::ErrorCode::kNoError);
  EXPECT_EQ(h.server->calls_in_progress(), 0u);
}

TEST(ServerConnection, ASecondMessageOfAUnaryCallIsIgnored) {
  Harness h;
  auto& s = h.call("/test.Echo/Unary", framed("one") + framed("two"));
  h.run();
  EXPECT_EQ(s.body, framed("one"));
  EXPECT_EQ(s.status(), "0 ");
}

TEST(ServerConnection, GzipRequestsGetGzipAnswers) {
  for (const bool packed : {true, false}) {
    Harness h;
    const std::string text(3000, 'a');
    std::string zipped;
    gzip(text, zipped);
    auto headers = RawClient::post("/test.Echo/Unary");
    headers.emplace_back("grpc-encoding", "gzip");
    const std::string body = packed ? framed(zipped, 1) : framed(text);
    auto& s = *h.client.streams[h.client.request(headers, body, true)];
    h.run();
    EXPECT_EQ(s.status(), "0 ");
    EXPECT_EQ(s.headers["grpc-encoding"], "gzip");
    ASSERT_GT(s.body.size(), kPrefixBytes);
    EXPECT_EQ(s.body[0], 1);
    std::string plain;
    ASSERT_TRUE(gunzip(std::string_view(s.body).substr(kPrefixBytes), 10'000, plain));
    EXPECT_EQ(plain, text);
  }
  Harness h;
  auto headers = RawClient::post("/test.Echo/Unary");
  headers.emplace_back("grpc-accept-encoding", "gzip");
  auto& s = *h.client.streams[h.client.request(headers, framed("x"), true)];
  h.run();
  EXPECT_FALSE(s.headers.contains("grpc-encoding"));
}

TEST(ServerConnection, ABombIsNotUnpacked) {
  Harness h;
  std::string bomb;
  gzip(std::string(2 << 20, '\0'), bomb);
  auto headers = RawClient::post("/test.Echo/Unary");
  headers.emplace_back("grpc-encoding", "gzip");
  auto& s = *h.client.streams[h.client.request(headers, framed(bomb, 1), true)];
  h.run();
  EXPECT_EQ(s.status(), "8 grpc: received message after decompression larger than max 1048576");
}

TEST(ServerConnection, AnswersMayComeLaterAndInAnyOrder) {
  Harness h;
  auto& a = h.call("/test.Echo/Later", framed("a"));
  auto& b = h.call("/test.Echo/Later", framed("b"));
  h.run();
  ASSERT_EQ(h.later.calls.size(), 2u);
  EXPECT_EQ(h.server->calls_in_progress(), 2u);
  EXPECT_EQ(h.later.requests[0], "a");
  h.calls.find(h.later.calls[1])->respond(Blob::copy("B"));
  EXPECT_EQ(h.notified, 1);
  EXPECT_EQ(h.calls.find(h.later.calls[1]), nullptr);
  h.run();
  EXPECT_EQ(b.body, framed("B"));
  EXPECT_FALSE(a.ended);
  h.calls.find(h.later.calls[0])->fail(Error(Code::kCompacted));
  h.run();
  EXPECT_EQ(a.status(), "11 etcdserver: mvcc: required revision has been compacted");
}

TEST(ServerConnection, ACallThatIsGoneIsNotFound) {
  Harness h;
  const auto id = h.client.request(RawClient::post("/test.Echo/Later"), framed("a"), true);
  h.run();
  h.client.session.reset(id, http2::ErrorCode::kCancel);
  h.run();
  ASSERT_EQ(h.later.cancels.size(), 1u);
  EXPECT_EQ(h.later.cancels[0], std::pair(h.later.calls[0], CancelReason::kClientReset));
  EXPECT_EQ(h.calls.find(h.later.calls[0]), nullptr);
  EXPECT_EQ(h.probe.lines, (Lines{"started Later", "received Later 1", "handled Later 2"}));
  // Its slot is used again under another id.
  h.call("/test.Echo/Later", framed("b"));
  h.run();
  EXPECT_EQ(h.calls.find(h.later.calls[0]), nullptr);
  EXPECT_NE(h.calls.find(h.later.calls[1]), nullptr);
  h.server.reset();
  EXPECT_EQ(h.later.cancels.back(), std::pair(h.later.calls[1], CancelReason::kConnectionLost));
  EXPECT_EQ(h.calls.size(), 0u);
  EXPECT_EQ(h.memory.used(), 0u);
}

TEST(ServerConnection, DeadlinesResetTheStream) {
  Harness h;
  std::vector<RawClient::Stream*> streams;
  for (const char* timeout : {"3S", "1S", "2S"}) {
    auto headers = RawClient::post("/test.Echo/Later");
    headers.emplace_back("grpc-timeout", timeout);
    streams.push_back(h.client.streams[h.client.request(headers, framed("x"), true)].get());
  }
  h.run();
  EXPECT_EQ(h.server->next_tick(), h.now + io::kSecond);
  EXPECT_EQ(h.calls.find(h.later.calls[0])->deadline(), h.now + 3 * io::kSecond);
  h.calls.find(h.later.calls[2])->respond(Blob());
  h.now += io::kSecond;
  EXPECT_TRUE(h.server->tick(h.now));
  h.run();
  EXPECT_TRUE(streams[1]->closed);
  EXPECT_EQ(streams[1]->code, http2::ErrorCode::kCancel);
  EXPECT_EQ(streams[2]->status(), "0 ");
  EXPECT_EQ(streams[2]->body, framed(""));
  EXPECT_FALSE(streams[0]->closed);
  EXPECT_EQ(h.later.cancels, (std::vector{std::pair(h.later.calls[1], CancelReason::kDeadline)}));
  EXPECT_EQ(h.server->next_tick(), h.now + 2 * io::kSecond);
}

TEST(ServerConnection, MetadataShowsFirstValuesAndHidesTheProtocol) {
  Harness h;
  auto headers = RawClient::post("/test.Echo/Later");
  headers.emplace_back("hasleader", "true");
  headers.emplace_back("hasleader", "false");
  headers.emplace_back("token", "");
  headers.emplace_back("grpc-timeout", "1H");
  h.client.request(headers, framed("x"), true);
  h.run();
  Call& call = *h.calls.find(h.later.calls[0]);
  EXPECT_EQ(call.metadata("hasleader"), "true");
  EXPECT_EQ(call.metadata("token"), "");
  EXPECT_EQ(call.metadata("authorization"), std::nullopt);
  EXPECT_EQ(call.metadata("grpc-timeout"), std::nullopt);
  EXPECT_EQ(call.metadata(":path"), std::nullopt);
  EXPECT_EQ(call.metadata(":authority"), "x");
  EXPECT_EQ(call.peer_address(), "127.0.0.1:1");
}

}  // namespace
}  // namespace quoin::grpc::test
