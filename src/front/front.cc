#include "front/front.h"

#include <atomic>

#include "base/check.h"
#include "front/loop_front.h"
#include "front/member_health.h"
#include "front/member_peers.h"
#include "v3rpc/grpc_metrics.h"

namespace quoin::front {

struct Front::Impl {
  // One bound address.
  struct Bound {
    Entrance entrance;
    std::unique_ptr<io::Listener> listener;
  };

  Impl(Options o, std::vector<io::Loop*> l, io::Network& n, io::TimerService& t, io::Clock& c, log::Logger& g,
       metrics::Registry& m)
      : options(std::move(o)),
        loops(std::move(l)),
        network(n),
        timers(t),
        clock(c),
        log(g),
        metrics(m),
        memory(options.held_bytes_all) {}

  // Nobody is accepted before start().
  Result<> bind(const std::vector<Address>& addresses, Door door) {
    for (Address a : addresses) {
      const Entrance entrance{door, a.plain, a.tls};
      a.wait = true;
      if (door != Door::kPeer && door != Door::kMetrics) a.connections_max = options.connections_max;
      const bool own_loop = door == Door::kPeer && options.peer_loop != nullptr;
      auto listener = network.listen(a, own_loop ? std::vector{options.peer_loop} : loops,
                                     [this, entrance](std::unique_ptr<io::Stream> stream) {
                                       for (auto& f : fronts) {
                                         if (&f->loop() == &stream->loop())
                                           return f->accepted(std::move(stream), entrance);
                                       }
                                     });
      if (!listener) return listener.error();
      bound.push_back({entrance, std::move(*listener)});
    }
    return {};
  }

  void start(bool (*wanted)(Door)) {
    for (const Bound& b : bound) {
      if (wanted(b.entrance.door)) b.listener->start();
    }
  }

  void stop(bool peers, int64_t deadline_ns, Task done) {
    std::erase_if(bound, [peers](const Bound& b) { return (b.entrance.door == Door::kPeer) == peers; });
    auto left = std::make_shared<std::atomic<size_t>>(fronts.size());
    auto shared_done = std::make_shared<Task>(std::move(done));
    for (auto& f : fronts) {
      f->loop().post([this, f = f.get(), peers, deadline_ns, left, shared_done] {
        f->stop(peers, deadline_ns, [this, left, shared_done] {
          if (left->fetch_sub(1) == 1) loops[0]->post(std::move(*shared_done));
        });
      });
    }
  }

  const Options options;
  const std::vector<io::Loop*> loops;
  io::Network& network;
  io::TimerService& timers;
  io::Clock& clock;
  log::Logger& log;
  metrics::Registry& metrics;
  grpc::MemoryBudget memory;
  // From attach() on.
  std::unique_ptr<v3rpc::GrpcMetrics> probe;
  std::unique_ptr<v3rpc::RpcMetrics> rpc_metrics;
  std::vector<std::unique_ptr<LoopFront>> fronts;
  std::unique_ptr<MemberHealth> health;
  std::unique_ptr<MemberPeers> member_peers;
  std::unique_ptr<httpapi::Endpoints> endpoints;
  std::vector<Bound> bound;
};

Front::Front(Options options, std::vector<io::Loop*> loops, io::Network& network, io::TimerService& timers,
             io::Clock& clock, log::Logger& log, metrics::Registry& metrics)
    : impl_(new Impl(std::move(options), std::move(loops), network, timers, clock, log, metrics)) {}

Front::~Front() = default;

Result<> Front::bind_peers() {
  return impl_->bind(impl_->options.peer, Door::kPeer);
}

Result<> Front::bind_clients() {
  const bool split = !impl_->options.client_http.empty();
  TRY(impl_->bind(impl_->options.client, split ? Door::kClientGrpc : Door::kClient));
  return impl_->bind(impl_->options.client_http, Door::kClientHttp);
}

void Front::close_listeners() {
  impl_->bound.clear();
}

void Front::attach(server::Member& member) {
  Impl& i = *impl_;
  CHECK(i.fronts.empty());
  i.probe = std::make_unique<v3rpc::GrpcMetrics>(i.metrics, i.clock, i.log, i.options.call_seconds);
  i.rpc_metrics = std::make_unique<v3rpc::RpcMetrics>(i.metrics);
  uint64_t seed = i.options.seed;
  std::vector<io::Loop*> loops = i.loops;
  if (i.options.peer_loop != nullptr) loops.push_back(i.options.peer_loop);
  for (io::Loop* loop : loops) {
    i.fronts.push_back(std::make_unique<LoopFront>(member, i.options, *loop, i.timers, i.clock, i.log,
                                                   *i.rpc_metrics, *i.probe, i.memory, ++seed));
  }
  i.health = std::make_unique<MemberHealth>(member, i.fronts[0]->port());
  httpapi::Options http = i.options.http;
  http.raft_status = [&member, loop = i.loops[0]](absl::AnyInvocable<void(std::string)> done) {
    member.raft_status(*loop, std::move(done));
  };
  i.endpoints = std::make_unique<httpapi::Endpoints>(*i.health, i.metrics, i.log, std::move(http));
  // The last one is that of the peers, where they have one.
  i.member_peers = std::make_unique<MemberPeers>(member, i.fronts.back()->port(), i.timers);
  i.endpoints->set_peer_source(*i.member_peers);
  i.probe->register_methods(i.fronts[0]->methods());
  for (auto& f : i.fronts) f->set_endpoints(*i.endpoints);
}

void Front::set_peer_door(http1::Door& door) {
  for (auto& f : impl_->fronts) f->set_peer_door(&door);
}

void Front::serve_peers() {
  impl_->start([](Door d) { return d == Door::kPeer; });
}

Result<> Front::serve_metrics() {
  TRY(impl_->bind(impl_->options.metrics, Door::kMetrics));
  impl_->start([](Door d) { return d == Door::kMetrics; });
  return {};
}

void Front::serve_clients() {
  impl_->start([](Door d) { return d != Door::kPeer && d != Door::kMetrics; });
}

void Front::stop_clients(int64_t deadline_ns, Task done) {
  impl_->stop(false, deadline_ns, std::move(done));
}

void Front::stop_peers(int64_t deadline_ns, Task done) {
  impl_->stop(true, deadline_ns, std::move(done));
}

std::vector<Front::ClientDoor> Front::client_doors() const {
  std::vector<ClientDoor> out;
  for (const Impl::Bound& b : impl_->bound) {
    const Door door = b.entrance.door;
    if (door == Door::kPeer || door == Door::kMetrics) continue;
    const char* traffic = door == Door::kClient ? "grpc+http" : door == Door::kClientGrpc ? "grpc" : "http";
    out.push_back({b.listener->address(), traffic, b.entrance.plain, b.entrance.tls});
  }
  return out;
}

std::vector<std::string> Front::peer_addresses() const {
  std::vector<std::string> out;
  for (const Impl::Bound& b : impl_->bound) {
    if (b.entrance.door == Door::kPeer) out.push_back(b.listener->address());
  }
  return out;
}

}  // namespace quoin::front
