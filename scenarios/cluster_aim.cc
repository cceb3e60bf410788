// Faults of a ClusterRun that are aimed at a moment: chance alone would seldom meet it.
#include <fmt/format.h>

#include <algorithm>

#include "scenarios/cluster_run.h"
#include "sim/log_sink.h"
#include "wal/wal.h"

namespace quoin::scenarios {

namespace {
constexpr size_t kImagesOfASnapshot = 12, kImagesOfAChange = 4;
constexpr std::string_view kWalDir = "/data/member/wal";
}  // namespace

ClusterRun::Seat* ClusterRun::seat_of(MemberId id) {
  const auto seat = std::ranges::find(seats_, id, &Seat::id);
  return seat == seats_.end() ? nullptr : &*seat;
}

// A candidate reaches one voter alone. That voter loses power with its answer on the wire, and is back before
// anybody else has heard of the term: whoever asks it next asks for its vote in that term again.
void ClusterRun::aim_at_vote(const raft::Message& m) {
  using T = raft::MessageType;
  if (healing_ || !aim_at_votes_) return;
  const io::MonotonicNs now = cluster_.world().now();
  const auto number = [&](const Seat* s) { return static_cast<size_t>(s - seats_.data()); };
  if (m.type == T::kVote && !vote_ && prng_.chance(1, 3)) {
    Seat* from = seat_of(m.from);
    Seat* to = seat_of(m.to);
    if (from == nullptr || to == nullptr || to->faulty || !cluster_.running(number(to))) return;
    vote_.emplace(Vote{number(from), number(to), m.term, now + 3 * io::kSecond});
    for (size_t i = 0; i < seats_.size(); ++i) {
      if (i != vote_->from && i != vote_->to)
        cluster_.network().cut(cluster_.url(vote_->from), cluster_.url(i));
    }
    return;
  }
  if (m.type != T::kVoteResp || m.reject || !vote_ || vote_->given || m.term != vote_->term) return;
  if (seat_of(m.from) != &seats_[vote_->to] || seat_of(m.to) != &seats_[vote_->from]) return;
  vote_->given = true;
  story_.note("m{} loses power with its vote for m{} in term {} given", vote_->to, vote_->from, m.term.v);
  edges_.met("power lost with a vote given");
  seats_[vote_->to].faulty = seats_[vote_->to].back_at_once = true;
  cluster_.disk(vote_->to).lose_power_after(0);
  // The answer arrives first.
  cluster_.world().after(2 * PeerNetwork::kLatencyNs, [this, from = vote_->from, to = vote_->to] {
    cluster_.network().cut(cluster_.url(from), cluster_.url(to));
  });
}

// A leader removes itself, and its disk is slow: the others make the change and what follows it durable before it has
// done so itself, so that its own acknowledgements come when it is a member no more.
void ClusterRun::aim_at_own_removal(size_t i) {
  if (cluster_.member(i).leader() != seats_[i].id || seats_[i].unstick_at != 0 || !aim_prng_.chance(1, 2))
    return;
  edges_.met("leader on a slow disk removes itself");
  const io::MonotonicNs now = cluster_.world().now();
  seats_[i].unstick_at = now + static_cast<int64_t>(aim_prng_.between(20, 300)) * io::kMillisecond;
  cluster_.disk(i).set_syncs_stuck(true);
  for (int n = 0; n < 6; ++n) {
    cluster_.world().after(static_cast<int64_t>(aim_prng_.between(1, 300)) * io::kMillisecond,
                           [this, i, id = seats_[i].id] {
                             if (!cluster_.running(i) || seats_[i].id != id || cluster_.life(i).failure())
                               return;
                             if (!cluster_.life(i).process().paused()) traffic_.put_at(i, 3 * io::kSecond);
                           });
  }
}

void ClusterRun::end_aims() {
  if (!vote_ || cluster_.world().now() < vote_->until) return;
  for (size_t i = 0; i < seats_.size(); ++i)
    cluster_.network().mend(cluster_.url(vote_->from), cluster_.url(i));
  vote_.reset();
}

// ---- what a crash would leave ----

// What comes next to the log of a member is worth a look: a snapshot, or a change of the configuration.
void ClusterRun::aim_at_log(const raft::Message& m) {
  Seat* s = seat_of(m.to);
  if (s == nullptr || images_left_ == 0) return;
  if (m.type == raft::MessageType::kSnap) s->snapshot_comes = true;
  const auto changes = [](const raft::Entry& e) { return e.type != raft::EntryType::kNormal; };
  if (m.type == raft::MessageType::kApp && std::ranges::any_of(m.entries, changes)) s->change_comes = true;
}

// Before each operation of the disk. Between the write of the log and its sync a crash may keep any part of it.
void ClusterRun::before_operation(size_t i, sim::Op op, std::string_view path) {
  Seat& s = seats_[i];
  if (s.snapshot_comes && path.ends_with(".snap")) s.record_comes = true;
  if (op != sim::kSync || !path.starts_with(kWalDir) || s.flipped) return;
  size_t images = 0;
  if (std::exchange(s.change_comes, false)) images = kImagesOfAChange;
  if (std::exchange(s.record_comes, false)) {
    images = kImagesOfASnapshot;
    s.snapshot_comes = false;
  }
  for (; images > 0 && images_left_ > 0; --images, --images_left_) {
    images_.push_back({i, cluster_.disk(i).crash_image(image_prng_)});
  }
}

// A member must start on each of them, show what is true, and know how the configuration that its log builds on
// was committed.
void ClusterRun::look_at_images() {
  for (Image& image : std::exchange(images_, {})) {
    if (failed()) return;
    edges_.met("crash images started from");
    const std::string what = look_at(image);
    if (!what.empty()) fail(fmt::format("after a crash at this point m{} {}", image.seat, what));
  }
}

std::string ClusterRun::look_at(Image& image) {
  sim::World& world = cluster_.world();
  Life life(world, *image.disk, cluster_.config(image.seat), seed_);
  if (const Result<> started = life.start(); !started) {
    // One that joined and holds nothing yet asks the others, who cannot be asked here.
    if (started.error().text().find("cannot fetch cluster info") != std::string::npos) return {};
    return fmt::format("would not start: {}", started.error().text());
  }
  const auto view = life.member().view();
  int64_t known = 1;
  if (std::string what = truth_.learn(*view, &known, world.now()); !what.empty())
    return "would show: " + what;
  sim::Process& reader = world.start_process("look");
  sim::SimFileSystem fs(*image.disk, reader.executor("look"));
  sim::LogSink log;
  std::string problem;
  const auto records = wal::valid_snapshots(fs, std::string(kWalDir), log);
  if (records && !records->empty()) {
    const auto contents = wal::read(fs, std::string(kWalDir), records->back(), log);
    const Index committed = life.member().status().committed;
    Index first;
    for (const raft::Entry& e : contents ? contents->entries : std::vector<raft::Entry>()) {
      // The founders' entries are a configuration together: they come at once to who joins later.
      if (e.type == raft::EntryType::kNormal || e.index <= committed || e.index.v <= founders_) continue;
      if (first) {
        problem = fmt::format(
            "would hold the configuration change {} without the commit of the one before it, {} (commit {})",
            e.index.v, first.v, committed.v);
        break;
      }
      first = e.index;
    }
  }
  reader.kill();
  return problem;
}

}  // namespace quoin::scenarios
