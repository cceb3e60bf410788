// Calls through the gateway, with an exchange and services that stand in for connections and the member.
#include "httpapi/gateway/gateway.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>

#include "httpapi/gateway/call.h"
#include "httpapi/gateway/metadata.h"
#include "pb/rpc.pb.h"

namespace quoin::httpapi::gateway {
namespace {

namespace pb = etcdserverpb;

struct Tasks final : io::Loop {
  std::deque<Task> posted;
  void post(Task task) override { posted.push_back(std::move(task)); }
  bool running_here() const override { return true; }
  void at_end_of_round(Task task) override { posted.push_back(std::move(task)); }
  bool step() {
    if (posted.empty()) return false;
    Task t = std::move(posted.front());
    posted.pop_front();
    t();
    return true;
  }
  void run() {
    while (step()) {
    }
  }
};

struct Clock final : io::Clock {
  io::MonotonicNs monotonic() const override { return 1'000; }
  io::WallNs wall() const override { return 0; }
};

struct Timers final : io::TimerService {
  struct One final : io::Timer {
    explicit One(Timers& t) : timers(t) {}
    ~One() override { cancel(); }
    void cancel() override { timers.due = nullptr; }
    Timers& timers;
  };
  Task due;
  int64_t delay = 0;
  std::unique_ptr<io::Timer> schedule(int64_t ns, io::Executor&, Task task) override {
    delay = ns;
    due = std::move(task);
    return std::make_unique<One>(*this);
  }
  void fire() {
    Task t = std::move(due);
    t();
  }
};

// What its client sent and got.
struct Client {
  unsigned status = 0;
  std::map<std::string, std::string> fields;
  std::string text;
  bool finished = false, cut = false;
  size_t unsent = 0, unconsumed = 0;
  bool reads = true;  // takes what is written at once
  http1::BodyReader* body = nullptr;
  Task aborted, drained;

  void send(std::string_view piece) {
    unconsumed += piece.size();
    body->on_body(piece);
  }
};

struct FakeExchange final : http1::StreamExchange {
  FakeExchange(Client& c, Tasks& l, std::string p) : client(c), tasks(l), path(std::move(p)) {
    head.method = "POST";
    head.path = path;
  }
  ~FakeExchange() override { client.cut = !client.finished; }
  const http1::Request& request() const override { return head; }
  const std::string& peer_address() const override { return address; }
  io::Loop& loop() override { return tasks; }
  void when_aborted(Task task) override { client.aborted = std::move(task); }
  void read_body(http1::BodyReader& reader, uint64_t) override { client.body = &reader; }
  void consumed(size_t bytes) override { client.unconsumed -= bytes; }
  void respond(const http1::Response& r) override {
    start(r.status, r.fields);
    client.text = r.body;
    client.finished = true;
  }
  Taken take_over(unsigned, const Fields&) override { return {}; }
  bool tls() const override { return !common_name.empty(); }
  std::string_view tls_common_name() const override { return common_name; }
  void take_time() override {}
  void start(unsigned status, const Fields& fields) override {
    client.status = status;
    client.fields = {fields.begin(), fields.end()};
  }
  void write(std::string bytes) override {
    client.text += bytes;
    if (!client.reads) client.unsent += bytes.size();
  }
  void finish() override { client.finished = true; }
  size_t unsent_bytes() const override { return client.unsent; }
  void when_drained(Task task) override { client.drained = std::move(task); }

  Client& client;
  Tasks& tasks;
  const std::string path, address = "127.0.0.1:1";
  std::string common_name;
  http1::Request head;
};

struct Kv final : grpc::UnaryHandler {
  std::string request;
  grpc::CallId call_id;
  grpc::CallTable* table = nullptr;
  int over = 0, cancels = 0;
  std::function<void(grpc::Call&)> answer;
  void call(grpc::Call& c, std::string_view r) override {
    request = r;
    call_id = c.id();
    if (answer) answer(c);
  }
  GrpcStatus cancelled(grpc::Call& c, std::string_view r, grpc::CancelReason why) override {
    ++cancels;
    return UnaryHandler::cancelled(c, r, why);
  }
  void ended(grpc::Call&, std::string_view, size_t) override { ++over; }
  grpc::Call* find() const { return table->find(call_id); }
};

struct Stream final : grpc::StreamHandler {
  grpc::Call* call = nullptr;
  std::vector<std::string> messages;
  int half_closes = 0, writables = 0, cancels = 0;
  struct Listener final : grpc::StreamListener {
    explicit Listener(Stream& s) : stream(s) {}
    void on_message(std::string_view m) override { stream.messages.emplace_back(m); }
    void on_half_close() override { ++stream.half_closes; }
    void on_writable() override { ++stream.writables; }
    GrpcStatus on_cancelled(grpc::CancelReason r) override {
      ++stream.cancels;
      return StreamListener::on_cancelled(r);
    }
    Stream& stream;
  };
  std::unique_ptr<grpc::StreamListener> open(grpc::Call& c) override {
    call = &c;
    return std::make_unique<Listener>(*this);
  }
};

struct Source final : HealthSource {
  std::vector<Alarm> alarms() override { return {}; }
  bool has_leader() override { return true; }
  bool is_learner() override { return false; }
  void probe_read(bool, absl::AnyInvocable<void(Result<>)> done) override { done({}); }
  std::string cluster_version() override { return {}; }
  std::string storage_version() override { return {}; }
};

struct CountingProbe final : grpc::Probe {
  std::string log;
  void started(const grpc::Method& m) override { log += "started " + m.name + "\n"; }
  void handled(const grpc::Call& c, GrpcStatus s) override {
    log += fmt::format("handled {} {}\n", c.method().name, static_cast<int>(s));
  }
};

class GatewayCalls : public testing::Test {
 protected:
  GatewayCalls() {
    kv.table = &calls;
    methods.add_unary("etcdserverpb.KV", "Range", kv);
    methods.add_stream("etcdserverpb.Watch", "Watch", grpc::MethodKind::kBidiStream, watch);
    limits.stream_queue_bytes = 1000;
    limits.max_received_message_bytes = 100'000;
    gateway.emplace(Context{endpoints, methods, calls, probe, memory, turns, tasks, timers, clock, limits,
                            [this] { return refuses_names; }});
  }
  void open(std::string path, std::vector<std::pair<std::string_view, std::string_view>> fields = {},
            std::string common_name = {}) {
    auto e = std::make_unique<FakeExchange>(client, tasks, std::move(path));
    e->head.fields = std::move(fields);
    e->common_name = std::move(common_name);
    gateway->on_request(std::move(e));
  }
  void range(std::string_view body) {
    open("/v3/kv/range");
    client.send(body);
    client.body->on_body_end();
    tasks.run();
  }

  Tasks tasks;
  Timers timers;
  Clock clock;
  Source source;
  metrics::Registry registry;
  Endpoints endpoints{source, registry, log::null_logger(), {}};
  grpc::MethodTable methods;
  grpc::CallTable calls;
  CountingProbe probe;
  grpc::MemoryBudget memory{1 << 20};
  grpc::Turns turns{tasks};
  grpc::ConnectionLimits limits;
  bool refuses_names = false;
  Kv kv;
  Stream watch;
  Client client;
  std::optional<Gateway> gateway;
};

TEST_F(GatewayCalls, AnAnswer) {
  kv.answer = [](grpc::Call& c) {
    EXPECT_EQ(c.tls_common_name(), std::nullopt);
    pb::RangeResponse r;
    r.set_count(3);
    c.respond(Blob::copy(r.SerializeAsString()));
  };
  range(R"({"key":"Zm9v"})");
  pb::RangeRequest seen;
  ASSERT_TRUE(seen.ParseFromString(kv.request));
  EXPECT_EQ(seen.key(), "foo");
  EXPECT_EQ(client.status, 200u);
  EXPECT_EQ(client.text, R"({"count":"3"})");
  EXPECT_EQ(client.fields["Grpc-Metadata-Content-Type"], "application/grpc");
  EXPECT_EQ(probe.log, "started Range\nhandled Range 0\n");
  EXPECT_EQ(kv.over, 1);
  EXPECT_EQ(gateway->calls(), 0u);
  EXPECT_EQ(calls.size(), 0u);
  EXPECT_EQ(memory.used(), 0u);
}

TEST_F(GatewayCalls, Errors) {
  kv.answer = [](grpc::Call& c) { c.fail(GrpcStatus::kUnauthenticated, "etcdserver: invalid auth token"); };
  range("{}");
  EXPECT_EQ(client.status, 401u);
  EXPECT_EQ(client.fields["Www-Authenticate"], "etcdserver: invalid auth token");
  EXPECT_EQ(client.text, R"({"code":16,"message":"etcdserver: invalid auth token"})");

  client = {};
  range(R"({"key":"!"})");
  EXPECT_EQ(client.status, 400u);
  EXPECT_EQ(kv.over, 1);  // the service heard of the first alone

  client = {};
  open("/v3/lock/lock");
  client.body->on_body_end();
  tasks.run();
  EXPECT_EQ(client.status, 501u);
  EXPECT_EQ(client.text, R"({"code":12,"message":"unknown service v3lockpb.Lock"})");

  client = {};
  range(R"({"key":")" + std::string(200'000, 'A') + R"("})");
  EXPECT_EQ(client.text,
            R"x({"code":8,"message":"grpc: received message larger than max (150004 vs. 100000)"})x");
  EXPECT_EQ(gateway->calls(), 0u);
}

TEST_F(GatewayCalls, ACertificatesNameIsRefusedWhereItWouldNotBeUsed) {
  refuses_names = true;
  open("/v3/kv/range", {}, "alice");
  EXPECT_EQ(client.status, 400u);
  EXPECT_TRUE(client.text.starts_with("CommonName of client")) << client.text;
  EXPECT_FALSE(client.fields.contains("Access-Control-Allow-Origin"));
  EXPECT_EQ(gateway->calls(), 0u);
}

TEST_F(GatewayCalls, ALargeAnswerWaitsForItsClient) {
  kv.answer = [](grpc::Call& c) {
    std::vector<Blob> parts;
    size_t bytes = 0;
    for (int i = 0; i < 100; ++i) {
      pb::RangeResponse r;
      r.add_kvs()->set_value(std::string(20'000, 'v'));
      parts.push_back(Blob::copy(r.SerializeAsString()));
      bytes += parts.back().size();
    }
    c.respond("", parts, bytes);
  };
  client.reads = false;
  range("{}");
  EXPECT_EQ(client.status, 200u);
  EXPECT_LE(client.text.size(), Gateway::kUnsentMax + (128 << 10));
  EXPECT_GT(memory.used(), 1'500'000u);
  size_t rounds = 0;
  while (client.drained) {
    client.unsent = 0;
    std::exchange(client.drained, nullptr)();
    tasks.run();
    ++rounds;
  }
  EXPECT_GE(rounds, 8u);
  EXPECT_TRUE(client.finished);
  EXPECT_EQ(client.text.size(), std::string_view(R"({"kvs":[]})").size() + 100 * (26'668 + 12) + 99);
  EXPECT_EQ(memory.used(), 0u);
  EXPECT_EQ(gateway->calls(), 0u);
}

TEST_F(GatewayCalls, AClientThatGoesCancels) {
  range("{}");
  ASSERT_NE(kv.find(), nullptr);
  const auto work = kv.find()->work();
  client.aborted();
  EXPECT_EQ(kv.find(), nullptr);
  EXPECT_EQ(kv.cancels, 1);
  EXPECT_EQ(probe.log, "started Range\nhandled Range 1\n");
  EXPECT_EQ(gateway->left_behind()->load(), 1);
  tasks.run();
  EXPECT_EQ(gateway->calls(), 0u);
}

TEST_F(GatewayCalls, ADeadline) {
  open("/v3/kv/range", {{"grpc-timeout", "5S"}});
  EXPECT_EQ(timers.delay, 5 * io::kSecond);
  client.body->on_body_end();
  tasks.run();
  timers.fire();
  tasks.run();
  EXPECT_EQ(client.status, 504u);
  EXPECT_EQ(client.text, R"({"code":4,"message":"context deadline exceeded"})");
  EXPECT_EQ(kv.cancels, 1);
}

TEST_F(GatewayCalls, AStreamOfValuesAndLines) {
  open("/v3/watch");
  client.send(R"({"create_request":{"key":"YQ"}})");
  client.send(R"( {"cancel_)");
  client.send(R"(request":{}}{"progress_request":{}})");
  tasks.run();
  EXPECT_EQ(watch.messages.size(), 3u);
  EXPECT_EQ(client.unconsumed, 0u);
  pb::WatchResponse r;
  r.set_cancel_reason("<a>");
  watch.call->send(r.SerializeAsString(), Blob());
  tasks.run();
  EXPECT_EQ(client.text, "{\"result\":{\"cancel_reason\":\"\\u003ca\\u003e\"}}\n");
  client.send("garbage");
  EXPECT_EQ(watch.half_closes, 1);
  watch.call->fail(GrpcStatus::kUnavailable, "etcdserver: no leader");
  tasks.run();
  EXPECT_TRUE(client.text.ends_with("{\"error\":{\"code\":14,\"message\":\"etcdserver: no leader\"}}\n"))
      << client.text;
  EXPECT_EQ(client.status, 200u);
  EXPECT_TRUE(client.finished);
  EXPECT_EQ(gateway->calls(), 0u);
}

TEST_F(GatewayCalls, AStreamWhoseClientDoesNotRead) {
  client.reads = false;
  open("/v3/watch");
  pb::WatchResponse r;
  r.set_cancel_reason(std::string(600, 'x'));
  for (int i = 0; i < 2; ++i) watch.call->send(r.SerializeAsString(), Blob());
  EXPECT_FALSE(watch.call->writable());
  tasks.run();
  EXPECT_FALSE(watch.call->writable());
  EXPECT_EQ(watch.writables, 0);
  client.unsent = 0;
  watch.call->send(r.SerializeAsString(), Blob());
  client.reads = true;
  tasks.run();
  EXPECT_TRUE(watch.call->writable());
  EXPECT_EQ(watch.writables, 1);
}

TEST_F(GatewayCalls, APausedServiceHoldsTheClientBack) {
  open("/v3/watch");
  watch.call->pause_reading();
  client.send(R"({"cancel_request":{}})");
  tasks.run();
  EXPECT_TRUE(watch.messages.empty());
  EXPECT_GT(client.unconsumed, 0u);
  watch.call->resume_reading();
  tasks.run();
  EXPECT_EQ(watch.messages.size(), 1u);
  EXPECT_EQ(client.unconsumed, 0u);
}

TEST_F(GatewayCalls, ManySmallValuesTakeTurns) {
  open("/v3/watch");
  std::string body;
  for (int i = 0; i < 1000; ++i) body += "{}";
  client.send(body);
  EXPECT_LT(watch.messages.size(), 100u);
  EXPECT_GT(client.unconsumed, 0u);
  size_t turns_taken = 0;
  while (watch.messages.size() < 1000 && tasks.step()) ++turns_taken;
  EXPECT_GE(turns_taken, 10u);
  EXPECT_EQ(client.unconsumed, 0u);
}

TEST_F(GatewayCalls, ARequestIsRefusedWhileAllHoldTooMuch) {
  memory.add(2 << 20);
  open("/v3/kv/range");
  client.send("{\"key\":\"" + std::string(200'000, 'A'));
  EXPECT_EQ(client.status, 0u);
  client.send(std::string(100'000, 'A'));
  EXPECT_EQ(client.status, 503u);
  tasks.run();
  memory.add(-(2 << 20));
  EXPECT_EQ(memory.used(), 0u);
}

TEST(GatewayMetadata, Names) {
  const Fields fields = {{"authorization", "Bearer x"},
                         {"Grpc-Metadata-Token", "t"},
                         {"ACCEPT", "*/*"},
                         {"grpc-metadata-te", "hidden"},
                         {"Grpc-Metadata-A-Bin", "/w"},
                         {"X-Other", "no"},
                         {"Cookie", "c\xff"},
                         {"Grpc-Timeout", "-2m"}};
  const auto m = read_metadata(fields);
  ASSERT_TRUE(m);
  EXPECT_EQ(m->find("authorization"), "Bearer x");
  EXPECT_EQ(m->find("grpcgateway-authorization"), "Bearer x");
  EXPECT_EQ(m->find("token"), "t");
  EXPECT_EQ(m->find("grpcgateway-accept"), "*/*");
  EXPECT_EQ(m->find("a-bin"), "\xff");
  EXPECT_EQ(m->find("te"), std::nullopt);
  EXPECT_EQ(m->find("x-other"), std::nullopt);
  EXPECT_EQ(m->find("grpcgateway-cookie"), std::nullopt);
  EXPECT_EQ(m->timeout_ns, -2 * io::kMillisecond);
  EXPECT_EQ(read_metadata({{"grpc-timeout", "x"}}).error().text(), "invalid grpc-timeout: x");
  EXPECT_EQ(read_metadata({{"Grpc-Metadata-X-Bin", "!"}}).error().text(),
            "invalid binary header Grpc-Metadata-X-Bin: illegal base64 data at input byte 0");
}

}  // namespace
}  // namespace quoin::httpapi::gateway
