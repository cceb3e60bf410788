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
      workload_(world_, history_, prng_, trace_),
      watching_(world_, history_, trace_, seed) {
  if (!options_.watch) return;
  // Long pasts and fragments are rare with etcd's limits.
  Prng prng(seed ^ 0x77a7c4ull);
  if (prng.chance(1, 2)) compact_one_in_ = prng.between(2, 30);
  if (prng.chance(1, 2)) config_.max_request_bytes = 200 << 10;
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
  c.compaction_batch_limit = prng_.between(1, 50);
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
    Life life(world_, disk_, config_, prng_.next(), clock_battery_ ? 0 : -world_.now());
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
    counts_.acknowledged = history_.acknowledged();
    counts_.requests = history_.next_number() - 1;
    counts_.reads = workload_.reads();
    counts_.steps = world_.steps();
  }
  watching_.end_life();
  counts_.watches = watching_.counts();
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
  return problem;
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
  if (options_.watch) watching_.start(life);
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
  if (std::string problem = history_.check_leases(**leases); !problem.empty()) return problem;
  auto acknowledged = std::make_shared<bool>(false);
  workload_.put_once(life, acknowledged);
  if (!world_.run_until([&] { return *acknowledged || broken(); }, kPatience)) {
    return "writes hang after the start";
  }
  return problem();
}

std::string CrashRun::load(Life& life, Accident accident) {
  WorkloadOptions options;
  options.requests = prng_.between(20, 300);
  options.outstanding = prng_.between(1, 24);
  options.value_bytes = prng_.between(0, 600);
  options.compact_one_in = compact_one_in_;
  if (accident == Accident::kDiskFull) {
    options.value_bytes = 200'000;
    options.long_value_bytes = 500'000;
  }
  workload_.start(life, options);
  const bool by_step = accident == Accident::kCrash || accident == Accident::kKill;
  const uint64_t last_step =
      by_step ? world_.steps() + prng_.below(6'000) : std::numeric_limits<uint64_t>::max();
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
  if (!world_.run_until(done, kPatience)) return "requests hang";
  if (!problem().empty()) return problem();
  if (over(life)) {
    if (life.failure() && !disk_.power_lost() && !fault_set_) {
      return fmt::format("fails on a sound disk: {}", life.failure()->text());
    }
    return {};
  }
  if (accident == Accident::kStop) return stop(life, options);
  return watching_.settle();
}

std::string CrashRun::stop(Life& life, WorkloadOptions options) {
  if (options_.watch) {
    if (std::string problem = let_watchers_catch_up(life); !problem.empty()) return problem;
  }
  // Sometimes with requests on their way.
  if (prng_.chance(1, 2)) {
    options.requests = prng_.between(1, 50);
    workload_.start(life, options);
    world_.run_for(static_cast<int64_t>(prng_.below(20 * io::kMillisecond)));
  }
  watching_.disconnect();
  if (!life.stop(kPatience)) return "does not stop";
  return problem();
}

// No request is on its way and no watcher is slow: within a moment they have been told everything.
std::string CrashRun::let_watchers_catch_up(Life& life) {
  auto broken = [&] { return over(life) || !problem().empty(); };
  auto read = std::make_shared<bool>(false);
  for (int tries = 0; !*read && !broken(); ++tries) {
    if (tries == 20) return "reads hang";
    workload_.read_once(life, read);
    world_.run_until([&] { return *read || broken(); }, 8 * io::kSecond);
  }
  if (broken()) return problem();
  watching_.be_quiet();
  if (!world_.run_until([&] { return watching_.caught_up() || broken(); }, 5 * io::kSecond)) {
    return "watchers don't catch up: " + watching_.missing();
  }
  return problem();
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
