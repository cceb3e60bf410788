#include "http1/client_connection.h"

#include <gtest/gtest.h>

#include "http1/chunk.h"
#include "http1/server_connection.h"

namespace quoin::http1 {
namespace {

struct Answers final : ResponseHandler {
  std::string log;  // "<200 OK a=b>" then the body, then "." or "!error"
  int writable = 0;
  void on_head(const ResponseHead& head) override {
    log += "<" + std::string(head.status_text);
    for (const auto& [name, value] : head.fields) log += fmt::format(" {}={}", name, value);
    log += ">";
  }
  void on_body(std::string_view bytes) override { log += bytes; }
  void on_complete() override { log += "."; }
  void on_error(Error error) override { log += fmt::format("!{}", error.text()); }
  void on_writable() override { ++writable; }
};

struct Client {
  Answers answers;
  ClientConnection connection{answers};
  std::string written() {
    std::string out;
    while (connection.has_output()) {
      out += connection.take_output();
      connection.output_written();
    }
    return out;
  }
  // Asks with GET and tells what came of the answer.
  std::string get(std::string_view answer, size_t piece = SIZE_MAX, bool eof = false,
                  const char* method = "GET") {
    connection.send({method, "/x", "h", {}});
    (void)written();
    for (size_t i = 0; i < answer.size(); i += piece) connection.feed(answer.substr(i, piece));
    if (eof) connection.feed_eof();
    return std::exchange(answers.log, {});
  }
};

TEST(Http1Client, RequestsAreFramedAsByGo) {
  Client c;
  c.connection.send({"GET", "/raft/probing", "10.0.0.1:2380", {{"X-Server-From", "a\r\nX: y"}}});
  EXPECT_EQ(c.written(),
            "GET /raft/probing HTTP/1.1\r\nHost: 10.0.0.1:2380\r\nX-Server-From: a  X: y\r\n\r\n");
  c.connection.feed("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  c.connection.send({"POST", "/raft", "h", {}});
  EXPECT_EQ(c.written(), "POST /raft HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
  c.connection.feed("HTTP/1.1 204 No Content\r\n\r\n");
  c.connection.send({"GET", "/members/hashkv", "h", {}}, "{}");
  EXPECT_EQ(c.written(), "GET /members/hashkv HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}");
  c.connection.feed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
  EXPECT_TRUE(c.connection.keep_alive());
  EXPECT_EQ(c.answers.log,
            "<200 OK Content-Length=0>.<204 No Content>.<200 OK Transfer-Encoding=chunked>ok.");
}

TEST(Http1Client, AStreamedBodyTellsWhatIsQueuedAndWhenItIsSent) {
  Client c;
  c.connection.start({"POST", "/raft/snapshot", "h", {}});
  const std::string head = c.connection.take_output();
  EXPECT_EQ(head, "POST /raft/snapshot HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
  c.connection.write(std::string(26, 'x'));
  EXPECT_EQ(c.connection.queued_bytes(), head.size() + 32);
  c.connection.output_written();
  EXPECT_EQ(c.answers.writable, 0) << "something is still queued";
  EXPECT_EQ(c.connection.take_output(), "1a\r\n" + std::string(26, 'x') + "\r\n");
  c.connection.output_written();
  EXPECT_EQ(c.answers.writable, 1);
  EXPECT_EQ(c.connection.queued_bytes(), 0u);
  EXPECT_FALSE(c.connection.request_sent());
  // A chunk that the owner writes by itself.
  EXPECT_EQ(chunk_head(1u << 30) + std::string(kChunkEnd), "40000000\r\n\r\n");
  c.connection.finish();
  EXPECT_EQ(c.connection.take_output(), kLastChunk);
  c.connection.output_written();
  EXPECT_EQ(c.answers.writable, 1) << "nobody waits any more";
  c.connection.feed("HTTP/1.1 204 No Content\r\n\r\n");
  EXPECT_EQ(c.answers.log, "<204 No Content>.");
  EXPECT_TRUE(c.connection.keep_alive());

  c.connection.start({"PUT", "/", "h", {}}, 4);
  c.connection.write("ab");
  c.connection.write("cd");
  c.connection.finish();
  EXPECT_EQ(c.written(), "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd");
}

TEST(Http1Client, AnEarlyAnswerIsToldAndEndsTheConnection) {
  Client c;
  c.connection.start({"POST", "/raft/snapshot", "h", {}});
  c.connection.write("part");
  (void)c.written();
  c.connection.feed("HTTP/1.1 412 Precondition Failed\r\nContent-Length: 4\r\n\r\nno");
  EXPECT_EQ(c.answers.log, "<412 Precondition Failed Content-Length=4>no");
  EXPECT_FALSE(c.connection.request_sent());
  EXPECT_TRUE(c.connection.in_progress());
  c.connection.write("more");
  c.connection.feed("pe");
  EXPECT_EQ(c.answers.log, "<412 Precondition Failed Content-Length=4>nope.");
  EXPECT_FALSE(c.connection.in_progress());
  EXPECT_FALSE(c.connection.keep_alive());
  EXPECT_FALSE(c.connection.has_output()) << "the rest of the request is of no use";
  c.connection.write("even more");
  c.connection.finish();
  EXPECT_FALSE(c.connection.has_output());
}

struct Case {
  const char* answer;
  const char* told;
  bool eof = false;
  bool keep_alive = true;
  const char* method = "GET";
};

// What Go 1.26's client says to each of these, tried.
TEST(Http1Client, AnswersInAnyCut) {
  const Case cases[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "<200 OK Content-Length=5>hello."},
      {"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "<200 Content-Length=0>."},
      {"HTTP/1.1 200 OK\nContent-Length: 2\nX: a\n  b\n\nok", "<200 OK Content-Length=2 X=a b>ok."},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: v\r\n\r\n",
       "<200 OK Transfer-Encoding=chunked>abcde."},
      {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
       "<200 OK Content-Length=9 Transfer-Encoding=chunked>a."},
      {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
       "<200 OK Content-Length=1 Content-Length=1>a."},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX: y\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
       "<204 No Content>."},
      {"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", "<304 Not Modified Content-Length=7>."},
      {"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "<200 OK Content-Length=7>.", false, true, "HEAD"},
      {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na",
       "<200 OK Connection=close Content-Length=1>a.", false, false},
      {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", "<200 OK Content-Length=1>a.", false, false},
      {"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\na",
       "<200 OK Connection=Keep-Alive Content-Length=1>a."},
      {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nraw", "<200 OK Transfer-Encoding=chunked>raw.",
       true, false},
      {"HTTP/1.1 200 OK\r\n\r\nall to the end", "<200 OK>all to the end.", true, false},
      {"HTTP/1.1  200 OK\r\nFoo Bar: x\r\nContent-Length: 1\r\n\r\na",
       "<200 OK Foo Bar=x Content-Length=1>a."},
      {"HTTP/0.9 200 OK\r\nContent-Length: 1\r\n\r\na", "<200 OK Content-Length=1>a.", false, false},
      {"HTTP/1.1 101 Switching Protocols\r\n\r\n", "<101 Switching Protocols>.", false, false},
      {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\n\r\n", "<200 OK Content-Length=1>a.",
       false, false},
      // What Go's client refuses.
      {"", "!EOF", true, false},
      {"HTTP/1.1 200 OK\r\n", "!BROKENunexpected EOF", true, false},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", "<200 OK Content-Length=5>hel!unexpected EOF", true,
       false},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
       "<200 OK Transfer-Encoding=chunked>abc!unexpected EOF", true, false},
      {"SSH-2.0-x\r\n", "!BROKENmalformed HTTP response \"SSH-2.0-x\"", false, false},
      {"HTTP/1.1 2000 OK\r\n", "!BROKENmalformed HTTP status code \"2000\"", false, false},
      {"HTTX/1.1 200 OK\r\n", "!BROKENmalformed HTTP version \"HTTX/1.1\"", false, false},
      {"HTTP/1.1 200 OK\r\nno colon\r\n", "!BROKENmalformed MIME header: missing colon: \"no colon\"", false,
       false},
      {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "!BROKENbad Content-Length \"-1\"", false, false},
      {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
       "!BROKENhttp: message cannot contain multiple Content-Length headers; got [\"1\" \"2\"]", false,
       false},
      {"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", "!BROKENinvalid empty Content-Length \"\"", false,
       false},
      {"HTTP/1.1 200 OK\r\n X: y\r\n\r\n", "!BROKENmalformed MIME header initial line: \" X: y\"", false,
       false},
      {"HTTP/1.1 200 OK\r\nX: a\x01y\r\n\r\n", "!BROKENmalformed MIME header line: \"X: a\\x01y\"", false,
       false},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
       "!BROKENtoo many transfer encodings: [\"chunked\" \"chunked\"]", false, false},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "!BROKENunsupported transfer encoding: \"gzip\"",
       false, false},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
       "<200 OK Transfer-Encoding=chunked>!malformed chunked encoding", false, false},
  };
  for (const Case& t : cases) {
    for (const size_t piece : {SIZE_MAX, size_t{1}, size_t{3}}) {
      Client c;
      std::string told = t.told;
      if (const size_t at = told.find("BROKEN"); at != std::string::npos)
        told.replace(at, 6, "net/http: HTTP/1.x transport connection broken: ");
      EXPECT_EQ(c.get(t.answer, piece, t.eof, t.method), told) << t.answer;
      EXPECT_EQ(c.connection.keep_alive(), t.keep_alive) << t.answer << piece;
      EXPECT_FALSE(c.connection.in_progress());
    }
  }
}

TEST(Http1Client, HeadsAreBounded) {
  Answers answers;
  ClientConnection c(answers, {.head_bytes = 100});
  c.send({"GET", "/", "h", {}});
  // All 1xx heads together count.
  for (int i = 0; i < 5 && c.in_progress(); ++i) c.feed("HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_EQ(answers.log,
            "!net/http: HTTP/1.x transport connection broken: net/http: server response headers exceeded 100 "
            "bytes; aborted");
  Answers more;
  ClientConnection d(more, {.head_bytes = 100});
  d.send({"GET", "/", "h", {}});
  d.feed("HTTP/1.1 200 OK\r\nX: " + std::string(100, 'x'));
  EXPECT_EQ(more.log,
            "!net/http: HTTP/1.x transport connection broken: net/http: server response headers exceeded 100 "
            "bytes; aborted");
  Client many;
  std::string fields = "HTTP/1.1 200 OK\r\n";
  for (int i = 0; i < 5000; ++i) fields += "a: b\r\n";
  EXPECT_EQ(many.get(fields),
            "!net/http: HTTP/1.x transport connection broken: net/http: server response has more than 4096 "
            "header fields");
}

TEST(Http1Client, TheTrailerAndTheFramingOfChunksAreBounded) {
  Client trailer;
  std::string answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
  for (int i = 0; i < 1000; ++i) answer += "a: bbbbbbbb\r\n";
  EXPECT_NE(trailer.get(answer).find("!malformed"), std::string::npos);
  Client framing;
  answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 1000; ++i) answer += "1;" + std::string(100, 'x') + "\r\na\r\n";
  EXPECT_NE(framing.get(answer).find("!malformed"), std::string::npos);
}

TEST(Http1Client, BytesThatNobodyAskedForEndTheConnection) {
  Client c;
  EXPECT_TRUE(c.connection.keep_alive());
  c.connection.feed("HTTP/1.1 408 Request Timeout\r\n\r\n");
  EXPECT_FALSE(c.connection.keep_alive());
  EXPECT_EQ(c.answers.log, "") << "nobody waits for an answer";
  Client closed;
  closed.connection.feed_eof();
  EXPECT_FALSE(closed.connection.keep_alive());
}

TEST(Http1Client, AnExchangeCanBeGivenUpAnywhere) {
  struct GivesUp final : ResponseHandler {
    ClientConnection* connection = nullptr;
    bool in_head = false;
    std::string log;
    void on_head(const ResponseHead&) override {
      if (in_head) connection->abort(Error(Code::kStopped));
    }
    void on_body(std::string_view) override {
      if (!in_head) connection->abort(Error(Code::kStopped));
      log += "body ";
    }
    void on_complete() override { log += "complete "; }
    void on_error(Error e) override { log += fmt::format("{} ", e.text()); }
  };
  for (const bool in_head : {true, false}) {
    GivesUp handler;
    handler.in_head = in_head;
    ClientConnection c(handler);
    handler.connection = &c;
    c.send({"GET", "/", "h", {}});
    c.feed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n");
    EXPECT_EQ(handler.log, in_head ? "stopped " : "stopped body ");
    EXPECT_FALSE(c.keep_alive());
  }
}

}  // namespace
}  // namespace quoin::http1
