// The client against simulated servers: calls, retries, deadlines, connections that come and go, tokens.
#include "client/client.h"

#include <gtest/gtest.h>

#include "client/fake_server_test.h"
#include "client/methods.h"

namespace quoin::client {
namespace {

using test::FakeServer;

struct OneCall final : Call {
  std::string got, text;
  std::vector<std::string> messages;
  int ends = 0;
  GrpcStatus status = GrpcStatus::kUnknown;
  size_t sent = 0;
  std::function<void()> at_end;
  void on_message(std::string_view m) override {
    got = m;
    messages.emplace_back(m);
  }
  void on_all_sent() override { ++sent; }
  void on_end(GrpcStatus s, std::string_view t) override {
    ++ends;
    status = s;
    text = t;
    if (at_end) at_end();
  }
  std::string outcome() const { return fmt::format("{} {}", static_cast<int>(status), text); }
};

class ClientTest : public ::testing::Test {
 protected:
  ClientTest() { options_.endpoints = {"a:2379"}; }
  void start() {
    auto c = Client::make(options_, env_);
    ASSERT_TRUE(c) << c.error().text();
    client_ = std::move(*c);
  }
  void TearDown() override {
    if (!client_) return;
    client_->close();
    run(io::kMillisecond);
    EXPECT_EQ(client_->queued_bytes(), 0u);
    EXPECT_EQ(client_->calls(), 0u);
    client_.reset();
    run(io::kMillisecond);
  }
  void run(int64_t ns) { world_.run_for(ns); }
  void on_loop(Task task) {
    loop_.post(std::move(task));
    run(io::kMillisecond);
  }
  // Makes a call and waits for its end.
  std::string ask(OneCall& call, const Method& method, int64_t timeout_ns = 0, bool wait_for_ready = true) {
    const int ends = call.ends;
    loop_.post([&, method, timeout_ns, wait_for_ready] {
      client_->unary(
          call, method, "question",
          {.deadline = timeout_ns > 0 ? now() + timeout_ns : INT64_MAX, .wait_for_ready = wait_for_ready});
      EXPECT_EQ(call.ends, ends) << "not within unary()";
    });
    EXPECT_TRUE(world_.run_until([&] { return call.ends > ends; }, 300 * io::kSecond));
    EXPECT_EQ(call.ends, ends + 1);
    return call.outcome();
  }
  io::MonotonicNs now() { return process_.clock().monotonic(); }

  sim::World world_{7};
  sim::SimNetwork network_{world_};
  sim::Process& process_ = world_.start_process("client");
  sim::SimExecutor& loop_ = process_.executor("loop");
  sim::SimHost host_{network_, "client"};
  Environment env_{loop_, host_, process_.timers(), process_.clock()};
  FakeServer a_{world_, network_, "a"}, b_{world_, network_, "b"}, c_{world_, network_, "c"};
  ClientOptions options_;
  std::unique_ptr<Client> client_;
};

void fail_as(FakeServer::Unary& method, GrpcStatus status, std::string text) {
  method.answer = [=](grpc::Call& call, std::string_view) { call.fail(status, text); };
}

TEST_F(ClientTest, AnswersAndErrorsAsTheServerGivesThem) {
  a_.listen();
  start();
  OneCall call;
  EXPECT_EQ(ask(call, methods::kPut), "0 ");
  EXPECT_EQ(call.got, "a");
  fail_as(a_.put, GrpcStatus::kInvalidArgument, "etcdserver: key is not provided");
  EXPECT_EQ(ask(call, methods::kPut), "3 etcdserver: key is not provided");
  EXPECT_EQ(ask(call, {"/etcdserverpb.KV/Nothing"}), "12 unknown method Nothing for service etcdserverpb.KV");
}

TEST_F(ClientTest, CallsGoRoundOverTheEndpointsThatCanBeReached) {
  options_.endpoints = {"a:2379", "b:2379", "c:2379"};
  a_.listen();
  c_.listen();
  start();
  run(io::kSecond);
  OneCall call;
  for (int i = 0; i < 10; ++i) ask(call, methods::kPut);
  EXPECT_EQ(a_.put.calls, 5u);
  EXPECT_EQ(c_.put.calls, 5u);
  b_.listen();
  run(5 * io::kSecond);  // dialled again
  for (int i = 0; i < 9; ++i) ask(call, methods::kPut);
  EXPECT_EQ(b_.put.calls, 3u);
}

TEST_F(ClientTest, WaitsForAConnectionOrFailsAtOnce) {
  start();
  OneCall call;
  constexpr std::string_view kRefused =
      "connection error: desc = \"transport: Error while dialing: dial tcp a:2379: connect: connection "
      "refused\"";
  EXPECT_EQ(ask(call, methods::kPut, 0, false), fmt::format("14 {}", kRefused));
  EXPECT_EQ(ask(call, methods::kPut, io::kSecond), fmt::format("4 latest balancer error: {}", kRefused));
  world_.after(3 * io::kSecond, [this] { a_.listen(); });
  EXPECT_EQ(ask(call, methods::kPut, 60 * io::kSecond), "0 ");
}

TEST_F(ClientTest, ADeadlineEndsTheCallHereAndThere) {
  a_.listen();
  a_.put.answer = [](grpc::Call&, std::string_view) {};
  start();
  OneCall call;
  const auto before = now();
  EXPECT_EQ(ask(call, methods::kPut, io::kSecond), "4 context deadline exceeded");
  EXPECT_LT(now() - before, 1'100 * io::kMillisecond);
  run(io::kSecond);
  EXPECT_EQ(a_.put.cancels, 1u);
}

TEST_F(ClientTest, ACancelledCallEndsOnce) {
  a_.listen();
  a_.put.answer = [](grpc::Call&, std::string_view) {};
  start();
  OneCall call;
  on_loop([&] { client_->unary(call, methods::kPut, "x", {}); });
  run(io::kSecond);
  on_loop([&] {
    client_->cancel(call);
    client_->cancel(call);
    EXPECT_EQ(call.ends, 0);
  });
  run(io::kSecond);
  EXPECT_EQ(call.ends, 1);
  EXPECT_EQ(call.outcome(), "1 context canceled");
  EXPECT_EQ(a_.put.cancels, 1u);
}

TEST_F(ClientTest, AReadIsRepeatedAWriteIsNot) {
  a_.listen();
  start();
  fail_as(a_.put, GrpcStatus::kUnavailable, "etcdserver: leader changed");
  fail_as(a_.range, GrpcStatus::kUnavailable, "etcdserver: leader changed");
  OneCall call;
  EXPECT_EQ(ask(call, methods::kPut), "14 etcdserver: leader changed");
  EXPECT_EQ(a_.put.calls, 1u);
  const auto before = now();
  EXPECT_EQ(ask(call, methods::kRange), "14 etcdserver: leader changed");
  EXPECT_EQ(a_.range.calls, kAttemptsMax);
  EXPECT_NEAR(static_cast<double>(now() - before), 99 * 25e6, 0.15 * 99 * 25e6);
  world_.after(io::kSecond, [this] {
    a_.range.answer = [](grpc::Call& c, std::string_view) { FakeServer::respond(c, "well"); };
  });
  EXPECT_EQ(ask(call, methods::kRange), "0 ");
  EXPECT_EQ(call.got, "well");
  options_.retries = false;
}

TEST_F(ClientTest, ALostConnectionEndsItsCallsAndIsDialledAgain) {
  a_.listen();
  a_.put.answer = [](grpc::Call&, std::string_view) {};
  start();
  OneCall call;
  on_loop([&] { client_->unary(call, methods::kPut, "x", {}); });
  run(io::kSecond);
  a_.cut();
  run(io::kSecond);
  EXPECT_EQ(call.ends, 1);
  EXPECT_TRUE(call.text.starts_with("error reading from server: ")) << call.text;
  EXPECT_EQ(call.status, GrpcStatus::kUnavailable);
  a_.put.answer = [](grpc::Call& c, std::string_view) { FakeServer::respond(c, "again"); };
  EXPECT_EQ(ask(call, methods::kPut, io::kSecond), "0 ");
}

TEST_F(ClientTest, AServerThatStopsGentlyLosesNoCall) {
  options_.endpoints = {"a:2379", "b:2379"};
  a_.listen();
  b_.listen();
  grpc::CallId waiting;
  grpc::CallTable* table = nullptr;
  a_.put.answer = [&](grpc::Call& c, std::string_view) { waiting = c.id(), table = &c.table(); };
  start();
  run(io::kSecond);
  std::vector<std::unique_ptr<OneCall>> calls;
  for (int i = 0; i < 2; ++i) {
    calls.push_back(std::make_unique<OneCall>());
    on_loop([&, c = calls.back().get()] { client_->unary(*c, methods::kPut, "x", {}); });
  }
  run(io::kSecond);
  a_.stop_listening();
  a_.shut_down();
  run(io::kMillisecond);
  OneCall call;
  for (int i = 0; i < 10; ++i) EXPECT_EQ(ask(call, methods::kPut), "0 ") << i;
  a_.run([&] { FakeServer::respond(*table->find(waiting), "late"); });
  run(10 * io::kSecond);
  for (auto& c : calls) EXPECT_EQ(c->outcome(), "0 ");
}

TEST_F(ClientTest, AStreamGoesBothWaysAndMayBeOnHold) {
  a_.listen();
  options_.connection.stream_window_bytes = 256 << 10;
  start();
  OneCall call;
  on_loop([&] {
    client_->open(call, methods::kWatch, {});
    client_->send(call, "one");  // before there is a connection
  });
  run(io::kSecond);
  on_loop([&] { client_->send(call, "two"); });
  run(io::kSecond);
  EXPECT_EQ(a_.watch.got, (std::vector<std::string>{"one", "two"}));
  EXPECT_GE(call.sent, 1u);
  EXPECT_EQ(client_->queued_bytes(call), 0u);
  on_loop([&] { client_->hold(call, true); });
  const std::string message(10'000, 'm');
  a_.run([&] {
    for (int i = 0; i < 1000; ++i) a_.watch.call->send({}, Blob::copy(message));
  });
  run(10 * io::kSecond);
  EXPECT_LE(call.messages.size(), 27u) << "one window";
  EXPECT_GE(call.messages.size(), 5u);
  on_loop([&] { client_->hold(call, false); });
  run(60 * io::kSecond);
  EXPECT_EQ(call.messages.size(), 1000u);
  on_loop([&] { client_->half_close(call); });
  run(io::kSecond);
  EXPECT_TRUE(a_.watch.half_closed);
  a_.run([&] { a_.watch.call->finish(GrpcStatus::kOk, ""); });
  run(io::kSecond);
  EXPECT_EQ(call.ends, 1);
  EXPECT_EQ(call.outcome(), "0 ");
}

TEST_F(ClientTest, ACallMayBeMadeAgainWithinItsEndAndBeDropped) {
  a_.listen();
  start();
  auto call = std::make_unique<OneCall>();
  int left = 50;
  call->at_end = [&] {
    if (--left > 0) client_->unary(*call, methods::kPut, "x", {});
  };
  on_loop([&] { client_->unary(*call, methods::kPut, "x", {}); });
  run(10 * io::kSecond);
  EXPECT_EQ(a_.put.calls, 50u);
  a_.put.answer = [](grpc::Call&, std::string_view) {};
  on_loop([&] { client_->unary(*call, methods::kPut, "x", {}); });
  on_loop([&] { call.reset(); });
  run(io::kSecond);
  EXPECT_EQ(a_.put.cancels, 1u);
  EXPECT_EQ(client_->calls(), 0u);
}

TEST_F(ClientTest, BoundsOfMessagesAndOfWhatWaits) {
  options_.max_send_bytes = 100;
  options_.queued_bytes_max = 150;
  start();  // nobody listens
  OneCall large, first, second;
  on_loop([&] {
    client_->unary(large, methods::kPut, std::string(101, 'x'), {});
    client_->unary(first, methods::kPut, std::string(100, 'x'), {});
    client_->unary(second, methods::kPut, std::string(100, 'x'), {});
  });
  EXPECT_EQ(large.outcome(), "8 trying to send message larger than max (101 vs. 100)");
  EXPECT_EQ(second.outcome(), "8 too many bytes wait in the client");
  EXPECT_EQ(first.ends, 0);
  EXPECT_EQ(client_->queued_bytes(), 100u);
}

TEST_F(ClientTest, AnUnansweredPingEndsTheConnection) {
  options_.connection.keepalive_time_ns = 10 * io::kSecond;
  options_.connection.keepalive_timeout_ns = 3 * io::kSecond;
  a_.listen();
  a_.put.answer = [](grpc::Call&, std::string_view) {};
  start();
  OneCall call;
  on_loop([&] { client_->unary(call, methods::kPut, "x", {}); });
  run(60 * io::kSecond);
  EXPECT_EQ(call.ends, 0) << "pings are answered";
  network_.partition("client", "a");
  run(15 * io::kSecond);
  EXPECT_EQ(call.outcome(),
            "14 error reading from server: keepalive ping failed to receive ACK within timeout");
}

// ---- users ----

struct Tokens {
  int issued = 0;
  std::string good;
  explicit Tokens(FakeServer& server) {
    server.authenticate.answer = [this](grpc::Call& call, std::string_view) {
      good = fmt::format("t{}", ++issued);
      FakeServer::respond(call, "\x12\x02" + good);
    };
    server.put.answer = [this](grpc::Call& call, std::string_view) {
      if (call.metadata("token").value_or("") == good) return FakeServer::respond(call, good);
      call.fail(make_error(Code::kInvalidAuthToken, "etcdserver: invalid auth token"));
    };
  }
};

TEST_F(ClientTest, ATokenIsFetchedOnceAndWhenItIsNoLongerTaken) {
  options_.username = "root";
  options_.password = "pw";
  a_.listen();
  Tokens tokens(a_);
  start();
  std::vector<std::unique_ptr<OneCall>> calls;
  for (int i = 0; i < 20; ++i) calls.push_back(std::make_unique<OneCall>());
  const auto all = [&] {
    on_loop([&] {
      for (auto& c : calls) client_->unary(*c, methods::kPut, "x", {});
    });
    run(5 * io::kSecond);
    for (auto& c : calls) EXPECT_EQ(c->outcome(), "0 ");
  };
  all();
  EXPECT_EQ(tokens.issued, 1);
  tokens.good = "another";
  all();
  EXPECT_EQ(tokens.issued, 2);
}

TEST_F(ClientTest, WithoutAuthenticationThereIsNoToken) {
  options_.username = "root";
  options_.password = "pw";
  a_.listen();
  fail_as(a_.authenticate, GrpcStatus::kFailedPrecondition, "etcdserver: authentication is not enabled");
  a_.put.answer = [](grpc::Call& call, std::string_view) {
    FakeServer::respond(call, call.metadata("token") ? "token" : "none");
  };
  start();
  OneCall call;
  EXPECT_EQ(ask(call, methods::kPut), "0 ");
  EXPECT_EQ(call.got, "none");
}

TEST_F(ClientTest, AWrongPasswordIsToldToEachCall) {
  options_.username = "root";
  options_.password = "pw";
  a_.listen();
  fail_as(a_.authenticate, GrpcStatus::kInvalidArgument,
          "etcdserver: authentication failed, invalid user ID or password");
  start();
  OneCall call;
  EXPECT_EQ(ask(call, methods::kPut), "3 etcdserver: authentication failed, invalid user ID or password");
}

// ---- endpoints ----

TEST(Endpoint, Forms) {
  struct Case {
    std::string_view text, host;
    uint16_t port;
    Endpoint::Security security;
    std::string_view authority;
  };
  using S = Endpoint::Security;
  for (const Case& c :
       {Case{"127.0.0.1:2379", "127.0.0.1", 2379, S::kAsClient, "127.0.0.1:2379"},
        Case{"http://h:1", "h", 1, S::kPlain, "h:1"}, Case{"https://[::1]:2", "::1", 2, S::kTls, "[::1]:2"},
        Case{"unix:///run/x.sock", "/run/x.sock", 0, S::kAsClient, "x.sock"},
        Case{"unixs:a.sock:0", "a.sock:0", 0, S::kTls, "a.sock:0"}}) {
    const auto e = parse_endpoint(c.text);
    ASSERT_TRUE(e) << c.text;
    EXPECT_EQ(e->address.host, c.host);
    EXPECT_EQ(e->address.port, c.port);
    EXPECT_EQ(e->security, c.security);
    EXPECT_EQ(e->authority, c.authority);
  }
  for (std::string_view bad : {"h", "h:x", "h:65536", "ftp://h:1", "a:b:1"}) {
    EXPECT_FALSE(parse_endpoint(bad)) << bad;
  }
}

}  // namespace
}  // namespace quoin::client
