// Requests whose body the handler takes in pieces, and connections that are taken over.
#include <gtest/gtest.h>

#include "http1/server_connection.h"

namespace quoin::http1 {
namespace {

struct Taker final : RequestHandler {
  ServerConnection* connection = nullptr;
  std::string log;  // "POST /a" then the pieces in brackets, then "." or "!error"
  size_t largest = 0;
  bool want = true;       // asks for the body at once
  bool consume = true;    // as it comes
  int refuse_after = -1;  // answers 412 once so many bytes of the body came; 0: at the head
  uint64_t bytes_max = 1000;
  size_t got = 0;
  int aborted = 0;

  bool on_head(const Request& head) override {
    log += fmt::format("{} {} ", head.method, head.target);
    got = 0;
    if (head.path == "/collected") return false;
    if (refuse_after == 0) {
      connection->respond({412, {}, "no"}, "");
    } else if (want) {
      connection->read_body(bytes_max);
    }
    return true;
  }
  void on_request(const Request& r) override {
    log += fmt::format("({})", r.body);
    connection->respond({200, {}, "ok"}, "");
  }
  void on_body(std::string_view piece) override {
    got += piece.size();
    log += piece;
    if (consume) connection->consumed(piece.size());
    if (refuse_after > 0 && got >= static_cast<size_t>(refuse_after))
      connection->respond({412, {}, "no"}, "");
  }
  void on_body_end() override {
    log += ".";
    connection->respond({204, {}, ""}, "");
  }
  void on_body_failed(Error e) override {
    log += fmt::format("!{}", e.text());
    connection->respond({400, {}, "bad"}, "");
  }
  void on_aborted() override { ++aborted; }
};

struct Pair {
  explicit Pair(Limits limits = {}) : connection(handler, limits) { handler.connection = &connection; }
  Taker handler;
  ServerConnection connection;
  std::string exchange(std::string_view bytes, size_t piece = SIZE_MAX) {
    std::string all;
    for (size_t i = 0; i < bytes.size(); i += piece) {
      connection.feed(bytes.substr(i, piece));
      all += written();
    }
    return all;
  }
  std::string written() {
    std::string all;
    while (connection.has_output()) {
      all += connection.take_output();
      connection.output_written();
    }
    return all;
  }
};

std::string post(std::string_view fields, std::string_view body, std::string_view target = "/a") {
  return fmt::format("POST {} HTTP/1.1\r\nHost: h\r\n{}\r\n{}", target, fields, body);
}
const std::string kDone = "HTTP/1.1 204 No Content\r\n\r\n";
const std::string kNo = "HTTP/1.1 412 Precondition Failed\r\nContent-Length: 2\r\n\r\nno";
const std::string kNoAndClose =
    "HTTP/1.1 412 Precondition Failed\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
const std::string kBadAndClose =
    "HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbad";

TEST(BodyPieces, InAnyCutAndBetweenCollectedOnes) {
  for (const size_t piece : {SIZE_MAX, size_t{1}, size_t{5}}) {
    Pair p;
    const std::string out = p.exchange(
        post("Content-Length: 5\r\n", "hello") + post("Content-Length: 2\r\n", "ab", "/collected") +
            post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n") + post("", ""),
        piece);
    EXPECT_EQ(p.handler.log, "POST /a hello.POST /collected (ab)POST /a abcd.POST /a .");
    EXPECT_EQ(out, kDone + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + kDone + kDone);
    EXPECT_TRUE(p.connection.reading());
  }
}

TEST(BodyPieces, NothingIsReadBeforeTheBodyIsWanted) {
  Limits limits;
  limits.pipelined_bytes = 8;
  Pair p(limits);
  p.handler.want = false;
  EXPECT_EQ(p.exchange(post("Expect: 100-continue\r\nContent-Length: 20\r\n", "")), "");
  EXPECT_EQ(p.handler.log, "POST /a ");
  EXPECT_FALSE(p.connection.receiving()) << "its silence is ours";
  EXPECT_TRUE(p.connection.reading());
  p.exchange("0123456789");
  EXPECT_FALSE(p.connection.reading());
  EXPECT_EQ(p.handler.log, "POST /a ");
  p.connection.read_body(100);
  EXPECT_EQ(p.handler.log, "POST /a 0123456789");
  EXPECT_EQ(p.written(), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_TRUE(p.connection.receiving());
  EXPECT_TRUE(p.connection.reading());
  EXPECT_EQ(p.exchange("0123456789"), kDone);
}

TEST(BodyPieces, ReadingStopsUntilTheHandlerHasConsumed) {
  Limits limits;
  limits.body_window_bytes = 10;
  Pair p(limits);
  p.handler.consume = false;
  p.exchange(post("Content-Length: 30\r\n", "123456789"));
  EXPECT_TRUE(p.connection.reading());
  p.exchange("012");
  EXPECT_FALSE(p.connection.reading());
  EXPECT_FALSE(p.connection.receiving()) << "nothing is expected of the client now";
  p.connection.consumed(2);
  EXPECT_FALSE(p.connection.reading());
  p.connection.consumed(1);
  EXPECT_TRUE(p.connection.reading());
  EXPECT_TRUE(p.connection.receiving());
}

TEST(BodyPieces, AShortRestIsThrownAwayALongOneEndsTheConnection) {
  for (const size_t piece : {SIZE_MAX, size_t{1}}) {
    for (const int after : {0, 3}) {
      Pair p;
      p.handler.refuse_after = after;
      EXPECT_EQ(p.exchange(post("Content-Length: 10\r\n", "0123456789"), piece), kNo) << after;
      EXPECT_FALSE(p.connection.closing());
      p.handler.refuse_after = -1;
      EXPECT_EQ(p.exchange(post("Content-Length: 1\r\n", "x"), piece), kDone);
      EXPECT_TRUE(p.handler.log.ends_with("POST /a x.")) << p.handler.log;

      Pair chunks;
      chunks.handler.refuse_after = after;
      EXPECT_EQ(chunks.exchange(post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n3\r\nabc\r\n"), piece),
                kNoAndClose);
      EXPECT_TRUE(chunks.connection.closing());

      Pair large;
      large.handler.refuse_after = after;
      large.handler.bytes_max = UINT64_MAX;
      EXPECT_EQ(large.exchange(post("Content-Length: 300000\r\n", "abcde"), piece), kNoAndClose);
      EXPECT_TRUE(large.connection.closing());
    }
  }
  // Whether a client that was not told to go on sends its body, nobody knows.
  Pair waits;
  waits.handler.refuse_after = 0;
  EXPECT_EQ(waits.exchange(post("Expect: 100-continue\r\nContent-Length: 10\r\n", "")), kNoAndClose);
  EXPECT_TRUE(waits.connection.closing());
}

TEST(BodyPieces, WhatIsTooLongOrTornIsToldAndStillAnswered) {
  for (const size_t piece : {SIZE_MAX, size_t{1}}) {
    Pair length;
    EXPECT_EQ(length.exchange(post("Content-Length: 1001\r\n", "xyz"), piece), kBadAndClose);
    EXPECT_EQ(length.handler.log, "POST /a !http: request body too large");
    EXPECT_TRUE(length.connection.closing());
    Pair chunks;
    EXPECT_EQ(chunks.exchange(post("Transfer-Encoding: chunked\r\n", "1\r\na\r\n3e8\r\n"), piece),
              kBadAndClose);
    EXPECT_EQ(chunks.handler.log, "POST /a a!http: request body too large");
    Pair bad;
    EXPECT_EQ(bad.exchange(post("Transfer-Encoding: chunked\r\n", "1\r\naxx"), piece), kBadAndClose);
    EXPECT_EQ(bad.handler.log, "POST /a a!malformed chunked encoding");
    Pair torn;
    torn.exchange(post("Content-Length: 10\r\n", "abc"), piece);
    torn.connection.feed_eof();
    EXPECT_EQ(torn.handler.log, "POST /a abc!unexpected EOF");
    EXPECT_EQ(torn.written(), kBadAndClose);
    EXPECT_TRUE(torn.connection.closing());
  }
}

TEST(BodyPieces, TheEndOfTheConnectionIsTold) {
  Pair p;
  p.exchange(post("Content-Length: 10\r\n", "abc"));
  p.connection.abort();
  EXPECT_EQ(p.handler.aborted, 1);
  p.connection.consumed(0);
  p.connection.read_body(1);
  p.connection.respond({200, {}, ""}, "");
  EXPECT_FALSE(p.connection.has_output());
  // Thrown away: its end does not matter to anybody.
  Pair answered;
  answered.handler.refuse_after = 0;
  answered.exchange(post("Content-Length: 10\r\n", "abc"));
  answered.connection.feed_eof();
  EXPECT_TRUE(answered.connection.closing());
  EXPECT_EQ(answered.handler.aborted, 0);
}

struct Streams final : RequestHandler {
  ServerConnection* connection = nullptr;
  bool chunked = false;
  bool on_head(const Request&) override {
    connection->start(200, {{"X", "y"}}, "");
    chunked = connection->take_over();
    return true;
  }
  void on_request(const Request&) override {}
  void on_aborted() override { FAIL(); }
};

TEST(BodyPieces, AConnectionIsTakenOver) {
  for (const bool old : {false, true}) {
    Streams handler;
    ServerConnection c(handler, {});
    handler.connection = &c;
    c.feed(old ? "GET /raft/stream/msgapp/1 HTTP/1.0\r\n\r\n"
               : "GET /raft/stream/msgapp/1 HTTP/1.1\r\nHost: h\r\n\r\nmore");
    EXPECT_EQ(c.take_output(), old ? "HTTP/1.0 200 OK\r\nX: y\r\nConnection: close\r\n\r\n"
                                   : "HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n");
    EXPECT_EQ(handler.chunked, !old);
    c.output_written();
    c.feed("x");
    c.feed_eof();
    EXPECT_FALSE(c.reading());
    EXPECT_FALSE(c.receiving());
    EXPECT_FALSE(c.closing());
    EXPECT_FALSE(c.request_in_progress());
    c.abort();
  }
}

}  // namespace
}  // namespace quoin::http1
