// A socket on a stream that stands in for the connection: what is queued, what is read, and until when.
#include "httpapi/gateway/websocket.h"

#include <gtest/gtest.h>

#include <deque>

#include "httpapi/gateway/websocket_frames.h"

namespace quoin::httpapi::gateway {
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

// Time goes on by pass().
struct Timers final : io::TimerService {
  struct One final : io::Timer {
    explicit One(Timers& t) : timers(t) { timers.all.push_back(this); }
    ~One() override { std::erase(timers.all, this); }
    void cancel() override { task = nullptr; }
    Timers& timers;
    int64_t due = 0;
    Task task;
  };
  std::vector<One*> all;
  int64_t now = 0;
  std::unique_ptr<io::Timer> schedule(int64_t ns, io::Executor&, Task task) override {
    auto one = std::make_unique<One>(*this);
    one->due = now + ns;
    one->task = std::move(task);
    return one;
  }
  void pass(int64_t ns) {
    now += ns;
    for (bool again = true; std::exchange(again, false);) {
      for (One* one : all) {
        if (one->due > now || !one->task) continue;
        Task task = std::exchange(one->task, nullptr);
        task();
        again = true;
        break;
      }
    }
  }
};

// What the client sees of the connection.
struct Wire {
  std::string queued, taken;
  size_t writes = 0;
  io::StreamHandler* handler = nullptr;
  bool paused = true, shut = false, closed = false;

  // The client takes so many bytes.
  void take(size_t n) {
    n = std::min(n, queued.size());
    taken += queued.substr(0, n);
    queued.erase(0, n);
    if (queued.empty() && handler != nullptr) handler->on_drained();
  }
  // The client sends as much as is read, in what a read gives at the most. How much that was.
  size_t send(std::string_view bytes) {
    constexpr size_t kRead = 64 << 10;
    const size_t all = bytes.size();
    while (!bytes.empty() && !paused && !closed) {
      handler->on_data(bytes.substr(0, kRead));
      bytes.remove_prefix(std::min(kRead, bytes.size()));
    }
    return all - bytes.size();
  }
};

struct FakeStream final : io::Stream {
  FakeStream(Wire& w, Tasks& t) : wire(w), tasks(t) {}
  ~FakeStream() override { wire.handler = nullptr; }
  void set_handler(io::StreamHandler* handler) override { wire.handler = handler; }
  void pause_reading() override { wire.paused = true; }
  void resume_reading() override { wire.paused = false; }
  void write(std::string bytes) override {
    EXPECT_FALSE(wire.shut);
    wire.queued += bytes;
    ++wire.writes;
  }
  void write(Blob bytes) override { write(std::string(bytes.view())); }
  size_t queued_bytes() const override { return wire.queued.size(); }
  void shutdown() override { wire.shut = true; }
  void close() override {
    wire.closed = true;
    wire.queued.clear();
    tasks.post([h = std::exchange(wire.handler, nullptr)] {
      if (h != nullptr) h->on_closed({});
    });
  }
  const std::string& peer_address() const override { return address; }
  const std::string& local_address() const override { return address; }
  io::Loop& loop() override { return tasks; }

  Wire& wire;
  Tasks& tasks;
  const std::string address = "127.0.0.1:1";
};

struct Upgrade final : http1::StreamExchange {
  Upgrade(Wire& w, Tasks& t) : wire(w), tasks(t) {
    head.method = "GET";
    head.path = "/v3/watch";
    head.fields = {{"Sec-WebSocket-Version", "13"}, {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}};
  }
  const http1::Request& request() const override { return head; }
  const std::string& peer_address() const override { return address; }
  io::Loop& loop() override { return tasks; }
  void when_aborted(Task) override {}
  void read_body(http1::BodyReader&, uint64_t) override {}
  void consumed(size_t) override {}
  void respond(const http1::Response& r) override { ADD_FAILURE() << r.status; }
  Taken take_over(unsigned, const Fields&) override {
    return {std::make_unique<FakeStream>(wire, tasks), true};
  }
  bool tls() const override { return false; }
  std::string_view tls_common_name() const override { return {}; }
  void take_time() override {}
  void start(unsigned, const Fields&) override {}
  void write(std::string) override {}
  void finish() override {}
  size_t unsent_bytes() const override { return 0; }
  void when_drained(Task) override {}

  Wire& wire;
  Tasks& tasks;
  const std::string address = "127.0.0.1:1";
  http1::Request head;
};

// As a client sends it, under a mask of zeros.
std::string client_frame(uint8_t first, std::string_view payload) {
  std::string out = {static_cast<char>(first), static_cast<char>(0x80 | payload.size()), 0, 0, 0, 0};
  return out.append(payload);
}

class WebSocketTest : public testing::Test {
 protected:
  WebSocketTest() { exchange = sockets.accept(std::make_unique<Upgrade>(wire, tasks), {}); }

  // The client's messages out of what it took, joined, each in "<>"; of control frames only their opcode.
  std::string seen() const {
    std::string out;
    std::string_view rest = wire.taken;
    bool open = false;
    while (rest.size() >= 2) {
      const auto first = static_cast<uint8_t>(rest[0]);
      const auto length = static_cast<uint8_t>(rest[1]);
      const size_t head = length == 126 ? 4 : length == 127 ? 10 : 2;
      size_t n = length;
      if (head > 2) {
        n = 0;
        for (size_t i = 2; i < head; ++i) n = n << 8 | static_cast<uint8_t>(rest[i]);
      }
      if ((first & 8) != 0) {
        out += fmt::format("({})", first & 15);
      } else {
        EXPECT_EQ(first & 15, open ? 0 : 1);
        if (!open) out += '<';
        out += rest.substr(head, n);
        open = (first & 0x80) == 0;
        if (!open) out += '>';
      }
      rest.remove_prefix(std::min(rest.size(), head + n));
    }
    return out;
  }

  Tasks tasks;
  Timers timers;
  WebSockets sockets{tasks, timers};
  Wire wire;
  std::unique_ptr<http1::StreamExchange> exchange;
};

TEST_F(WebSocketTest, PingsOfAClientThatTakesNothingAreBounded) {
  std::string pings;
  for (int i = 0; i < 8'000; ++i) pings += client_frame(0x89, std::string(125, 'p'));
  const size_t sent = wire.send(pings);
  EXPECT_LT(sent, size_t{512} << 10);
  EXPECT_TRUE(wire.paused);
  EXPECT_LT(wire.queued.size(), size_t{512} << 10);
  // It takes them: each is answered.
  size_t all = sent;
  for (int i = 0; i < 1'000 && all < pings.size(); ++i) {
    wire.take(wire.queued.size());
    EXPECT_LT(wire.queued.size(), size_t{512} << 10);
    all += wire.send(std::string_view(pings).substr(all));
  }
  for (int i = 0; i < 3; ++i) wire.take(wire.queued.size());
  EXPECT_EQ(all, pings.size());
  EXPECT_EQ(wire.taken.size(), 8'000u * 127);
  EXPECT_FALSE(wire.paused);
  EXPECT_FALSE(wire.closed);
}

TEST_F(WebSocketTest, PongsWithoutPayloadShareAPiece) {
  for (int i = 0; i < 1'000; ++i) wire.send(client_frame(0x89, ""));
  EXPECT_LE(wire.writes, 2u);
  wire.take(2);
  EXPECT_EQ(wire.queued.size(), 2u * 999);
}

TEST_F(WebSocketTest, PingsDoNotHoldTheAnswerUp) {
  exchange->write("{}\n");
  std::string pings;
  for (int i = 0; i < 8'000; ++i) pings += client_frame(0x89, "p");
  wire.send(pings);
  bool drained = false;
  exchange->when_drained([&] {
    drained = true;
    exchange->write("[]\n");
  });
  wire.take(wire.queued.size());
  EXPECT_TRUE(drained);
  EXPECT_TRUE(wire.queued.ends_with("\x81\x02[]"));
  EXPECT_FALSE(wire.paused);
}

TEST_F(WebSocketTest, AClientThatTakesNothingIsClosed) {
  exchange->write(std::string(100'000, 'x'));
  timers.pass(WebSockets::kAnswerNs / 2);
  wire.take(1);
  exchange->write("more\n");
  timers.pass(WebSockets::kAnswerNs / 2);
  EXPECT_FALSE(wire.closed);
  timers.pass(WebSockets::kAnswerNs);
  EXPECT_TRUE(wire.closed);
  tasks.run();
  EXPECT_EQ(sockets.open(), 0u);
}

TEST_F(WebSocketTest, OneThatTookAllMayBeSilent) {
  exchange->write("{}\n");
  wire.take(4);
  for (int i = 0; i < 10; ++i) timers.pass(WebSockets::kAnswerNs);
  EXPECT_FALSE(wire.closed);
  exchange->write("{}\n");
  timers.pass(WebSockets::kAnswerNs);
  EXPECT_TRUE(wire.closed);
}

// A line of any length: none of it is held, and the writer sees what its client has not taken.
TEST_F(WebSocketTest, ALongLineLeavesInFragments) {
  const std::string piece(64 << 10, 'x');
  std::string line;
  for (int i = 0; i < 4; ++i) {
    exchange->write(piece);
    line += piece;
    EXPECT_GE(exchange->unsent_bytes(), line.size());
  }
  wire.send(client_frame(0x89, "p"));
  wire.take(wire.queued.size());
  exchange->write("end\n{}\n");
  wire.take(wire.queued.size());
  EXPECT_EQ(seen(), "<" + line + "(10)end><{}>");
}

TEST_F(WebSocketTest, AnAnswerThatIsOverLeavesHoweverSlowly) {
  exchange->write(std::string(200'000, 'x'));
  exchange->finish();
  for (int i = 0; i < 20; ++i) {
    timers.pass(WebSockets::kAnswerNs / 2);
    wire.take(10'000);
    ASSERT_FALSE(wire.closed);
  }
  wire.handler->on_eof();
  EXPECT_FALSE(wire.closed);
  wire.take(1'000);
  EXPECT_EQ(seen(), "<" + std::string(200'000, 'x') + ">");
  EXPECT_TRUE(wire.closed || wire.shut);
}

TEST_F(WebSocketTest, BehindTheAnswerLittleIsRead) {
  exchange->write("{}\n");
  exchange->finish();
  EXPECT_LE(wire.send(std::string(1 << 20, 'x')), size_t{384} << 10);
  wire.take(wire.queued.size());
  EXPECT_TRUE(wire.shut);
  EXPECT_TRUE(wire.paused);
  EXPECT_FALSE(wire.closed);
  timers.pass(WebSockets::kLingerNs);
  EXPECT_TRUE(wire.closed);
}

TEST_F(WebSocketTest, NothingIsToldBehindTheClientsClose) {
  exchange->write(std::string(100, 'x'));
  bool aborted = false, drained = false;
  exchange->when_aborted([&] { aborted = true; });
  exchange->when_drained([&] { drained = true; });
  wire.send(client_frame(0x89, "p") + client_frame(0x88, "\x03\xe8"));
  EXPECT_TRUE(aborted);
  wire.take(wire.queued.size());
  EXPECT_FALSE(drained);
  EXPECT_EQ(seen(), "<" + std::string(100, 'x') + "(10)(8)");
  timers.pass(WebSockets::kLingerNs);
  EXPECT_TRUE(wire.closed);
}

}  // namespace
}  // namespace quoin::httpapi::gateway
