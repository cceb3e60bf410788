#include <gtest/gtest.h>

#include "http1/html.h"
#include "http1/server_connection.h"
#include "http1/target.h"

namespace quoin::http1 {
namespace {

struct Handler final : RequestHandler {
  ServerConnection* connection = nullptr;
  bool at_once = true;
  std::vector<std::string> seen;
  std::string authority, path;
  int aborted = 0;
  void on_request(const Request& r) override {
    std::string line = fmt::format("{} {} {} [{}]", r.method, r.target, r.version, r.body);
    for (const auto& [name, value] : r.fields) line += fmt::format(" {}={}", name, value);
    seen.push_back(line);
    authority = r.authority;
    path = r.path;
    if (at_once) answer("ok");
  }
  void on_aborted() override { ++aborted; }
  void answer(std::string body) {
    connection->respond({200, {{"Content-Type", "text/plain"}}, std::move(body)}, "");
  }
};

struct Pair {
  explicit Pair(Limits limits = {}) : connection(handler, limits) { handler.connection = &connection; }
  Handler handler;
  ServerConnection connection;
  std::string exchange(std::string_view bytes, size_t chunk = SIZE_MAX) {
    for (size_t i = 0; i < bytes.size(); i += chunk) connection.feed(bytes.substr(i, chunk));
    return written();
  }
  // All output there is, each piece written at once.
  std::string written() {
    std::string all;
    while (connection.has_output()) {
      all += connection.take_output();
      connection.output_written();
    }
    return all;
  }
};

const std::string kOk = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";

TEST(Http1, GetInAnyCut) {
  for (const size_t chunk : {SIZE_MAX, size_t{1}, size_t{3}}) {
    Pair p;
    EXPECT_EQ(p.exchange("GET /health?x=1 HTTP/1.1\r\nHost: h\r\nX-Y:  z \r\n\r\n", chunk), kOk);
    EXPECT_EQ(p.handler.seen, (std::vector<std::string>{"GET /health?x=1 11 [] Host=h X-Y=z"}));
    EXPECT_TRUE(p.connection.reading());
    EXPECT_FALSE(p.connection.closing());
  }
}

TEST(Http1, BodiesByLengthAndInChunks) {
  for (const size_t chunk : {SIZE_MAX, size_t{1}, size_t{7}}) {
    Pair p;
    EXPECT_EQ(p.exchange("POST /v3/kv/range HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
                         "POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
                         "chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
                         chunk),
              kOk + kOk);
    ASSERT_EQ(p.handler.seen.size(), 2u);
    EXPECT_EQ(p.handler.seen[0], "POST /v3/kv/range 11 [hello] Host=h Content-Length=5");
    EXPECT_EQ(p.handler.seen[1], "POST /b 11 [abcde] Host=h Transfer-Encoding=chunked");
  }
}

TEST(Http1, PipelinedRequestsWaitForTheirTurn) {
  Limits limits;
  limits.pipelined_bytes = 30;
  Pair p(limits);
  p.handler.at_once = false;
  p.connection.feed(
      "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\nGET /3 HTTP/1.1\r\nHost: "
      "h\r\n\r\n");
  EXPECT_EQ(p.handler.seen.size(), 1u);
  EXPECT_FALSE(p.connection.reading());
  p.handler.answer("one");
  EXPECT_EQ(p.handler.seen.size(), 1u);  // its answer is not written yet
  std::string out = p.written();
  EXPECT_EQ(p.handler.seen.size(), 2u);
  EXPECT_TRUE(p.connection.reading());
  p.handler.at_once = true;
  p.handler.answer("two");
  out += p.written();
  EXPECT_EQ(p.handler.seen.size(), 3u);
  EXPECT_LT(out.find("one"), out.find("two"));
  EXPECT_TRUE(out.ends_with(kOk));
}

TEST(Http1, HeadHasTheLengthButNoBody) {
  Pair p;
  EXPECT_EQ(p.exchange("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n");
}

TEST(Http1, ConnectionPersistence) {
  Pair close;
  EXPECT_NE(close.exchange("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\n")
                .find("Connection: close\r\n"),
            std::string::npos);
  EXPECT_TRUE(close.connection.closing());
  EXPECT_EQ(close.handler.seen.size(), 1u);
  Pair old;
  EXPECT_NE(old.exchange("GET / HTTP/1.0\r\n\r\n").find("HTTP/1.0 200 OK\r\n"), std::string::npos);
  EXPECT_TRUE(old.connection.closing());
  Pair kept;
  EXPECT_NE(
      kept.exchange("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").find("Connection: keep-alive\r\n"),
      std::string::npos);
  EXPECT_FALSE(kept.connection.closing());
}

TEST(Http1, ExpectContinue) {
  Pair p;
  EXPECT_EQ(p.exchange("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
            "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_EQ(p.exchange("hi"), kOk);
  Pair odd;
  EXPECT_TRUE(odd.exchange("POST / HTTP/1.1\r\nHost: h\r\nExpect: x\r\nContent-Length: 2\r\n\r\n")
                  .starts_with("HTTP/1.1 417 "));
}

TEST(Http1, StreamedAnswers) {
  Pair p;
  p.handler.at_once = false;
  p.connection.feed("POST /v3/watch HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
  p.connection.start(200, {{"Content-Type", "application/json"}}, "Sat, 21 Nov 2026 10:00:00 GMT");
  p.connection.write("{\"result\":{}}\n");
  EXPECT_EQ(p.connection.take_output(),
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Sat, 21 Nov 2026 10:00:00 GMT\r\n"
            "Transfer-Encoding: chunked\r\n\r\ne\r\n{\"result\":{}}\n\r\n");
  p.connection.write("");
  EXPECT_FALSE(p.connection.has_output());
  p.connection.finish();
  EXPECT_EQ(p.written(), "0\r\n\r\n");
  EXPECT_FALSE(p.connection.closing());
  p.connection.feed("GET / HTTP/1.0\r\n\r\n");
  p.connection.start(200, {}, "");
  p.connection.write("x");
  p.connection.finish();
  EXPECT_EQ(p.connection.take_output(), "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nx");
  EXPECT_TRUE(p.connection.closing());
}

TEST(Http1, AFieldCannotBeginAnother) {
  Pair p;
  p.handler.at_once = false;
  p.connection.feed("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  p.connection.respond({200, {{"X", "a\r\nY: b"}}, ""}, "");
  EXPECT_NE(p.connection.take_output().find("X: a  Y: b\r\n"), std::string::npos);
}

TEST(Http1, MalformedRequestsEndTheConnection) {
  const std::pair<std::string, int> cases[] = {
      {"GARBAGE\r\n\r\n", 400},
      {"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505},
      {"GET / HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: h\r\nbad name: x\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
      // Length and chunks together are how requests are smuggled.
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n", 413},
      {"GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(70'000, 'x') + "\r\n\r\n", 431},
      {"GET /" + std::string(70'000, 'x'), 431},
  };
  for (const auto& [bytes, status] : cases) {
    Limits limits;
    limits.header_bytes = 64 * 1024;
    Pair p(limits);
    const std::string out = p.exchange(bytes, 10'000);
    EXPECT_TRUE(out.starts_with(fmt::format("HTTP/1.1 {} ", status))) << bytes.substr(0, 80) << "\n" << out;
    EXPECT_TRUE(p.connection.closing());
    EXPECT_EQ(p.handler.seen.size(), 0u);
    p.connection.feed("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    EXPECT_EQ(p.handler.seen.size(), 0u);
  }
}

TEST(Http1, OneAnswerAtATimeWaitsForTheSocket) {
  Pair p;
  std::string many;
  for (int i = 0; i < 2000; ++i) many += "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
  p.connection.feed(many);
  EXPECT_EQ(p.handler.seen.size(), 1u);
  EXPECT_EQ(p.connection.take_output(), kOk);
  p.connection.feed("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(p.handler.seen.size(), 1u);  // taken by the transport, but not by the socket
  for (size_t answers = 2; answers <= 2001; ++answers) {
    p.connection.output_written();
    EXPECT_EQ(p.connection.take_output(), kOk);
    ASSERT_EQ(p.handler.seen.size(), answers);
  }
  EXPECT_TRUE(p.connection.reading());
}

TEST(Http1, WhatWaitsForTheSocketEndsReadingAtItsBound) {
  Limits limits;
  limits.pipelined_bytes = 100;
  Pair p(limits);
  p.connection.feed("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_TRUE(p.connection.reading());
  p.connection.feed(std::string(100, 'x'));
  EXPECT_FALSE(p.connection.reading());
}

// Each of these held all it was sent.
TEST(Http1, WhatIsNoPartOfARequestIsBounded) {
  const std::string chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  std::string small_chunks, many_fields = "GET / HTTP/1.1\r\nHost: h\r\n", many_trailers = chunked + "0\r\n";
  for (int i = 0; i < 1000; ++i) small_chunks += "1;" + std::string(100, 'x') + "\r\nx\r\n";
  for (int i = 0; i < 5000; ++i) many_fields += "a:\r\n";
  for (int i = 0; i < 5000; ++i) many_trailers += "a: b\r\n";
  const std::pair<std::string, int> cases[] = {
      {chunked + "5;" + std::string(5000, 'x'), 400},
      {chunked + std::string(5000, '0'), 400},
      {chunked + "5" + std::string(5000, ' '), 400},
      {chunked + small_chunks, 400},
      {chunked + "0\r\nX: " + std::string(5000, 'x'), 400},
      {many_trailers, 400},
      {many_fields, 431},
      {chunked + "ffffffffffffffff\r\n", 413},
      {chunked + "500000\r\n", 413},
  };
  for (const size_t cut : {SIZE_MAX, size_t{1000}, size_t{1}}) {
    for (const auto& [bytes, status] : cases) {
      Pair p;
      const std::string out = p.exchange(bytes, cut);
      EXPECT_TRUE(out.ends_with(fmt::format("{} {}", status, reason_phrase(static_cast<unsigned>(status)))))
          << bytes.substr(0, 100) << "\n"
          << out.substr(0, 200);
      EXPECT_TRUE(p.connection.closing());
      EXPECT_EQ(p.handler.seen.size(), 0u);
    }
  }
  // One byte less than each bound is a request.
  Pair p;
  EXPECT_EQ(p.exchange(chunked + "5;" + std::string(4000, 'x') +
                       "\r\nhello\r\n0\r\nX: " + std::string(4000, 'x') + "\r\n\r\n"),
            kOk);
  EXPECT_EQ(p.handler.seen, std::vector<std::string>{"POST / 11 [hello] Host=h Transfer-Encoding=chunked"});
}

TEST(Http1, LinesMayEndInLineFeedAlone) {
  for (const size_t chunk : {SIZE_MAX, size_t{1}}) {
    Pair p;
    EXPECT_EQ(p.exchange("GET /health HTTP/1.1\nHost: h\nX: a\n\tb\r\n  c \n\n", chunk), kOk);
    EXPECT_EQ(p.handler.seen, std::vector<std::string>{"GET /health 11 [] Host=h X=a b c"});
    // But for those of a body in chunks (RFC 9112, erratum 7633).
    EXPECT_TRUE(p.exchange("POST / HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n\n1\nx\n0\n\n", chunk)
                    .starts_with("HTTP/1.1 400 "));
  }
}

TEST(Http1, AnEmptyLineIsForgivenBehindAPostAlone) {
  Pair p;
  EXPECT_EQ(p.exchange("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx\r\n\r\n"
                       "GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
            kOk + kOk);
  EXPECT_TRUE(p.exchange("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").starts_with("HTTP/1.1 400 "));
}

TEST(Http1, TargetsAreTakenApartAsByGo) {
  const auto show = [](std::string_view method, std::string_view text) -> std::string {
    const auto t = parse_target(method, text);
    return t ? fmt::format("{}|{}|{}", t->authority, t->path, t->query) : "400";
  };
  EXPECT_EQ(show("GET", "/health?a=b?c"), "|/health|a=b?c");
  EXPECT_EQ(show("GET", "//health"), "|//health|");
  EXPECT_EQ(show("GET", "/he%61lth"), "|/he%61lth|");
  EXPECT_EQ(show("GET", "http://evil.example:80/health?x"), "evil.example:80|/health|x");
  EXPECT_EQ(show("GET", "HTTP://u:p@[::1]:2379"), "[::1]:2379||");
  EXPECT_EQ(show("OPTIONS", "*"), "|*|");
  EXPECT_EQ(show("CONNECT", "h:443"), "h:443||");
  for (const char* bad : {"", "health", "mailto:x", "/%zz", "/%6", "/a\x01", "http://h:x/", "http://[::1/",
                          "http://a b/", "1http://h/"}) {
    EXPECT_EQ(show("GET", bad), "400") << bad;
  }
}

TEST(Http1, TheAuthorityOfAnAbsoluteTargetIsTold) {
  Pair p;
  EXPECT_EQ(p.exchange("GET http://other:1/health?x HTTP/1.1\r\nHost: h\r\n\r\n"), kOk);
  EXPECT_EQ(p.handler.authority, "other:1");
  EXPECT_EQ(p.handler.path, "/health");
}

TEST(Http1, EndOfInput) {
  Pair p;
  p.handler.at_once = false;
  p.connection.feed("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  p.connection.feed_eof();
  EXPECT_FALSE(p.connection.closing());
  p.handler.answer("late");
  EXPECT_TRUE(p.connection.closing());
  EXPECT_TRUE(p.connection.take_output().ends_with("late"));
  Pair cut;
  cut.connection.feed("GET / HTTP/1.1\r\nHo");
  cut.connection.feed_eof();
  EXPECT_TRUE(cut.connection.closing());
  Pair gone;
  gone.handler.at_once = false;
  gone.connection.feed("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  gone.connection.abort();
  EXPECT_EQ(gone.handler.aborted, 1);
  gone.handler.answer("nobody hears");
  EXPECT_FALSE(gone.connection.has_output());
}

TEST(Html, Escaped) {
  EXPECT_EQ(html_escaped("/a?b=1&c=<\"'>"), "/a?b=1&amp;c=&lt;&#34;&#39;&gt;");
}

}  // namespace
}  // namespace quoin::http1
