// Requests that a door serves (http1/door.h), through a transport and a simulated network.
#include "front/http1_rig_test.h"
#include "http1/chunk.h"

namespace quoin::front {
namespace {

struct TestDoor final : http1::Door, http1::BodyReader {
  bool serves(std::string_view path) const override { return path.starts_with("/raft"); }
  void on_request(std::unique_ptr<http1::Exchange> e) override {
    exchange = std::move(e);
    exchange->when_aborted([this] {
      ++aborted;
      exchange.reset();
    });
    log += std::string(exchange->request().target) + " ";
    if (at_once) at_once();
  }
  void on_body(std::string_view piece) override {
    got += piece.size();
    if (consume) exchange->consumed(piece.size());
    if (drop_at != 0 && got >= drop_at) exchange.reset();
  }
  void on_body_end() override {
    log += fmt::format("{} bytes ", got);
    exchange->respond({204, {{"X-Etcd-Cluster-ID", "a1"}}, ""});
    exchange.reset();
  }
  void on_body_failed(Error error) override {
    log += fmt::format("{} ", error.text());
    exchange->respond({400, {}, "failed"});
    exchange.reset();
  }

  std::unique_ptr<http1::Exchange> exchange;
  std::function<void()> at_once;
  bool consume = true;
  size_t got = 0, drop_at = 0;
  int aborted = 0;
  std::string log;
};

class Http1Door : public Http1Rig {
 protected:
  Http1Door() { door_ = &door; }
  // Of a peer, to whom five seconds of silence are the end.
  void connect() {
    Http1Rig::connect({.answer_ns = 5 * io::kSecond, .silence_ns = 5 * io::kSecond}, httpapi::Surface::kPeer);
  }
  void on_server(std::function<void()> task) {
    server_.executor("loop").post(std::move(task));
    world_.run_for(100 * io::kMillisecond);
  }
  TestDoor door;
};

TEST_F(Http1Door, AnswersWhatItServesAndNothingElse) {
  connect();
  door.at_once = [this] { door.exchange->respond({200, {{"Content-Type", "text/plain"}}, "probed"}); };
  send("GET /raft/probing HTTP/1.1\r\nHost: x\r\n\r\n");
  world_.run_for(io::kSecond);
  EXPECT_TRUE(client_.got.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: "))
      << client_.got;
  EXPECT_TRUE(client_.got.ends_with("\r\n\r\nprobed")) << client_.got;
  client_.got.clear();
  send("GET /version HTTP/1.1\r\nHost: x\r\n\r\n");
  world_.run_for(io::kSecond);
  EXPECT_NE(client_.got.find("etcdserver"), std::string::npos);
  EXPECT_EQ(door.log, "/raft/probing ");
  EXPECT_FALSE(closed_);
}

TEST_F(Http1Door, ABodyOfAnySizeComesInPieces) {
  connect();
  door.at_once = [this] { door.exchange->read_body(door, UINT64_MAX); };
  constexpr size_t kBytes = 8 << 20;
  std::string bytes = "POST /raft/snapshot HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (size_t i = 0; i < kBytes; i += 64 << 10) {
    bytes += http1::chunk_head(64 << 10) + std::string(64 << 10, 'x') + std::string(http1::kChunkEnd);
  }
  send(bytes + std::string(http1::kLastChunk));
  ASSERT_TRUE(world_.run_until([&] { return !client_.got.empty(); }, 60 * io::kSecond));
  world_.run_for(io::kSecond);
  EXPECT_EQ(door.log, fmt::format("/raft/snapshot {} bytes ", kBytes));
  EXPECT_TRUE(client_.got.starts_with("HTTP/1.1 204 No Content\r\nX-Etcd-Cluster-ID: a1\r\n"));
  EXPECT_FALSE(closed_);
}

// The client's silence counts only while something is expected of it.
TEST_F(Http1Door, WhatIsNotConsumedHoldsTheClientBack) {
  connect();
  door.consume = false;
  door.at_once = [this] { door.exchange->read_body(door, UINT64_MAX); };
  send("POST /raft/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n" +
       std::string(4'000'000, 'x'));
  world_.run_for(60 * io::kSecond);
  EXPECT_FALSE(closed_);
  const size_t window = http1::Limits{}.body_window_bytes;
  EXPECT_GE(door.got, window);
  EXPECT_LT(door.got, window + (64 << 10));
  EXPECT_GT(client_.stream->queued_bytes(), size_t{3} << 20);
  door.consume = true;
  on_server([this] { door.exchange->consumed(door.got); });
  ASSERT_TRUE(world_.run_until([&] { return !client_.got.empty(); }, 60 * io::kSecond));
  EXPECT_EQ(door.got, 4'000'000u);
}

TEST_F(Http1Door, SilenceWithinABodyEndsTheConnection) {
  connect();
  door.at_once = [this] { door.exchange->read_body(door, UINT64_MAX); };
  send("POST /raft HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
  for (int i = 0; i < 3; ++i) {
    world_.run_for(4 * io::kSecond);
    EXPECT_FALSE(closed_);
    send("d");
  }
  world_.run_for(5500 * io::kMillisecond);
  EXPECT_TRUE(closed_);
  EXPECT_EQ(door.aborted, 1);
  EXPECT_EQ(client_.got, "");
}

TEST_F(Http1Door, AnAnswerThatTakesItsTimeIsNotSilence) {
  connect();
  door.at_once = [] {};
  send("GET /raft/slow HTTP/1.1\r\nHost: x\r\n\r\n");
  world_.run_for(60 * io::kSecond);
  EXPECT_FALSE(closed_);
  on_server([this] { door.exchange->respond({200, {}, "late"}); });
  EXPECT_TRUE(client_.got.ends_with("late"));
}

TEST_F(Http1Door, ARefusedBodyIsNotReadToItsEnd) {
  connect();
  door.at_once = [this] { door.exchange->respond({412, {}, "no\n"}); };
  std::string bytes = "POST /raft/snapshot HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 100; ++i) bytes += http1::chunk_head(10'000) + std::string(10'000, 'x') + "\r\n";
  send(bytes);
  ASSERT_TRUE(world_.run_until([&] { return closed_; }, 60 * io::kSecond));
  EXPECT_TRUE(client_.got.starts_with("HTTP/1.1 412 Precondition Failed\r\n")) << client_.got;
  EXPECT_NE(client_.got.find("Connection: close\r\n"), std::string::npos);
}

TEST_F(Http1Door, DroppedWithoutAnAnswerTheConnectionEndsWithoutAWord) {
  for (const size_t at : {0, 3}) {
    connect();
    door.drop_at = at;
    door.got = 0;
    door.at_once = [this, at] { at == 0 ? door.exchange.reset() : door.exchange->read_body(door, 1000); };
    send(
        "POST /raft HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
        "chunked\r\n\r\n3\r\nabc\r\n3\r\nabc\r\n0\r\n\r\n");
    world_.run_for(io::kSecond);
    EXPECT_TRUE(closed_);
    EXPECT_EQ(client_.got, "");
    EXPECT_EQ(door.aborted, 0);
    closed_ = false;
    transport_.reset();
    client_.stream.reset();
  }
}

TEST_F(Http1Door, TheClientsEndIsTold) {
  connect();
  door.at_once = [this] { door.exchange->read_body(door, 1000); };
  send("POST /raft HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
  world_.run_for(io::kSecond);
  client_.stream->shutdown();
  world_.run_for(io::kSecond);
  EXPECT_EQ(door.log, "/raft unexpected EOF ");
  EXPECT_TRUE(client_.got.starts_with("HTTP/1.1 400 ")) << client_.got;
  EXPECT_EQ(door.aborted, 0) << "it was answered";
}

// What outlives its transport does nothing.
TEST_F(Http1Door, AnExchangeMayOutliveTheConnection) {
  connect();
  door.at_once = [] {};
  send("GET /raft/x HTTP/1.1\r\nHost: x\r\n\r\n");
  world_.run_for(io::kSecond);
  door.exchange->when_aborted([this] { ++door.aborted; });
  client_.stream->close();
  network_.reset_all("client", "server");
  world_.run_for(io::kSecond);
  EXPECT_TRUE(closed_);
  EXPECT_EQ(door.aborted, 1);
  transport_.reset();
  door.exchange->respond({200, {}, ""});
  door.exchange->consumed(0);
  door.exchange->read_body(door, 1);
  EXPECT_EQ(door.exchange->take_over(200, {}).stream, nullptr);
  door.exchange.reset();
}

TEST_F(Http1Door, AConnectionIsTakenOver) {
  struct Owner final : io::StreamHandler {
    void on_data(std::string_view bytes) override { got += bytes; }
    void on_eof() override { eof = true; }
    void on_drained() override {}
    void on_closed(Result<>) override {}
    std::string got;
    bool eof = false;
  };
  for (const bool at_once : {true, false}) {
    connect();
    Owner owner;
    http1::Exchange::Taken taken;
    const auto take = [&] {
      taken = door.exchange->take_over(200, {{"X-Server-Version", "3.6.16"}});
      door.exchange.reset();
      taken.stream->set_handler(&owner);
      taken.stream->resume_reading();
    };
    door.at_once = nullptr;
    if (at_once) door.at_once = take;
    send("GET /raft/stream/msgapp/1 HTTP/1.1\r\nHost: x\r\n\r\n");
    world_.run_for(io::kSecond);
    if (!at_once) on_server(take);
    EXPECT_TRUE(closed_);
    transport_.reset();
    ASSERT_NE(taken.stream, nullptr);
    EXPECT_TRUE(client_.got.starts_with("HTTP/1.1 200 OK\r\nX-Server-Version: 3.6.16\r\nDate: "))
        << client_.got;
    EXPECT_TRUE(client_.got.ends_with("\r\nTransfer-Encoding: chunked\r\n\r\n")) << client_.got;
    client_.got.clear();
    // For hours.
    for (int i = 0; i < 100; ++i) {
      on_server([&] {
        taken.stream->write(http1::chunk_head(1));
        taken.stream->write(Blob::copy(std::string_view("\0", 1)));
        taken.stream->write(std::string(http1::kChunkEnd));
      });
      world_.run_for(60 * io::kSecond);
    }
    EXPECT_EQ(client_.got.size(), 600u);
    EXPECT_FALSE(owner.eof);
    client_.stream->shutdown();
    world_.run_for(io::kSecond);
    EXPECT_TRUE(owner.eof);
    EXPECT_EQ(door.aborted, 0);
    taken.stream.reset();
    client_ = {};
    closed_ = false;
  }
}

}  // namespace
}  // namespace quoin::front
