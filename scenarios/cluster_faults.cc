// What befalls the members of a ClusterRun, and the changes of who they are.
#include <fmt/format.h>

#include <algorithm>

#include "scenarios/cluster_run.h"
#include "server/admin.h"

namespace quoin::scenarios {

namespace {
constexpr int64_t kMs = io::kMillisecond;
}  // namespace

// ---- faults ----

void ClusterRun::act() {
  if (!prng_.chance(1, act_one_in_) || acts_.empty()) return;
  auto it = acts_.begin();
  std::advance(it, static_cast<std::ptrdiff_t>(prng_.below(acts_.size())));
  act(*it);
}

void ClusterRun::act(Act what) {
  const auto running = any_running();
  if (!running) return;
  const size_t i = *running;
  Seat& s = seats_[i];
  sim::SimDisk& disk = cluster_.disk(i);
  Life& life = cluster_.life(i);
  PeerNetwork& net = cluster_.network();
  const io::MonotonicNs now = cluster_.world().now();
  const auto other = [&] { return prng_.below(seats_.size()); };
  switch (what) {
    case Act::kKill:
      return end_life(i, false, "killed");
    case Act::kCrash:
      return end_life(i, true, "crashed");
    case Act::kPowerLoss: {
      const uint64_t ops = prng_.below(prng_.chance(1, 2) ? 30 : 300);
      story_.note("m{} loses power after {} operations", i, ops);
      s.faulty = true;
      return disk.lose_power_after(ops);
    }
    case Act::kDiskFault: {
      static constexpr const char* kPaths[] = {"/wal", "/snap/db", ".snap", ".tmp", ""};
      s.faulty = true;
      story_.note("m{}: an operation of its disk will fail", i);
      return disk.inject({.ops = prng_.chance(1, 2) ? uint32_t{sim::kSync} : uint32_t{sim::kChangingOps},
                          .path_contains = kPaths[prng_.below(5)],
                          .skip = prng_.below(60),
                          .error = prng_.chance(1, 2) ? 5 : 28});
    }
    case Act::kStopClean: {
      if (life.process().paused() || s.unstick_at != 0 || disk.power_lost()) return;
      // A member that still replays its log, joins, or installs its first database.
      if (!life.ready() && !slow_prng_.chance(1, 2)) return;
      if (!life.ready()) edges_.met("stopped before it was ready");
      story_.note("m{} is stopped{}", i, life.ready() ? "" : " before it is ready");
      if (life.ready() && prng_.chance(1, 2)) {
        stop_while_it_stands_still(i);
      } else if (life.ready() && prng_.chance(1, 2)) {
        auto over = std::make_shared<bool>(false);
        life.member().admin().hand_over(life.loop(), [over] { *over = true; });
        cluster_.run_until([&] { return *over || life.failure() || disk.power_lost(); }, 10 * io::kSecond);
      }
      if (compare(i); failed()) return;
      s.stopping = true;  // and can't be read any more
      if (life.stop(30 * io::kSecond)) {
        edges_.met("clean stop");
      } else if (!disk.power_lost() && !life.failure()) {
        return fail(fmt::format("m{} does not stop", i));
      } else {
        poll_seat(i);
      }
      if (cluster_.running(i)) end_life(i, prng_.chance(1, 2), "stopped");
      return;
    }
    case Act::kPause: {
      if (life.process().paused()) return;
      auto ms = static_cast<int64_t>(prng_.between(10, prng_.chance(1, 2) ? 300 : 5'000));
      // Long enough that another one leads, and that leases end which it had not heard renewed.
      if (life.member().leader() == s.id && prng_.chance(1, 2)) {
        ms = static_cast<int64_t>(prng_.between(4'000, 9'000));
        edges_.met("leader stands still for longer than a lease");
      }
      story_.note("m{} stands still for {} ms", i, ms);
      edges_.met("pauses");
      s.resume_at = now + ms * kMs;
      return life.process().pause();
    }
    case Act::kDrift:
      return life.process().clock().set_drift_ppm(static_cast<int64_t>(prng_.below(40'001)) - 20'000);
    case Act::kJump:
      story_.note("m{}'s wall clock jumps", i);
      return life.process().clock().jump_wall((static_cast<int64_t>(prng_.below(7'200)) - 3'600) *
                                              io::kSecond);
    case Act::kSlowDisk:
      return draw_latencies(i);
    case Act::kStuckSyncs:
      if (s.unstick_at != 0) return;
      story_.note("m{}'s syncs are stuck", i);
      edges_.met("stuck syncs");
      s.unstick_at = now + static_cast<int64_t>(prng_.between(50, 6'000)) * kMs;
      return disk.set_syncs_stuck(true);
    case Act::kFaultyNetwork: {
      Faults f;
      if (prng_.chance(1, 2)) f.drop = prng_.below(200);
      if (prng_.chance(1, 2)) f.duplicate = prng_.below(200);
      if (prng_.chance(1, 2)) f.reorder = prng_.below(300);
      if (prng_.chance(1, 2)) f.delay_max_ns = static_cast<int64_t>(prng_.between(1, 300)) * kMs;
      if (prng_.chance(1, 2)) f.database_max_ns = static_cast<int64_t>(prng_.between(1, 3'000)) * kMs;
      if (prng_.chance(1, 2)) f.database_lost = prng_.below(500);
      story_.note("network: drop {} double {} reorder {} delay {} ms, databases {} ms lost {}", f.drop,
                  f.duplicate, f.reorder, f.delay_max_ns / kMs, f.database_max_ns / kMs, f.database_lost);
      return net.set_faults(f);
    }
    case Act::kCut: {
      const size_t j = other();
      if (i == j) return;
      story_.note("nothing from m{} reaches m{}", i, j);
      edges_.met("links cut");
      net.cut(cluster_.url(i), cluster_.url(j));
      if (prng_.chance(1, 2)) net.cut(cluster_.url(j), cluster_.url(i));
      return;
    }
    case Act::kPartition: {
      const uint64_t mask = prng_.chance(1, 2) ? uint64_t{1} << i : prng_.next();
      story_.note("partition {:b}", mask & ((1u << seats_.size()) - 1));
      edges_.met("partitions");
      for (size_t a = 0; a < seats_.size(); ++a) {
        for (size_t b = 0; b < seats_.size(); ++b) {
          if (((mask >> a) & 1) != ((mask >> b) & 1)) net.cut(cluster_.url(a), cluster_.url(b));
        }
      }
      return;
    }
    case Act::kMend:
      story_.note("network mended");
      net.mend_all();
      return net.set_faults({});
    case Act::kTransfer: {
      const size_t j = other();
      if (!life.ready() || !seats_[j].id) return;
      life.member().admin().move_leader(seats_[j].id, life.loop(), [this, i, j](Result<> moved) {
        story_.note("leadership from m{} to m{}: {}", i, j, moved ? "moved" : moved.error().text());
        if (moved) edges_.met("leadership moved");
      });
      return;
    }
    case Act::kAddLearner:
      return change_members(membership::ChangeKind::kAddLearner);
    case Act::kAddVoter:
      return change_members(membership::ChangeKind::kAdd);
    case Act::kPromote:
      return change_members(membership::ChangeKind::kPromote);
    case Act::kRemove:
      return change_members(membership::ChangeKind::kRemove);
    case Act::kDefragment:
      if (!life.ready()) return;
      story_.note("m{} defragments", i);
      life.member().defragment(life.loop(), [](Result<>) {});
      return;
  }
}

// Messages wait for it when it is asked to stop: entries, and the commits of entries before them.
void ClusterRun::stop_while_it_stands_still(size_t i) {
  sim::Process& process = cluster_.life(i).process();
  edges_.met("stopped while it stood still");
  process.pause();
  for (int n = 0; n < 12; ++n) {
    std::vector<size_t> others = usable();
    std::erase(others, i);
    traffic_.tick(others);
    traffic_.paused(i);
    cluster_.run_for(static_cast<int64_t>(prng_.below(12)) * kMs);
  }
  cluster_.world().after(1, [&process] { process.resume(); });
}

// ---- members come and go ----

// As far as anybody knows.
std::set<MemberId> ClusterRun::listed() const {
  std::set<MemberId> out;
  auto& cluster = const_cast<Cluster&>(cluster_);
  for (size_t i = 0; i < seats_.size(); ++i) {
    if (!cluster.running(i) || cluster.life(i).failure()) continue;
    for (const membership::Member& m : cluster.member(i).members()) out.insert(m.id);
  }
  for (size_t i = 0; i < seats_.size(); ++i) {
    if (!cluster.running(i)) continue;
    std::erase_if(out, [&](MemberId id) { return cluster.member(i).peer_handler().removed(id); });
  }
  return out;
}

// Whether those that have served are a majority of the voters that the change leaves, by anybody's word. Where it is
// left to the operator (no strict checks), who has sense adds and removes nobody else: a newcomer joins by the word of
// members that may be unable to tell it anything before it has joined. etcd ends such a cluster, too. The second member
// of all is the one that is needed at once.
bool ClusterRun::goes_on_without_newcomers(const membership::Change& change) const {
  using K = membership::ChangeKind;
  if (change.kind == K::kAddLearner) return true;
  std::set<MemberId> voters = voters_at_most();
  for (const auto& [id, url] : planned_) voters.insert(MemberId(id));
  voters.insert(change.member.id);
  if (change.kind == K::kRemove) voters.erase(change.member.id);
  std::set<MemberId> sure = voters_by_any_word();
  sure.insert(change.member.id);
  size_t up = 0;
  for (const Seat& s : seats_) {
    up += s.was_up && !s.gone && !s.flipped && sure.contains(s.id) && voters.contains(s.id) ? 1 : 0;
  }
  return up * 2 > voters.size() || (voters.size() == 2 && change.kind == K::kAdd && up == 1);
}

std::set<MemberId> ClusterRun::voters_by_any_word() const {
  std::set<MemberId> out;
  auto& cluster = const_cast<Cluster&>(cluster_);
  for (size_t i = 0; i < seats_.size(); ++i) {
    if (!cluster.running(i)) continue;
    for (const membership::Member& m : cluster.member(i).members()) {
      if (!m.is_learner) out.insert(m.id);
    }
  }
  return out;
}

// And those that nobody who runs now has heard of: who knew of them may be down. Learners that nobody was asked to
// promote are none.
std::set<MemberId> ClusterRun::voters_at_most() const {
  std::set<MemberId> out = voters_by_any_word();
  for (const Seat& s : seats_) {
    if (s.id && !s.gone && s.left_at == 0 && !learners_.contains(s.id)) out.insert(s.id);
  }
  return out;
}

void ClusterRun::change_members(membership::ChangeKind kind) {
  using K = membership::ChangeKind;
  const std::vector<size_t> at = usable();
  if (at.empty() || change_open_) return;
  size_t i = at[prng_.below(at.size())];
  const std::vector<membership::Member> members = cluster_.member(i).members();
  const auto voters = static_cast<size_t>(
      std::count_if(members.begin(), members.end(), [](const auto& m) { return !m.is_learner; }));
  membership::Change change;
  change.kind = kind;
  const char* what = "";
  switch (kind) {
    case K::kAdd:
    case K::kAddLearner: {
      if (members.size() >= 6 || seats_.size() >= kSeatsMax) return;
      change.member.id = MemberId(next_id_++);
      std::string url = fmt::format("http://m{}:2380", seats_.size());
      for (const Seat& s : seats_) {
        if (s.gone && prng_.chance(1, 2)) {
          url = cluster_.url(static_cast<size_t>(&s - seats_.data()));
          edges_.met("address used again");
        }
      }
      change.member.peer_urls = {url};
      change.member.is_learner = kind == K::kAddLearner;
      what = kind == K::kAdd ? "add voter" : "add learner";
      break;
    }
    case K::kPromote: {
      const auto learner =
          std::find_if(members.begin(), members.end(), [](const auto& m) { return m.is_learner; });
      if (learner == members.end()) return;
      change.member.id = learner->id;
      what = "promote";
      break;
    }
    case K::kRemove:
      if (voters <= 1) return;
      change.member.id = members[prng_.below(members.size())].id;
      what = "remove";
      // A leader that leaves owes more to the others, most of all to a single one.
      if (aim_prng_.chance(1, 3)) {
        const auto leads = [&](size_t j) { return cluster_.member(j).leader() == cluster_.member(j).id(); };
        const auto leader = std::ranges::find_if(at, leads);
        if (leader == at.end()) break;
        i = *leader;
        change.member.id = seats_[i].id;
      }
      break;
    case K::kUpdate:
      return;
  }
  if (goes_on_without_newcomers(change)) ask_for_change(i, change, what);
}

void ClusterRun::ask_for_change(size_t i, const membership::Change& change, std::string_view what) {
  using K = membership::ChangeKind;
  const K kind = change.kind;
  if (kind == K::kAdd || kind == K::kAddLearner)
    planned_[change.member.id.v] = change.member.peer_urls.front();
  if (kind == K::kAddLearner) learners_.insert(change.member.id);
  if (kind == K::kPromote) learners_.erase(change.member.id);
  const uint64_t number = ++changes_;
  if (kind == K::kRemove) removals_open_.insert(change.member.id);
  // With one removal asked for there is one that can be answered.
  if (kind == K::kRemove && removals_asked_.insert(change.member.id).second &&
      change.member.id == seats_[i].id)
    seats_[i].own_removal = number;
  change_open_ = true;
  story_.note("change {} at m{}: {} {:x}", number, i, what, change.member.id.v);
  // It may never be heard of again.
  cluster_.world().after(static_cast<int64_t>(prng_.between(200, 4'000)) * kMs, [this, number] {
    if (number == changes_) change_open_ = false;
  });
  Life& life = cluster_.life(i);
  const auto done = [this, number, kind, i,
                     id = change.member.id](Result<std::vector<membership::Member>> r) {
    story_.note("change {}: {}", number, r ? "done" : r.error().text());
    if (number == changes_) change_open_ = false;
    if (seats_[i].own_removal == number) {
      seats_[i].own_removal = 0;
      if (r) edges_.met("own removal answered");
    }
    static constexpr Code kRefusals[] = {Code::kUnhealthy, Code::kMemberNotEnoughStarted,
                                         Code::kTooManyLearners, Code::kPeerUrlExist};
    if (!r && std::ranges::find(kRefusals, r.error().code()) != std::end(kRefusals)) {
      planned_.erase(id.v);
      if (kind == K::kRemove) removals_open_.erase(id);
    }
    if (!r) return;
    static constexpr const char* kEdges[] = {"voter added", "learner added", "learner promoted", "",
                                             "member removed"};
    edges_.met(kEdges[static_cast<size_t>(kind)]);
  };
  const uint64_t id = life.member().next_id();
  if (kind == K::kPromote) {
    life.member().admin().promote(id, change.member.id, "", life.loop(), done);
  } else {
    life.member().admin().change(id, change, life.loop(), done);
  }
  if (seats_[i].own_removal == number) aim_at_own_removal(i);
}

// Who is a member needs a machine; who is none any more loses it.
void ClusterRun::seat_new_members() {
  replace_damaged();
  const std::set<MemberId> members = listed();
  for (const MemberId id : members) {
    const auto planned = planned_.find(id.v);
    if (planned == planned_.end()) continue;
    const bool own = planned->second == fmt::format("http://m{}:2380", seats_.size());
    const size_t i = cluster_.add_seat(own ? std::string() : planned->second);
    story_.note("m{} is to be {:x} at {}", i, id.v, planned->second);
    planned_.erase(planned);
    seats_.emplace_back().id = id;
    seats_[i].restart_at = cluster_.world().now() + static_cast<int64_t>(prng_.below(2'000)) * kMs;
    draw_config(i);
    draw_latencies(i);
  }
  for (size_t i = 0; i < seats_.size(); ++i) {
    Seat& s = seats_[i];
    if (s.gone || !s.id || members.contains(s.id)) continue;
    for (size_t j = 0; j < seats_.size(); ++j) {
      if (!cluster_.running(j) || !cluster_.member(j).peer_handler().removed(s.id)) continue;
      // It hears of it by itself; its process may go on until then.
      if (!cluster_.running(i)) {
        story_.note("m{} was removed while it was down", i);
        s.gone = true;
        s.gone_at = cluster_.world().now();
      }
      break;
    }
  }
}

}  // namespace quoin::scenarios
