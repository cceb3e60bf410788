// The client (http1/client_connection.h) and a door (http1/door.h) on real sockets: a large body with a slow reader at
// its end, and a connection that is taken over.
#include <gtest/gtest.h>

#include <future>

#include "front/http1_rig_test.h"
#include "http1/chunk.h"
#include "http1/client_connection.h"
#include "posix/clock.h"
#include "posix/loop.h"
#include "posix/timers.h"

namespace quoin::front {
namespace {

// Echoes what comes on connections it took over; counts bodies, consuming each piece in a task of its own.
class TestDoor final : public http1::Door, http1::BodyReader, io::StreamHandler {
 public:
  bool serves(std::string_view path) const override { return path.starts_with("/raft"); }
  void on_request(std::unique_ptr<http1::Exchange> e) override {
    if (e->request().method == "POST") {
      exchange_ = std::move(e);
      return exchange_->read_body(*this, UINT64_MAX);
    }
    auto taken = e->take_over(200, {});
    e.reset();
    stream_ = std::move(taken.stream);
    stream_->set_handler(this);
    stream_->resume_reading();
  }
  void on_body(std::string_view piece) override {
    got_ += piece.size();
    held_ += piece.size();
    most_held = std::max(most_held, held_);
    exchange_->loop().post([this, n = piece.size()] {
      if (!exchange_) return;
      held_ -= n;
      exchange_->consumed(n);
    });
  }
  void on_body_end() override {
    exchange_->respond({200, {}, std::to_string(got_)});
    exchange_.reset();
  }
  void on_body_failed(Error) override { exchange_.reset(); }
  void on_data(std::string_view bytes) override {
    stream_->write(http1::chunk_head(bytes.size()));
    stream_->write(Blob::copy(bytes));
    stream_->write(std::string(http1::kChunkEnd));
  }
  void on_eof() override {
    stream_->write(std::string(http1::kLastChunk));
    stream_->shutdown();
  }
  void on_drained() override {}
  void on_closed(Result<>) override {}
  void drop() { stream_.reset(); }

  size_t most_held = 0;

 private:
  std::unique_ptr<http1::Exchange> exchange_;
  std::unique_ptr<io::Stream> stream_;
  size_t got_ = 0, held_ = 0;
};

class PeerClient final : public http1::ResponseHandler, public io::StreamHandler {
 public:
  static constexpr size_t kPiece = 64 << 10, kQueuedMax = 1 << 20;

  // http1::ResponseHandler
  void on_head(const http1::ResponseHead& head) override {
    log += std::to_string(head.status) + " ";
    if (to_say.empty()) return;
    // To whom took the connection over.
    stream->write(to_say);
    stream->shutdown();
  }
  void on_body(std::string_view bytes) override { log += bytes; }
  void on_complete() override { done.set_value(); }
  void on_error(Error e) override {
    log += e.text();
    done.set_value();
  }
  void on_writable() override { send_more(); }

  // io::StreamHandler
  void on_data(std::string_view bytes) override { connection.feed(bytes); }
  void on_eof() override { connection.feed_eof(); }
  void on_drained() override { connection.output_written(); }
  void on_closed(Result<>) override {}

  void flush() {
    if (connection.has_output()) stream->write(connection.take_output());
  }
  // Chunks without a copy, up to the bound of what is queued.
  void send_more() {
    const Blob piece = Blob::copy(std::string(kPiece, 'x'));
    while (left > 0 && stream->queued_bytes() < kQueuedMax) {
      flush();
      stream->write(http1::chunk_head(kPiece));
      stream->write(piece);
      stream->write(std::string(http1::kChunkEnd));
      left -= kPiece;
      most_queued = std::max(most_queued, stream->queued_bytes());
    }
    if (left == 0 && !connection.request_sent()) connection.finish();
    flush();
  }

  http1::ClientConnection connection{*this};
  std::unique_ptr<io::Stream> stream;
  std::string log, to_say;
  size_t left = 0, most_queued = 0;
  std::promise<void> done;
};

TEST(Http1Sockets, ALargeBodyAndATakenConnection) {
  posix::SystemClock clock;
  posix::ThreadTimers timers(clock);
  posix::UvLoop server("server"), loop("client");
  posix::UvNetwork network;
  Source source;
  metrics::Registry registry;
  httpapi::Endpoints endpoints(source, registry, log::null_logger(), {});
  TestDoor door;
  std::vector<std::unique_ptr<Http1Transport>> transports;
  auto listener = network.listen({false, "127.0.0.1", 0}, {&server}, [&](std::unique_ptr<io::Stream> s) {
    transports.push_back(std::make_unique<Http1Transport>(
        endpoints, httpapi::Surface::kPeer, Http1Transport::Security{}, Http1Transport::Doors{.peers = &door},
        std::move(s), clock, timers,
        Http1Times{.answer_ns = 60 * io::kSecond, .silence_ns = 60 * io::kSecond}, "", [] {}));
  });
  ASSERT_TRUE(listener) << listener.error().text();

  constexpr size_t kBytes = 32 << 20;
  std::optional<PeerClient> snapshot, stream;
  snapshot.emplace();
  stream.emplace();
  snapshot->left = kBytes;
  stream->to_say = "hello";
  std::vector<std::unique_ptr<io::Connecting>> attempts;
  for (PeerClient* c : {&*snapshot, &*stream}) {
    attempts.push_back(network.connect({false, "127.0.0.1", (*listener)->port()},
                                       {.timeout_ns = 60 * io::kSecond}, loop,
                                       [c](Result<std::unique_ptr<io::Stream>> s) {
                                         ASSERT_TRUE(s) << s.error().text();
                                         c->stream = std::move(*s);
                                         c->stream->set_handler(c);
                                         if (c->left > 0) {
                                           c->connection.start({"POST", "/raft/snapshot", "h", {}});
                                           c->send_more();
                                         } else {
                                           c->connection.send({"GET", "/raft/stream", "h", {}});
                                           c->flush();
                                         }
                                       }));
  }
  for (PeerClient* c : {&*snapshot, &*stream})
    ASSERT_EQ(c->done.get_future().wait_for(std::chrono::seconds(60)), std::future_status::ready) << c->log;
  EXPECT_EQ(snapshot->log, "200 " + std::to_string(kBytes));
  EXPECT_EQ(stream->log, "200 hello");
  EXPECT_LE(snapshot->most_queued, PeerClient::kQueuedMax + 2 * PeerClient::kPiece);
  EXPECT_LE(door.most_held, http1::Limits{}.body_window_bytes + (64 << 10));

  std::promise<void> client_gone, server_gone;
  loop.post([&] {
    attempts.clear();
    snapshot.reset();
    stream.reset();
    client_gone.set_value();
  });
  client_gone.get_future().wait();
  server.post([&] {
    transports.clear();
    door.drop();
    server_gone.set_value();
  });
  server_gone.get_future().wait();
  listener->reset();
  loop.stop();
  server.stop();
}

}  // namespace
}  // namespace quoin::front
