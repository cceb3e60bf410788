#include "scenarios/cluster_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "scenarios/image.h"

namespace quoin::scenarios {

namespace {

constexpr int64_t kMs = io::kMillisecond;

size_t draw_members(uint64_t seed) {
  static constexpr size_t kMembers[] = {3, 3, 3, 3, 3, 3, 5, 5, 1, 2};
  return kMembers[Prng(seed ^ 0x3e3bull).below(std::size(kMembers))];
}

}  // namespace

ClusterRun::ClusterRun(uint64_t seed)
    : seed_(seed),
      prng_(seed ^ 0xc105ull),
      cluster_(seed, draw_members(seed)),
      story_(cluster_.world()),
      traffic_(cluster_, truth_, story_, edges_, seed),
      listeners_(cluster_, truth_, story_, edges_, seed),
      image_prng_(seed ^ 0x1346eull),
      flip_prng_(seed ^ 0xf11bull),
      aim_prng_(seed ^ 0xa13ull),
      slow_prng_(seed ^ 0x510full) {
  server::Config& c = base_;
  c.snapshot_count = prng_.between(10, 200);
  c.snapshot_catchup_entries = prng_.between(1, 60);
  c.max_snapshots = prng_.between(1, 5);
  c.max_wals = prng_.between(1, 5);
  // Short enough that a start reads little: a segment is read to its end.
  c.wal_segment_bytes = prng_.chance(1, 2) ? prng_.between(4 << 10, 256 << 10) : 1 << 20;
  c.backend_batch_limit = prng_.between(1, 200);
  c.backend_batch_interval_ns = static_cast<int64_t>(prng_.between(1, 200)) * kMs;
  c.compaction_batch_limit = prng_.between(20, 60);
  c.pre_vote = prng_.chance(3, 4);
  c.strict_reconfig_check = prng_.chance(1, 3);
  c.max_learners = static_cast<int64_t>(prng_.between(1, 2));
  c.lease_checkpoint = prng_.chance(1, 3);
  seats_.resize(cluster_.size());
  for (size_t i = 0; i < seats_.size(); ++i) {
    seats_[i].founder = true;
    draw_config(i);
  }
  for (size_t i = 0; i < kActs; ++i) {
    if (prng_.chance(1, 2)) acts_.insert(static_cast<Act>(i));
  }
  if (prng_.chance(3, 4)) acts_.insert(Act::kMend);
  act_one_in_ = prng_.between(2, 30);
  crash_on_snapshot_ = prng_.below(3);
  aim_at_votes_ = prng_.chance(1, 3);
  images_left_ = prng_.chance(1, 2) ? 80 : 0;
  flips_ = flip_prng_.chance(1, 3);
  // Reading a large database in, or writing one, takes as long; the chores look in twice a second meanwhile.
  if (slow_prng_.chance(1, 3)) slow_files_ns_ = (slow_prng_.chance(1, 2) ? 30 : 1500) * kMs;
  cluster_.network().observe([this](const raft::Message& m) { observe(m); });
}

ClusterRun::~ClusterRun() {
  for (size_t i = 0; i < seats_.size(); ++i) {
    if (!cluster_.running(i)) continue;
    listeners_.life_ended(i);
    cluster_.kill(i);
  }
}

void ClusterRun::draw_config(size_t i) {
  server::Config c = base_;
  const server::Config& own = cluster_.config(i);
  cluster_.disk(i).set_hook([this, i](sim::Op op, std::string_view path) { before_operation(i, op, path); });
  c.name = own.name;
  c.data_dir = own.data_dir;
  c.initial_advertise_peer_urls = own.initial_advertise_peer_urls;
  c.advertise_client_urls = own.advertise_client_urls;
  c.initial_cluster = own.initial_cluster;
  c.new_cluster = own.new_cluster;
  cluster_.config(i) = std::move(c);
}

void ClusterRun::draw_latencies(size_t i) {
  sim::Latencies& l = cluster_.disk(i).latencies();
  const auto factor = static_cast<int64_t>(prng_.between(1, 10));
  l.write = {10'000, 100'000 * factor};
  l.sync = {100'000, 2'000'000 * factor};
  l.names = {10'000, 200'000 * factor};
  l.slow_one_in = prng_.between(10, 200);
  l.slow_factor = static_cast<int64_t>(prng_.between(1, 30));
}

void ClusterRun::fail(std::string problem) {
  if (!problem_.empty() || problem.empty()) return;
  problem_ = std::move(problem);
  story_.note("PROBLEM {}", problem_);
}

ClusterCounts ClusterRun::counts() const {
  return {traffic_.counts(),
          const_cast<Cluster&>(cluster_).network().counts(),
          lives_,
          listeners_.events(),
          static_cast<size_t>(truth_.revision()),
          static_cast<double>(const_cast<Cluster&>(cluster_).world().now()) / 1e9,
          edges_};
}

std::string ClusterRun::logs() const {
  std::string out;
  for (size_t i = 0; i < seats_.size(); ++i) {
    std::vector<std::string> lines = seats_[i].last_log;
    if (cluster_.running(i)) {
      lines.push_back("---- the life under way ----");
      const auto& now = const_cast<Cluster&>(cluster_).life(i).log().lines();
      lines.insert(lines.end(), now.begin(), now.end());
    }
    out += fmt::format("  m{} ({:x}):\n", i, seats_[i].id.v);
    for (const std::string& line : lines) out += fmt::format("    {}\n", line);
  }
  return out;
}

// ---- watching over it ----

// Only a leader says these, and it says in which term.
void ClusterRun::observe(const raft::Message& m) {
  using T = raft::MessageType;
  if (m.type == T::kSnap) snapshots_for_.insert(m.to);
  if (m.type == T::kVoteResp && !m.reject) {
    const MemberId first = votes_.try_emplace({m.from, m.term.v}, m.to).first->second;
    if (first != m.to)
      fail(fmt::format("a vote is lost: {:x} votes for {:x} and for {:x} in term {}", m.from.v, first.v,
                       m.to.v, m.term.v));
  }
  aim_at_vote(m);
  aim_at_log(m);
  if (m.type != T::kApp && m.type != T::kHeartbeat && m.type != T::kSnap && m.type != T::kTimeoutNow) return;
  const auto [known, fresh] = leaders_.try_emplace(m.term.v, m.from);
  if (fresh) edges_.met("elections");
  if (known->second != m.from)
    fail(fmt::format("{:x} and {:x} both lead in term {}", known->second.v, m.from.v, m.term.v));
}

bool ClusterRun::step(int64_t ns) {
  cluster_.run_for(ns);
  poll();
  return !failed();
}

void ClusterRun::poll() {
  end_aims();
  watch_removals();
  for (size_t i = 0; i < seats_.size(); ++i) poll_seat(i);
  traffic_.learned();
  look_at_images();
  listeners_.check();
  snapshots_for_.clear();
  fail(traffic_.problem());
  fail(listeners_.problem());
}

void ClusterRun::poll_seat(size_t i) {
  Seat& s = seats_[i];
  const io::MonotonicNs now = cluster_.world().now();
  if (!cluster_.running(i)) {
    if (!s.gone && s.restart_at != 0 && now >= s.restart_at) start(i);
    return;
  }
  Life& life = cluster_.life(i);
  if (life.process().paused() && now >= s.resume_at) {
    story_.note("m{} goes on", i);
    life.process().resume();
  }
  if (life.process().paused()) traffic_.paused(i);
  if (s.unstick_at != 0 && now >= s.unstick_at) {
    story_.note("m{}'s syncs go on", i);
    cluster_.disk(i).set_syncs_stuck(false);
    s.unstick_at = 0;
  }
  s.was_up = s.was_up || life.ready();
  poll_log(i);
  if (compare(i); failed()) return;
  if (cluster_.disk(i).power_lost()) return end_life(i, true, "power lost");
  if (life.failure()) {
    const std::string text(life.failure()->text());
    if (life.failure()->code() == Code::kStopped) {
      edges_.met("removed member ended");
      // It has applied what it was asked for, so whoever asked must know.
      if (s.own_removal != 0 && cluster_.member(i).peer_handler().removed(s.id) &&
          !life.log().contains("applying snapshot")) {
        return fail(fmt::format("m{} has removed itself by change {} and ends without an answer to it", i,
                                s.own_removal));
      }
      s.gone = true;
      s.gone_at = now;
      return end_life(i, false, "removed");
    }
    if (s.flipped && !s.faulty) return take_for_damaged(i, "flipped bit ended a member");
    if (!s.faulty) return fail(fmt::format("m{} fails on a sound disk: {}", i, text));
    edges_.met("failed disk ended a member");
    return end_life(i, true, text);
  }
  if (s.end_at != 0 && now >= s.end_at) return end_life(i, prng_.chance(1, 2), "killed in an installation");
  if (!healing_ && crash_on_snapshot_ != 0 && snapshots_for_.contains(s.id) &&
      prng_.chance(crash_on_snapshot_, 4)) {
    if (prng_.chance(1, 2)) {
      const uint64_t ops = prng_.below(40);
      story_.note("m{} loses power after {} operations, with a snapshot on its way", i, ops);
      cluster_.disk(i).lose_power_after(ops);
      s.faulty = true;
    } else if (s.end_at == 0) {
      s.end_at = now + static_cast<int64_t>(prng_.below(60)) * kMs;
    }
    edges_.met("end in an installation");
  }
}

// What this member shows, against the truth. No view outlives this: the member may end next.
void ClusterRun::compare(size_t i) {
  Seat& s = seats_[i];
  if (s.stopping) return;
  const auto view = cluster_.member(i).view();
  if (view->revision() < s.shown) {
    return fail(fmt::format("m{} went back from revision {} to {}", i, s.shown, view->revision()));
  }
  s.shown = view->revision();
  std::string what = truth_.learn(*view, &s.known, cluster_.world().now());
  if (what.empty() && std::exchange(s.verify, false)) what = truth_.verify(view);
  if (what.empty()) return;
  if (s.db_findings && Truth::could_not_read(what)) return take_for_damaged(i, "flipped bit met by a reader");
  fail(fmt::format("m{}: {}", i, what));
}

void ClusterRun::poll_log(size_t i) {
  Seat& s = seats_[i];
  static constexpr std::pair<std::string_view, std::string_view> kLines[] = {
      {"applied snapshot", "snapshots installed"},
      {"applied a configuration change", "configuration changes"},
      {"repaired WAL", "torn tails"},
      {"joining again", "joiner ended before its first hard state"},
      {"leadership transfer finished", "leadership handed over at a stop"},
      {"handing leadership over", "leadership handed over by a stuck disk"},
      {"triggering snapshot", "snapshots made"},
  };
  const auto& lines = cluster_.life(i).log().lines();
  for (; s.log_seen < lines.size(); ++s.log_seen) {
    const std::string& line = lines[s.log_seen];
    for (const auto& [text, edge] : kLines) {
      if (line.find(text) != std::string::npos) edges_.met(edge);
    }
    if (line.find("applied snapshot") != std::string::npos) {
      story_.note("m{} has installed a snapshot", i);
      s.known = 1;
      s.verify = true;
    }
  }
}

std::vector<size_t> ClusterRun::usable() const {
  std::vector<size_t> out;
  for (size_t i = 0; i < seats_.size(); ++i) {
    auto& cluster = const_cast<Cluster&>(cluster_);
    if (cluster.running(i) && !cluster.life(i).failure() && cluster.life(i).ready() &&
        !cluster.disk(i).power_lost()) {
      out.push_back(i);
    }
  }
  return out;
}

std::optional<size_t> ClusterRun::any_running() {
  std::vector<size_t> some;
  for (size_t i = 0; i < seats_.size(); ++i) {
    if (cluster_.running(i)) some.push_back(i);
  }
  if (some.empty()) return std::nullopt;
  return some[prng_.below(some.size())];
}

void ClusterRun::start(size_t i) {
  Seat& s = seats_[i];
  s.restart_at = 0;
  const auto later = [&] {
    s.restart_at = cluster_.world().now() + static_cast<int64_t>(prng_.between(50, 500)) * kMs;
  };
  if (s.damaged) return;
  if (!s.founder) {
    if (!s.started && !listed().contains(s.id)) return later();
    // Another process may still have the address.
    for (size_t other = 0; other < seats_.size(); ++other) {
      if (other != i && cluster_.running(other) && cluster_.url(other) == cluster_.url(i)) {
        if (!seats_[other].gone) return later();
        end_life(other, false, "its address is taken over");
      }
    }
    cluster_.configure_join(i);
  }
  s.faulty = false;
  if (!healing_ && s.started && acts_.contains(Act::kPowerLoss) && prng_.chance(1, 8)) {
    cluster_.disk(i).lose_power_after(prng_.below(80));
    s.faulty = true;
  }
  maybe_flip(i);
  const Result<> started = cluster_.start(i);
  ++lives_;
  if (!started) {
    story_.note("m{} does not start: {}", i, started.error().text());
    if (cluster_.disk(i).power_lost()) {
      cluster_.disk(i).crash();
      edges_.met("power lost in the start");
    } else if (s.flipped) {
      return refused_after_flip(i, started.error().text());
    } else if (s.founder) {
      return fail(fmt::format("m{} does not start: {}", i, started.error().text()));
    }
    return later();
  }
  const MemberId id = cluster_.member(i).id();
  if (!s.founder && !s.started && s.id != id) {
    // Who was asked did not know yet that the one who had this address before was removed. An operator looks, and
    // begins anew with an empty disk.
    story_.note("m{} was to be {:x} and took itself for {:x}", i, s.id.v, id.v);
    edges_.met("joined by the word of one that lags");
    cluster_.kill(i);
    planned_[s.id.v] = cluster_.url(i);
    s.id = MemberId();
    s.gone = true;
    return;
  }
  const bool first_start = !std::exchange(s.started, true);
  s.known = 1;
  s.shown = 0;
  s.verify = true;
  s.log_seen = 0;
  s.stopping = false;
  s.end_at = s.resume_at = 0;
  if (s.id && s.id != id) return fail(fmt::format("m{} was {:x} and is {:x}", i, s.id.v, id.v));
  const bool first = !s.founder && first_start;
  // Who joins knows nothing before the others tell it, also where an earlier life was not told anything.
  const bool joins = first || (!s.founder && cluster_.life(i).log().contains("joining again"));
  if (const Index own = cluster_.member(i).status().committed; joins && own)
    return fail(
        fmt::format("m{} joins, and founds a cluster of its own: nobody sent it the {} entries that it has "
                    "committed",
                    i, own));
  s.id = id;
  s.own_removal = 0;
  s.snapshot_comes = s.record_comes = s.change_comes = false;
  story_.note("m{} ({:x}) starts", i, s.id.v);
  if (slow_files_ns_ != 0 && !healing_) {
    cluster_.life(i).slow_files(slow_prng_.next(), slow_files_ns_);
    edges_.met("slow file strand");
  }
  if (s.log_cut || s.db_findings) return started_after_flip(i);
  // Its log is made, and holds nothing.
  if (first && !healing_ && prng_.chance(1, 3)) end_life(i, prng_.chance(1, 2), "killed at its first start");
}

void ClusterRun::end_life(size_t i, bool crash, std::string_view why) {
  Seat& s = seats_[i];
  story_.note("m{} ends{}: {}", i, crash ? ", and its disk forgets" : "", why);
  poll_log(i);
  listeners_.life_ended(i);
  const auto& lines = cluster_.life(i).log().lines();
  s.last_log.push_back("---- a life ----");
  s.last_log.insert(s.last_log.end(), lines.begin(), lines.end());
  if (s.last_log.size() > 300) s.last_log.erase(s.last_log.begin(), s.last_log.end() - 300);
  const bool lost = cluster_.disk(i).power_lost();
  cluster_.kill(i, crash || lost);
  if (!crash && !lost) {
    cluster_.disk(i).clear_faults();
    cluster_.disk(i).set_syncs_stuck(false);
  }
  s.unstick_at = s.end_at = 0;
  if (!s.gone)
    s.restart_at =
        cluster_.world().now() + static_cast<int64_t>(prng_.below(std::exchange(s.back_at_once, false) ? 20
                                                                  : prng_.chance(1, 4)                 ? 8'000
                                                                                       : 800) +
                                                      1) *
                                     kMs;
}

// ---- the run ----

std::string ClusterRun::run() {
  story_.note("{} members, seed {}", seats_.size(), seed_);
  for (size_t i = 0; i < seats_.size(); ++i) start(i);
  const auto lead = [&] {
    return failed() ||
           std::ranges::any_of(usable(), [&](size_t i) { return cluster_.member(i).leader().v != 0; });
  };
  for (int i = 0; i < 600 && !lead(); ++i) step(100 * kMs);
  if (failed()) return problem_;
  if (!lead()) return "nobody is elected in a quiet world";
  const io::MonotonicNs end =
      cluster_.world().now() + static_cast<int64_t>(prng_.between(10, 40)) * io::kSecond;
  while (cluster_.world().now() < end) {
    const std::vector<size_t> at = usable();
    traffic_.tick(at);
    listeners_.tick(at);
    if (const auto seat = listeners_.slow_catch_up(); seat && cluster_.running(*seat))
      traffic_.compact_at(*seat);
    act();
    seat_new_members();
    if (!step(static_cast<int64_t>(prng_.between(1, 60)) * kMs)) return problem_;
  }
  if (std::string problem = demand_progress(); !problem.empty()) return problem;
  return check_end();
}

void ClusterRun::heal() {
  story_.note("everything is healed");
  healing_ = true;
  for (size_t i = 0; i < seats_.size(); ++i) {
    if (cluster_.running(i)) cluster_.life(i).slow_files(0, 0);
  }
  cluster_.network().mend_all();
  cluster_.network().set_faults({});
  for (size_t i = 0; i < seats_.size(); ++i) {
    Seat& s = seats_[i];
    s.end_at = 0;
    if (cluster_.running(i) && (cluster_.disk(i).power_lost() || s.faulty))
      end_life(i, true, "power is back");
    if (!cluster_.running(i) && !s.gone && !s.damaged) s.restart_at = cluster_.world().now() + 1;
    cluster_.disk(i).clear_faults();
    cluster_.disk(i).set_syncs_stuck(false);
    cluster_.disk(i).latencies() = {};
    if (!cluster_.running(i)) continue;
    cluster_.life(i).process().resume();
    cluster_.life(i).process().clock().set_drift_ppm(0);
  }
}

std::string ClusterRun::demand_progress() {
  heal();
  listeners_.be_quiet();
  uint64_t put = 0;
  io::MonotonicNs asked = 0;
  // Before the operator lends a hand.
  const io::MonotonicNs patience = cluster_.world().now() + 40 * io::kSecond;
  const io::MonotonicNs end = patience + 80 * io::kSecond;
  std::string missing;
  bool written = false;
  for (;;) {
    if (!step(50 * kMs)) return problem_;
    seat_new_members();
    const std::vector<size_t> at = usable();
    listeners_.tick(at);
    const io::MonotonicNs now = cluster_.world().now();
    if (!written && now > patience) {
      make_way_for_joiners();
      if (outrun_without_pre_vote()) switch_pre_vote_on();
    }
    if (put != 0 && traffic_.acknowledged(put)) written = true;
    if (!written && !at.empty() && now > asked + 3 * io::kSecond) {
      asked = now;
      put = traffic_.put_at(at[prng_.below(at.size())], 3 * io::kSecond);
    }
    const std::set<MemberId> members = listed();
    missing.clear();
    if (!written) missing += " no write is acknowledged;";
    std::optional<std::pair<uint64_t, int64_t>> first;
    for (const MemberId id : members) {
      const auto seat = std::find_if(seats_.begin(), seats_.end(), [&](const Seat& s) { return s.id == id; });
      const auto i = static_cast<size_t>(seat - seats_.begin());
      if (seat == seats_.end() || !cluster_.running(i) || !cluster_.life(i).ready()) {
        missing += fmt::format(" {:x} (m{}) does not run;", id.v, i);
        continue;
      }
      const server::MemberStatus status = cluster_.member(i).status();
      const std::pair<uint64_t, int64_t> at_now{status.applied.v, cluster_.member(i).revision()};
      if (status.applied != status.committed || (first && *first != at_now)) {
        missing += fmt::format(" m{} has applied {} of {}, revision {};", i, at_now.first, status.committed.v,
                               at_now.second);
      }
      if (!first) first = at_now;
    }
    if (traffic_.open() > 0) missing += fmt::format(" {} requests are open;", traffic_.open());
    if (missing.empty()) break;
    if (now <= end) continue;
    stranded_ = stranded();
    if (!stranded_) return "no progress in a healed world:" + missing + left_too_early();
    edges_.met("stranded as one of two");
    story_.note("nobody is left who could go on");
    return {};
  }
  story_.note("progress");
  return {};
}

std::string ClusterRun::check_end() {
  if (!stranded_) {
    if (std::string problem = check_ends_of_leases_and_watches(); !problem.empty()) return problem;
  }
  if (std::string problem = traffic_.settle(); !problem.empty()) return problem;
  const std::set<MemberId> members = listed();
  std::optional<std::vector<membership::Member>> first;
  for (const size_t i : usable()) {
    if (!members.contains(seats_[i].id)) continue;
    seats_[i].verify = true;
    seats_[i].known = 1;
    const auto now = cluster_.member(i).members();
    if (first && *first != now) return fmt::format("m{} has other members than the others", i);
    first = now;
  }
  poll();
  if (failed()) return problem_;
  if (std::string problem = check_hashes(); !problem.empty()) return problem;
  for (size_t i = 0; i < seats_.size(); ++i) {
    if (cluster_.running(i)) end_life(i, prng_.chance(1, 2), "the end");
    if (seats_[i].damaged) continue;
    if (std::string findings = check_db_image(cluster_.world(), cluster_.disk(i)); !findings.empty()) {
      return fmt::format("the database image of m{}: {}", i, findings);
    }
    if (std::string wrong = check_conf_state_image(cluster_.world(), cluster_.disk(i)); !wrong.empty()) {
      return fmt::format("the members of m{}: {}", i, wrong);
    }
  }
  return {};
}

std::string ClusterRun::check_ends_of_leases_and_watches() {
  // Nobody renews any more: every lease ends.
  const io::MonotonicNs end = cluster_.world().now() + traffic_.longest_ttl_ns() + 45 * io::kSecond;
  std::string left;
  do {
    if (!step(500 * kMs)) return problem_;
    listeners_.tick(usable());
    left.clear();
    for (const size_t i : usable()) {
      std::optional<size_t> count;
      cluster_.member(i).leases(cluster_.life(i).loop(), [&count](Result<std::vector<LeaseId>> ids) {
        count = ids ? ids->size() : 1;
      });
      if (!cluster_.run_until([&] { return count.has_value(); }, io::kSecond))
        return "a list of leases hangs";
      if (*count > 0) left += fmt::format(" m{} has {} leases;", i, *count);
    }
  } while (!left.empty() && cluster_.world().now() < end);
  if (!left.empty()) return "leases do not end:" + left;
  for (int i = 0; i < 400 && !(listeners_.complete()); ++i) {
    if (!step(50 * kMs)) return problem_;
    listeners_.tick(usable());
  }
  if (!listeners_.complete()) return "watchers are not told everything:" + listeners_.behind();
  return {};
}

std::string ClusterRun::check_hashes() {
  const std::set<MemberId> members = listed();
  std::optional<server::Member::HashKv> first;
  for (const size_t i : usable()) {
    if (!members.contains(seats_[i].id)) continue;
    std::optional<Result<server::Member::HashKv>> got;
    cluster_.member(i).hash_kv(0, cluster_.life(i).loop(),
                               [&](Result<server::Member::HashKv> h) { got = std::move(h); });
    if (!cluster_.run_until([&] { return got.has_value(); }, 10 * io::kSecond)) return "HashKV hangs";
    if (!*got) return fmt::format("HashKV at m{}: {}", i, got->error().text());
    const server::Member::HashKv& h = **got;
    if (first && (first->hash != h.hash || first->compact_revision != h.compact_revision)) {
      return fmt::format("m{} has HashKV {:08x} at {} (compacted {}), others {:08x} at {} (compacted {})", i,
                         h.hash, h.hash_revision, h.compact_revision, first->hash, first->hash_revision,
                         first->compact_revision);
    }
    if (!first) first = h;
  }
  return {};
}

}  // namespace quoin::scenarios
