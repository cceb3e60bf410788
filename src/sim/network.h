// A simulated network of hosts: byte streams that keep their order, and around them everything that fails.
//
// Model
//   - A host has a name, its address. "localhost", "127.0.0.1" and "::1" are the host itself; listening on
//     "", "0.0.0.0" or "::" takes all of its names. Unix sockets are names within a host.
//   - Bytes of a stream arrive in order and once, in pieces cut at places drawn from the seed, each after a
//     time drawn from `latency`. At most `window_bytes` are under way or unread; what is beyond stays in the
//     sender's queued_bytes(), and on_drained tells when that falls to 0.
//   - While a link is cut nothing passes; what is under way waits (TCP would send it again) and passes when
//     the link heals. Connecting fails with a time-out after `connect_timeout_ns`, or after the caller's own if that
//     is shorter. One direction may be cut alone.
//   - A name is that of a host that was made here; any other is not found, at once.
//   - A reset ends a stream at both ends with an error, and what is under way is lost. It comes by chance for
//     each piece, or by reset_all(). An end closed with bytes queued or unread resets the other one; closed
//     without, the other one sees the end of the stream, and is reset when it goes on sending.
//   - When a process stops, its listeners are gone and the other ends of its streams are reset; if it stops
//     silently (its machine lost power), they hear nothing until its host listens or connects again.
//
// Threads: the simulation's one thread. Lifetime: the World outlives the network, the network every host,
// listener and stream. A SimHost stays for the whole run, also after stop(); a process started again on the
// same host gets a new one.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "io/resolver.h"
#include "io/stream.h"
#include "sim/disk.h"
#include "sim/world.h"

namespace quoin::sim {

struct NetworkOptions {
  Latency latency{50'000, 500'000};
  uint64_t window_bytes = 256 << 10;
  uint64_t piece_bytes_max = 16 << 10;
  uint64_t resets_per_million = 0;  // of pieces
  int64_t connect_timeout_ns = 5 * io::kSecond;
};

class Connection;
class SimListener;

class SimNetwork {
 public:
  explicit SimNetwork(World& world);
  ~SimNetwork();
  SimNetwork(const SimNetwork&) = delete;
  SimNetwork& operator=(const SimNetwork&) = delete;
  NetworkOptions& options() { return options_; }

  // Cuts the way from one host to another, or heals it.
  void set_cut(const std::string& from, const std::string& to, bool cut);
  void partition(const std::string& a, const std::string& b) { set_cut(a, b, true), set_cut(b, a, true); }
  void heal(const std::string& a, const std::string& b) { set_cut(a, b, false), set_cut(b, a, false); }
  void heal_all();
  // Resets every stream between two hosts (or within one).
  void reset_all(const std::string& a, const std::string& b);
  // What SimHost::lookup_srv() finds from now on.
  void set_srv(const std::string& name, std::vector<io::SrvRecord> records) {
    srv_[name] = std::move(records);
  }

 private:
  friend class SimHost;
  friend class SimListener;
  friend class Connection;
  bool cut(const std::string& from, const std::string& to) const { return cuts_.count({from, to}) != 0; }
  int64_t draw_latency();
  void host_is_up(const std::string& host);
  // Lets what waited pass where nothing is in its way any more.
  void flush();
  void forget_ended();

  World& world_;
  Prng prng_;
  NetworkOptions options_;
  std::set<std::pair<std::string, std::string>> cuts_;
  std::set<std::string> hosts_;  // all that were ever made
  std::map<std::string, std::vector<io::SrvRecord>> srv_;
  std::set<std::string> down_;                     // hosts that stopped silently
  std::map<std::string, SimListener*> listeners_;  // by SimHost::key()
  std::vector<std::shared_ptr<Connection>> connections_;
  uint16_t next_port_ = 40'000;
};

// The network as one process on a host has it. Look-ups take no time; a host's address is its name.
class SimHost final : public io::Network, public io::Resolver {
 public:
  SimHost(SimNetwork& network, std::string name);
  Result<std::unique_ptr<io::Listener>> listen(
      const io::ListenAddress& address, std::vector<io::Loop*> loops,
      absl::AnyInvocable<void(std::unique_ptr<io::Stream>)> accept) override;
  std::unique_ptr<io::Connecting> connect(
      const io::ListenAddress& address, const io::ConnectOptions& options, io::Loop& loop,
      absl::AnyInvocable<void(Result<std::unique_ptr<io::Stream>>)> done) override;
  Result<std::vector<io::SrvRecord>> lookup_srv(std::string_view name, int64_t timeout_ns) override;
  Result<std::vector<std::string>> lookup_host(std::string_view host, int64_t timeout_ns) override;
  Result<std::vector<std::string>> lookup_address(std::string_view ip, int64_t timeout_ns) override;
  // Virtual time stands still while its one thread is in here: who waits would ask for ever.
  void wait(int64_t) override { CHECK(false, "a simulated host cannot wait for a name"); }
  const std::string& name() const { return name_; }
  // To go with Process::kill().
  void stop(bool silent = false);

 private:
  friend class SimListener;
  std::string resolve(const std::string& host) const;
  static std::string key(const std::string& host, const io::ListenAddress& address);
  struct Attempt;
  class SimConnecting;
  static void finish(const std::shared_ptr<Attempt>& attempt, Result<std::unique_ptr<io::Stream>> result);
  void arrived(const std::shared_ptr<Attempt>& attempt);

  SimNetwork& network_;
  const std::string name_;
  uint64_t epoch_ = 0;  // number of stops
};

}  // namespace quoin::sim
