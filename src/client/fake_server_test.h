// A server of etcd's methods in a simulated network, whose answers the test decides.
#pragma once
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "grpc/transport.h"
#include "grpc/turns.h"
#include "sim/network.h"
#include "sim/world.h"

namespace quoin::client::test {

class FakeServer {
 public:
  struct Unary final : grpc::UnaryHandler {
    std::function<void(grpc::Call&, std::string_view)> answer;
    size_t calls = 0, cancels = 0;
    void call(grpc::Call& call, std::string_view request) override {
      ++calls;
      answer(call, request);
    }
    GrpcStatus cancelled(grpc::Call& call, std::string_view request, grpc::CancelReason reason) override {
      ++cancels;
      return UnaryHandler::cancelled(call, request, reason);
    }
  };
  struct Stream final : grpc::StreamHandler {
    struct Listener final : grpc::StreamListener {
      explicit Listener(Stream& s) : stream(s) {}
      Stream& stream;
      void on_message(std::string_view m) override { stream.got.emplace_back(m); }
      void on_half_close() override { stream.half_closed = true; }
    };
    grpc::Call* call = nullptr;
    std::vector<std::string> got;
    bool half_closed = false;
    std::unique_ptr<grpc::StreamListener> open(grpc::Call& c) override {
      call = &c;
      return std::make_unique<Listener>(*this);
    }
  };

  FakeServer(sim::World& world, sim::SimNetwork& network, const std::string& name)
      : process_(world.start_process(name)),
        loop_(process_.executor("loop")),
        host_(network, name),
        turns_(loop_) {
    put.answer = range.answer = [this](grpc::Call& call, std::string_view) { respond(call, host_.name()); };
    authenticate.answer = [this](grpc::Call& call, std::string_view) { respond(call, "\x12\x01t"); };
    methods_.add_unary("etcdserverpb.KV", "Put", put);
    methods_.add_unary("etcdserverpb.KV", "Range", range);
    methods_.add_unary("etcdserverpb.Auth", "Authenticate", authenticate);
    methods_.add_stream("etcdserverpb.Watch", "Watch", grpc::MethodKind::kBidiStream, watch);
    methods_.add_stream("etcdserverpb.Lease", "LeaseKeepAlive", grpc::MethodKind::kBidiStream, keep_alive);
  }
  void listen() {
    auto l = host_.listen({.host = "", .port = 2379}, {&loop_},
                          [this](std::unique_ptr<io::Stream> s) { accepted(std::move(s)); });
    CHECK(l.has_value());
    listener_ = std::move(*l);
  }
  void stop_listening() { listener_.reset(); }
  void shut_down() {
    run([this] {
      for (auto& t : transports_) t->shutdown();
    });
  }
  void cut() {
    run([this] {
      for (auto& t : transports_) t->close();
    });
  }
  // On the server's loop, soon.
  void run(Task task) { loop_.post(std::move(task)); }
  static void respond(grpc::Call& call, std::string_view bytes) { call.respond(Blob::copy(bytes)); }

  Unary put, range, authenticate;
  Stream watch, keep_alive;

 private:
  void accepted(std::unique_ptr<io::Stream> s) {
    auto it = transports_.insert(transports_.end(), nullptr);
    *it = std::make_unique<grpc::ServerTransport>(
        context_, std::move(s), grpc::PeerInfo{"peer", {}}, process_.clock(), process_.timers(), "",
        [this, it] { loop_.post([this, it] { transports_.erase(it); }); });
  }

  sim::Process& process_;
  sim::SimExecutor& loop_;
  sim::SimHost host_;
  grpc::Turns turns_;
  grpc::MethodTable methods_;
  grpc::CallTable calls_;
  grpc::Probe probe_;
  grpc::MemoryBudget memory_{1u << 30};
  grpc::ServerContext context_{methods_, calls_, probe_, memory_, {}, &turns_};
  std::list<std::unique_ptr<grpc::ServerTransport>> transports_;
  std::unique_ptr<io::Listener> listener_;
};

}  // namespace quoin::client::test
