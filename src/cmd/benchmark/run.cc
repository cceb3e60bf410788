#include "cmd/benchmark/run.h"

#include <fmt/format.h>

#include <cstdio>
#include <map>
#include <random>

#include "client/methods.h"
#include "cmd/benchmark/engine.h"
#include "cmd/benchmark/lease_phase.h"
#include "cmd/benchmark/output.h"
#include "cmd/benchmark/put_extras.h"
#include "cmd/benchmark/requests.h"
#include "cmd/benchmark/stm.h"
#include "cmd/benchmark/watch_phases.h"
#include "wire/message.h"
#include "wire/rpc.h"

namespace quoin::cmd::bench {
namespace {

namespace rpc = wire::etcdserverpb;

class Script {
 public:
  Script(const Arguments& arguments, Interrupts& interrupts)
      : a_(arguments), engine_(arguments, interrupts), out_(arguments.command_name, arguments.json) {
    std::random_device random;
    prng_ = Prng((uint64_t{random()} << 32) | random());
  }

  int run() {
    say_consistency();
    if (const auto fault = engine_.connect()) return fail(*fault);
    switch (a_.command) {
      case Command::kPut:
        return put();
      case Command::kTxnMixed:
        return txn_mixed();
      case Command::kRange:
      case Command::kTxnPut:
        return unary();
      case Command::kStm:
        return stm();
      case Command::kLeaseKeepalive:
        return lease_keepalive();
      case Command::kWatch:
        return watch();
      case Command::kWatchGet:
        return watch_get();
      case Command::kWatchLatency:
      case Command::kWatchFanout:
        return watch_latency();
    }
    return 1;
  }

 private:
  // How many of something a flag says.
  static size_t count(int64_t flag) { return flag > 0 ? static_cast<size_t>(flag) : 0; }

  Report new_report(bool intended = false) const {
    return Report({.precise = a_.precise, .sample = a_.sample, .intended = intended});
  }

  int fail(const std::string& line) {
    std::fflush(stdout);
    fmt::print(stderr, "{}\n", line);
    return 1;
  }

  // After the last report.
  int end(Ending ending) {
    out_.finish(ending != Ending::kDone);
    if (ending == Ending::kInterrupted) Interrupts::die_by(engine_.signal());
    return ending == Ending::kFailed ? fail(engine_.failure()) : 0;
  }

  template <class P>
  Ending go(std::unique_ptr<P>& phase) {
    const Ending ending = engine_.run(*phase);
    engine_.drop(phase);
    return ending;
  }

  void say_consistency() {
    if (a_.command != Command::kRange && a_.command != Command::kTxnMixed) return;
    out_.text(a_.serializable ? "bench with serializable range\n" : "bench with linearizable range\n");
  }

  std::unique_ptr<Load> load(std::vector<Report*> reports) {
    return make_load(engine_, make_requests(a_, reports, prng_.next()), count(a_.total), a_.rate, reports);
  }

  int unary() {
    Report report = new_report(a_.rate > 0);
    auto phase = load({&report});
    const Ending ending = go(phase);
    out_.report(a_.command_name, "", report, a_.command == Command::kTxnPut ? "\n" : "");
    return end(ending);
  }

  int put() {
    Report report = new_report(a_.rate > 0);
    auto phase = load({&report});
    std::unique_ptr<Compactor> compactor;
    if (a_.compact_interval_ns > 0) {
      engine_.on_loop([&] {
        compactor = std::make_unique<Compactor>(engine_, a_.compact_interval_ns, a_.compact_index_delta);
      });
    }
    const Ending ending = go(phase);
    engine_.drop(compactor);
    out_.report(a_.command_name, "", report, "\n");
    if (ending == Ending::kDone && a_.check_hashkv) {
      const auto summary = hashkv_summary(engine_, a_.endpoints[0]);
      if (!summary) {
        out_.finish(false);
        return fail(std::string(summary.error().text()));
      }
      out_.text(summary->text);
      out_.json_member("hashkv", summary->json);
    }
    return end(ending);
  }

  int txn_mixed() {
    Report reads = new_report(a_.rate > 0), writes = new_report(a_.rate > 0);
    auto phase = load({&reads, &writes});
    const Ending ending = go(phase);
    const auto total = [](const Report& r) { return r.count() + r.errors(); };
    out_.report("read", fmt::format("Total Read Ops: {}\nDetails:", total(reads)), reads, "\n");
    out_.report("write", fmt::format("Total Write Ops: {}\nDetails:", total(writes)), writes, "\n");
    return end(ending);
  }

  // Leases of --clients sessions, given back at the end.
  template <class Make>
  int with_leases(int64_t ttl_seconds, bool needed, Report& report, Make make) {
    std::vector<int64_t> leases;
    if (needed) {
      auto granted = grant_leases(engine_, ttl_seconds);
      if (!granted) return fail(fmt::format("lease grant: {}", granted.error().text()));
      leases = std::move(*granted);
    }
    std::unique_ptr<Load> phase = make(leases);
    const Ending ending = go(phase);
    out_.report(a_.command_name, "", report);
    if (ending == Ending::kDone) revoke_leases(engine_, leases);
    return end(ending);
  }

  int lease_keepalive() {
    constexpr int64_t kTtlSeconds = 100;
    Report report = new_report();
    return with_leases(kTtlSeconds, true, report, [&](const std::vector<int64_t>& leases) {
      return make_keepalive_load(engine_, leases, count(a_.total), report);
    });
  }

  int stm() {
    constexpr int64_t kTtlSeconds = 60;
    Report report = new_report(a_.rate > 0);
    return with_leases(kTtlSeconds, a_.locker != "stm", report, [&](const std::vector<int64_t>& leases) {
      return make_stm_load(engine_, leases, report, prng_.next());
    });
  }

  // ---- watch ----

  std::vector<std::string> watched_keys() {
    std::vector<std::string> keys;
    const auto space = static_cast<uint64_t>(a_.key_space_size);
    for (uint64_t i = 0; i < count(a_.watched_keys); ++i) {
      const uint64_t n = a_.sequential_keys ? i % space : prng_.below(space);
      keys.emplace_back(KeyBuffer(count(a_.key_size)).write(static_cast<int64_t>(n)));
    }
    return keys;
  }

  int watch() {
    const uint64_t wanted = 1 + count(a_.streams) / 100, conns = std::min(a_.clients, a_.conns);
    if (conns < wanted) {
      fmt::print(stderr, "warning: grpc limits 100 streams per client connection, have {} but need {}\n",
                 conns, wanted);
    }
    const std::vector<std::string> keys = watched_keys();
    const size_t watchers = count(a_.streams) * count(a_.watchers);
    auto streams = make_streams(engine_, count(a_.streams));
    Report creation = new_report(), received = new_report();
    auto create = std::make_unique<CreateWatchers>(*streams, watchers, keys, false, &creation);
    Ending ending = go(create);
    out_.report("watch creation", "Watch creation summary:\n", creation);
    if (ending == Ending::kDone) {
      auto events = std::make_unique<WatchEvents>(engine_, *streams, keys, count(a_.total), a_.rate,
                                                  expected_events(keys, watchers), received);
      ending = go(events);
      out_.report("watch events", "Watch events received summary:\n", received);
    }
    engine_.drop(streams);
    return end(ending);
  }

  // Of all puts: each is told to all watchers of its key. Keys may be the same.
  uint64_t expected_events(const std::vector<std::string>& keys, size_t watchers) const {
    std::map<std::string_view, uint64_t> of_key;
    for (size_t i = 0; i < watchers; ++i) ++of_key[keys[i % keys.size()]];
    const uint64_t puts = count(a_.total), rounds = puts / keys.size(), rest = puts % keys.size();
    uint64_t sum = 0;
    for (size_t i = 0; i < keys.size(); ++i) sum += of_key[keys[i]] * (rounds + (i < rest ? 1 : 0));
    return sum;
  }

  int watch_get() {
    client::Client* gets = nullptr;
    if (const auto fault = engine_.connect_one_more(&gets)) return fail(*fault);
    int64_t revision = 0;
    for (size_t i = 0; i < count(a_.events); ++i) {
      const std::string value = fmt::format("{}", i);
      rpc::PutRequest request;
      request.key = "watchkey";
      request.value = value;
      const auto answer =
          engine_.call(engine_.client_of(0), client::methods::kPut, wire::encode_string(request));
      if (!answer) return fail(fmt::format("put: {}", answer.error().text()));
      const auto response = wire::decode<rpc::PutResponse>(*answer);
      if (i == 0 && response && response->header) revision = response->header->revision;
    }
    auto streams = make_streams(engine_, count(a_.streams));
    Report report = new_report();
    auto phase = std::make_unique<WatchAndGet>(*streams, *gets, count(a_.watchers), count(a_.events),
                                               revision, report);
    const Ending ending = go(phase);
    engine_.drop(streams);
    out_.report("get during watch", "Get during watch summary:\n", report);
    return end(ending);
  }

  int watch_latency() {
    const bool fanout = a_.command == Command::kWatchFanout;
    client::Client* puts = nullptr;
    if (const auto fault = engine_.connect_one_more(&puts)) return fail(*fault);
    PutAndHear::Options options;
    options.key = random_bytes(count(a_.key_size), prng_);
    options.value = random_bytes(count(a_.val_size), prng_);
    options.total = count(a_.total);
    options.rate = a_.rate;
    options.watchers = fanout ? count(a_.watchers) : count(a_.streams) * count(a_.watchers);
    options.from_start = fanout;
    auto streams = make_streams(engine_, count(a_.streams));
    const std::vector<std::string> keys = {options.key};
    auto create = std::make_unique<CreateWatchers>(*streams, options.watchers, keys, a_.prev_kv, nullptr);
    Ending ending = go(create);
    if (ending == Ending::kDone) {
      Report put_report = new_report(fanout && a_.rate > 0), event_report = new_report();
      auto phase = std::make_unique<PutAndHear>(*streams, *puts, options, put_report, event_report);
      ending = go(phase);
      out_.report("put", "\nPut summary:\n", put_report);
      out_.report("watch events", "\nWatch events summary:\n", event_report);
    }
    engine_.drop(streams);
    return end(ending);
  }

  const Arguments& a_;
  Engine engine_;
  Output out_;
  Prng prng_{0};
};

}  // namespace

int run_command(const Arguments& arguments, Interrupts& interrupts) {
  return Script(arguments, interrupts).run();
}

}  // namespace quoin::cmd::bench
