#include "sim/network.h"

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "sim/connection.h"

namespace quoin::sim {

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

void SimHost::connect(const io::ListenAddress& address, io::Loop& loop,
                      absl::AnyInvocable<void(Result<std::unique_ptr<io::Stream>>)> done) {
  network_.host_is_up(name_);
  network_.world_.after(network_.draw_latency(),
                        [this, address, &loop, epoch = epoch_, done = std::move(done)]() mutable {
                          connected(address, loop, epoch, std::move(done));
                        });
}

void SimHost::connected(const io::ListenAddress& address, io::Loop& loop, uint64_t epoch,
                        absl::AnyInvocable<void(Result<std::unique_ptr<io::Stream>>)> done) {
  if (epoch != epoch_) return;
  const auto finish = [&loop](auto done, Result<std::unique_ptr<io::Stream>> result) {
    loop.post([done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
  };
  const std::string host = address.unix_socket ? name_ : resolve(address.host);
  const std::string shown =
      address.unix_socket ? address.host : fmt::format("{}:{}", address.host, address.port);
  if (network_.cut(name_, host) || network_.cut(host, name_) || network_.down_.count(host)) {
    network_.world_.after(network_.options_.connect_timeout_ns,
                          [finish, shown, done = std::move(done)]() mutable {
                            finish(std::move(done), errno_error("connect", shown, ETIMEDOUT));
                          });
    return;
  }
  auto it = network_.listeners_.find(key(host, address));
  if (it == network_.listeners_.end()) {
    return finish(std::move(done),
                  errno_error("connect", shown, address.unix_socket ? ENOENT : ECONNREFUSED));
  }
  SimListener& listener = *it->second;
  io::Loop& server_loop = listener.next_loop();
  const std::string own = address.unix_socket ? "@" : fmt::format("{}:{}", name_, network_.next_port_++);
  network_.forget_ended();
  auto connection = std::make_shared<Connection>(network_, Connection::Side{name_, own, &loop},
                                                 Connection::Side{host, shown, &server_loop});
  network_.connections_.push_back(connection);
  listener.accept(server_loop, connection->make_stream(1));
  finish(std::move(done), std::unique_ptr<io::Stream>(connection->make_stream(0)));
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
