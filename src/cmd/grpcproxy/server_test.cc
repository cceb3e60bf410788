// The proxy between a simulated client and a simulated member: what clients share, and what bounds them.
#include "cmd/grpcproxy/server.h"

#include <gtest/gtest.h>

#include "client/fake_server_test.h"
#include "client/methods.h"
#include "sim/log_sink.h"
#include "wire/message.h"

namespace quoin::cmd::grpcproxy {
namespace {

namespace pb = wire::etcdserverpb;
using client::test::FakeServer;

struct Said final : client::Call {
  std::vector<std::string> messages;
  std::optional<std::string> end;
  size_t bytes = 0;
  bool keep = true;
  void on_message(std::string_view m) override {
    bytes += m.size();
    messages.emplace_back(keep ? m : std::string_view());
  }
  void on_end(GrpcStatus status, std::string_view text) override {
    end = fmt::format("{} {}", static_cast<int>(status), text);
  }
};

class ProxyTest : public ::testing::Test {
 protected:
  ProxyTest() {
    member_.listen();
    proxy_loop_.post([this] {
      client::ClientOptions o;
      o.endpoints = {"member:2379"};
      o.retries = false;
      to_member_ = *client::Client::make(o, proxy_env_);
      server_ = std::make_unique<Server>(
          ServerOptions{.limits = {},
                        .cluster = {"proxy:2379", "", 0, "host"},
                        .pages = {*client::parse_endpoint("member:2379"), no_tls_, {}, ""},
                        .tls = {}},
          proxy_env_, *to_member_, log_, registry_);
      auto l = proxy_host_.listen({.host = "", .port = 2379}, {&proxy_loop_},
                                  [this](std::unique_ptr<io::Stream> s) {
                                    server_->accepted(std::move(s), Server::Door::kClient, false);
                                  });
      listener_ = std::move(*l);
    });
    run(io::kMillisecond);
    loop_.post([this] {
      client::ClientOptions o;
      o.endpoints = {"proxy:2379"};
      client_ = *client::Client::make(o, env_);
    });
    run();
  }
  void TearDown() override {
    loop_.post([this] { client_->close(); });
    run();
    loop_.post([this] { client_.reset(); });
    run();
    proxy_loop_.post([this] { to_member_->close(); });
    run();
    proxy_loop_.post([this] {
      listener_.reset();
      server_.reset();
      to_member_.reset();
    });
    run();
  }
  void run(int64_t ns = io::kSecond) { world_.run_for(ns); }
  // A call that lives until the client has closed.
  Said& said() { return said_.emplace_back(); }
  // What came to a stream of the member since, decoded.
  template <class M>
  std::vector<M> asked(FakeServer::Stream& stream) {
    kept_.push_back(std::exchange(stream.got, {}));
    std::vector<M> out;
    for (const std::string& m : kept_.back()) out.push_back(*wire::decode<M>(m));
    return out;
  }
  void watch(Said& call, const std::string& key, int count = 1) {
    loop_.post([&, key, count] {
      client_->open(call, client::methods::kWatch, {});
      for (int i = 0; i < count; ++i) {
        pb::WatchRequest r;
        r.set_create_request().key = key;
        client_->send(call, wire::encode_string(r));
      }
    });
    run();
  }
  void say(int64_t id, int64_t revision, size_t value_bytes, bool created = false) {
    pb::WatchResponse r;
    r.header.emplace().revision = revision;
    r.watch_id = id;
    r.created = created;
    std::string event, value(value_bytes, 'v');
    if (!created) {
      wire::mvccpb::KeyValue kv;
      kv.key = "k";
      kv.mod_revision = revision;
      kv.value = value;
      event = wire::encode_string(kv);
      r.events.emplace_back().kv.emplace().bytes = event;
    }
    member_.run([this, bytes = wire::encode_blob(r)] { member_.watch.call->send({}, bytes); });
  }

  sim::World world_{5};
  sim::SimNetwork network_{world_};
  sim::LogSink log_;
  metrics::Registry registry_;
  const client::Tls no_tls_;
  sim::Process& process_ = world_.start_process("client");
  sim::SimExecutor& loop_ = process_.executor("loop");
  sim::SimHost host_{network_, "client"};
  client::Environment env_{loop_, host_, process_.timers(), process_.clock()};
  sim::Process& proxy_process_ = world_.start_process("proxy");
  sim::SimExecutor& proxy_loop_ = proxy_process_.executor("loop");
  sim::SimHost proxy_host_{network_, "proxy"};
  client::Environment proxy_env_{proxy_loop_, proxy_host_, proxy_process_.timers(), proxy_process_.clock()};
  FakeServer member_{world_, network_, "member"};
  std::unique_ptr<client::Client> to_member_, client_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<io::Listener> listener_;
  std::deque<std::vector<std::string>> kept_;
  std::deque<Said> said_;
};

TEST_F(ProxyTest, ManyWatchersShareAWatchAndAreAllToldOnce) {
  Said& call = said();
  watch(call, "k");
  auto first = asked<pb::WatchRequest>(member_.watch);
  ASSERT_EQ(first.size(), 1u);
  const int64_t id = first[0].create_request()->watch_id;
  EXPECT_TRUE(first[0].create_request()->prev_kv);
  // Those that come before the member has answered join; they are more than one step tells.
  loop_.post([&] {
    for (int i = 0; i < 1500; ++i) {
      pb::WatchRequest r;
      r.set_create_request().key = "k";
      client_->send(call, wire::encode_string(r));
    }
  });
  run(30 * io::kSecond);
  EXPECT_EQ(asked<pb::WatchRequest>(member_.watch).size(), 0u);
  say(id, 10, 0, true);
  run(10 * io::kSecond);
  EXPECT_EQ(call.messages.size(), 1501u);
  call.messages.clear();
  say(id, 11, 100);
  say(id, 12, 100);
  run(10 * io::kSecond);
  std::map<int64_t, std::vector<int64_t>> told;
  for (const std::string& m : call.messages) {
    const auto r = *wire::decode<pb::WatchResponse>(m);
    told[r.watch_id].push_back(r.header->revision);
  }
  EXPECT_EQ(told.size(), 1501u);
  for (const auto& [watcher, revisions] : told)
    EXPECT_EQ(revisions, (std::vector<int64_t>{11, 12})) << watcher;
}

TEST_F(ProxyTest, AWatcherThatComesLaterIsMergedOnceItIsThere) {
  Said &a = said(), &b = said();
  watch(a, "k");
  const int64_t first = asked<pb::WatchRequest>(member_.watch)[0].create_request()->watch_id;
  say(first, 10, 0, true);
  run();
  watch(b, "k");
  const auto second = asked<pb::WatchRequest>(member_.watch);
  ASSERT_EQ(second.size(), 1u);
  say(second[0].create_request()->watch_id, 10, 0, true);
  run();
  const auto after = asked<pb::WatchRequest>(member_.watch);
  ASSERT_EQ(after.size(), 1u) << "one of the two is given up";
  const int64_t left =
      after[0].cancel_request()->watch_id == first ? second[0].create_request()->watch_id : first;
  say(left, 11, 5);
  run();
  EXPECT_EQ(a.messages.size(), 2u);
  EXPECT_EQ(b.messages.size(), 2u);
}

TEST_F(ProxyTest, OneThatDoesNotReadIsEndedAndHoldsUpNobody) {
  Said &slow = said(), &other = said();
  other.keep = slow.keep = false;
  watch(slow, "k");
  const int64_t id = asked<pb::WatchRequest>(member_.watch)[0].create_request()->watch_id;
  watch(other, "k");
  say(id, 10, 0, true);
  run();
  loop_.post([&] { client_->hold(slow, true); });
  run();
  constexpr int kEvents = 60;
  for (int i = 0; i < kEvents; ++i) {
    say(id, 11 + i, 1 << 20);
    run(5 * io::kSecond);
  }
  run(60 * io::kSecond);
  EXPECT_EQ(other.messages.size(), 1u + kEvents);
  EXPECT_FALSE(other.end);
  loop_.post([&] { client_->hold(slow, false); });
  run(60 * io::kSecond);
  ASSERT_TRUE(slow.end);
  EXPECT_EQ(*slow.end, "1 context canceled");
  EXPECT_LT(slow.bytes, WatchProxy::kQueueBytes + (4u << 20));
}

TEST_F(ProxyTest, KeepalivesOfOneLeaseShareARequest) {
  std::vector<Said*> calls;
  for (int i = 0; i < 20; ++i) calls.push_back(&said());
  pb::LeaseKeepAliveRequest r;
  r.id = 7;
  const std::string request = wire::encode_string(r);
  loop_.post([&] {
    for (auto& c : calls) {
      client_->open(*c, client::methods::kLeaseKeepAlive, {});
      for (int i = 0; i < 5; ++i) client_->send(*c, request);
    }
  });
  run();
  EXPECT_EQ(asked<pb::LeaseKeepAliveRequest>(member_.keep_alive).size(), 1u);
  pb::LeaseKeepAliveResponse answer;
  answer.id = 7;
  answer.ttl = 60;
  member_.run([&] { member_.keep_alive.call->send({}, wire::encode_blob(answer)); });
  run();
  for (auto& c : calls) EXPECT_EQ(c->messages.size(), 5u);
  // The member's stream breaks: what waits is asked for again.
  loop_.post([&] { client_->send(*calls[0], request); });
  run(100 * io::kMillisecond);
  member_.keep_alive.got.clear();
  member_.cut();
  run(5 * io::kSecond);
  EXPECT_EQ(asked<pb::LeaseKeepAliveRequest>(member_.keep_alive).size(), 1u);
  member_.run([&] { member_.keep_alive.call->send({}, wire::encode_blob(answer)); });
  run();
  EXPECT_EQ(calls[0]->messages.size(), 6u);
}

TEST_F(ProxyTest, ACallThatItsClientGivesUpIsGivenUpAtTheMember) {
  member_.put.answer = [](grpc::Call&, std::string_view) {};
  Said& call = said();
  loop_.post([&] { client_->unary(call, client::methods::kPut, "", {}); });
  run();
  EXPECT_EQ(member_.put.calls, 1u);
  loop_.post([&] { client_->cancel(call); });
  run();
  EXPECT_EQ(member_.put.cancels, 1u);
  EXPECT_EQ(to_member_->calls(), 0u);
}

TEST(Registration, JsonBothWays) {
  const std::string json = registration_json("127.0.0.1:23790", "a<b\"c");
  EXPECT_EQ(json, R"({"Op":0,"Addr":"127.0.0.1:23790","Metadata":"{\"name\":\"a\\u003cb\\\"c\"}"})");
  const auto back = parse_registration(json);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->address, "127.0.0.1:23790");
  EXPECT_EQ(back->name, "a<b\"c");
  for (std::string_view bad : {"", "{}", "[]", "{\"Metadata\":\"x\"}", "{\"Metadata\":5}"}) {
    EXPECT_FALSE(parse_registration(bad)) << bad;
  }
}

}  // namespace
}  // namespace quoin::cmd::grpcproxy
