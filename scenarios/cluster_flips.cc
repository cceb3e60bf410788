// Bits that flip on the disks of a ClusterRun, and members that are replaced for it.
//
// A bit flips while the member is down, in its log, a snapshot or the structure of its database. Then the member starts
// and holds what is true, or it refuses and names the file, or the check of the database finds it. Who refuses is
// replaced as an operator does it: removed, and another one is added at its address.
//
// Not every flip can be told by the member: one in a length field or in the type of a record may make the last write of
// the log look as one that power loss has torn, and that is cut without a word. A member that forgot what it
// acknowledged must not vote any more. The run reads the log before and after, and replaces such a member before it
// says anything.
//
// A cluster can lose one of its copies at a time, so a flip waits until all else is known to be well.
#include <fmt/format.h>

#include <algorithm>

#include "scenarios/cluster_run.h"
#include "scenarios/flip.h"
#include "scenarios/image.h"
#include "sim/log_sink.h"
#include "wal/wal.h"

namespace quoin::scenarios {

namespace {

constexpr std::string_view kWalDir = "/data/member/wal";
constexpr int64_t kAskAgainNs = 3 * io::kSecond;

// What a log says, to whoever starts from it. Nothing if it can't be read.
struct LogText {
  raft::HardState state;
  Index snapshot, last;
  std::vector<raft::EntryId> entries;
  friend bool operator==(const LogText&, const LogText&) = default;
};

std::optional<LogText> read_log(sim::World& world, sim::SimDisk& disk) {
  sim::Process& reader = world.start_process("read");
  sim::SimFileSystem fs(disk, reader.executor("read"));
  sim::LogSink log;
  std::optional<LogText> out;
  if (const auto records = wal::valid_snapshots(fs, std::string(kWalDir), log);
      records && !records->empty()) {
    if (const auto contents = wal::read(fs, std::string(kWalDir), records->back(), log)) {
      out.emplace(LogText{contents->hard_state, records->back().index, contents->last_index, {}});
      for (const raft::Entry& e : contents->entries) out->entries.push_back(raft::id_of(e));
    }
  }
  reader.kill();
  return out;
}

std::string base_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

// Whether the others go on without this one whatever becomes of what has been asked for.
bool ClusterRun::can_lose(size_t i) const {
  if (change_open_ || !planned_.empty()) return false;
  const std::set<MemberId> voters = voters_by_any_word();
  size_t up = 0;
  for (size_t j = 0; j < seats_.size(); ++j) {
    const Seat& s = seats_[j];
    if (s.gone) continue;
    if (s.flipped || (removals_open_.contains(s.id) && voters.contains(s.id))) return false;
    up += j != i && s.was_up && voters.contains(s.id) ? 1 : 0;
  }
  return up * 2 > voters_at_most().size();
}

// Before a start.
void ClusterRun::maybe_flip(size_t i) {
  Seat& s = seats_[i];
  s.log_cut = s.db_findings = false;
  if (!flips_ || healing_ || !s.was_up || s.faulty || !flip_prng_.chance(1, 3) || !can_lose(i)) return;
  sim::SimDisk& disk = cluster_.disk(i);
  if (!disk.visible_bytes(kDbPath)) return;
  const std::optional<LogText> before = read_log(cluster_.world(), disk);
  if (!before) return;
  const FlipPlace place = draw_flip(disk, flip_prng_);
  const int bit = static_cast<int>(flip_prng_.below(8));
  if (!disk.flip_bit(place.path, place.offset, bit)) return;
  s.flipped = true;
  s.flip_file = base_name(place.path);
  story_.note("bit {} of byte {} of m{}'s {} flips", bit, place.offset, i, s.flip_file);
  edges_.met("bits flipped");
  if (place.path.ends_with(".wal")) {
    const std::optional<LogText> after = read_log(cluster_.world(), disk);
    s.log_cut = after && *after != *before;
  }
  s.db_findings = place.path == kDbPath && !check_db_image(cluster_.world(), disk).empty();
}

// Just after a start: nobody has heard of this life yet.
void ClusterRun::started_after_flip(size_t i) {
  Seat& s = seats_[i];
  if (s.log_cut) return take_for_damaged(i, "flipped bit made the log's end look torn");
  if (!s.db_findings) return;
  // It may not be able to read, but nothing that it reads is wrong.
  if (compare(i); failed() || s.damaged) return;
  take_for_damaged(i, "flipped bit found by the check of the database");
}

void ClusterRun::refused_after_flip(size_t i, std::string_view text) {
  // Without its newest meta page a database shows the state before, which may be older than the snapshot: that has
  // words of etcd's own.
  const bool older = seats_[i].flip_file == base_name(kDbPath) &&
                     text.find("failed to find database snapshot file") != std::string_view::npos;
  if (!older && text.find(seats_[i].flip_file) == std::string_view::npos)
    return fail(fmt::format("m{} refuses without naming {}: {}", i, seats_[i].flip_file, text));
  take_for_damaged(i, "flipped bit refused at the start");
}

void ClusterRun::take_for_damaged(size_t i, std::string_view how) {
  Seat& s = seats_[i];
  edges_.met(how);
  if (cluster_.running(i)) end_life(i, false, how);
  s.damaged = true;
  s.restart_at = 0;
}

// The operator's part: takes the damaged one out of the cluster, and puts another one in its place.
void ClusterRun::replace_damaged() {
  const io::MonotonicNs now = cluster_.world().now();
  for (size_t i = 0; i < seats_.size(); ++i) {
    Seat& s = seats_[i];
    if (!s.damaged || s.replaced || change_open_ || now < ask_again_at_) continue;
    std::vector<size_t> at = usable();
    if (at.empty()) return;
    ask_again_at_ = now + kAskAgainNs;
    const size_t by = at[flip_prng_.below(at.size())];
    membership::Change change;
    if (!s.gone) {
      change.kind = membership::ChangeKind::kRemove;
      change.member.id = s.id;
      return ask_for_change(by, change, "remove the damaged");
    }
    s.replaced = true;
    edges_.met("damaged member removed");
    if (healing_ || seats_.size() >= kSeatsMax) continue;
    change.kind =
        flip_prng_.chance(1, 2) ? membership::ChangeKind::kAdd : membership::ChangeKind::kAddLearner;
    change.member.id = MemberId(next_id_++);
    change.member.is_learner = change.kind == membership::ChangeKind::kAddLearner;
    change.member.peer_urls = {cluster_.url(i)};
    if (goes_on_without_newcomers(change)) ask_for_change(by, change, "add for the damaged");
    return;
  }
}

}  // namespace quoin::scenarios
