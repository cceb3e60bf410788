#include "scenarios/cluster.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/check.h"
#include "mvcc/key_value.h"
#include "server/admin.h"
#include "wire/message.h"

namespace quoin::scenarios {

namespace pb = wire::etcdserverpb;

Cluster::Seat::Seat(sim::World& world, size_t number) : disk(world) {
  config.name = fmt::format("m{}", number);
  config.data_dir = "/data";
  config.initial_advertise_peer_urls = {fmt::format("http://m{}:2380", number)};
  config.advertise_client_urls = {fmt::format("http://m{}:2379", number)};
}

Cluster::Cluster(uint64_t seed, size_t members) : world_(seed), network_(world_) {
  for (size_t i = 0; i < members; ++i) seats_.push_back(std::make_unique<Seat>(world_, i));
  std::vector<std::pair<std::string, std::vector<std::string>>> initial;
  for (const auto& s : seats_) initial.emplace_back(s->config.name, s->config.initial_advertise_peer_urls);
  for (const auto& s : seats_) s->config.initial_cluster = initial;
}

Cluster::~Cluster() {
  for (const auto& s : seats_) {
    if (s->life) s->life->kill();
  }
}

size_t Cluster::add_seat(std::string url) {
  const size_t number = seats_.size();
  seats_.push_back(std::make_unique<Seat>(world_, number));
  if (!url.empty()) seats_.back()->config.initial_advertise_peer_urls = {std::move(url)};
  configure_join(number);
  return number;
}

void Cluster::configure_join(size_t i) {
  server::Config& config = seats_[i]->config;
  config.new_cluster = false;
  const auto known_to = [&](Life& life) {
    decltype(config.initial_cluster) out{{config.name, config.initial_advertise_peer_urls}};
    for (const membership::Member& m : life.member().members()) {
      if (m.peer_urls == config.initial_advertise_peer_urls) continue;
      out.emplace_back(m.name.empty() ? fmt::format("member {:x}", m.id.v) : m.name, m.peer_urls);
    }
    return out;
  };
  // The joiner asks those it is told of in the order of their URLs; the first that answers must know as many.
  std::map<std::string, Life*> running;
  for (const auto& s : seats_) {
    if (s->life && !s->life->failure() && s.get() != seats_[i].get())
      running[s->config.initial_advertise_peer_urls.front()] = s->life.get();
  }
  config.initial_cluster = {{config.name, config.initial_advertise_peer_urls}};
  for (const auto& [url, life] : running) {
    config.initial_cluster = known_to(*life);
    std::string first = url;
    for (size_t k = 1; k < config.initial_cluster.size(); ++k) {
      const std::string& other = config.initial_cluster[k].second.front();
      if (running.contains(other)) first = std::min(first, other);
    }
    if (first == url) break;
  }
}

Result<> Cluster::start(size_t i) {
  Seat& s = *seats_[i];
  CHECK(!s.life, "member {} runs", i);
  s.life = std::make_unique<Life>(world_, s.disk, s.config, world_.seed() * 1000 + i * 100 + s.lives++, 0,
                                  std::nullopt, &network_);
  Result<> started = s.life->start();
  if (!started) s.life.reset();
  return started;
}

void Cluster::start_all() {
  for (size_t i = 0; i < size(); ++i) {
    const Result<> started = start(i);
    CHECK(started.has_value(), "{}", started.error().text());
  }
}

void Cluster::kill(size_t i, bool crash) {
  Seat& s = *seats_[i];
  s.life.reset();
  if (crash) s.disk.crash();
}

bool Cluster::stop(size_t i) {
  Seat& s = *seats_[i];
  const bool stopped = s.life->stop(kMaxNs);
  kill(i);
  return stopped;
}

std::optional<size_t> Cluster::leader() const {
  for (size_t i = 0; i < size(); ++i) {
    const auto& life = seats_[i]->life;
    if (!life || life->member().leader() != life->member().id()) continue;
    const auto agrees = [&](const auto& s) {
      return s->life && s->life->member().leader() == life->member().id() &&
             s->life->member().term() == life->member().term();
    };
    if (static_cast<size_t>(std::ranges::count_if(seats_, agrees)) * 2 > life->member().members().size())
      return i;
  }
  return std::nullopt;
}

std::optional<size_t> Cluster::wait_leader() {
  run_until([&] { return leader().has_value(); });
  return leader();
}

Result<> Cluster::ask(size_t i, pb::InternalRaftRequest request, int64_t max_ns) {
  Life& life = *seats_[i]->life;
  const uint64_t id = life.member().next_id();
  request.header.emplace().id = id;
  auto answer = std::make_shared<std::optional<server::Answer>>();
  life.on_loop([&life, id, blob = wire::encode_blob(request), answer]() mutable {
    life.port().propose(id, std::move(blob), [answer](server::Answer a) { *answer = std::move(a); });
  });
  if (!run_until([&] { return answer->has_value(); }, max_ns)) return Error(Code::kTimeout);
  if ((*answer)->error) return *(*answer)->error;
  return {};
}

Result<> Cluster::put(size_t i, std::string_view key, std::string_view value, int64_t max_ns) {
  pb::InternalRaftRequest r;
  r.put.emplace().key = key;
  r.put->value = value;
  return ask(i, std::move(r), max_ns);
}

Result<std::optional<std::string>> Cluster::get(size_t i, std::string_view key, int64_t max_ns) {
  Life& life = *seats_[i]->life;
  auto confirmed = std::make_shared<std::optional<Result<>>>();
  life.on_loop([&life, confirmed] { life.port().read_index([confirmed](Result<> r) { *confirmed = r; }); });
  if (!run_until([&] { return confirmed->has_value(); }, max_ns)) return Error(Code::kTimeout);
  TRY(**confirmed);
  const auto view = life.member().view();
  ASSIGN_OR_RETURN(const auto record, view->get(key, view->revision()));
  if (!record) return std::optional<std::string>();
  ASSIGN_OR_RETURN(const auto kv, mvcc::decode_key_value(*record));
  return std::optional<std::string>(kv.value);
}

Result<> Cluster::change(size_t i, const membership::Change& change, int64_t max_ns) {
  Life& life = *seats_[i]->life;
  auto outcome = std::make_shared<std::optional<Result<>>>();
  server::MembersDone done = [outcome](Result<std::vector<membership::Member>> r) {
    *outcome = r ? Result<>() : Result<>(r.error());
  };
  const uint64_t id = life.member().next_id();
  if (change.kind == membership::ChangeKind::kPromote) {
    life.member().admin().promote(id, change.member.id, "", life.loop(), std::move(done));
  } else {
    life.member().admin().change(id, change, life.loop(), std::move(done));
  }
  if (!run_until([&] { return outcome->has_value(); }, max_ns)) return Error(Code::kTimeout);
  return **outcome;
}

bool Cluster::wait_equal(int64_t max_ns) {
  const auto equal = [&] {
    std::optional<std::pair<uint64_t, int64_t>> first;
    for (const auto& s : seats_) {
      if (!s->life) continue;
      const server::MemberStatus status = s->life->member().status();
      const std::pair<uint64_t, int64_t> at{status.applied.v, s->life->member().revision()};
      if (status.applied != status.committed) return false;
      if (first && *first != at) return false;
      first = at;
    }
    return true;
  };
  if (!run_until(equal, max_ns)) return false;
  std::optional<uint32_t> hash;
  for (const auto& s : seats_) {
    if (!s->life) continue;
    std::optional<Result<server::Member::HashKv>> got;
    s->life->member().hash_kv(0, s->life->loop(),
                              [&](Result<server::Member::HashKv> h) { got = std::move(h); });
    if (!run_until([&] { return got.has_value(); }) || !*got) return false;
    if (hash && *hash != (*got)->hash) return false;
    hash = (*got)->hash;
  }
  return true;
}

}  // namespace quoin::scenarios
