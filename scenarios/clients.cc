#include "scenarios/clients.h"

namespace quoin::scenarios {

namespace {
constexpr uint64_t kConnectionsMax = 4, kCutsMax = 20;
}  // namespace

Clients::Clients(sim::World& world, Net& net, uint64_t seed, Edges& edges)
    : world_(world),
      net_(net),
      process_(world.start_process("clients")),
      loop_(process_.executor("clients")),
      prng_(seed),
      edges_(edges) {
  sim::NetworkOptions& options = net.network.options();
  const int64_t factor = static_cast<int64_t>(prng_.between(1, 8));
  options.latency = {10'000 * factor, 100'000 * factor};
  options.window_bytes = 1024ull << prng_.below(9);
  options.piece_bytes_max = 256ull << prng_.below(7);
  options.resets_per_million = prng_.chance(1, 2) ? 0 : prng_.below(400);
  cut_ns_max_ = 20 * io::kMillisecond << prng_.below(7);
  cuts_left_ = prng_.below(kCutsMax + 1);
  clients_.resize(prng_.between(1, kConnectionsMax));
  cut_later();
}

Clients::~Clients() {
  kill();
}

void Clients::kill() {
  if (steady_) ended_.push_back(std::move(steady_));
  *alive_ = false;
  if (process_.alive()) {
    process_.kill();
    net_.clients.stop();
  }
  for (auto* list : {&clients_, &ended_}) {
    for (const auto& client : *list) {
      if (client) client->drop();
    }
    list->clear();
  }
}

std::shared_ptr<Client> Clients::make() {
  Pace pace;
  pace.window_bytes = 1024u << prng_.below(7);
  pace.pause_ns_max = io::kMillisecond << prng_.below(11);
  // Long pauses are rare ones, so that a long answer comes to its end.
  pace.pause_one_in =
      prng_.between(2, 40) * (1 + static_cast<uint64_t>(pace.pause_ns_max / (16 * io::kMillisecond)));
  auto client = std::make_shared<Client>(world_, net_.clients, loop_, pace, prng_.next(), edges_);
  client->hurry(quiet_);
  client->connect(Net::address());
  return client;
}

std::shared_ptr<Client> Clients::any() {
  std::shared_ptr<Client>& client = clients_[prng_.below(clients_.size())];
  if (!client || !client->usable()) {
    if (client) ended_.push_back(std::move(client));
    client = make();
  }
  return client;
}

std::shared_ptr<Client> Clients::steady() {
  if (!steady_ || !steady_->usable()) {
    if (steady_) ended_.push_back(std::move(steady_));
    steady_ = make();
    steady_->hurry(true);
  }
  return steady_;
}

bool Clients::draw_cancel(const std::shared_ptr<Client>& client, Client::CallId call, uint64_t one_in) {
  if (quiet_ || !prng_.chance(1, one_in)) return false;
  if (prng_.chance(1, 4)) {
    client->cancel(call);
    return true;
  }
  // Short ones as often as long ones: every step of a call is met.
  const int64_t ns = static_cast<int64_t>(prng_.below(1'000ull << prng_.below(21))) + 1;
  world_.after(ns, [this, alive = alive_, client, call] {
    if (!*alive) return;
    loop_.post([this, client, call] {
      if (!quiet_) client->cancel(call);
    });
  });
  return true;
}

int64_t Clients::draw_timeout() {
  if (quiet_ || !prng_.chance(1, 20)) return 0;
  return static_cast<int64_t>(prng_.below(10'000ull << prng_.below(12))) + 1'000;
}

void Clients::cut_later() {
  const int64_t ns = static_cast<int64_t>(prng_.below(static_cast<uint64_t>(cut_ns_max_))) + 1;
  world_.after(ns, [this, alive = alive_] {
    if (!*alive || quiet_ || cuts_left_ == 0) return;
    --cuts_left_;
    loop_.post([this] {
      const std::shared_ptr<Client> client = clients_[prng_.below(clients_.size())];
      if (client && !quiet_) client->cut();
    });
    cut_later();
  });
}

void Clients::be_quiet() {
  quiet_ = true;
  net_.network.options().resets_per_million = 0;
  loop_.post([this] {
    for (const auto* list : {&clients_, &ended_}) {
      for (const auto& client : *list) {
        if (client) client->hurry(true);
      }
    }
  });
}

std::string Clients::describe() const {
  std::string out = steady_ ? steady_->describe() : "";
  for (const auto* list : {&clients_, &ended_}) {
    for (const auto& client : *list) {
      if (client) out += client->describe();
    }
  }
  return out;
}

std::string Clients::problem() const {
  for (const auto* list : {&clients_, &ended_}) {
    for (const auto& client : *list) {
      if (client && !client->problem().empty()) return client->problem();
    }
  }
  return {};
}

}  // namespace quoin::scenarios
