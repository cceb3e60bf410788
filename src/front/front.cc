#include "front/front.h"

#include <algorithm>
#include <list>

#include "base/check.h"
#include "front/http1_transport.h"
#include "grpc/transport.h"
#include "v3rpc/grpc_metrics.h"
#include "v3rpc/rpc_metrics.h"
#include "v3rpc/services.h"

namespace quoin::front {

namespace {
constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr size_t kFirstLineMax = 4096;  // of an HTTP/1.1 request, before its protocol is known

// "GET /path HTTP/1.1": three words, the last of them HTTP/1.x. Whoever begins otherwise is hung up on.
bool speaks_http1(std::string_view line) {
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  const size_t first = line.find(' '), last = line.rfind(' ');
  if (first == std::string_view::npos || first == 0 || last == first) return false;
  const std::string_view version = line.substr(last + 1);
  return version == "HTTP/1.1" || version == "HTTP/1.0";
}

constexpr size_t kPendingMax = 1024;  // connections accepted before serve()

// What the health endpoints ask.
class MemberHealth final : public httpapi::HealthSource {
 public:
  MemberHealth(server::Member& member, io::Loop& loop, server::ClientPort& port)
      : member_(member), loop_(loop), port_(port) {}
  std::vector<httpapi::Alarm> alarms() override {
    std::vector<httpapi::Alarm> out;
    for (const server::Alarm& a : member_.status().alarms) {
      out.push_back({a.member.v, a.type == server::kAlarmNospace   ? httpapi::AlarmType::kNospace
                                 : a.type == server::kAlarmCorrupt ? httpapi::AlarmType::kCorrupt
                                                                   : httpapi::AlarmType::kUnknown});
    }
    return out;
  }
  bool has_leader() override { return static_cast<bool>(member_.leader()); }
  bool is_learner() override { return member_.learner(); }
  void probe_read(bool serializable, absl::AnyInvocable<void(Result<>)> done) override {
    loop_.post([this, serializable, done = std::move(done)]() mutable {
      if (serializable) return done({});
      port_.read_index([done = std::move(done)](Result<> r) mutable { done(std::move(r)); });
    });
  }
  std::string cluster_version() override { return member_.cluster_version(); }
  std::string storage_version() override { return member_.status().storage_version; }

 private:
  server::Member& member_;
  io::Loop& loop_;
  server::ClientPort& port_;
};
}  // namespace

// What kind of listener a connection came from.
enum class Door : uint8_t { kClient, kClientGrpc, kClientHttp, kMetrics };

class LoopFront {
 public:
  LoopFront(server::Member& member, const Options& options, io::Loop& loop, io::TimerService& timers,
            io::Clock& clock, log::Logger& log, v3rpc::RpcMetrics& metrics, grpc::Probe& probe,
            grpc::MemoryBudget& memory, uint64_t seed)
      : loop_(loop),
        timers_(timers),
        clock_(clock),
        port_(member, loop),
        services_(v3rpc::Loop{member, port_, calls_, timers, clock, log, metrics}, seed),
        context_{services_.methods(), calls_, probe, memory, options.limits} {}

  server::ClientPort& port() { return port_; }
  io::Loop& loop() { return loop_; }
  const grpc::MethodTable& methods() const { return services_.methods(); }
  void set_endpoints(httpapi::Endpoints* endpoints) { endpoints_ = endpoints; }

  // ---- on the loop ----
  void accepted(std::unique_ptr<io::Stream> stream, Door door) {
    if (!serving_) {
      if (pending_.size() < kPendingMax) pending_.emplace_back(std::move(stream), door);
      return;
    }
    if (stopping_) return;
    auto it = connections_.insert(connections_.end(), nullptr);
    *it = std::make_unique<Connection>(*this, std::move(stream), door, it);
    (*it)->start();
  }
  void serve() {
    serving_ = true;
    for (auto& [stream, door] : std::exchange(pending_, {})) accepted(std::move(stream), door);
  }
  void stop(int64_t deadline_ns, Task done) {
    stopping_ = true;
    stopped_ = std::move(done);
    pending_.clear();
    for (auto it = connections_.begin(); it != connections_.end();) (*it++)->shutdown();
    if (connections_.empty()) return finish_stop();
    deadline_ = timers_.schedule(deadline_ns, loop_, [this] {
      for (auto it = connections_.begin(); it != connections_.end();) (*it++)->close();
    });
  }

 private:
  // One connection: first undecided, then gRPC or HTTP/1.1.
  class Connection final : public io::StreamHandler {
   public:
    using Place = std::list<std::unique_ptr<Connection>>::iterator;
    Connection(LoopFront& front, std::unique_ptr<io::Stream> stream, Door door, Place place)
        : front_(front), stream_(std::move(stream)), door_(door), place_(place) {}
    ~Connection() override = default;

    void start() {
      timeout_ = front_.timers_.schedule(Front::kPrefaceTimeoutNs, front_.loop_, [this] {
        if (stream_) stream_->close();
      });
      stream_->set_handler(this);
    }
    void shutdown() {
      if (grpc_) return grpc_->shutdown();
      if (http1_) return http1_->shutdown();
      stream_->close();
    }
    void close() {
      if (grpc_) return grpc_->close();
      if (http1_) return http1_->close();
      stream_->close();
    }

    // ---- io::StreamHandler, while undecided ----
    void on_data(std::string_view bytes) override {
      first_.append(bytes);
      const size_t n = std::min(first_.size(), kHttp2Preface.size());
      const bool may_be_http2 = std::string_view(first_).substr(0, n) == kHttp2Preface.substr(0, n);
      if (may_be_http2 && n < kHttp2Preface.size()) return;
      if (!may_be_http2) {
        const size_t end = first_.find('\n');
        if (end == std::string::npos && first_.size() <= kFirstLineMax) return;
        if (end == std::string::npos || !speaks_http1(std::string_view(first_).substr(0, end)))
          return stream_->close();
      }
      timeout_.reset();
      decide(may_be_http2);
    }
    void on_eof() override { stream_->close(); }
    void on_drained() override {}
    void on_closed(Result<>) override { remove(); }

   private:
    void decide(bool http2) {
      const bool allowed =
          http2 ? door_ == Door::kClient || door_ == Door::kClientGrpc : door_ != Door::kClientGrpc;
      if (!allowed) return stream_->close();
      const std::string first = std::move(first_);
      Task closed = [this] { remove(); };
      if (http2) {
        grpc::PeerInfo peer{stream_->peer_address(), {}};
        grpc_ =
            std::make_unique<grpc::ServerTransport>(front_.context_, std::move(stream_), std::move(peer),
                                                    front_.clock_, front_.timers_, first, std::move(closed));
      } else {
        const auto surface = door_ == Door::kMetrics ? httpapi::Surface::kMetrics : httpapi::Surface::kClient;
        http1_ = std::make_unique<Http1Transport>(*front_.endpoints_, surface, std::move(stream_),
                                                  front_.clock_, first, std::move(closed));
      }
    }
    // In a task of its own: the transports call from within a callback of theirs.
    void remove() {
      front_.loop_.post([front = &front_, place = place_] {
        front->connections_.erase(place);
        if (front->stopping_ && front->connections_.empty()) front->finish_stop();
      });
    }

    LoopFront& front_;
    std::unique_ptr<io::Stream> stream_;
    const Door door_;
    const Place place_;
    std::string first_;
    std::unique_ptr<io::Timer> timeout_;
    std::unique_ptr<grpc::ServerTransport> grpc_;
    std::unique_ptr<Http1Transport> http1_;
  };

  void finish_stop() {
    deadline_.reset();
    if (stopped_) std::exchange(stopped_, nullptr)();
  }

  io::Loop& loop_;
  io::TimerService& timers_;
  io::Clock& clock_;
  grpc::CallTable calls_;
  server::ClientPort port_;
  v3rpc::Services services_;
  grpc::ServerContext context_;
  httpapi::Endpoints* endpoints_ = nullptr;
  bool serving_ = false, stopping_ = false;
  std::vector<std::pair<std::unique_ptr<io::Stream>, Door>> pending_;
  std::list<std::unique_ptr<Connection>> connections_;
  std::unique_ptr<io::Timer> deadline_;
  Task stopped_;
};

struct Front::Impl {
  Impl(server::Member& member, Options o, std::vector<io::Loop*> l, io::Network& n, io::TimerService& timers,
       io::Clock& clock, log::Logger& log, metrics::Registry& metrics)
      : options(std::move(o)),
        loops(std::move(l)),
        network(n),
        memory(options.held_bytes_all),
        probe(metrics),
        rpc_metrics(metrics) {
    uint64_t seed = options.seed;
    for (io::Loop* loop : loops) {
      fronts.push_back(std::make_unique<LoopFront>(member, options, *loop, timers, clock, log, rpc_metrics,
                                                   probe, memory, ++seed));
    }
    health = std::make_unique<MemberHealth>(member, *loops[0], fronts[0]->port());
    endpoints = std::make_unique<httpapi::Endpoints>(*health, metrics, log, options.http);
    probe.register_methods(fronts[0]->methods());
    for (auto& f : fronts) f->set_endpoints(endpoints.get());
  }

  Result<> listen(const std::vector<io::ListenAddress>& addresses, Door door,
                  std::vector<std::string>* bound) {
    for (const io::ListenAddress& a : addresses) {
      auto listener = network.listen(a, loops, [this, door](std::unique_ptr<io::Stream> stream) {
        for (auto& f : fronts) {
          if (&f->loop() == &stream->loop()) return f->accepted(std::move(stream), door);
        }
      });
      if (!listener) return listener.error();
      bound->push_back(a.unix_socket ? a.host : fmt::format("{}:{}", a.host, (*listener)->port()));
      listeners.push_back(std::move(*listener));
    }
    return {};
  }

  const Options options;
  const std::vector<io::Loop*> loops;
  io::Network& network;
  grpc::MemoryBudget memory;
  v3rpc::GrpcMetrics probe;
  v3rpc::RpcMetrics rpc_metrics;
  std::vector<std::unique_ptr<LoopFront>> fronts;
  std::unique_ptr<MemberHealth> health;
  std::unique_ptr<httpapi::Endpoints> endpoints;
  std::vector<std::unique_ptr<io::Listener>> listeners;
  std::vector<std::string> client_bound, metrics_bound;
};

Front::Front(server::Member& member, Options options, std::vector<io::Loop*> loops, io::Network& network,
             io::TimerService& timers, io::Clock& clock, log::Logger& log, metrics::Registry& metrics)
    : impl_(new Impl(member, std::move(options), std::move(loops), network, timers, clock, log, metrics)) {}

Front::~Front() = default;

Result<> Front::listen() {
  const bool split = !impl_->options.client_http.empty();
  TRY(impl_->listen(impl_->options.client, split ? Door::kClientGrpc : Door::kClient, &impl_->client_bound));
  TRY(impl_->listen(impl_->options.client_http, Door::kClientHttp, &impl_->client_bound));
  return impl_->listen(impl_->options.metrics, Door::kMetrics, &impl_->metrics_bound);
}

void Front::serve() {
  for (auto& f : impl_->fronts) {
    f->loop().post([f = f.get()] { f->serve(); });
  }
}

void Front::stop(int64_t deadline_ns, Task done) {
  impl_->listeners.clear();
  auto left = std::make_shared<std::atomic<size_t>>(impl_->fronts.size());
  auto shared_done = std::make_shared<Task>(std::move(done));
  for (auto& f : impl_->fronts) {
    f->loop().post([this, f = f.get(), deadline_ns, left, shared_done] {
      f->stop(deadline_ns, [this, left, shared_done] {
        if (left->fetch_sub(1) == 1) impl_->loops[0]->post(std::move(*shared_done));
      });
    });
  }
}

std::vector<std::string> Front::client_addresses() const {
  return impl_->client_bound;
}
std::vector<std::string> Front::metrics_addresses() const {
  return impl_->metrics_bound;
}

}  // namespace quoin::front
