// The network between simulated members, without sockets: messages that may be lost, late, doubled and
// overtaken, links that are cut in one direction or both, databases that are sent whole.
//
//   PeerNetwork net(world);
//   auto peers = net.join(id, url);          // Environment::peers of one life
//   peers->serve(handler, answer);           // from now on it receives
//   net.cut(a, b);                           // nothing from a reaches b
//
// A message takes kLatencyNs and up to `Faults::delay_max_ns` more; those to one member arrive in the order they
// were sent unless `reorder` says otherwise. What a life had under way is lost when it ends. Whoever was removed is
// told so by those it speaks to, as the handlers of a real transport do.
//
// Threads: the simulation's one thread. Lifetime: the network outlives the lives; a life's Peers is destroyed
// after its process was killed.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "server/peers.h"
#include "sim/world.h"

namespace quoin::scenarios {

struct Faults {
  uint64_t drop = 0, duplicate = 0, reorder = 0;  // of 1,000 messages
  int64_t delay_max_ns = 0;
  // A database takes up to so long, and so many of 1,000 are cut off on the way.
  int64_t database_max_ns = 0;
  uint64_t database_lost = 0;
  friend bool operator==(const Faults&, const Faults&) = default;
};

// What the network did, for runs that must have met it.
struct NetworkCounts {
  uint64_t sent = 0, dropped = 0, doubled = 0, databases = 0, databases_cut = 0, databases_taken = 0;
};

class PeerNetwork {
 public:
  static constexpr int64_t kLatencyNs = 200 * io::kMicrosecond;

  explicit PeerNetwork(sim::World& world) : world_(world), prng_(world.prng().next()) {}

  // Answers a PeerRequest, of the member itself, at once.
  using Answer = std::function<Result<server::PeerAnswer>(const server::PeerRequest&)>;
  // The same for what may wait for something; false: it is for Answer.
  using Answered = std::function<void(Result<server::PeerAnswer>)>;
  using Question = std::function<bool(const server::PeerRequest&, Answered)>;
  // Sees every message as it is sent.
  using Observer = std::function<void(const raft::Message&)>;

  class Peers;
  std::unique_ptr<Peers> join(sim::Process& process, std::string url);

  void set_faults(const Faults& faults) { faults_ = faults; }
  bool faulty() const { return faults_ != Faults{}; }
  // Nothing from `from` reaches `to`, by their URLs.
  void cut(const std::string& from, const std::string& to) { cut_.insert({from, to}); }
  void mend(const std::string& from, const std::string& to) { cut_.erase({from, to}); }
  void mend_all() { cut_.clear(); }
  bool is_cut(const std::string& from, const std::string& to) const { return cut_.contains({from, to}); }
  const NetworkCounts& counts() const { return counts_; }
  void observe(Observer observer) { observer_ = std::move(observer); }

 private:
  class DatabaseOutcome;
  Peers* at(const std::string& url) const;
  // Real members refuse the streams of one that they have removed, which dials them ten times a second.
  void tell_removed(const std::string& by, const std::string& url, MemberId id);
  void deliver(const std::string& from, const std::string& to, raft::Message message);
  void deliver_database(const std::string& from, const std::string& to, raft::Message message,
                        std::shared_ptr<backend::SnapshotSource> source);

  sim::World& world_;
  Prng prng_;
  Faults faults_;
  NetworkCounts counts_;
  Observer observer_;
  std::set<std::pair<std::string, std::string>> cut_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  std::map<std::string, Peers*> lives_;                                     // by URL
  std::map<std::pair<std::string, std::string>, io::MonotonicNs> arrival_;  // of the last message of a link
};

class PeerNetwork::Peers final : public server::Peers {
 public:
  Peers(PeerNetwork& net, sim::Process& process, std::string url)
      : net_(net), process_(process), url_(std::move(url)) {
    net_.lives_[url_] = this;
  }
  ~Peers() override;
  // `handler` and what the others use live as long as the process.
  void serve(server::PeerHandler& handler, Answer answer, Question question);

  void send(std::vector<raft::Message> messages) override;
  void send_snapshot(raft::Message message, std::shared_ptr<backend::SnapshotSource> source) override;
  void add(MemberId id, std::vector<std::string> urls) override;
  void add_remote(MemberId id, std::vector<std::string> urls) override { add(id, std::move(urls)); }
  void update(MemberId id, std::vector<std::string> urls) override { urls_[id] = std::move(urls); }
  void remove(MemberId id) override;
  void remove_all() override { urls_.clear(); }
  std::optional<io::MonotonicNs> active_since(MemberId id) const override;
  void fetch(std::string url, server::PeerRequest request, io::Executor& executor,
             server::PeerAnswered done) override;
  Result<server::PeerAnswer> fetch_now(std::string url, server::PeerRequest request) override;

 private:
  friend class PeerNetwork;
  bool alive() const { return process_.alive() && handler_ != nullptr; }
  // Whoever calls says where it can be found, as the header X-PeerURLs does: one that lost its log before it knew any
  // member must be able to answer.
  void meet(MemberId id, const std::string& url) { urls_.try_emplace(id, std::vector<std::string>{url}); }
  // Empty for a member that is not known here.
  std::string url_of(MemberId id) const;

  PeerNetwork& net_;
  sim::Process& process_;
  const std::string url_;
  server::PeerHandler* handler_ = nullptr;
  Answer answer_;
  Question question_;
  std::map<MemberId, std::vector<std::string>> urls_;
};

}  // namespace quoin::scenarios
