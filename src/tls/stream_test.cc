#include "tls/stream.h"

#include <gtest/gtest.h>

#include "tls/tls_test_util.h"

namespace quoin::tls {
namespace {
using testing::FakeLoop;
using testing::issue;
using testing::Issued;

// One end of a pair without sockets: what is written reaches the other end as tasks of the loop, as fast as
// it reads.
class Pipe final : public io::Stream {
 public:
  static constexpr size_t kPiece = 64 << 10;
  Pipe(FakeLoop& loop, std::string local, std::string peer)
      : loop_(loop), local_(std::move(local)), peer_(std::move(peer)) {}
  ~Pipe() override {
    if (other != nullptr) other->other = nullptr;
  }
  static void join(Pipe& a, Pipe& b) {
    a.other = &b;
    b.other = &a;
  }
  void set_handler(io::StreamHandler* h) override {
    handler = h;
    if (other != nullptr) other->carry();
  }
  void pause_reading() override { paused = true; }
  void resume_reading() override {
    paused = false;
    if (other != nullptr) other->carry();
  }
  void write(std::string bytes) override {
    if (closed) return;
    out += bytes;
    most_queued = std::max(most_queued, out.size());
    carry();
  }
  void write(Blob bytes) override { write(std::string(bytes.view())); }
  size_t queued_bytes() const override { return out.size(); }
  void shutdown() override {
    ended = true;
    carry();
  }
  void close() override {
    if (std::exchange(closed, true)) return;
    out.clear();
    ended = true;
    carry();
    task([this] {
      if (handler != nullptr) std::exchange(handler, nullptr)->on_closed({});
    });
  }
  void reset() {
    closed = true;
    task([this] {
      if (handler != nullptr)
        std::exchange(handler, nullptr)->on_closed(Error(Code::kIo, "read: connection reset by peer"));
    });
  }
  const std::string& peer_address() const override { return peer_; }
  const std::string& local_address() const override { return local_; }
  io::Loop& loop() override { return loop_; }

  Pipe* other = nullptr;
  io::StreamHandler* handler = nullptr;
  bool paused = false, closed = false, ended = false, eof_told = false;
  std::string out;
  size_t most_queued = 0;

 private:
  void task(Task t) {
    loop_.post([alive = std::weak_ptr(alive_), t = std::move(t)]() mutable {
      if (!alive.expired()) t();
    });
  }
  void carry() {
    if (std::exchange(carrying_, true)) return;
    task([this] {
      carrying_ = false;
      if (other == nullptr || other->handler == nullptr || other->paused) return;
      if (!out.empty()) {
        const std::string piece = out.substr(0, kPiece);
        out.erase(0, piece.size());
        other->handler->on_data(piece);
        if (out.empty() && handler != nullptr && !closed) handler->on_drained();
        if (!out.empty() || ended) carry();
      } else if (ended && !std::exchange(eof_told, true)) {
        other->handler->on_eof();
      }
    });
  }
  FakeLoop& loop_;
  const std::string local_, peer_;
  bool carrying_ = false;
  const std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

class Handler final : public io::StreamHandler {
 public:
  void on_data(std::string_view bytes) override {
    got += bytes;
    if (on_bytes) on_bytes();
  }
  void on_eof() override { eof = true; }
  void on_drained() override { ++drained; }
  void on_closed(Result<> error) override {
    closed = true;
    if (!error) close_error = error.error().text();
  }
  std::string got, close_error;
  std::function<void()> on_bytes;
  bool eof = false, closed = false;
  int drained = 0;
};

class StreamTest : public ::testing::Test {
 protected:
  struct Side {
    Pipe* pipe = nullptr;
    std::unique_ptr<Stream> stream;
    Handler handler;
    std::optional<HandshakeOutcome> outcome;
    std::string error() const {
      return outcome && !outcome->result ? std::string(outcome->result.error().text()) : "";
    }
  };
  StreamOptions options(const Options& o, Role role) {
    StreamOptions s;
    s.credentials = *Credentials::load(o, role, *files_.fs, clock_, nullptr);
    s.session.host = "127.0.0.1";
    s.timers = &timers_;
    return s;
  }
  void wrap(Side& side, std::unique_ptr<Pipe> pipe, StreamOptions o) {
    side.pipe = pipe.get();
    side.stream = std::make_unique<Stream>(std::move(pipe), std::move(o), [&side](HandshakeOutcome outcome) {
      EXPECT_FALSE(side.outcome.has_value());
      side.outcome = std::move(outcome);
      side.stream->set_handler(&side.handler);
    });
  }
  void connect(StreamOptions server, StreamOptions client) {
    auto a = std::make_unique<Pipe>(loop_, "127.0.0.1:2380", "127.0.0.1:50000");
    auto b = std::make_unique<Pipe>(loop_, "127.0.0.1:50000", "127.0.0.1:2380");
    Pipe::join(*a, *b);
    wrap(server_, std::move(a), std::move(server));
    wrap(client_, std::move(b), std::move(client));
  }
  void connect() {
    connect(options(server_options_, Role::kServer), options(client_options_, Role::kClient));
  }

  FakeLoop loop_;
  testing::FakeClock clock_;
  testing::FakeTimers timers_{clock_};
  testing::Files files_;
  Issued ca_ = testing::make_ca();
  Issued pair_ = issue({.cn = "s", .ips = {"127.0.0.1"}}, &ca_);
  Issued own_ = issue({.cn = "alice", .dns = {"node"}, .ips = {"10.9.9.9"}}, &ca_);
  Options server_options_ = files_.side("server", pair_, &ca_);
  Options client_options_ = files_.side("client", own_, &ca_);
  Side server_, client_;
};

TEST_F(StreamTest, CarriesPlaintextAndEndsInOrder) {
  connect();
  // Written before the handshake is over.
  client_.stream->write("hello ");
  client_.stream->write(Blob::copy("world"));
  loop_.run();
  ASSERT_TRUE(server_.outcome && server_.outcome->result) << server_.error();
  EXPECT_EQ(server_.outcome->identity.names.common_name, "alice");
  EXPECT_EQ(server_.handler.got, "hello world");
  EXPECT_EQ(client_.stream->queued_bytes(), 0u);
  EXPECT_GE(client_.handler.drained, 1);
  server_.stream->write("bye");
  server_.stream->shutdown();
  loop_.run();
  EXPECT_EQ(client_.handler.got, "bye");
  EXPECT_TRUE(client_.handler.eof);
  client_.stream->write("more");
  client_.stream->shutdown();
  loop_.run();
  EXPECT_EQ(server_.handler.got, "hello worldmore");
  EXPECT_TRUE(server_.handler.eof);
  server_.stream->close();
  loop_.run();
  EXPECT_TRUE(server_.handler.closed);
  EXPECT_EQ(server_.handler.close_error, "");
}

TEST_F(StreamTest, GoesOnFromWhatWasReadAlready) {
  Session client(*Credentials::load(client_options_, Role::kClient, *files_.fs, clock_, nullptr),
                 {.host = "127.0.0.1"});
  client.step();
  StreamOptions o = options(server_options_, Role::kServer);
  o.received = client.take_output();
  ASSERT_FALSE(o.received.empty());
  wrap(server_, std::make_unique<Pipe>(loop_, "127.0.0.1:2380", "127.0.0.1:50000"), std::move(o));
  loop_.run();
  client.feed(server_.pipe->out);
  client.step();
  EXPECT_EQ(client.state(), Session::State::kOpen);
}

TEST_F(StreamTest, StepsRunElsewhereOneAtATime) {
  FakeLoop pool;
  StreamOptions so = options(server_options_, Role::kServer);
  so.handshakes = &pool;
  connect(so, options(client_options_, Role::kClient));
  size_t steps = 0;
  for (int i = 0; i < 10; ++i) {
    loop_.run();
    EXPECT_LE(pool.waiting(), 1u);
    EXPECT_TRUE(pool.waiting() == 0 || server_.pipe->paused);
    steps += pool.run();
  }
  ASSERT_TRUE(server_.outcome && server_.outcome->result) << server_.error();
  EXPECT_EQ(steps, 2u);

  // Dropped while a step is under way: the step ends, nothing is told.
  Side other;
  auto a = std::make_unique<Pipe>(loop_, "l", "p"), b = std::make_unique<Pipe>(loop_, "p", "l");
  Pipe::join(*a, *b);
  wrap(other, std::move(a), so);
  Session hello(options(client_options_, Role::kClient).credentials, {});
  hello.step();
  b->write(hello.take_output());
  loop_.run();
  ASSERT_EQ(pool.waiting(), 1u);
  other.stream.reset();
  pool.run();
  loop_.run();
  EXPECT_FALSE(other.outcome.has_value());
}

TEST_F(StreamTest, FailuresSendTheirAlertAndClose) {
  Options nobody;
  nobody.trusted_ca_file = client_options_.trusted_ca_file;
  connect(options(server_options_, Role::kServer), options(nobody, Role::kClient));
  loop_.run();
  EXPECT_EQ(server_.error(), "tls: client didn't provide a certificate");
  EXPECT_FALSE(server_.outcome->eof);
  EXPECT_TRUE(server_.handler.closed);
  EXPECT_EQ(server_.handler.close_error, "tls: client didn't provide a certificate");
  // In TLS 1.3 the client is done before the server looks.
  ASSERT_TRUE(client_.outcome && client_.outcome->result);
  EXPECT_TRUE(client_.handler.closed);
  EXPECT_EQ(client_.handler.close_error, "remote error: tls: certificate required");
}

TEST_F(StreamTest, EndsOfConnectionsDuringTheHandshake) {
  const auto alone = [&](Side& side) {
    auto a = std::make_unique<Pipe>(loop_, "127.0.0.1:2380", "127.0.0.1:50000");
    auto b = std::make_unique<Pipe>(loop_, "", "");
    Pipe::join(*a, *b);
    wrap(side, std::move(a), options(server_options_, Role::kServer));
    loop_.run();
    return b;
  };
  Side one, two, three, four;
  auto other = alone(one);
  other->shutdown();
  loop_.run();
  EXPECT_EQ(one.error(), "EOF");
  EXPECT_TRUE(one.outcome->eof);

  other = alone(two);
  timers_.advance(10 * io::kSecond - 1);
  loop_.run();
  EXPECT_FALSE(two.outcome.has_value());
  timers_.advance(1);
  loop_.run();
  EXPECT_EQ(two.error(), "read tcp 127.0.0.1:2380->127.0.0.1:50000: i/o timeout");
  EXPECT_TRUE(two.handler.closed);

  other = alone(three);
  three.pipe->reset();
  loop_.run();
  EXPECT_EQ(three.error(), "read tcp 127.0.0.1:2380->127.0.0.1:50000: read: connection reset by peer");

  other = alone(four);
  other->write("GET / HTTP/1.1\r\n\r\n");
  loop_.run();
  EXPECT_EQ(four.error(), "tls: first record does not look like a TLS handshake");
  EXPECT_TRUE(four.pipe->closed);
}

TEST_F(StreamTest, ASlowReaderBoundsWhatWaits) {
  connect();
  loop_.run();
  client_.pipe->most_queued = 0;
  server_.stream->pause_reading();
  const size_t total = 4 << 20;
  client_.stream->write(std::string(total / 2, 'a'));
  for (size_t i = 0; i < 1000; ++i) client_.stream->write(Blob::copy(std::string(total / 2000, 'b')));
  const size_t all = client_.stream->queued_bytes();
  EXPECT_EQ(all, total / 2 + 1000 * (total / 2000));
  loop_.run();
  // Encrypted: the bound of the inner stream and one turn. The rest waits in clear.
  EXPECT_LE(client_.pipe->most_queued, Stream::kInnerQueueMax + Stream::kTurnBytes);
  EXPECT_GT(client_.stream->queued_bytes(), total / 2);
  EXPECT_LE(server_.handler.got.size(), Stream::kTurnBytes + Pipe::kPiece);
  const int drained = client_.handler.drained;
  server_.stream->resume_reading();
  loop_.run();
  EXPECT_EQ(server_.handler.got.size(), all);
  EXPECT_EQ(client_.stream->queued_bytes(), 0u);
  EXPECT_EQ(client_.handler.drained, drained + 1);
  EXPECT_LE(client_.pipe->most_queued, Stream::kInnerQueueMax + Stream::kTurnBytes);
}

TEST_F(StreamTest, HandlersMayPauseCloseAndDropWithinCallbacks) {
  connect();
  loop_.run();
  server_.handler.on_bytes = [&] { server_.stream->pause_reading(); };
  client_.stream->write(std::string(100'000, 'x'));
  loop_.run();
  EXPECT_EQ(server_.handler.got.size(), kRecordBytesMax);
  server_.stream->resume_reading();
  loop_.run();
  EXPECT_EQ(server_.handler.got.size(), 2 * kRecordBytesMax);
  server_.handler.on_bytes = [&] { server_.stream.reset(); };
  server_.stream->resume_reading();
  loop_.run();
  EXPECT_EQ(server_.handler.got.size(), 3 * kRecordBytesMax);
  EXPECT_EQ(server_.stream, nullptr);
}

TEST_F(StreamTest, ACutRecordIsAnErrorAndAnEofBetweenRecordsIsNot) {
  connect();
  loop_.run();
  client_.pipe->write(std::string("\x17\x03\x03\x00\x20", 5));
  client_.pipe->shutdown();
  loop_.run();
  EXPECT_FALSE(server_.handler.eof);
  EXPECT_EQ(server_.handler.close_error, "unexpected EOF");

  server_.outcome.reset();
  client_.outcome.reset();
  server_.handler = Handler();
  client_.handler = Handler();
  connect();
  loop_.run();
  client_.pipe->shutdown();
  loop_.run();
  EXPECT_TRUE(server_.handler.eof);
  EXPECT_FALSE(server_.handler.closed);
}

class Names final : public NameLookup {
 public:
  explicit Names(FakeLoop& loop) : loop_(loop) {}
  void lookup_address(const std::string&, Done done) override {
    if (silent) return held.push_back(std::move(done));
    loop_.post([done = std::move(done)]() mutable { done(std::vector<std::string>{"node."}); });
  }
  void lookup_host(const std::string&, Done done) override {
    loop_.post([done = std::move(done)]() mutable { done(std::vector<std::string>{}); });
  }
  bool silent = false;
  std::vector<Done> held;

 private:
  FakeLoop& loop_;
};

TEST_F(StreamTest, NamesAreCheckedAgainstTheAddressAfterTheHandshake) {
  Names names(loop_);
  StreamOptions so = options(server_options_, Role::kServer);
  so.san_lookup = &names;
  connect(so, options(client_options_, Role::kClient));
  client_.stream->write("hello");
  loop_.run();
  ASSERT_TRUE(server_.outcome && server_.outcome->result) << server_.error();
  EXPECT_EQ(server_.handler.got, "hello");

  // Without a name that fits.
  const Issued lost = issue({.cn = "lost", .ips = {"10.9.9.9"}}, &ca_);
  const Options lost_options = files_.side("lost", lost, &ca_);
  server_.outcome.reset();
  client_.outcome.reset();
  server_.handler = Handler();
  client_.handler = Handler();
  connect(so, options(lost_options, Role::kClient));
  loop_.run();
  EXPECT_EQ(server_.error(), "x509: certificate is valid for 10.9.9.9, not 127.0.0.1");
  EXPECT_EQ(server_.outcome->identity.names.common_name, "lost");
  EXPECT_TRUE(server_.handler.closed);
  EXPECT_TRUE(client_.handler.eof);

  // A resolver that does not answer.
  names.silent = true;
  server_.outcome.reset();
  client_.outcome.reset();
  connect(so, options(client_options_, Role::kClient));
  loop_.run();
  EXPECT_FALSE(server_.outcome.has_value());
  timers_.advance(30 * io::kSecond);
  loop_.run();
  EXPECT_EQ(server_.error(), "read tcp 127.0.0.1:2380->127.0.0.1:50000: i/o timeout");
  for (auto& done : names.held) done(std::vector<std::string>{"node"});
  loop_.run();
}

TEST_F(StreamTest, TheLimitLetsHandshakesInInOrder) {
  HandshakeLimit limit(1);
  StreamOptions so = options(server_options_, Role::kServer);
  so.limit = &limit;
  Side sides[3];
  std::unique_ptr<Pipe> others[3];
  for (int i = 0; i < 3; ++i) {
    auto a = std::make_unique<Pipe>(loop_, "l", "p");
    others[i] = std::make_unique<Pipe>(loop_, "p", "l");
    Pipe::join(*a, *others[i]);
    wrap(sides[i], std::move(a), so);
  }
  loop_.run();
  EXPECT_EQ(limit.under_way(), 1u);
  EXPECT_EQ(limit.waiting(), 2u);
  EXPECT_FALSE(sides[0].pipe->paused);
  EXPECT_TRUE(sides[1].pipe->paused);
  // One that waits goes away; the first one fails.
  sides[1].stream.reset();
  others[0]->write("junk junk");
  loop_.run();
  EXPECT_TRUE(sides[0].outcome.has_value());
  EXPECT_FALSE(sides[2].pipe->paused);
  EXPECT_EQ(limit.under_way(), 1u);
  EXPECT_EQ(limit.waiting(), 0u);
  sides[2].stream->close();
  loop_.run();
  EXPECT_EQ(limit.under_way(), 0u);
}

}  // namespace
}  // namespace quoin::tls
