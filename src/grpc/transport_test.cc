// The adapter to io::Stream, on a stream and a loop held in the test's hands.
#include "grpc/transport.h"

#include <gtest/gtest.h>

#include <map>

#include "grpc/client_connection.h"
#include "grpc/gzip.h"
#include "grpc/harness_test.h"
#include "grpc/server_impl.h"
#include "http2/frames_test.h"

namespace quoin::grpc::test {
namespace {

struct HandLoop final : io::Loop {
  std::vector<Task> posted, round;
  void post(Task task) override { posted.push_back(std::move(task)); }
  void at_end_of_round(Task task) override { round.push_back(std::move(task)); }
  bool running_here() const override { return true; }
  // One round: what was posted before it, then its end.
  void round_trip() {
    for (Task& t : std::exchange(posted, {})) std::move(t)();
    while (!round.empty()) {
      for (Task& t : std::exchange(round, {})) std::move(t)();
    }
  }
  void run() {
    while (!posted.empty() || !round.empty()) {
      auto now = std::exchange(posted.empty() ? round : posted, {});
      for (Task& t : now) std::move(t)();
    }
  }
};

struct HandStream final : io::Stream {
  HandStream(HandLoop& l, std::vector<std::string>& w, bool& c) : hand_loop(l), writes(w), closed(c) {}
  HandLoop& hand_loop;
  std::vector<std::string>& writes;
  bool& closed;
  io::StreamHandler* handler = nullptr;
  std::string address = "127.0.0.1:1";
  size_t queued = 0;
  bool reading = true, half_closed = false;
  void set_handler(io::StreamHandler* h) override { handler = h; }
  void pause_reading() override { reading = false; }
  void resume_reading() override { reading = true; }
  void write(std::string bytes) override {
    queued += bytes.size();
    writes.push_back(std::move(bytes));
  }
  void write(Blob bytes) override { write(std::string(bytes.view())); }
  size_t queued_bytes() const override { return queued; }
  void shutdown() override { half_closed = true; }
  void close() override {
    if (std::exchange(closed, true)) return;
    hand_loop.post([this] { handler->on_closed({}); });
  }
  const std::string& peer_address() const override { return address; }
  const std::string& local_address() const override { return address; }
  io::Loop& loop() override { return hand_loop; }
  void drain() {
    queued = 0;
    handler->on_drained();
  }
};

struct HandTime final : io::Clock, io::TimerService {
  struct Entry {
    io::Executor* executor;
    Task task;
  };
  struct Handle final : io::Timer {
    HandTime* owner = nullptr;
    std::pair<int64_t, int> key;
    ~Handle() override { owner->timers.erase(key); }
    void cancel() override { owner->timers.erase(key); }
  };
  int64_t now = 1'000 * io::kSecond;
  int sequence = 0;
  std::map<std::pair<int64_t, int>, Entry> timers;
  io::MonotonicNs monotonic() const override { return now; }
  io::WallNs wall() const override { return now; }
  std::unique_ptr<io::Timer> schedule(int64_t delay_ns, io::Executor& executor, Task task) override {
    auto h = std::make_unique<Handle>();
    h->owner = this;
    h->key = {now + delay_ns, ++sequence};
    timers.emplace(h->key, Entry{&executor, std::move(task)});
    return h;
  }
  void advance(int64_t ns) {
    now += ns;
    while (!timers.empty() && timers.begin()->first.first <= now) {
      Entry e = std::move(timers.begin()->second);
      timers.erase(timers.begin());
      e.executor->post(std::move(e.task));
    }
  }
};

struct Fixture : testing::Test {
  HandLoop loop;
  HandTime time;
  std::vector<std::string> writes;
  bool closed = false, told = false;
  MethodTable methods;
  CallTable calls;
  Probe probe;
  MemoryBudget memory{1 << 30};
  EchoService echo;
  LaterService later;
  Turns turns{loop};
  ServerContext context{methods, calls, probe, memory, Harness::small_limits(), &turns};
  RawClient client;
  HandStream* stream = nullptr;
  std::unique_ptr<ServerTransport> transport;

  void SetUp() override {
    methods.add_unary("test.Echo", "Unary", echo);
    methods.add_unary("test.Echo", "Later", later);
    auto s = std::make_unique<HandStream>(loop, writes, closed);
    stream = s.get();
    transport = std::make_unique<ServerTransport>(context, std::move(s), PeerInfo{}, time, time, "",
                                                  [this] { told = true; });
    loop.run();
  }
  void send() {
    http2::ByteQueue out;
    ASSERT_TRUE(client.session.produce(out, SIZE_MAX));
    stream->handler->on_data(out.take_all());
  }
  void receive() {
    for (const auto& w : writes) ASSERT_TRUE(client.session.feed(w, 0));
    writes.clear();
  }
};

TEST_F(Fixture, OneWriteARound) {
  receive();
  for (int i = 0; i < 20; ++i) client.request(RawClient::post("/test.Echo/Unary"), framed("x"), true);
  send();
  EXPECT_EQ(writes.size(), 0u);
  loop.run();
  EXPECT_EQ(writes.size(), 1u);
  receive();
  for (const auto& [id, s] : client.streams) EXPECT_EQ(s->status(), "0 ");
}

TEST_F(Fixture, AnswersFromOutsideARoundAreFlushed) {
  client.request(RawClient::post("/test.Echo/Later"), framed("x"), true);
  send();
  loop.run();
  writes.clear();
  calls.find(later.calls.at(0))->respond(Blob::copy("y"));
  EXPECT_EQ(writes.size(), 0u);
  loop.run();
  EXPECT_EQ(writes.size(), 1u);
}

TEST_F(Fixture, ASlowSocketBoundsWhatIsQueued) {
  client.session.raise_window(0, 64 << 20);
  const auto id = client.request(RawClient::post("/test.Echo/Later"), framed("x"), true);
  send();
  loop.run();
  receive();
  client.session.raise_window(id, 64 << 20);
  send();
  calls.find(later.calls.at(0))->respond(Blob::copy(std::string(5 << 20, 'z')));
  loop.run();
  EXPECT_LT(stream->queued, ServerTransport::kOutputHigh + 40'000);
  size_t rounds = 0;
  while (client.streams[id]->status() != "0 " && ++rounds < 100) {
    receive();
    stream->drain();
    loop.run();
    receive();
  }
  EXPECT_EQ(client.streams[id]->body.size(), (5u << 20) + kPrefixBytes);
  EXPECT_GE(rounds, 9u);
}

TEST_F(Fixture, DeadlinesFireByOneTimer) {
  for (const char* t : {"3S", "1S", "2S"}) {
    auto headers = RawClient::post("/test.Echo/Later");
    headers.emplace_back("grpc-timeout", t);
    client.request(headers, framed("x"), true);
  }
  send();
  loop.run();
  EXPECT_EQ(time.timers.size(), 1u);
  time.advance(io::kSecond);
  loop.run();
  EXPECT_EQ(later.cancels.size(), 1u);
  time.advance(io::kSecond);
  loop.run();
  time.advance(io::kSecond);
  loop.run();
  EXPECT_EQ(later.cancels.size(), 3u);
  receive();
  for (const auto& [id, s] : client.streams) EXPECT_EQ(s->code, http2::ErrorCode::kCancel);
}

TEST_F(Fixture, LostConnectionCancelsAndTellsTheOwner) {
  client.request(RawClient::post("/test.Echo/Later"), framed("x"), true);
  send();
  loop.run();
  stream->handler->on_eof();
  loop.run();
  EXPECT_TRUE(closed);
  EXPECT_TRUE(told);
  EXPECT_EQ(later.cancels.at(0).second, CancelReason::kConnectionLost);
  // A late answer finds nobody.
  EXPECT_EQ(calls.find(later.calls.at(0)), nullptr);
}

TEST_F(Fixture, GracefulStopClosesAfterTheLastCall) {
  client.request(RawClient::post("/test.Echo/Later"), framed("x"), true);
  send();
  loop.run();
  transport->shutdown();
  loop.run();
  receive();
  send();  // the acknowledgement of the drain ping
  loop.run();
  EXPECT_FALSE(closed);
  calls.find(later.calls.at(0))->respond(Blob());
  loop.run();
  receive();
  EXPECT_EQ(client.streams[1]->status(), "0 ");
  stream->drain();
  loop.run();
  EXPECT_TRUE(stream->half_closed);
  EXPECT_FALSE(closed);
  stream->handler->on_eof();
  loop.run();
  EXPECT_TRUE(closed);
  EXPECT_TRUE(told);
}

// What is asked for and not read: an answer that fills the stream's queue and more.
struct StalledReader : Fixture {
  void SetUp() override {
    Fixture::SetUp();
    client.session.raise_window(0, 64 << 20);
    client.request(RawClient::post("/test.Echo/Later"), framed("x"), true);
    send();
    loop.run();
    receive();
    client.session.raise_window(1, 64 << 20);
    client.request(RawClient::post("/test.Echo/Later"), framed("y"), true);
    send();
    calls.find(later.calls.at(0))->respond(Blob::copy(std::string(3'600'000, 'z')));
    loop.run();
    ASSERT_GE(stream->queued, ServerTransport::kOutputHigh);
  }
  void ping(int n) {
    for (int i = 0; i < n; ++i) client.session.submit_ping(static_cast<uint64_t>(i));
    send();
    loop.run();
  }
};

TEST_F(StalledReader, IsClosedByAStopAfterItsBreach) {
  ping(8);  // too many: the connection ends with a GOAWAY that is not read
  EXPECT_FALSE(closed);
  transport->shutdown();
  loop.run();
  EXPECT_FALSE(closed);
  transport->close();
  loop.run();
  EXPECT_TRUE(closed);
  EXPECT_TRUE(told);
  EXPECT_EQ(calls.size(), 0u);
}

TEST_F(StalledReader, IsClosedSomeTimeAfterItsBreachWithoutAStop) {
  ping(8);
  EXPECT_EQ(calls.size(), 0u);
  EXPECT_TRUE(stream->half_closed);
  time.advance(ServerTransport::kPartingNs);
  loop.run();
  EXPECT_TRUE(told);
}

TEST_F(StalledReader, IsClosedByTheLimitOfTheDrain) {
  transport->shutdown();
  loop.run();
  time.advance(ServerTransport::kDrainNs - 1);
  loop.run();
  EXPECT_FALSE(closed);
  time.advance(1);
  loop.run();
  EXPECT_TRUE(told);
  EXPECT_EQ(later.cancels.at(0).second, CancelReason::kServerStopped);
}

TEST_F(StalledReader, IsClosedByAStopWhileItDrains) {
  transport->shutdown();
  loop.run();
  transport->close();
  loop.run();
  EXPECT_TRUE(told);
}

TEST_F(StalledReader, ThatAnswersNoPingIsClosedAtOnce) {
  const ConnectionLimits limits;
  time.advance(limits.keepalive_interval_ns);
  loop.run();
  EXPECT_FALSE(closed);
  time.advance(limits.keepalive_timeout_ns);
  loop.run();
  EXPECT_TRUE(told);
  EXPECT_FALSE(stream->half_closed);
  EXPECT_EQ(later.cancels.at(0).second, CancelReason::kConnectionLost);
}

TEST_F(StalledReader, ThatReadsSlowlyIsNoDeadPeer) {
  const ConnectionLimits limits;
  time.advance(limits.keepalive_interval_ns);
  loop.run();
  stream->drain();
  loop.run();
  ASSERT_GE(stream->queued, ServerTransport::kOutputHigh);
  time.advance(limits.keepalive_timeout_ns);
  loop.run();
  EXPECT_FALSE(closed);
}

TEST_F(StalledReader, IsNotReadFrom) {
  EXPECT_FALSE(stream->reading);
  stream->drain();
  loop.run();
  EXPECT_FALSE(stream->reading);  // the queue is full again
  for (int i = 0; i < 20; ++i) {
    receive();
    stream->drain();
    loop.run();
  }
  EXPECT_TRUE(stream->reading);
  EXPECT_EQ(client.streams[1]->status(), "0 ");
}

TEST_F(Fixture, WorkLeftBehindStopsReadingForAWhile) {
  std::vector<std::shared_ptr<const void>> work;
  for (size_t i = 0; i <= ServerConnection::kWorkAfterCalls; ++i) {
    const auto id = client.request(RawClient::post("/test.Echo/Later"), framed("x"), true);
    send();
    work.push_back(calls.find(later.calls.back())->work());
    EXPECT_TRUE(stream->reading);
    client.session.reset(id, http2::ErrorCode::kCancel);
    send();
    if (i < ServerConnection::kWorkAfterCalls) loop.run();
    if (i % 100 == 0) receive();
  }
  loop.run();
  EXPECT_FALSE(stream->reading);
  time.advance(ServerTransport::kBlockedNs);
  loop.run();
  EXPECT_FALSE(stream->reading);
  work.clear();
  time.advance(ServerTransport::kBlockedNs);
  loop.run();
  EXPECT_TRUE(stream->reading);
}

// A header block that unpacks to much is worked on in several rounds, and nothing is read meanwhile.
TEST_F(Fixture, HeadersThatUnpackToMuchTakeTurns) {
  receive();
  client.request(RawClient::post("/test.Echo/Later"), "", false);
  send();
  loop.run();
  std::string entry = "\x40\1x\x7f\xb9\x16";  // literal with indexing, of 3,000 bytes
  entry.append(3'000, '~');
  http2::test::Fields fields;
  for (auto& f : RawClient::post("/test.Echo/Unary")) fields.push_back(f);
  const std::string block = http2::test::literals(fields) + entry + std::string(3'000, '\xbe');  // 9 MB
  stream->handler->on_data(http2::test::headers(3, block, false) +
                           http2::test::frame(http2::test::kData, 1, 3, framed("hello")));
  EXPECT_FALSE(stream->reading);
  writes.clear();
  int rounds = 0;
  for (; !stream->reading && rounds < 1'000; ++rounds) loop.round_trip();
  const int turns_needed = 3'000 * 3'033 / static_cast<int>(http2::Session::kTurnWork);
  EXPECT_GT(rounds, turns_needed - 20);
  EXPECT_LT(rounds, turns_needed + 20);
  loop.run();
  http2::test::Decoder decoder;
  for (const auto& w : writes) decoder.feed(w);
  EXPECT_EQ(decoder.data[3], framed("hello"));
}

struct OrderedEcho final : UnaryHandler {
  std::vector<std::string> served;
  void call(Call& call, std::string_view request) override {
    served.emplace_back(request);
    call.respond(Blob::copy(request));
  }
};

TEST_F(Fixture, WhatOneReadBroughtTakesTurns) {
  OrderedEcho echo_in_order;
  methods.add_unary("test.Echo", "Ordered", echo_in_order);
  const std::vector<std::string>& served = echo_in_order.served;
  receive();
  std::vector<std::string> sent;
  for (int i = 0; i < 300; ++i) {
    sent.push_back(fmt::format("{:0150}", i));
    client.request(RawClient::post("/test.Echo/Ordered"), framed(sent.back()), true);
  }
  // All headers come first, then the messages. One piece of 2 KiB over the work of a turn.
  const size_t turn_max = http2::Session::kTurnWork / kMessageWork + 2'048 / 150;
  send();
  EXPECT_LT(served.size(), turn_max);
  EXPECT_FALSE(stream->reading);
  size_t rounds = 0;
  for (; !stream->reading; ++rounds) {
    ASSERT_LT(rounds, 100u);
    const size_t before = served.size();
    loop.round_trip();
    EXPECT_LT(served.size() - before, turn_max);
    stream->drain();
    receive();
  }
  EXPECT_GE(rounds, 4u);
  EXPECT_EQ(served, sent);
  loop.run();
  receive();
  for (const auto& [id, s] : client.streams) EXPECT_EQ(s->status(), "0 ");
}

TEST_F(Fixture, ALongAnswerIsCompressedInRoundsOfItsOwn) {
  receive();
  auto headers = RawClient::post("/test.Echo/Later");
  headers.emplace_back("grpc-encoding", "gzip");
  const auto id = client.request(headers, framed("x"), true);
  send();
  loop.run();
  receive();
  calls.find(later.calls.at(0))->respond(Blob::copy(std::string(1'000'000, 'z')));
  size_t rounds = 0;
  for (; writes.empty(); ++rounds) {
    ASSERT_LT(rounds, 100u);
    loop.round_trip();
    EXPECT_LE(loop.posted.size(), 1u);
  }
  EXPECT_GE(rounds, 20u);
  loop.run();
  receive();
  EXPECT_EQ(client.streams[id]->status(), "0 ");
}

// Many whole requests in one packet: the loop looks at its sockets between some and the next, no request is
// lost, and two connections that send so much take turns.
TEST_F(Fixture, ManyRequestsTakeTurns) {
  std::vector<std::string> writes2;
  bool closed2 = false;
  auto s2 = std::make_unique<HandStream>(loop, writes2, closed2);
  HandStream* stream2 = s2.get();
  ServerTransport second(context, std::move(s2), PeerInfo{}, time, time, "", [] {});
  loop.run();
  std::string requests;
  for (uint32_t id = 1; id < 1'000; id += 2) {
    http2::test::Fields fields;
    for (auto& f : RawClient::post("/test.Echo/Unary")) fields.push_back(f);
    requests += http2::test::headers(id, http2::test::literals(fields), false) +
                http2::test::frame(http2::test::kData, 1, id, framed("hello"));
  }
  const auto answers = [](const std::vector<std::string>& all) {
    http2::test::Decoder decoder;
    for (const auto& w : all) decoder.feed(w);
    return decoder.data.size();
  };
  writes.clear();
  requests = http2::test::preface() + requests;
  stream->handler->on_data(requests);
  stream2->handler->on_data(requests);
  EXPECT_FALSE(stream->reading);
  EXPECT_FALSE(stream2->reading);
  EXPECT_LT(answers(writes), 50u);
  size_t before = answers(writes) + answers(writes2);
  int rounds = 0;
  for (; (!stream->reading || !stream2->reading) && rounds < 1'000; ++rounds) {
    loop.round_trip();
    const size_t now = answers(writes) + answers(writes2);
    // The first round also sends what was done before it.
    EXPECT_LT(now - before, rounds == 0 ? 150u : 60u);
    before = now;
    if (rounds != 10) continue;
    const auto one = static_cast<int>(answers(writes)), two = static_cast<int>(answers(writes2));
    EXPECT_NEAR(one, two, 100);
  }
  loop.run();
  EXPECT_GT(rounds, 15);
  EXPECT_EQ(answers(writes), 500u);
  EXPECT_EQ(answers(writes2), 500u);
  second.close();
  loop.run();
}

// One packet with requests of 140 bytes that unpack to 100 KB each: the client waits until most of them are
// done.
TEST_F(Fixture, GzipTakesTurns) {
  std::string zipped, requests = http2::test::preface();
  gzip(std::string(100'000, '\0'), zipped);
  for (uint32_t id = 1; id < 160; id += 2) {
    http2::test::Fields fields;
    for (auto& f : RawClient::post("/test.Echo/Later")) fields.push_back(f);
    fields.emplace_back("grpc-encoding", "gzip");
    requests += http2::test::headers(id, http2::test::literals(fields), false) +
                http2::test::frame(http2::test::kData, 1, id, framed(zipped, 1));
  }
  stream->handler->on_data(requests);
  size_t rounds = 0, before = 0;
  for (; later.calls.size() < 80 && rounds < 1'000; ++rounds) {
    EXPECT_TRUE(!stream->reading || later.calls.size() > 80 - 20);
    loop.round_trip();
    EXPECT_LE(later.calls.size(), before + 2);
    before = later.calls.size();
    // What is under way is one request, and what came of the packet.
    EXPECT_LT(memory.used(), (before + 2) * 100'000 + 200'000);
  }
  EXPECT_EQ(later.calls.size(), 80u);
  EXPECT_GT(rounds, 80u * 2);
  loop.run();
  EXPECT_TRUE(stream->reading);
}

TEST_F(Fixture, OneRoundReadsABoundedAmount) {
  receive();
  client.request(RawClient::post("/test.Echo/Later"), "", false);
  send();
  loop.run();
  // Frames of an unknown type are skipped: bytes that make no output.
  std::string frame(9 + 16'000, '\0');
  frame[1] = 0x3e;
  frame[2] = static_cast<char>(0x80);
  frame[3] = 0x55;
  size_t fed = 0;
  for (; stream->reading && fed < 100; ++fed) stream->handler->on_data(frame);
  EXPECT_EQ(fed, ServerTransport::kInputHigh / frame.size() + 1);
  loop.run();
  EXPECT_TRUE(stream->reading);
}

TEST_F(Fixture, DestroyedWithTasksOutstanding) {
  client.request(RawClient::post("/test.Echo/Later"), framed("x"), true);
  send();
  transport.reset();
  loop.run();
  EXPECT_EQ(later.cancels.size(), 1u);
  EXPECT_EQ(time.timers.size(), 0u);
}

TEST_F(Fixture, GarbageGetsAGoawayAndTheEnd) {
  receive();
  stream->handler->on_data("GET / HTTP/1.1\r\n\r\n");
  loop.run();
  stream->drain();
  loop.run();
  EXPECT_TRUE(stream->half_closed);
  // What comes now is read and dropped, so that the socket's close is no reset.
  EXPECT_TRUE(stream->reading);
  stream->handler->on_data("Host: x\r\n\r\n");
  EXPECT_FALSE(closed);
  time.advance(ServerTransport::kPartingNs);
  loop.run();
  EXPECT_TRUE(closed);
  EXPECT_TRUE(told);
}

}  // namespace
}  // namespace quoin::grpc::test
