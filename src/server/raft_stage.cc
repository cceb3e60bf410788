#include "server/raft_stage.h"

#include "base/coding.h"
#include "failpoint/failpoint.h"
#include "raft/codec.h"
#include "server/raft_probe.h"
#include "server/slow_trace.h"

namespace quoin::server {

namespace {
constexpr int64_t kReadIndexRetryNs = 500 * io::kMillisecond;
}  // namespace

RaftStage::RaftStage(RaftStageOptions options, std::unique_ptr<raft::MemoryStorage> storage,
                     raft::Observer& observer, uint64_t seed, io::Executor& strand, io::TimerService& timers,
                     io::Clock& clock, Waiters& waiters, RequestIds& ids, RaftSink& sink, log::Logger& log,
                     metrics::Registry& metrics)
    : options_(std::move(options)),
      self_(options_.raft.id),
      strand_(strand),
      timers_(timers),
      clock_(clock),
      waiters_(waiters),
      ids_(ids),
      sink_(sink),
      log_(log),
      observer_(observer),
      prng_(seed),
      storage_(std::move(storage)),
      node_(std::make_unique<raft::RawNode>(options_.raft, *storage_, prng_, observer_)),
      probe_(std::make_unique<RaftProbe>(metrics)),
      backlog_(clock, log, metrics),
      // The state machine begins with the snapshot.
      applied_((*storage_->snapshot())->metadata.index.v) {
  metrics.callback("etcd_server_proposals_pending", "The current number of pending proposals to commit.",
                   metrics::Type::kGauge, [this] { return static_cast<double>(waiters_.size()); });
  metrics.callback(
      "quoin_raft_longest_tick_gap_seconds",
      "The longest time between two ticks of raft's clock since the start.", metrics::Type::kGauge,
      [this] { return static_cast<double>(longest_tick_gap_.load(std::memory_order_relaxed)) * 1e-9; });
  metrics.callback(
      "quoin_raft_log_bytes", "Bytes of raft's log that are kept in memory.", metrics::Type::kGauge,
      [this] { return static_cast<double>(progress_.log_bytes.load(std::memory_order_relaxed)); });
  publish();
}

RaftStage::~RaftStage() = default;

Result<> RaftStage::bootstrap(const std::vector<raft::Peer>& peers) {
  TRY(node_->bootstrap(peers));
  publish();
  return {};
}

void RaftStage::advance_ticks(int ticks) {
  strand_.post([this, ticks] {
    for (int i = 0; i < ticks; ++i) node_->tick();
    schedule_ready();
  });
}

void RaftStage::post_campaign() {
  strand_.post([this] {
    if (stopped_ || node_->raft().lead()) return;
    (void)node_->campaign();  // refused where it may not; ticks try again
    schedule_ready();
  });
}

// ---- in ----

void RaftStage::post_proposals(std::vector<Proposal> proposals) {
  strand_.post([this, proposals = std::move(proposals)]() mutable {
    propose(std::move(proposals));
    schedule_ready();
  });
}

void RaftStage::post_readers(std::vector<Reader> readers) {
  strand_.post([this, readers = std::move(readers)]() mutable {
    if (stopped_) return complete(std::move(readers), Error(Code::kServerStopped));
    if (next_readers_.empty()) {
      next_readers_ = std::move(readers);
    } else {
      std::move(readers.begin(), readers.end(), std::back_inserter(next_readers_));
    }
    if (!round_) start_read_round();
    schedule_ready();
  });
}

void RaftStage::post_start_ticking() {
  strand_.post([this] { schedule_tick(); });
}

void RaftStage::schedule_tick() {
  if (stopped_) return;
  tick_timer_ = timers_.schedule(options_.tick_ns, strand_, [this] {
    schedule_tick();
    tick();
  });
}

void RaftStage::tick() {
  if (stopped_) return;
  const io::MonotonicNs now = clock_.monotonic();
  const io::MonotonicNs before = last_tick_.exchange(now, std::memory_order_relaxed);
  if (before != 0) {
    const int64_t gap = now - before;
    if (gap > longest_tick_gap_.load(std::memory_order_relaxed)) {
      longest_tick_gap_.store(gap, std::memory_order_relaxed);
    }
  }
  node_->tick();
  backlog_.watch();
  expire(now);
  check_read_round(now);
  check_transfer(now);
  hand_over_if_stuck(now);
  schedule_ready();
}

void RaftStage::post_appended(AppendBatch batch) {
  strand_.post([this, batch = std::move(batch)]() mutable {
    backlog_.durable();
    if (batch.snapshot) {
      FAILPOINT(raftBeforeApplySnap);
      const Result<> taken = storage_->apply_snapshot(batch.snapshot);
      CHECK(taken.has_value(), "a snapshot older than the one before: {}", taken.error().text());
      LOG(log_, kInfo, "applied incoming Raft snapshot",
          {"snapshot-index", batch.snapshot->metadata.index.v});
      FAILPOINT(raftAfterApplySnap);
      installing_ = batch.snapshot->metadata.index;
      sink_.install_snapshot(std::move(batch.snapshot));
    }
    if (!batch.hard_state.empty()) storage_->set_hard_state(batch.hard_state);
    if (!batch.entries.empty()) storage_->append(std::move(batch.entries));
    FAILPOINT_IF(node_->raft().role() != raft::Role::kLeader, raftBeforeFollowerSend);
    if (installing_) {
      std::move(batch.responses.begin(), batch.responses.end(), std::back_inserter(held_responses_));
    } else {
      release(std::move(batch.responses));
    }
    FAILPOINT(raftBeforeAdvance);
    schedule_ready();
  });
}

void RaftStage::post_applied(Index last, uint64_t encoded_bytes, uint64_t payload_bytes) {
  strand_.post([this, last, encoded_bytes, payload_bytes] {
    node_->applied(last, encoded_bytes, payload_bytes);
    schedule_ready();
  });
}

void RaftStage::post_conf_change(raft::ConfChange change, Index at, io::Executor& executor,
                                 absl::AnyInvocable<void(raft::ConfState)> done) {
  strand_.post([this, change = std::move(change), at, &executor, done = std::move(done)]() mutable {
    raft::ConfState state = node_->apply_conf_change(change, at);
    executor.post([done = std::move(done), state = std::move(state)]() mutable { done(std::move(state)); });
    schedule_ready();
  });
}

void RaftStage::post_compact(Index snapshot_index, raft::ConfState conf_state, Blob snapshot_data, Index upto,
                             uint64_t bytes_max) {
  strand_.post([this, snapshot_index, conf_state = std::move(conf_state), data = std::move(snapshot_data),
                upto, bytes_max] {
    // Both fail only for what is done already.
    (void)storage_->create_snapshot(snapshot_index, &conf_state, data);
    const Index covered = (*storage_->snapshot())->metadata.index;
    const Index within = storage_->compaction_within(bytes_max, covered);
    const Index last = std::max(upto, within);
    if (last >= storage_->first_index()) {
      (void)storage_->compact(last);
      if (bytes_max > kLogBytesMax && within > upto) probe_->log_cut_while_sending.inc();
    }
    publish();
  });
}

void RaftStage::post_stop(io::Executor& executor, absl::AnyInvocable<void(raft::HardState)> done) {
  strand_.post([this, &executor, done = std::move(done)]() mutable {
    stopped_ = true;
    tick_timer_.reset();
    end_transfer(Error(Code::kServerStopped));
    parked_.clear();
    parked_bytes_ = 0;
    const Error stopped(Code::kServerStopped);
    fail_read_round(stopped);
    complete(std::exchange(next_readers_, {}), stopped);
    for (WaitApplied& w : wait_applied_) complete(std::move(w.readers), stopped);
    wait_applied_.clear();
    for (Waiter& w : waiters_.take_all()) {
      outbox_.answer(std::move(w), {.error = stopped});
    }
    outbox_.flush();
    executor.post([done = std::move(done), hs = handed_state_]() mutable { done(hs); });
  });
}

// ---- proposals ----

// What was admitted stays charged until the next Ready has charged it as handed to the log.
void RaftStage::taken(const std::vector<Proposal>& proposals) {
  for (const Proposal& p : proposals) {
    if (!p.admitted) continue;
    ++taken_;
    taken_bytes_ += p.data.size();
  }
  if (stopped_) backlog_.admitted_ended(std::exchange(taken_, 0), std::exchange(taken_bytes_, 0));
}

void RaftStage::propose(std::vector<Proposal>&& proposals) {
  taken(proposals);
  if (stopped_) {
    for (const Proposal& p : proposals) refuse(p, Error(Code::kServerStopped));
    return outbox_.flush();
  }
  if (!node_->raft().lead()) return park(std::move(proposals));
  std::vector<raft::Entry> entries;
  entries.reserve(proposals.size());
  for (Proposal& p : proposals) {
    raft::Entry e;
    e.type = p.type;
    e.data = p.data;
    if (p.only_in_term) {
      std::vector<raft::Entry> one;
      one.push_back(std::move(e));
      if (Result<> r = node_->propose_guarded(p.only_in_term, std::move(one)); !r) refuse(p, r.error());
      p.id = 0;
      continue;
    }
    entries.push_back(std::move(e));
  }
  if (entries.empty()) return outbox_.flush();
  if (Result<> r = node_->propose(std::move(entries)); !r) {
    for (const Proposal& p : proposals) refuse(p, r.error());
  }
  outbox_.flush();
}

void RaftStage::park(std::vector<Proposal>&& proposals) {
  const io::MonotonicNs now = clock_.monotonic();
  for (Proposal& p : proposals) {
    const size_t bytes = parked_size(p);
    if (parked_bytes_ + bytes > kParkedBytesMax) drop_given_up();
    if (p.only_in_term || parked_bytes_ + bytes > kParkedBytesMax) {
      refuse(p, Error(p.only_in_term ? Code::kProposalDropped : Code::kTooManyRequests));
      continue;
    }
    parked_bytes_ += bytes;
    parked_.push_back({std::move(p), now});
  }
  outbox_.flush();
}

// Whenever a leader is known, not only when it changes: it may have been lost and found again between two
// Readys.
bool RaftStage::retry_parked() {
  if (parked_.empty() || !node_->raft().lead()) return false;
  std::vector<Proposal> all;
  while (!parked_.empty()) {
    Proposal p = take_parked();
    if (given_up(p)) {
      waiters_.take(p.id);  // what it still held: nothing more is done for it
      continue;
    }
    p.admitted = false;  // it was given back when it was parked
    all.push_back(std::move(p));
  }
  if (all.empty()) return false;
  propose(std::move(all));
  return true;
}

Proposal RaftStage::take_parked() {
  Proposal p = std::move(parked_.front().proposal);
  parked_.pop_front();
  parked_bytes_ -= parked_size(p);
  return p;
}

bool RaftStage::given_up(const Proposal& proposal) const {
  return proposal.awaited && !waiters_.waiting(proposal.id);
}

// Those at the front, so that the cost is shared by the calls: the oldest are given up first.
void RaftStage::drop_given_up() {
  while (!parked_.empty() && given_up(parked_.front().proposal)) waiters_.take(take_parked().id);
}

void RaftStage::count_failed() {
  probe_->failed.inc();
}

void RaftStage::refuse(const Proposal& proposal, Error error) {
  if (proposal.id == 0) return;
  auto waiter = waiters_.take(proposal.id);
  if (proposal.awaited && (!waiter || waiter->given_up)) return;  // counted when its client went
  probe_->failed.inc();
  if (waiter) outbox_.answer(std::move(*waiter), {.error = std::move(error)});
}

void RaftStage::expire(io::MonotonicNs now) {
  const io::MonotonicNs limit = now - options_.request_timeout_ns;
  // raft never took these: to the client its own time is over, nothing else is known.
  std::vector<Proposal> patient;
  while (!parked_.empty() && parked_.front().since < limit) {
    Proposal p = take_parked();
    if (!p.patient) {
      refuse(p, Error(Code::kContextDeadlineExceeded));
    } else if (given_up(p)) {
      waiters_.take(p.id);
    } else {
      patient.push_back(std::move(p));
    }
  }
  for (Proposal& p : patient) {
    parked_bytes_ += parked_size(p);
    parked_.push_back({std::move(p), now});
  }
  for (Waiter& w : waiters_.expire(limit)) {
    probe_->failed.inc();
    const Error error(timeout_code(w.since));
    outbox_.answer(std::move(w), {.error = error});
  }
  outbox_.flush();
}

// Why a request that began at `since` may have met no answer (spec 31.2).
Code RaftStage::timeout_code(io::MonotonicNs since) const {
  const int64_t lost = became_leader_ - 2 * options_.raft.election_ticks * options_.tick_ns;
  if (since > lost && since < became_leader_) return Code::kTimeoutLeaderFail;
  if (lead_ && !sink_.connected_since(since, lead_)) return Code::kTimeoutConnectionLost;
  return Code::kTimeout;
}

// ---- out ----

void RaftStage::schedule_ready() {
  if (ready_scheduled_ || stopped_) return;
  ready_scheduled_ = true;
  // Behind whatever is queued already: one Ready for all of it.
  strand_.post([this] {
    ready_scheduled_ = false;
    run_ready();
  });
}

void RaftStage::run_ready() {
  leader_watch_.turn(*node_, observer_);
  while (!stopped_ && (node_->has_ready() || retry_parked())) {
    if (node_->has_ready()) handle_ready(node_->ready());
  }
  backlog_.admitted_ended(std::exchange(taken_, 0), std::exchange(taken_bytes_, 0));
  publish();
}

namespace {
// A vote asked for with entries that are not durable yet could be granted to a later life of this member, which has lost
// them and asks in the same term. So it leaves with what the write of these entries releases.
void hold_votes(raft::Ready* ready) {
  const auto others = [](const raft::Message& m) { return m.type != raft::MessageType::kVote; };
  std::vector<raft::Message>& messages = ready->messages;
  if (std::all_of(messages.begin(), messages.end(), others)) return;  // but in an election
  const auto votes = std::stable_partition(messages.begin(), messages.end(), others);
  ready->append_responses.insert(ready->append_responses.begin(), std::make_move_iterator(votes),
                                 std::make_move_iterator(messages.end()));
  messages.erase(votes, messages.end());
}
}  // namespace

void RaftStage::handle_ready(raft::Ready ready) {
  if (ready.soft_state) soft_state_changed(*ready.soft_state);
  for (const raft::ReadState& state : ready.read_states) on_read_state(state);
  if (!ready.hard_state.empty()) probe_->committed.set(static_cast<double>(ready.hard_state.commit.v));
  // Published before apply can answer: nobody may see a request applied and not committed.
  publish();
  // Before the write: others need not wait for the disk of this member.
  // A follower's that say nothing of its disk, too: what it acknowledges leaves from post_appended().
  FAILPOINT_IF(node_->raft().role() == raft::Role::kLeader, raftBeforeLeaderSend);
  FAILPOINT_IF(node_->raft().role() != raft::Role::kLeader && !ready.messages.empty(),
               raftBeforeFollowerSend);
  hold_votes(&ready);
  if (!ready.messages.empty()) send(std::move(ready.messages));
  // The end of a batch that needs no disk; of others it is in post_appended().
  FAILPOINT_IF(!ready.needs_append(), raftBeforeAdvance);
  if (ready.needs_append()) {
    if (!ready.hard_state.empty()) handed_state_ = ready.hard_state;
    backlog_.handed(ready.entries);
    sink_.append({ready.hard_state, std::move(ready.entries), std::move(ready.snapshot),
                  std::move(ready.append_responses)});
  }
  if (ready.needs_apply()) sink_.apply_entries(std::move(ready.committed_entries));
}

void RaftStage::publish() {
  const raft::Raft& r = node_->raft();
  progress_.term.store(r.term().v, std::memory_order_relaxed);
  progress_.lead.store(r.lead().v, std::memory_order_relaxed);
  progress_.committed.store(r.log().committed().v, std::memory_order_relaxed);
  progress_.last_index.store(r.log().last_index().v, std::memory_order_relaxed);
  progress_.log_bytes.store(storage_->bytes(), std::memory_order_relaxed);
}

// ---- linearizable reads (spec 31.3) ----

void RaftStage::start_read_round() {
  if (next_readers_.empty()) return;
  round_.emplace();
  round_->readers = std::exchange(next_readers_, {});
  round_->started = clock_.monotonic();
  send_read_index();
}

void RaftStage::send_read_index() {
  const uint64_t id = ids_.next();
  round_->ids.insert(id);
  round_->sent = clock_.monotonic();
  node_->read_index(Blob::copy(be64(id)));
}

void RaftStage::on_read_state(const raft::ReadState& state) {
  if (state.context.size() != 8) return;
  const uint64_t id = load_be64(state.context.view().data());
  if (!round_ || !round_->ids.contains(id)) {
    LOG(log_, kWarn,
        "ignored out-of-date read index response; local node read indexes queueing up and waiting to "
        "be in sync with leader",
        {"received-request-id", id});
    probe_->slow_reads.inc();
    return;
  }
  WaitApplied wait{state.index, std::move(round_->readers), round_->started, clock_.monotonic(), applied()};
  round_.reset();
  if (wait.applied >= wait.index) {
    read_round_done(std::move(wait));
  } else {
    // Rounds end in the order they began and their indexes do not fall.
    wait_applied_.push_back(std::move(wait));
    applied_wanted_.store(true);
    release_applied_readers();
  }
  start_read_round();
}

void RaftStage::note_applied(Index index) {
  applied_.store(index.v);
  if (applied_wanted_.load()) strand_.post([this] { release_applied_readers(); });
}

void RaftStage::release_applied_readers() {
  const Index now(applied_.load());
  while (!wait_applied_.empty() && wait_applied_.front().index <= now) {
    read_round_done(std::move(wait_applied_.front()));
    wait_applied_.pop_front();
  }
  if (wait_applied_.empty()) applied_wanted_.store(false);
}

void RaftStage::read_round_done(WaitApplied round) {
  complete(std::move(round.readers), {});
  // One that did not have to wait for apply ended when the answer came.
  const bool waited = round.applied < round.index;
  if (!waited && !slow_trace(round.received - round.started)) [[likely]]
    return;
  const io::MonotonicNs now = clock_.monotonic();
  if (!slow_trace(now - round.started)) return;
  log_trace(
      log_, clock_, "linearizableReadLoop",
      TraceFields()
          .add("readStateIndex", static_cast<int64_t>(round.index.v))
          .add("appliedIndex", static_cast<int64_t>(round.applied.v)),
      round.started, now,
      {{"read index received", round.received}, {"applied index is now lower than readState.Index", now}},
      ListedSteps::kAll);
}

void RaftStage::complete(std::vector<Reader>&& readers, const Result<>& result) {
  for (Reader& r : readers) {
    outbox_.add(*r.executor, [done = std::move(r.done), result]() mutable { done(std::move(result)); });
  }
  outbox_.flush();
}

void RaftStage::fail_read_round(Error error) {
  if (!round_) return;
  probe_->failed_reads.inc();
  std::vector<Reader> readers = std::move(round_->readers);
  round_.reset();
  complete(std::move(readers), error);
  if (!stopped_) start_read_round();
}

void RaftStage::check_read_round(io::MonotonicNs now) {
  if (!round_) return;
  if (now - round_->started > options_.request_timeout_ns) {
    LOG(log_, kWarn, "timed out waiting for read index response (local node might have slow network)",
        {"timeout", log::Duration{options_.request_timeout_ns}});
    probe_->slow_reads.inc();
    fail_read_round(Error(Code::kTimeout));
  } else if (now - round_->sent > kReadIndexRetryNs) {
    LOG(log_, kWarn, "waiting for ReadIndex response took too long, retrying",
        {"sent-request-id", *round_->ids.begin()}, {"retry-timeout", log::Duration{kReadIndexRetryNs}});
    send_read_index();
  }
}

}  // namespace quoin::server
