#include "sim/network.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/check.h"
#include "io/dial_error.h"
#include "sim/connection.h"

namespace quoin::sim {

namespace {
Error no_such_host(std::string_view name) {
  return make_error(Code::kNotFound, "lookup {} on sim: no such host", name);
}
}  // namespace

SimNetwork::SimNetwork(World& world) : world_(world), prng_(world.prng().fork()) {}
SimNetwork::~SimNetwork() = default;

int64_t SimNetwork::draw_latency() {
  return static_cast<int64_t>(prng_.between(static_cast<uint64_t>(options_.latency.min_ns),
                                            static_cast<uint64_t>(options_.latency.max_ns)));
}

void SimNetwork::set_cut(const std::string& from, const std::string& to, bool cut) {
  if (cut) {
    cuts_.insert({from, to});
  } else {
    cuts_.erase({from, to});
    flush();
  }
}

void SimNetwork::heal_all() {
  cuts_.clear();
  flush();
}

void SimNetwork::flush() {
  forget_ended();
  const auto connections = connections_;  // effects may end some
  for (const auto& c : connections) c->flush();
}

void SimNetwork::forget_ended() {
  std::erase_if(connections_, [](const std::shared_ptr<Connection>& c) { return c->ended(); });
}

void SimNetwork::reset_all(const std::string& a, const std::string& b) {
  const auto connections = connections_;
  for (const auto& c : connections) {
    const std::string &x = c->side(0).host, &y = c->side(1).host;
    if ((x == a && y == b) || (x == b && y == a)) c->reset();
  }
}

void SimNetwork::host_is_up(const std::string& host) {
  if (down_.erase(host)) flush();
}

class SimListener final : public io::Listener {
 public:
  SimListener(SimNetwork& network, std::string host, std::string key, uint16_t port,
              std::vector<io::Loop*> loops, absl::AnyInvocable<void(std::unique_ptr<io::Stream>)> accept)
      : network_(network),
        host_(std::move(host)),
        key_(std::move(key)),
        port_(port),
        loops_(std::move(loops)),
        accept_(std::make_shared<Accept>(std::move(accept))) {
    network_.listeners_[key_] = this;
  }
  ~SimListener() override {
    auto it = network_.listeners_.find(key_);
    if (it != network_.listeners_.end() && it->second == this) network_.listeners_.erase(it);
  }
  uint16_t port() const override { return port_; }
  std::string address() const override { return key_.substr(key_.find('|') + 1); }
  // ListenAddress::wait is not simulated: whoever is accepted is held by the program.
  void start() override {}
  const std::string& host() const { return host_; }

  io::Loop& next_loop() { return *loops_[next_++ % loops_.size()]; }
  void accept(io::Loop& loop, std::unique_ptr<io::Stream> stream) {
    loop.post([accept = std::weak_ptr<Accept>(accept_), stream = std::move(stream)]() mutable {
      if (auto a = accept.lock()) (*a)(std::move(stream));
    });
  }

 private:
  using Accept = absl::AnyInvocable<void(std::unique_ptr<io::Stream>)>;
  SimNetwork& network_;
  const std::string host_, key_;
  const uint16_t port_;
  const std::vector<io::Loop*> loops_;
  size_t next_ = 0;
  std::shared_ptr<Accept> accept_;
};

SimHost::SimHost(SimNetwork& network, std::string name) : network_(network), name_(std::move(name)) {
  network_.hosts_.insert(name_);
}

std::string SimHost::resolve(const std::string& host) const {
  for (const char* own : {"localhost", "127.0.0.1", "::1", "", "0.0.0.0", "::"}) {
    if (host == own) return name_;
  }
  return host;
}

std::string SimHost::key(const std::string& host, const io::ListenAddress& address) {
  return address.unix_socket ? host + "|" + address.host : fmt::format("{}|{}", host, address.port);
}

Result<std::unique_ptr<io::Listener>> SimHost::listen(
    const io::ListenAddress& address, std::vector<io::Loop*> loops,
    absl::AnyInvocable<void(std::unique_ptr<io::Stream>)> accept) {
  CHECK(!loops.empty());
  const std::string shown =
      address.unix_socket ? address.host : fmt::format("{}:{}", address.host, address.port);
  if (!address.unix_socket && resolve(address.host) != name_)
    return errno_error("bind", shown, EADDRNOTAVAIL);
  io::ListenAddress bound = address;
  if (!bound.unix_socket && bound.port == 0) bound.port = network_.next_port_++;
  const std::string where = key(name_, bound);
  if (network_.listeners_.count(where)) return errno_error("bind", shown, EADDRINUSE);
  network_.host_is_up(name_);
  return std::unique_ptr<io::Listener>(
      std::make_unique<SimListener>(network_, name_, where, bound.port, std::move(loops), std::move(accept)));
}

// One attempt to connect, held by whoever may still end it.
struct SimHost::Attempt {
  io::ListenAddress address;
  std::string from, shown;  // of an error
  io::Loop& loop;
  uint64_t epoch;
  absl::AnyInvocable<void(Result<std::unique_ptr<io::Stream>>)> done;
  bool over = false;  // `done` was called, or never will be

  Error error(const Error& why) const { return io::dial_error(address.unix_socket, from, shown, why); }
};

class SimHost::SimConnecting final : public io::Connecting {
 public:
  explicit SimConnecting(std::shared_ptr<Attempt> attempt) : attempt_(std::move(attempt)) {}
  ~SimConnecting() override {
    attempt_->over = true;
    attempt_->done = nullptr;
  }

 private:
  const std::shared_ptr<Attempt> attempt_;
};

void SimHost::finish(const std::shared_ptr<Attempt>& attempt, Result<std::unique_ptr<io::Stream>> result) {
  if (attempt->over) return;
  attempt->loop.post([attempt, result = std::move(result)]() mutable {
    if (std::exchange(attempt->over, true)) return;
    std::exchange(attempt->done, nullptr)(std::move(result));
  });
}

std::unique_ptr<io::Connecting> SimHost::connect(
    const io::ListenAddress& address, const io::ConnectOptions& options, io::Loop& loop,
    absl::AnyInvocable<void(Result<std::unique_ptr<io::Stream>>)> done) {
  network_.host_is_up(name_);
  auto attempt = std::make_shared<Attempt>(Attempt{
      address, options.local_address.empty() || address.unix_socket ? "" : options.local_address + ":0",
      address.unix_socket ? address.host : fmt::format("{}:{}", address.host, address.port), loop, epoch_,
      std::move(done)});
  if (options.timeout_ns > 0) {
    network_.world_.after(options.timeout_ns,
                          [attempt] { finish(attempt, attempt->error(io::timeout_error())); });
  }
  network_.world_.after(network_.draw_latency(), [this, attempt] { arrived(attempt); });
  return std::make_unique<SimConnecting>(attempt);
}

// The first packet is where it is sent to.
void SimHost::arrived(const std::shared_ptr<Attempt>& attempt) {
  if (attempt->over || attempt->epoch != epoch_) return;
  const io::ListenAddress& address = attempt->address;
  const std::string host = address.unix_socket ? name_ : resolve(address.host);
  if (!attempt->from.empty() && resolve(attempt->from.substr(0, attempt->from.size() - 2)) != name_)
    return finish(attempt, attempt->error(io::call_error("bind", EADDRNOTAVAIL)));
  if (!network_.hosts_.count(host)) {
    return finish(attempt, io::dial_error(false, "", "", no_such_host(address.host)));
  }
  if (network_.cut(name_, host) || network_.cut(host, name_) || network_.down_.count(host)) {
    network_.world_.after(network_.options_.connect_timeout_ns, [attempt] {
      finish(attempt, attempt->error(io::call_error("connect", ETIMEDOUT)));
    });
    return;
  }
  auto it = network_.listeners_.find(key(host, address));
  if (it == network_.listeners_.end()) {
    return finish(attempt,
                  attempt->error(io::call_error("connect", address.unix_socket ? ENOENT : ECONNREFUSED)));
  }
  SimListener& listener = *it->second;
  io::Loop& server_loop = listener.next_loop();
  const std::string own = address.unix_socket ? "@" : fmt::format("{}:{}", name_, network_.next_port_++);
  network_.forget_ended();
  auto connection = std::make_shared<Connection>(network_, Connection::Side{name_, own, &attempt->loop},
                                                 Connection::Side{host, attempt->shown, &server_loop});
  network_.connections_.push_back(connection);
  listener.accept(server_loop, connection->make_stream(1));
  finish(attempt, std::unique_ptr<io::Stream>(connection->make_stream(0)));
}

Result<std::vector<io::SrvRecord>> SimHost::lookup_srv(std::string_view name, int64_t) {
  auto it = network_.srv_.find(std::string(name));
  if (it == network_.srv_.end()) return no_such_host(name);
  return it->second;
}

Result<std::vector<std::string>> SimHost::lookup_host(std::string_view host, int64_t) {
  const std::string name = resolve(std::string(host));
  if (!network_.hosts_.count(name)) return no_such_host(host);
  return std::vector<std::string>{name};
}

Result<std::vector<std::string>> SimHost::lookup_address(std::string_view ip, int64_t) {
  return no_such_host(ip);
}

void SimHost::stop(bool silent) {
  ++epoch_;
  std::erase_if(network_.listeners_, [&](const auto& l) { return l.second->host() == name_; });
  if (silent) network_.down_.insert(name_);
  const auto connections = network_.connections_;
  for (const auto& c : connections) {
    for (int which : {0, 1}) {
      if (c->side(which).host == name_) c->stop(which, silent);
    }
  }
}

}  // namespace quoin::sim
