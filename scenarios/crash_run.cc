#include "scenarios/crash_run.h"

#include <fmt/format.h>

#include <limits>

#include "scenarios/image.h"

namespace quoin::scenarios {

namespace {
constexpr int64_t kPatience = 120 * io::kSecond;  // virtual; only what hangs takes as long
constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();
}  // namespace

const char* accident_name(Accident accident) {
  static constexpr const char* kNames[kAccidents] = {
      "power loss while starting", "power loss", "crash", "kill", "clean stop", "disk fault", "disk full"};
  return kNames[static_cast<size_t>(accident)];
}

CrashRun::CrashRun(uint64_t seed, const CrashOptions& options)
    : seed_(seed),
      options_(options),
      prng_(seed ^ 0x5ce4a810ull),
      world_(seed),
      disk_(world_),
      config_(draw_config()),
      history_(seed),
      operators_(history_, counts_.edges, seed),
      workload_(world_, history_, prng_, trace_, operators_, counts_.edges),
      watching_(world_, history_, trace_, counts_.edges, seed),
      net_prng_(seed ^ 0x8f1e55ull) {
  if (!options_.network) return;
  net_ = std::make_unique<Net>(world_);
  // Long pasts and fragments are rare with etcd's limits.
  Prng prng(seed ^ 0x77a7c4ull);
  if (prng.chance(1, 2)) compact_one_in_ = prng.between(2, 30);
  if (prng.chance(1, 2)) config_.max_request_bytes = 200 << 10;
  config_.watch_progress_notify_ns = static_cast<int64_t>(prng.between(100, 400)) * io::kMillisecond;
}

// As main makes them of flags, with small bounds.
Life::Door CrashRun::draw_door() {
  Prng& prng = net_prng_;
  Life::Door door{*net_, {}, prng.between(1, 2)};
  grpc::ConnectionLimits& limits = door.options.limits;
  limits.max_received_message_bytes = config_.max_request_bytes + (512 << 10);
  limits.stream_queue_bytes = 512ull << prng.below(8);
  door.options.services.watch_queue_bytes = 256ull << prng.below(10);
  door.options.services.catch_up_records = prng.between(1, 60);
  return door;
}

// Small limits, so that edges are met.
server::Config CrashRun::draw_config() {
  server::Config c;
  c.data_dir = kDataDir;
  c.initial_advertise_peer_urls = {"http://localhost:2380"};
  c.advertise_client_urls = {"http://localhost:2379"};
  c.initial_cluster = {{c.name, c.initial_advertise_peer_urls}};
  c.snapshot_count = prng_.between(10, 120);
  c.snapshot_catchup_entries = prng_.between(1, 40);
  c.max_snapshots = prng_.between(1, 5);
  c.max_wals = prng_.between(1, 5);
  if (prng_.chance(1, 2)) c.wal_segment_bytes = prng_.between(4 << 10, 256 << 10);
  c.backend_batch_limit = prng_.between(1, 200);
  c.backend_batch_interval_ns = static_cast<int64_t>(prng_.between(1, 200)) * io::kMillisecond;
  // A step of a compaction is a commit, which on the slowest disks takes half a second: with a record a step, a few
  // compactions of a thousand revisions would outlast anybody's patience.
  c.compaction_batch_limit = prng_.between(20, 60);
  return c;
}

void CrashRun::draw_latencies() {
  sim::Latencies& l = disk_.latencies();
  const int64_t factor = static_cast<int64_t>(prng_.between(1, 20));
  l.write = {10'000, 100'000 * factor};
  l.sync = {100'000, 2'000'000 * factor};
  l.names = {10'000, 200'000 * factor};
  l.slow_one_in = prng_.between(5, 100);
  l.slow_factor = static_cast<int64_t>(prng_.between(1, 50));
}

std::string CrashRun::run() {
  clock_battery_ = prng_.chance(2, 3);
  const size_t lives = prng_.between(4, 8);
  for (size_t i = 0; i < lives; ++i) {
    // Crashes twice as often as the rest.
    const uint64_t draw = prng_.below(kAccidents + 3);
    const Accident accident = draw < kAccidents
                                  ? static_cast<Accident>(draw)
                                  : (draw == kAccidents ? Accident::kCrash : Accident::kPowerLoss);
    if (std::string problem = one_life(accident); !problem.empty()) {
      return fmt::format("life {} ({}): {}", i + 1, accident_name(accident), problem);
    }
  }
  if (std::string problem = one_life(Accident::kStop); !problem.empty()) return "last life: " + problem;
  return damage();
}

std::string CrashRun::one_life(Accident accident) {
  ++counts_.lives;
  ++counts_.accidents[static_cast<size_t>(accident)];
  trace_.note(accident_name(accident), disk_.ops_done(), world_.steps());
  draw_latencies();
  if (std::string findings = check_db_image(world_, disk_); !findings.empty()) {
    return "the database image: " + findings;
  }
  fault_set_ = false;
  std::string problem;
  {
    const uint64_t life_seed = prng_.next();
    std::optional<Life::Door> door;
    if (net_) door.emplace(draw_door());
    Life life(world_, disk_, config_, life_seed, clock_battery_ ? 0 : -world_.now(), std::move(door));
    if (net_) clients_ = std::make_unique<Clients>(world_, *net_, net_prng_.next(), counts_.edges);
    workload_.use(clients_.get());
    arm_before_start(accident);
    problem = start_up(life, accident);
    if (problem.empty() && !over(life) && life.ready()) problem = check_start(life);
    if (problem.empty() && !over(life) && life.ready()) {
      arm_when_serving(accident);
      problem = load(life, accident);
    }
    if (problem.empty() && life.failure() && !disk_.power_lost()) problem = after_failure(life, accident);
    if (!problem.empty()) {
      for (const std::string& line : life.log().lines()) problem += "\n    " + line;
      for (const std::string& path : disk_.list_visible()) problem += "\n    file " + path;
    }
    if (tell_) tell_life(accident, life);
    life.kill();
    if (clients_) {
      end_accident(accident);
      if (problem.empty()) problem = hear_the_last(life);
      life.count(&counts_.edges);
      workload_.end_life();
      watching_.end_life();
      clients_.reset();
    }
    counts_.acknowledged = history_.acknowledged();
    counts_.requests = history_.next_number() - 1;
    counts_.reads = workload_.reads();
    counts_.steps = world_.steps();
  }
  if (!net_) end_accident(accident);
  counts_.watches = watching_.counts();
  return problem;
}

// What the accident leaves of the disk.
void CrashRun::end_accident(Accident accident) {
  const bool process_alone = accident == Accident::kKill ||
                             (accident == Accident::kStop && prng_.chance(1, 2)) ||
                             (accident == Accident::kDiskFull && prng_.chance(1, 2)) ||
                             (accident == Accident::kDiskFault && options_.keep_cache && prng_.chance(1, 2));
  if (process_alone && !disk_.power_lost()) {
    disk_.clear_faults();
  } else {
    disk_.crash();
  }
  disk_.set_byte_limit(kNoLimit);
}

// What the member sent before its end still reaches its clients, and must be as true.
std::string CrashRun::hear_the_last(Life&) {
  workload_.end_life();
  clients_->be_quiet();
  world_.run_for(20 * io::kMillisecond);
  return problem();
}

std::string CrashRun::problem() const {
  if (!workload_.problem().empty()) return workload_.problem();
  if (!operators_.problem().empty()) return operators_.problem();
  if (!watching_.problem().empty()) return watching_.problem();
  return clients_ ? clients_->problem() : "";
}

std::string CrashRun::settle() {
  if (std::string problem = operators_.settle(); !problem.empty()) return problem;
  return watching_.settle();
}

void CrashRun::tell_life(Accident accident, Life& life) {
  fmt::print("\n  life: {}\n", accident_name(accident));
  for (const std::string& line : life.log().lines()) fmt::print("    {}\n", line);
}

void CrashRun::arm_before_start(Accident accident) {
  if (accident == Accident::kPowerLossInBoot) disk_.lose_power_after(prng_.below(80));
  if (accident == Accident::kDiskFull && prng_.chance(1, 3)) {
    fault_set_ = true;
    disk_.set_byte_limit(bytes_in_use(disk_) + prng_.below(200'000'000));
  }
}

void CrashRun::arm_when_serving(Accident accident) {
  switch (accident) {
    case Accident::kPowerLoss:
      return disk_.lose_power_after(prng_.below(prng_.chance(1, 2) ? 60 : 600));
    case Accident::kDiskFault: {
      static constexpr const char* kPaths[] = {"/wal", "/snap/db", ".snap", ".tmp", ""};
      static constexpr uint32_t kOps[] = {sim::kSync, sim::kSync | sim::kSyncDir, sim::kWrite,
                                          sim::kChangingOps};
      fault_set_ = true;
      return disk_.inject({.ops = kOps[prng_.below(4)],
                           .path_contains = kPaths[prng_.below(5)],
                           .skip = prng_.below(prng_.chance(1, 2) ? 10 : 150),
                           .error = prng_.chance(1, 2) ? 5 : 28});
    }
    case Accident::kDiskFull:
      fault_set_ = true;
      return disk_.set_byte_limit(bytes_in_use(disk_) + prng_.below(1'000'000));
    default:
      return;
  }
}

std::string CrashRun::start_up(Life& life, Accident) {
  if (Result<> started = life.start(); !started) {
    if (disk_.power_lost() || fault_set_) {
      trace_.note("start failed", static_cast<uint64_t>(started.error().code()), disk_.ops_done());
      return {};
    }
    return fmt::format("does not start: {}", started.error().text());
  }
  if (!world_.run_until([&] { return life.ready() || over(life); }, kPatience))
    return "does not become ready";
  if (life.failure() && !disk_.power_lost() && !fault_set_) {
    return fmt::format("fails on a sound disk: {}", life.failure()->text());
  }
  // Ready means that a write of its own went through.
  if (life.ready() && !life.failure() && !life.member().leader()) return "is ready without a leader";
  return {};
}

// Everything acknowledged is there, and the member goes on.
std::string CrashRun::check_start(Life& life) {
  auto broken = [&] { return over(life) || !problem().empty(); };
  if (clients_) watching_.start(life, *clients_);
  // Some clients are quick: their answers must be as true as later ones.
  if (prng_.chance(1, 3)) workload_.put_once(life, std::make_shared<bool>(false));
  auto read = std::make_shared<bool>(false);
  // A read may be dropped while there is no leader; clients try again.
  for (int tries = 0; !*read && !broken(); ++tries) {
    if (tries == 20) return "reads hang after the start";
    workload_.read_once(life, read);
    world_.run_until([&] { return *read || broken(); }, 8 * io::kSecond);
  }
  auto leases = std::make_shared<std::optional<std::vector<int64_t>>>();
  life.member().leases(life.loop(), [leases](Result<std::vector<LeaseId>> ids) {
    leases->emplace();
    if (!ids) return;
    for (LeaseId id : *ids) (*leases)->push_back(id.v);
  });
  if (!world_.run_until([&] { return leases->has_value() || broken(); }, kPatience))
    return "leases can't be listed";
  if (!problem().empty()) return problem();
  if (over(life)) return {};
  if (std::string problem = watching_.survived(); !problem.empty()) return problem;
  if (std::string problem = settle(); !problem.empty()) return problem;
  if (std::string problem = history_.check_leases(**leases); !problem.empty()) return problem;
  if (std::string problem = write_once(life); !problem.empty()) return problem;
  return problem();
}

// A write is acknowledged. Its connection may break; then its client tries again.
std::string CrashRun::write_once(Life& life) {
  auto acknowledged = std::make_shared<bool>(false);
  const int tries = clients_ ? 20 : 1;
  for (int i = 0; i < tries; ++i) {
    workload_.put_once(life, acknowledged);
    if (world_.run_until([&] { return *acknowledged || over(life) || !problem().empty(); },
                         kPatience / tries)) {
      return {};
    }
  }
  return "writes hang after the start";
}

std::string CrashRun::load(Life& life, Accident accident) {
  WorkloadOptions options;
  options.requests = prng_.between(20, 300);
  options.outstanding = prng_.between(1, 24);
  options.value_bytes = prng_.between(0, 600);
  options.compact_one_in = compact_one_in_;
  if (clients_) {
    // Pasts that are long, and responses that are large enough for fragments.
    options.requests = net_prng_.between(40, 500);
    if (net_prng_.chance(1, 4)) options.long_value_bytes = 150'000;
  }
  if (accident == Accident::kDiskFull) {
    options.value_bytes = 200'000;
    options.long_value_bytes = 500'000;
  }
  workload_.start(life, options);
  const bool by_step = accident == Accident::kCrash || accident == Accident::kKill;
  const uint64_t last_step = by_step ? world_.steps() + prng_.below(clients_ ? 60'000 : 6'000)
                                     : std::numeric_limits<uint64_t>::max();
  auto done = [&] {
    return over(life) || workload_.finished() || !problem().empty() || world_.steps() >= last_step;
  };
  if (prng_.chance(1, 8)) {
    // The disk hangs for a while; or time goes by, with all that timers do.
    world_.run_for(static_cast<int64_t>(prng_.below(20 * io::kMillisecond)));
    disk_.set_syncs_stuck(prng_.chance(1, 2));
    if (!done()) world_.run_until(done, static_cast<int64_t>(prng_.below(40)) * io::kSecond);
    disk_.set_syncs_stuck(false);
  }
  // Clients that often stop reading for a second take a while for several snapshots.
  if (!world_.run_until(done, 5 * kPatience)) {
    return "requests hang" + (clients_ ? clients_->describe() : "");
  }
  if (!problem().empty()) return problem();
  if (over(life)) {
    if (life.failure() && !disk_.power_lost() && !fault_set_) {
      return fmt::format("fails on a sound disk: {}", life.failure()->text());
    }
    return {};
  }
  if (accident == Accident::kStop) return stop(life, options);
  return settle();
}

std::string CrashRun::stop(Life& life, WorkloadOptions options) {
  if (clients_) {
    if (std::string problem = let_watchers_catch_up(life); !problem.empty()) return problem;
  }
  // Sometimes with requests on their way.
  if (prng_.chance(1, 2)) {
    options.requests = prng_.between(1, 50);
    workload_.start(life, options);
    world_.run_for(static_cast<int64_t>(prng_.below(20 * io::kMillisecond)));
  }
  // And mostly with watches open.
  if (!clients_ || prng_.chance(1, 3)) watching_.disconnect();
  if (!life.stop(kPatience)) return "does not stop";
  return problem();
}

// No client stops reading any more, so watchers are told everything; one with a small window and far behind takes
// minutes. What was cancelled may still be carried out, so everything is read again and again.
std::string CrashRun::let_watchers_catch_up(Life& life) {
  auto broken = [&] { return over(life) || !problem().empty(); };
  clients_->be_quiet();
  watching_.be_quiet();
  for (int tries = 0; tries < 600 && !broken(); ++tries) {
    auto read = std::make_shared<bool>(false);
    workload_.read_once(life, read);
    world_.run_until([&] { return *read || broken(); }, 8 * io::kSecond);
    if (!*read) continue;
    if (world_.run_until([&] { return watching_.caught_up() || broken(); }, io::kSecond)) return problem();
  }
  if (broken()) return problem();
  return "watchers don't catch up: " + watching_.missing();
}

// What comes after the report must not be acknowledged: the program is about to end.
std::string CrashRun::after_failure(Life& life, Accident) {
  ++counts_.failures_reported;
  trace_.note(life.failure()->text(), disk_.ops_done(), world_.steps());
  auto acknowledged = std::make_shared<bool>(false);
  workload_.put_once(life, acknowledged);
  world_.run_for(2 * io::kSecond);
  if (*acknowledged) return fmt::format("acknowledges a write after it reported: {}", life.failure()->text());
  return problem();
}

std::string CrashRun::damage() {
  for (int i = 0; i < 3; ++i) {
    std::string problem = damage_and_start(world_, disk_, config_, history_, prng_, trace_, &counts_);
    if (!problem.empty()) return problem;
  }
  return {};
}

}  // namespace quoin::scenarios
