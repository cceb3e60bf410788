// Watches over streams that break, against a server whose answers the test writes.
#include "client/watches.h"

#include <gtest/gtest.h>

#include "client/fake_server_test.h"
#include "wire/message.h"

namespace quoin::client {
namespace {

namespace pb = wire::etcdserverpb;
using test::FakeServer;

struct Heard final : Watch {
  std::vector<std::string> said;
  void on_response(const pb::WatchResponse& r, std::string_view) override {
    std::string s = r.canceled ? "cancelled" : r.created ? "created" : r.events.empty() ? "progress" : "";
    for (const auto& e : r.events) s += fmt::format("{}", wire::decode(*e.kv)->mod_revision);
    said.push_back(s);
  }
  void on_lost(GrpcStatus status, std::string_view text) override {
    said.push_back(fmt::format("lost {} {}", static_cast<int>(status), text));
  }
};

class WatchesTest : public ::testing::Test {
 protected:
  WatchesTest() {
    server_.listen();
    ClientOptions o;
    o.endpoints = {"a:2379"};
    client_ = *Client::make(o, env_);
    watches_ = std::make_unique<Watches>(*client_, env_, Metadata());
  }
  void TearDown() override {
    loop_.post([this] {
      watches_.reset();
      client_->close();
    });
    run();
    loop_.post([this] { client_.reset(); });
    run();
  }
  void run(int64_t ns = io::kSecond) { world_.run_for(ns); }
  void start(Watch& w, std::string key, int64_t revision = 0) {
    loop_.post([=, this, &w] { watches_->start(w, {.key = key, .start_revision = revision}); });
    run();
  }
  // What came to the server since: "create KEY@REVISION" and "cancel ID".
  std::vector<std::string> asked() {
    std::vector<std::string> out;
    for (const std::string& m : std::exchange(server_.watch.got, {})) {
      const auto r = *wire::decode<pb::WatchRequest>(m);
      if (const auto* c = r.create_request()) {
        out.push_back(fmt::format("create {}@{}", c->key, c->start_revision));
        last_id_ = c->watch_id;
      } else {
        out.push_back(fmt::format("cancel {}", r.cancel_request()->watch_id));
      }
    }
    return out;
  }
  void say(int64_t id, int64_t revision, std::vector<int64_t> events, bool created = false,
           bool canceled = false) {
    pb::WatchResponse r;
    r.header.emplace().revision = revision;
    r.watch_id = id;
    r.created = created;
    r.canceled = canceled;
    std::deque<std::string> kept;
    for (const int64_t e : events) {
      wire::mvccpb::KeyValue kv;
      kv.key = "k";
      kv.mod_revision = e;
      kept.push_back(wire::encode_string(kv));
      r.events.emplace_back().kv.emplace().bytes = kept.back();
    }
    server_.run([this, bytes = wire::encode_blob(r)] { server_.watch.call->send({}, bytes); });
    run();
  }
  using Strings = std::vector<std::string>;

  sim::World world_{11};
  sim::SimNetwork network_{world_};
  sim::Process& process_ = world_.start_process("client");
  sim::SimExecutor& loop_ = process_.executor("loop");
  sim::SimHost host_{network_, "client"};
  Environment env_{loop_, host_, process_.timers(), process_.clock()};
  FakeServer server_{world_, network_, "a"};
  std::unique_ptr<Client> client_;
  std::unique_ptr<Watches> watches_;
  int64_t last_id_ = 0;
  Heard a, b, c;
};

TEST_F(WatchesTest, GoesOnBehindWhatWasToldWhenTheStreamBreaks) {
  start(a, "a");
  EXPECT_EQ(asked(), Strings({"create a@0"}));
  const int64_t id = last_id_;
  say(id, 10, {}, true);
  say(id, 12, {11, 12});
  start(b, "b", 5);
  EXPECT_EQ(asked(), Strings({"create b@5"}));
  say(last_id_, 12, {}, true);
  say(id, 20, {});  // progress
  server_.cut();
  run();
  EXPECT_EQ(asked(), Strings({"create a@21"})) << "one, until it is known that this server keeps identities";
  say(id, 22, {}, true);
  EXPECT_EQ(asked(), Strings({"create b@5"}));
  say(last_id_, 22, {}, true);
  say(last_id_, 22, {7});
  EXPECT_EQ(a.said, Strings({"created", "1112", "progress"}));
  EXPECT_EQ(b.said, Strings({"created", "7"}));
}

TEST_F(WatchesTest, AServerMayChooseTheIdentities) {
  start(a, "a");
  start(b, "b");
  start(c, "c");
  EXPECT_EQ(asked(), Strings({"create a@0"}));
  say(0, 3, {}, true);
  EXPECT_EQ(asked(), Strings({"create b@0"}));
  say(1, 3, {}, true);
  EXPECT_EQ(asked(), Strings({"create c@0"}));
  loop_.post([&] { watches_->stop(c); });  // before it is there
  run();
  say(2, 3, {}, true);
  EXPECT_EQ(asked(), Strings({"cancel 2"}));
  say(1, 4, {4});
  say(0, 5, {5});
  say(2, 5, {5});
  EXPECT_EQ(a.said, Strings({"created", "5"}));
  EXPECT_EQ(b.said, Strings({"created", "4"}));
  EXPECT_EQ(c.said, Strings());
  loop_.post([&] { watches_->stop(b); });
  run();
  EXPECT_EQ(asked(), Strings({"cancel 1"}));
}

TEST_F(WatchesTest, TheNextInTurnIsTheOneThatIsRefused) {
  start(a, "a");
  start(b, "b");
  asked();
  say(-1, 3, {}, true, true);
  EXPECT_EQ(a.said, Strings({"cancelled"}));
  EXPECT_FALSE(a.active());
  EXPECT_EQ(asked(), Strings({"create b@0"}));
  say(last_id_, 3, {}, true);
  say(last_id_, 9, {}, false, true);
  EXPECT_EQ(b.said, Strings({"created", "cancelled"}));
  EXPECT_EQ(watches_->size(), 0u);
}

TEST_F(WatchesTest, AnErrorThatWillNotPassEndsThem) {
  start(a, "a");
  start(b, "b");
  server_.run([this] { server_.watch.call->finish(GrpcStatus::kPermissionDenied, "no"); });
  run();
  EXPECT_EQ(a.said, Strings({"lost 7 no"}));
  EXPECT_EQ(b.said, Strings({"lost 7 no"}));
  server_.watch.got.clear();
  start(a, "a");
  EXPECT_EQ(asked(), Strings({"create a@0"})) << "a new one may come";
}

}  // namespace
}  // namespace quoin::client
