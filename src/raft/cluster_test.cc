// A whole cluster in one thread, from one seed: first faults (messages lost, doubled, reordered; partitions;
// crashes that lose what was not synced) with only safety asked, then healing, with progress asked.
//
// Safety, checked all along (raft paper, figure 3): at most one leader a term; logs that agree on an entry
// agree on all before it; a leader has everything that was ever applied anywhere; nobody applies anything
// else at an index; a linearizable read is not older than what was committed when it was asked.
//
// A member's log on disk is modelled after the real one (wal/appender.cc, wal/group_encoder.h): see DiskLog.
//
// QUOIN_SEED=n runs that seed alone, QUOIN_SEEDS=k that many.
#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
#include <map>
#include <set>

#include "base/prng.h"
#include "raft/codec.h"
#include "raft/describe.h"
#include "raft/memory_storage.h"
#include "raft/rawnode.h"

namespace quoin::raft {
namespace {

struct Options {
  uint64_t seed = 0;
  int voters = 3;
  int members = 3;  // beyond the voters: may be added
  bool async = false;
  bool check_quorum = true;
  bool pre_vote = true;
  bool conf_changes = false;
  bool hold_responses = false;
  bool step_down_on_removal = false;
};

// A batch that was handed to the log: what a crash may lose, and what follows once it is durable.
struct Write {
  HardState hard_state;
  std::vector<Entry> entries;
  std::shared_ptr<const Snapshot> snapshot;  // received from the leader
  std::vector<Message> responses;
  std::shared_ptr<const Snapshot> own_snapshot;  // made here; stands alone
};

// The log of a member as a loss of power leaves it.
//
// The batches that are queued when a write begins are one group: one write, one sync, then all of them are
// acknowledged. A crash keeps all records of the groups that were synced, and of the group under way any number of
// its records from the front: what is behind a damaged record is cut off at the next start. The hard state of a batch
// is not written behind its entries. Only the newest one is kept in memory, and it is written
//   - at the end of a group,
//   - before a batch with a change of the configuration,
//   - before the record of an own snapshot, which counts only if a commit covers it.
// So entries may survive without the commit, and without the term, that was handed over with them. A group that holds
// nothing but newer commits is acknowledged without being written at all: a crash loses all of it.
class DiskLog {
 public:
  explicit DiskLog(std::shared_ptr<const Snapshot> base = std::make_shared<Snapshot>())
      : base_(std::move(base)) {}

  // One group, of which a crash lets only `rng.below(records + 1)` records reach the disk.
  void write(const std::deque<Write>& queue, size_t batches, Prng* crash) {
    std::vector<Record> group;
    bool must_sync = false;
    const auto add_state = [&] {
      if (newest_ == written_) return;
      EXPECT_GE(newest_.term, written_.term) << "a durable term went back";
      group.push_back({.state = written_ = newest_});
    };
    for (size_t i = 0; i < batches; ++i) {
      const Write& w = queue[i];
      const bool changes = std::any_of(w.entries.begin(), w.entries.end(),
                                       [](const Entry& e) { return e.type != EntryType::kNormal; });
      must_sync |= !w.entries.empty() || w.snapshot || w.own_snapshot;
      // The record of a received snapshot stands before a hard state that commits just that, and the entries behind
      // both: a record beyond the commit is ignored, a commit beyond the entries can't be opened, nor can entries
      // beyond a gap.
      if (w.snapshot) group.push_back({.snapshot = w.snapshot});
      if (changes && !w.snapshot) add_state();
      if (!w.hard_state.empty()) {
        must_sync |= w.hard_state.term != newest_.term || w.hard_state.vote != newest_.vote;
        if (w.snapshot) {
          newest_ = w.hard_state;
          newest_.commit = w.snapshot->metadata.index;
          add_state();
        }
      }
      for (const Entry& e : w.entries) group.push_back({.entry = e});
      if (!w.hard_state.empty()) newest_ = w.hard_state;
      if (w.own_snapshot) {
        add_state();
        group.push_back({.snapshot = w.own_snapshot});
      }
    }
    if (!must_sync) return;  // newest_ is written with the next group, if there is one
    add_state();
    const size_t kept = crash ? crash->below(group.size() + 1) : group.size();
    for (size_t i = 0; i < kept; ++i) records_.push_back(std::move(group[i]));
  }

  // What a start finds.
  std::unique_ptr<MemoryStorage> read() {
    HardState state;
    for (const Record& r : records_) {
      if (!r.state.empty()) state = r.state;
    }
    std::shared_ptr<const Snapshot> base = base_;
    for (const Record& r : records_) {
      if (!r.snapshot || r.snapshot->metadata.index > state.commit) continue;
      if (r.snapshot->metadata.index >= base->metadata.index) base = r.snapshot;
    }
    // Entries above the snapshot. One at or below it replaced all that stood above it before; so did a snapshot that
    // was received, which is one whose term is not that of the log.
    const Index start = base->metadata.index;
    std::vector<Entry> entries;
    Term term_at_start;
    for (const Record& r : records_) {
      if (r.snapshot && r.snapshot->metadata.index == start && term_at_start &&
          term_at_start != base->metadata.term) {
        entries.clear();
      }
      if (!r.entry.index) continue;
      if (r.entry.index <= start) {
        entries.clear();
        term_at_start = r.entry.index == start ? r.entry.term : Term();
        continue;
      }
      const uint64_t place = r.entry.index.v - start.v - 1;
      CHECK(place <= entries.size(), "a gap before entry {}", r.entry.index);
      entries.resize(place);
      entries.push_back(r.entry);
    }
    auto storage = std::make_unique<MemoryStorage>();
    if (!base->empty()) CHECK(storage->apply_snapshot(base).has_value());
    storage->append(std::move(entries));
    // As server/bootstrap.cc: the hard state that came with the last entries may be what a crash took.
    const Term last = *storage->term(storage->last_index());
    if (last > state.term) state = {last, MemberId(), state.commit};
    // Founders begin with a snapshot that no record tells of.
    state.commit = std::max(state.commit, base->metadata.index);
    EXPECT_LE(state.commit, storage->last_index()) << "the log lost entries that it says are committed";
    if (!state.empty()) storage->set_hard_state(state);
    newest_ = written_ = state;
    return storage;
  }

 private:
  struct Record {  // one of these
    HardState state = {};
    Entry entry = {};
    std::shared_ptr<const Snapshot> snapshot = {};
  };
  std::shared_ptr<const Snapshot> base_;
  std::vector<Record> records_;
  HardState newest_, written_;
};

struct Machine {  // what is applied, boiled down to one number
  Index index;
  uint64_t hash = 0;
};

struct Member {
  Config config;
  DiskLog log;
  std::unique_ptr<MemoryStorage> disk;  // what raft has been told is durable
  std::unique_ptr<Prng> prng;
  std::unique_ptr<RawNode> node;  // null: down
  std::deque<Write> writes;
  size_t synced = 0;  // of these, from the front: durable and not yet acknowledged
  std::deque<std::vector<Entry>> applies;
  Machine machine;
  ConfState conf_state;
};

class Cluster {
 public:
  explicit Cluster(const Options& o) : o_(o), rng_(o.seed) {
    ConfState first;
    for (int i = 1; i <= o.voters; ++i) first.voters.push_back(MemberId{static_cast<uint64_t>(i)});
    auto origin = std::make_shared<Snapshot>();
    origin->metadata = {first, Index{1}, Term{1}};
    origin->data = Blob::copy("0");
    committed_[Index{1}] = {Term{1}, 0};
    for (int i = 1; i <= o.members; ++i) {
      Member& m = *members_.emplace_back(std::make_unique<Member>());
      m.config.id = MemberId{static_cast<uint64_t>(i)};
      m.config.election_ticks = 10;
      m.config.async_storage_writes = o.async;
      m.config.check_quorum = o.check_quorum;
      m.config.pre_vote = o.pre_vote;
      m.config.inflight_messages_max = 4;
      m.config.message_bytes_max = 64;
      m.config.committed_bytes_per_ready_max = 48;
      m.config.step_down_on_removal = o.step_down_on_removal;
      m.config.hold_responses_for_conf_change = o.hold_responses;
      if (i <= o.voters) m.log = DiskLog(origin);
      start(m);
    }
  }

  void run_with_faults(int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) step();
  }

  // No more faults; everything that is due happens, tick by tick, until a new entry is applied everywhere.
  // False: it did not happen; why() tells how the members stand.
  bool heal() {
    side_.clear();
    for (auto& m : members_) {
      if (!m->node) start(*m);
    }
    std::string wanted;
    for (int tick = 0; tick < 2000 && !::testing::Test::HasFailure(); ++tick) {
      for (auto& m : members_) {
        if (m->node) m->node->tick();
      }
      drain();
      settle_membership();
      Member* leader = current_leader();
      if (!leader) continue;
      if (wanted.empty() || tick % 100 == 0) {
        const std::string data = fmt::format("healed {}", tick);
        if (leader->node->propose(Blob::copy(data)).has_value()) wanted = data;
        drain();
      }
      if (!wanted.empty() && applied_by_all(*leader)) return true;
    }
    return false;
  }

  std::string why() const {
    std::string state;
    for (auto& m : members_) {
      if (!m->node) continue;
      const Status st = m->node->status();
      state += fmt::format("{} {} lead {} {} last {} applied {} {}\n", st.id, name_of(st.soft_state.role),
                           st.soft_state.lead, describe(st.hard_state), m->node->raft().log().last_index(),
                           m->machine.index, describe(*st.config));
      if (!st.progress) continue;
      for (const auto& [id, p] : *st.progress) state += fmt::format("  {}: {}\n", id, describe(p));
    }
    return state;
  }

  // As a server does: a leader that was removed stops (a raft without step_down_on_removal would lead on and
  // take nothing in); who is wanted runs.
  void settle_membership() {
    Member* leader = current_leader();
    if (!leader) return;
    const tracker::Tracker& t = leader->node->raft().tracker();
    for (auto& m : members_) {
      if (!m->node && t.progress.find(m->config.id)) start(*m);
    }
    if (!t.progress.find(leader->config.id)) crash(*leader);
  }

  void check_logs() {
    for (auto& a : members_) {
      for (auto& b : members_) {
        if (a->config.id < b->config.id && a->node && b->node) check_matching(*a, *b);
      }
    }
  }
  size_t applied_indexes() const { return committed_.size(); }
  size_t elections() const { return leaders_.size(); }
  size_t reads_checked() const { return reads_checked_; }
  size_t configurations() const { return configurations_.size(); }

 private:
  struct Applied {
    Term term;
    uint64_t hash;
  };

  Member& any() { return *members_[rng_.below(members_.size())]; }
  Member* any_up() {
    Member& m = any();
    return m.node ? &m : nullptr;
  }
  Member* current_leader() {
    Member* best = nullptr;
    for (auto& m : members_) {
      if (m->node && m->node->raft().role() == Role::kLeader &&
          (!best || best->node->raft().term() < m->node->raft().term())) {
        best = m.get();
      }
    }
    return best;
  }

  void start(Member& m) {
    m.disk = m.log.read();
    const Snapshot& base = **m.disk->snapshot();
    m.machine = {base.metadata.index,
                 base.empty() ? 0 : std::strtoull(std::string(base.data.view()).c_str(), nullptr, 10)};
    m.conf_state = base.metadata.conf_state;
    m.config.applied = base.metadata.index;
    m.prng = std::make_unique<Prng>(rng_.next());
    m.node = std::make_unique<RawNode>(m.config, *m.disk, *m.prng, observer_);
  }

  void crash(Member& m) {
    m.node = nullptr;
    // The next group is not written before all of the last one are acknowledged.
    if (m.synced == 0) m.log.write(m.writes, rng_.below(m.writes.size() + 1), &rng_);
    m.writes.clear();
    m.synced = 0;
    m.applies.clear();
  }

  // Acknowledges a batch; those that are queued at some moment are written and synced together first.
  void finish_write(Member& m) {
    if (m.synced == 0) {
      m.synced = rng_.between(1, m.writes.size());
      m.log.write(m.writes, m.synced, nullptr);
    }
    --m.synced;
    Write w = std::move(m.writes.front());
    m.writes.pop_front();
    const auto snapshot = w.snapshot;
    if (snapshot) CHECK(m.disk->apply_snapshot(snapshot).has_value());
    m.disk->append(std::move(w.entries));
    if (!w.hard_state.empty()) m.disk->set_hard_state(w.hard_state);
    if (snapshot) {
      // What was handed out before the snapshot is applied before it.
      while (!m.applies.empty()) finish_apply(m);
      m.machine = {snapshot->metadata.index,
                   std::strtoull(std::string(snapshot->data.view()).c_str(), nullptr, 10)};
      m.conf_state = snapshot->metadata.conf_state;
    }
    for (Message& r : w.responses) {
      if (r.to == m.config.id) {
        // Refused if this member has been removed in the meantime.
        (void)m.node->step(std::move(r)).has_value();
      } else {
        post(std::move(r));
      }
    }
  }

  void apply(Member& m, const std::vector<Entry>& entries) {
    for (const Entry& e : entries) {
      ASSERT_EQ(e.index, m.machine.index + 1) << "applied out of order at " << m.config.id.v;
      if (e.type != EntryType::kNormal) {
        const auto change = conf_change_of(e);
        ASSERT_TRUE(change.has_value());
        m.conf_state = m.node->apply_conf_change(*change, e.index);
        configurations_.insert(describe(m.conf_state));
      }
      m.machine.index = e.index;
      m.machine.hash = m.machine.hash * 1000003 + std::hash<std::string_view>{}(e.data.view()) + e.term.v;
      const auto [it, fresh] = committed_.try_emplace(e.index, Applied{e.term, m.machine.hash});
      ASSERT_EQ(it->second.term, e.term) << "state machines differ at " << e.index.v;
      ASSERT_EQ(it->second.hash, m.machine.hash) << "state machines differ at " << e.index.v;
    }
  }

  void finish_apply(Member& m) {
    const std::vector<Entry> entries = std::move(m.applies.front());
    m.applies.pop_front();
    apply(m, entries);
    m.node->applied(entries.back().index, encoded_size(entries), payload_size(entries));
  }

  // Takes a Ready. In the synchronous form the member may crash at any point of carrying it out.
  void handle_ready(Member& m, bool may_crash) {
    if (!m.node->has_ready()) return;
    Ready rd = m.node->ready();
    note_role(m);
    for (const ReadState& r : rd.read_states) check_read(r);
    Write w{rd.hard_state, std::move(rd.entries), std::move(rd.snapshot), std::move(rd.append_responses)};
    const bool anything = !w.hard_state.empty() || !w.entries.empty() || w.snapshot || !w.responses.empty();
    if (o_.async) {
      post_all(std::move(rd.messages));
      if (anything) m.writes.push_back(std::move(w));
      if (rd.needs_apply()) m.applies.push_back(std::move(rd.committed_entries));
      return;
    }
    const bool leader = m.node->raft().role() == Role::kLeader;
    if (leader) post_all(std::move(rd.messages));
    if (anything) m.writes.push_back(std::move(w));
    if (may_crash && rng_.chance(1, 50)) return crash(m);
    while (!m.writes.empty()) finish_write(m);
    if (may_crash && rng_.chance(1, 50)) return crash(m);
    if (!leader) post_all(std::move(rd.messages));
    apply(m, rd.committed_entries);
    m.node->advance();
  }

  // ---- network ----

  void post(Message&& m) {
    if (m.type == MessageType::kSnap) {
      // As a server does: the message only tells that a snapshot is wanted; what is sent is the state of now.
      // An older one might not list the receiver yet.
      const Member& from = *members_.at(m.from.v - 1);
      auto now = std::make_shared<Snapshot>();
      now->data = Blob::copy(std::to_string(from.machine.hash));
      now->metadata = {from.conf_state, from.machine.index, committed_.at(from.machine.index).term};
      m.snapshot = std::move(now);
    }
    network_.push_back(encode_blob(m));
  }
  void post_all(std::vector<Message>&& ms) {
    for (Message& m : ms) post(std::move(m));
  }
  bool cut_off(MemberId a, MemberId b) const {
    const auto side = [&](MemberId id) { return side_.count(id) ? side_.at(id) : 0; };
    return side(a) != side(b);
  }

  void deliver(size_t at, bool faults) {
    const Blob bytes = network_[at];
    if (!faults || !rng_.chance(1, 20)) network_.erase(network_.begin() + static_cast<ptrdiff_t>(at));
    Result<Message> m = decode_message(bytes);
    ASSERT_TRUE(m.has_value());
    Member& to = *members_.at(m->to.v - 1);
    Member& from = *members_.at(m->from.v - 1);
    const bool lost = !to.node || (faults && (rng_.chance(1, 20) || cut_off(m->from, m->to)));
    // Of a snapshot the sender always learns whether it got across; without that it would wait for ever.
    if (m->type == MessageType::kSnap && from.node) from.node->report_snapshot(m->to, lost);
    if (lost && from.node && rng_.chance(1, 4)) from.node->report_unreachable(m->to);
    if (lost) return;
    // Refused ones are those of members that were removed.
    (void)to.node->step(std::move(*m)).has_value();
    note_role(to);
  }

  // ---- steps ----

  void step() {
    const uint64_t dice = rng_.below(10'000);
    if (dice < 4500) {
      if (!network_.empty()) deliver(rng_.below(std::min<size_t>(network_.size(), 8)), true);
    } else if (dice < 6500) {
      if (Member* m = any_up()) handle_ready(*m, true);
    } else if (dice < 8800) {
      if (Member* m = any_up()) work(*m);
    } else if (dice < 9300) {
      if (Member* m = any_up()) m->node->tick(), note_role(*m);
    } else if (dice < 9850) {
      if (Member* m = any_up()) request(*m);
    } else if (dice < 9930) {
      if (Member* m = any_up()) compact(*m);
    } else if (dice < 9950) {
      partition();
    } else {
      Member& m = any();
      if (!m.node)
        start(m);
      else if (rng_.chance(1, 3))
        crash(m);
    }
    if (rng_.chance(1, 50)) check_logs();
  }

  void work(Member& m) {
    if (rng_.chance(1, 2) && !m.writes.empty())
      finish_write(m);
    else if (!m.applies.empty())
      finish_apply(m);
    if (!::testing::Test::HasFailure()) note_role(m);
  }

  void request(Member& m) {
    switch (rng_.below(o_.conf_changes ? 8 : 6)) {
      case 0:
        m.node->transfer_leadership(any().config.id);
        break;
      case 1:
      case 2: {
        const std::string context = fmt::format("read {}", ++reads_);
        asked_[context] = highest_commit();
        m.node->read_index(Blob::copy(context));
        break;
      }
      case 3:
      case 4:
      case 5:
        (void)m.node->propose(Blob::copy(fmt::format("p{}", ++proposals_))).has_value();
        break;
      default:
        propose_change(m);
    }
    note_role(m);
  }

  void propose_change(Member& m) {
    // Only at a leader: its configuration is then the one that the change will be applied to.
    if (m.node->raft().role() != Role::kLeader) return;
    ConfChangeV2 change;
    if (rng_.chance(1, 4)) {
      (void)m.node->propose_conf_change(change).has_value();  // leave a joint configuration
      return;
    }
    change.transition = static_cast<ConfChangeTransition>(rng_.below(3));
    const uint64_t n = rng_.between(1, 3);
    const MemberSet now = m.node->raft().tracker().config.voters.incoming;
    for (uint64_t i = 0; i < n; ++i) {
      static constexpr ConfChangeType kTypes[] = {ConfChangeType::kAddNode, ConfChangeType::kAddNode,
                                                  ConfChangeType::kRemoveNode,
                                                  ConfChangeType::kAddLearnerNode};
      change.changes.push_back({kTypes[rng_.below(4)], any().config.id});
    }
    // What would empty the configuration is a bug of the proposer; raft would stop on it.
    tracker::Tracker t = m.node->raft().tracker();
    if (t.config.joint() || !confchange::apply(t, Index{1}, change)) return;
    (void)m.node->propose_conf_change(change).has_value();
  }

  void compact(Member& m) {
    if (m.node->snapshot_pending()) return;
    if (m.machine.index <= (*m.disk->snapshot())->metadata.index || m.machine.index > m.disk->last_index())
      return;
    const auto made =
        m.disk->create_snapshot(m.machine.index, &m.conf_state, Blob::copy(std::to_string(m.machine.hash)));
    ASSERT_TRUE(made.has_value());
    m.writes.push_back({.own_snapshot = *m.disk->snapshot()});
    const Index keep{rng_.below(6)};
    if (m.machine.index > keep + m.disk->first_index().v)
      (void)m.disk->compact(m.machine.index - keep.v).has_value();
  }

  void partition() {
    side_.clear();
    if (rng_.chance(1, 2)) return;
    for (auto& m : members_) side_[m->config.id] = static_cast<int>(rng_.below(2));
  }

  // Everything that is due, without faults.
  void drain() {
    int rounds = 0;
    for (bool busy = true; busy && !::testing::Test::HasFailure();) {
      busy = false;
      ASSERT_LT(++rounds, 10'000) << "messages go round for ever, the next is " << describe_next();
      for (auto& m : members_) {
        if (m->node && m->node->has_ready()) handle_ready(*m, false), busy = true;
        while (!m->writes.empty()) finish_write(*m), busy = true;
        while (!m->applies.empty() && !::testing::Test::HasFailure()) finish_apply(*m), busy = true;
      }
      for (size_t n = network_.size(); n > 0; --n) deliver(0, false), busy = true;
    }
  }

  std::string describe_next() const {
    return network_.empty() ? "none" : describe(*decode_message(network_.front()));
  }

  bool applied_by_all(const Member& leader) {
    const tracker::Config& config = leader.node->raft().tracker().config;
    const Index last = leader.node->raft().log().last_index();
    for (auto& m : members_) {
      const MemberId id = m->config.id;
      if ((config.voters.contains(id) || config.learners.contains(id)) && m->machine.index < last)
        return false;
    }
    return leader.machine.index == last;
  }

  // ---- what must hold ----

  Index highest_commit() const {
    Index i;
    for (const auto& m : members_) {
      if (m->node) i = std::max(i, m->node->raft().log().committed());
    }
    return i;
  }

  void check_read(const ReadState& r) {
    const auto it = asked_.find(std::string(r.context.view()));
    ASSERT_NE(it, asked_.end());
    // With one voter raft answers before it has committed in its term (as etcd does), so a commit index that
    // was not synced can be missing.
    if (o_.conf_changes) return;
    EXPECT_GE(r.index, it->second) << "a stale read";
    ++reads_checked_;
  }

  void note_role(const Member& m) {
    if (!m.node || m.node->raft().role() != Role::kLeader) return;
    const auto [it, fresh] = leaders_.try_emplace(m.node->raft().term(), m.config.id);
    EXPECT_EQ(it->second, m.config.id) << "two leaders in term " << it->first.v;
    if (!fresh) return;
    const RaftLog& log = m.node->raft().log();
    for (const auto& [index, applied] : committed_) {
      if (index < log.first_index()) continue;
      ASSERT_TRUE(log.matches({applied.term, index}))
          << "leader " << m.config.id.v << " of term " << it->first.v << " lacks " << applied.term.v << "/"
          << index.v;
    }
  }

  void check_matching(const Member& a, const Member& b) {
    const RaftLog& x = a.node->raft().log();
    const RaftLog& y = b.node->raft().log();
    const Index low = std::max(x.first_index(), y.first_index());
    bool agree = false;
    for (Index i = std::min(x.last_index(), y.last_index()); i >= low && i; i = i - 1) {
      const bool same = x.term_or_zero(i) == y.term_or_zero(i);
      ASSERT_TRUE(same || !agree) << "logs agree above " << i.v << " but not there";
      if (!same) continue;
      agree = true;
      std::vector<Entry> ex, ey;
      ASSERT_TRUE(x.entries(i, 0, ex).has_value() && y.entries(i, 0, ey).has_value());
      ASSERT_EQ(ex[0].data.view(), ey[0].data.view());
    }
  }

  const Options o_;
  Prng rng_;
  Observer observer_;
  std::vector<std::unique_ptr<Member>> members_;
  std::deque<Blob> network_;
  std::map<MemberId, int> side_;
  uint64_t proposals_ = 0, reads_ = 0;
  size_t reads_checked_ = 0;
  std::map<std::string, Index> asked_;
  std::map<Term, MemberId> leaders_;
  std::map<Index, Applied> committed_;
  std::set<std::string> configurations_;
};

Options options_of(uint64_t seed) {
  Prng rng(seed);
  Options o;
  o.seed = seed;
  o.voters = static_cast<int>(rng.between(3, 5));
  o.conf_changes = rng.chance(1, 2);
  o.members = o.conf_changes ? 5 : o.voters;
  o.async = rng.chance(1, 2);
  o.hold_responses = rng.chance(1, 2);
  o.step_down_on_removal = rng.chance(1, 2);
  // Removed members may disturb the others without these two.
  o.check_quorum = o.conf_changes || rng.chance(1, 2);
  o.pre_vote = o.conf_changes || rng.chance(1, 2);
  return o;
}

TEST(Cluster, SafeUnderFaultsThenMakesProgress) {
  const char* chosen = std::getenv("QUOIN_SEED");
  const uint64_t first = chosen ? std::strtoull(chosen, nullptr, 10) : 1;
  const char* many = std::getenv("QUOIN_SEEDS");
  const uint64_t count = many ? std::strtoull(many, nullptr, 10) : chosen ? 1 : 120;
  std::vector<uint64_t> seeds;
  for (uint64_t i = 0; i < count; ++i) seeds.push_back(first + i);
  // Seeds that met a fault once: a commit beyond the entries, replaced entries that came back, a lost term.
  if (!chosen && !many) seeds.insert(seeds.end(), {951, 1826, 2161});
  size_t stuck = 0, applied = 0, elections = 0, reads = 0, configurations = 0;
  for (const uint64_t seed : seeds) {
    const Options o = options_of(seed);
    SCOPED_TRACE(fmt::format("QUOIN_SEED={} voters={} async={} conf_changes={} check_quorum={} pre_vote={}",
                             seed, o.voters, o.async, o.conf_changes, o.check_quorum, o.pre_vote));
    Cluster c(o);
    c.run_with_faults(20'000);
    if (!HasFailure() && !c.heal()) {
      // A member that left the voters with a longer log than the last of them has can keep that one from
      // being elected: the rest of the old configuration is needed for the vote, and it has moved on. raft's
      // rules do not exclude that (the leader should stay until the others know), so it only has to stay
      // rare.
      ++stuck;
      EXPECT_TRUE(o.conf_changes) << "no progress after healing\n" << c.why();
    }
    if (!HasFailure()) c.check_logs();
    ASSERT_FALSE(HasFailure());
    applied += c.applied_indexes();
    elections += c.elections();
    reads += c.reads_checked();
    configurations += c.configurations();
  }
  std::printf(
      "seeds %llu to %llu: %zu entries applied, %zu terms with a leader, %zu reads checked, %zu "
      "configurations\n",
      static_cast<unsigned long long>(first), static_cast<unsigned long long>(first + count - 1), applied,
      elections, reads, configurations);
  std::printf("%zu clusters with membership changes were stuck\n", stuck);
  EXPECT_LE(stuck * 50, count);
}

}  // namespace
}  // namespace quoin::raft
