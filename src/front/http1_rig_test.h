// A simulated client and an Http1Transport, for the tests of the HTTP side.
#pragma once
#include <gtest/gtest.h>

#include "base/check.h"
#include "front/http1_transport.h"
#include "sim/network.h"

namespace quoin::front {

class Source final : public httpapi::HealthSource, public httpapi::PeerSource {
 public:
  std::vector<httpapi::Alarm> alarms() override { return {}; }
  bool has_leader() override { return true; }
  bool is_learner() override { return false; }
  void probe_read(bool, absl::AnyInvocable<void(Result<>)> done) override {
    if (hold) {
      held = std::move(done);
    } else {
      done({});
    }
  }
  std::string cluster_version() override { return "3.6.0"; }
  std::string storage_version() override { return "3.6.0"; }
  std::string cluster_id() override { return "a1"; }
  std::string members_json() override {
    ++members_asked;
    return members;
  }
  bool downgrade_enabled() override { return false; }
  void linearizable_read(Done<void> done) override { done({}); }
  void promote(uint64_t, std::string, Done<std::string> done) override { done(members_json()); }
  void hash_kv(int64_t, Done<httpapi::PeerHash> done) override { done(httpapi::PeerHash{}); }
  void renew_lease(int64_t, Done<int64_t> done) override { done(1); }
  void lease_times(int64_t, bool, Done<httpapi::PeerLease> done) override { done(httpapi::PeerLease{}); }

  bool hold = false;
  int members_asked = 0;
  absl::AnyInvocable<void(Result<>)> held;
  std::string members = "[]";
};

class Client final : public io::StreamHandler {
 public:
  void on_data(std::string_view bytes) override { got += bytes; }
  void on_eof() override { ended = true; }
  void on_drained() override {}
  void on_closed(Result<>) override { ended = true; }

  std::unique_ptr<io::Stream> stream;
  std::string got;
  bool ended = false;
};

// Counts how often a timer is set.
class CountingTimers final : public io::TimerService {
 public:
  explicit CountingTimers(io::TimerService& timers) : timers_(timers) {}
  std::unique_ptr<io::Timer> schedule(int64_t delay_ns, io::Executor& executor, Task task) override {
    ++set;
    return timers_.schedule(delay_ns, executor, std::move(task));
  }
  int set = 0;

 private:
  io::TimerService& timers_;
};

// One connection from a simulated client to a transport.
class Http1Rig : public testing::Test {
 protected:
  Http1Rig()
      : network_(world_),
        server_host_(network_, "server"),
        client_host_(network_, "client"),
        server_(world_.start_process("server")),
        client_process_(world_.start_process("client")),
        endpoints_(source_, registry_, log::null_logger(), {.host_whitelist = {"x", "h"}}) {
    endpoints_.set_peer_source(source_);
  }
  ~Http1Rig() override {
    transport_.reset();
    listener_.reset();
    server_.kill();
    client_process_.kill();
  }

  void connect(Http1Times times, httpapi::Surface surface = httpapi::Surface::kClient) {
    auto l = server_host_.listen(
        {false, "", 0}, {&server_.executor("loop")}, [this, times, surface](std::unique_ptr<io::Stream> s) {
          transport_ = std::make_unique<Http1Transport>(
              endpoints_, surface, Http1Transport::Security{},
              Http1Transport::Doors{.peers = door_, .gateway = gateway_}, std::move(s), server_.clock(),
              timers_, times, "", [this] { closed_ = true; });
        });
    CHECK(l.has_value());
    listener_ = std::move(*l);
    attempt_ =
        client_host_.connect({false, "server", listener_->port()}, {}, client_process_.executor("loop"),
                             [this](Result<std::unique_ptr<io::Stream>> r) {
                               client_.stream = std::move(*r);
                               client_.stream->set_handler(&client_);
                             });
    CHECK(world_.run_until([&] { return transport_ && client_.stream; }, io::kSecond));
  }
  void send(std::string bytes) {
    client_process_.executor("loop").post([this, bytes = std::move(bytes)] { client_.stream->write(bytes); });
  }

  static constexpr int64_t kMinute = 60 * io::kSecond;
  sim::World world_{7};
  sim::SimNetwork network_;
  sim::SimHost server_host_, client_host_;
  sim::Process& server_;
  sim::Process& client_process_;
  CountingTimers timers_{server_};
  http1::Door* door_ = nullptr;
  http1::StreamDoor* gateway_ = nullptr;
  metrics::Registry registry_;
  Source source_;
  httpapi::Endpoints endpoints_;
  std::unique_ptr<io::Listener> listener_;
  std::unique_ptr<io::Connecting> attempt_;
  std::unique_ptr<Http1Transport> transport_;
  Client client_;
  bool closed_ = false;
};

}  // namespace quoin::front
