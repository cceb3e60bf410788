// Requests over HTTP/2 that a door takes from their head on: bodies in pieces, answers in pieces, and how they end.
#include <deque>

#include "grpc/harness_test.h"

namespace quoin::grpc::test {
namespace {

struct Tasks final : io::Loop {
  std::deque<Task> posted;
  void post(Task task) override { posted.push_back(std::move(task)); }
  bool running_here() const override { return true; }
  void at_end_of_round(Task task) override { posted.push_back(std::move(task)); }
  void run() {
    while (!posted.empty()) {
      Task t = std::move(posted.front());
      posted.pop_front();
      t();
    }
  }
};

struct Door final : HttpHandler, http1::StreamDoor, http1::BodyReader {
  Tasks tasks;
  std::unique_ptr<http1::StreamExchange> exchange;
  std::string body, failure;
  bool ended = false, aborted = false, reads = true, consumes = true;

  void on_request(const http1::Request&, Reply reply) override { reply({200, {}, "page"}); }
  http1::StreamDoor* door() override { return this; }
  io::Loop* loop() override { return &tasks; }
  std::string date() override { return "D"; }

  bool serves(std::string_view path) const override { return path.starts_with("/v3/"); }
  void on_request(std::unique_ptr<http1::StreamExchange> e) override {
    exchange = std::move(e);
    exchange->when_aborted([this] { aborted = true; });
    if (reads) exchange->read_body(*this, 100'000);
  }
  void on_body(std::string_view piece) override {
    body += piece;
    if (consumes) exchange->consumed(piece.size());
  }
  void on_body_end() override { ended = true; }
  void on_body_failed(Error error) override { failure = error.text(); }
};

struct Exchanges : testing::Test, Harness {
  Exchanges() { context.http = &door; }
  ~Exchanges() override { door.exchange.reset(); }
  RawClient::Stream& post(std::string_view path, std::string_view body, bool end) {
    RawClient::Headers headers = {
        {":method", "POST"}, {":scheme", "https"}, {":path", std::string(path)}, {":authority", "x"}};
    id = client.request(headers, body, end, end && body.empty());
    run();
    return *client.streams[id];
  }
  http2::StreamId id = 0;
  Door door;
};

TEST_F(Exchanges, ABodyAndAnAnswerInPieces) {
  auto& s = post("/v3/watch", "one", false);
  EXPECT_EQ(door.body, "one");
  EXPECT_EQ(door.exchange->request().path, "/v3/watch");
  door.exchange->start(200, {{"Content-Type", "application/json"}});
  door.exchange->write("a\n");
  run();
  EXPECT_EQ(s.headers["content-type"], "application/json");
  EXPECT_EQ(s.headers["date"], "D");
  EXPECT_EQ(s.body, "a\n");
  client.send(id, "two", true);
  run();
  EXPECT_EQ(door.body, "onetwo");
  EXPECT_TRUE(door.ended);
  door.exchange->write("b\n");
  door.exchange->finish();
  run();
  EXPECT_EQ(s.body, "a\nb\n");
  EXPECT_TRUE(s.closed);
  EXPECT_EQ(s.code, http2::ErrorCode::kNoError);
  EXPECT_FALSE(door.aborted);
  EXPECT_EQ(server->held_bytes(), 0u);
}

TEST_F(Exchanges, WhatIsNotConsumedHoldsTheClientBack) {
  door.consumes = false;
  auto& s = post("/v3/watch", std::string(90'000, 'x'), true);
  EXPECT_EQ(door.body.size(), http2::Session::kInitialWindowBytes);
  EXPECT_GE(server->held_bytes(), door.body.size());
  door.consumes = true;
  door.exchange->consumed(door.body.size());
  run();
  EXPECT_EQ(door.body.size(), 90'000u);
  EXPECT_TRUE(door.ended);
  EXPECT_FALSE(s.closed);
}

TEST_F(Exchanges, ABodyThatIsTooLong) {
  post("/v3/watch", std::string(150'000, 'x'), true);
  EXPECT_EQ(door.failure, "http: request body too large");
  EXPECT_LE(door.body.size(), 100'000u);
}

TEST_F(Exchanges, AnEarlyAnswerWaitsForAShortBody) {
  door.reads = false;
  auto& s = post("/v3/kv/range", "begin", false);
  door.exchange->respond({404, {}, "gone"});
  run();
  EXPECT_TRUE(s.headers.empty());
  client.send(id, "end", true);
  run();
  EXPECT_EQ(s.headers[":status"], "404");
  EXPECT_EQ(s.headers["content-length"], "4");
  EXPECT_EQ(s.code, http2::ErrorCode::kNoError);

  auto& endless = post("/v3/kv/range", "begin", false);
  door.exchange->respond({404, {}, "gone"});
  client.send(id, std::string(http1::kDiscardedBodyMax + 1, 'x'), false);
  run();
  EXPECT_EQ(endless.headers[":status"], "404");
  EXPECT_EQ(server->held_bytes(), 0u);
}

TEST_F(Exchanges, AWriterIsToldWhenItsClientHasRead) {
  client.read = false;
  auto& s = post("/v3/kv/range", "", true);
  door.exchange->start(200, {});
  door.exchange->write(std::string(300'000, 'x'));
  int told = 0;
  door.exchange->when_drained([&told] { ++told; });
  run();
  door.tasks.run();
  EXPECT_EQ(told, 0);
  EXPECT_GT(door.exchange->unsent_bytes(), 100'000u);
  EXPECT_GE(server->held_bytes(), door.exchange->unsent_bytes());
  client.read = true;
  client.session.consume_connection(s.body.size());
  client.session.consume_stream(id, s.body.size());
  run();
  door.tasks.run();
  EXPECT_EQ(told, 1);
  EXPECT_EQ(s.body.size(), 300'000u);
}

TEST_F(Exchanges, TheirEnds) {
  post("/v3/watch", "x", false);
  client.session.reset(id, http2::ErrorCode::kCancel);
  run();
  EXPECT_TRUE(door.aborted);
  door.exchange->write("nobody");
  door.exchange->finish();

  // Dropped without an answer.
  auto& dropped = post("/v3/watch", "x", false);
  door.exchange.reset();
  run();
  EXPECT_EQ(dropped.code, http2::ErrorCode::kInternalError);

  door.aborted = false;
  post("/v3/watch", "x", false);
  server.reset();
  EXPECT_TRUE(door.aborted);
  EXPECT_EQ(memory.used(), 0u);
}

TEST_F(Exchanges, OtherPathsArePages) {
  EXPECT_EQ(post("/v4/x", "", true).body, "page");
}

}  // namespace
}  // namespace quoin::grpc::test
