#include "server/apply_stage.h"

#include "failpoint/failpoint.h"
#include "membership/cluster.h"
#include "raft/codec.h"
#include "server/old_request.h"
#include "server/request_text.h"
#include "wire/coding.h"
#include "wire/message.h"

namespace quoin::server {

namespace pb = wire::etcdserverpb;

namespace {
// Of those that waited for the end of a batch, as many run in one task: each may do a millisecond's work.
constexpr size_t kWaitingPerTask = 8;

// The name under which metrics count a request.
std::string_view operation_name(const pb::InternalRaftRequest& r) {
  if (r.put) return "Put";
  if (r.txn) return "Txn";
  if (r.delete_range) return "DeleteRange";
  if (r.range) return "Range";
  if (r.compaction) return "Compaction";
  if (r.lease_grant) return "LeaseGrant";
  if (r.lease_revoke) return "LeaseRevoke";
  if (r.lease_checkpoint) return "LeaseCheckpoint";
  if (r.alarm) return "Alarm";
  if (r.authenticate) return "Authenticate";
  if (r.auth_enable) return "AuthEnable";
  if (r.auth_disable) return "AuthDisable";
  if (r.auth_user_add) return "AuthUserAdd";
  if (r.auth_user_delete) return "AuthUserDelete";
  if (r.auth_user_change_password) return "AuthUserChangePassword";
  if (r.auth_user_grant_role) return "AuthUserGrantRole";
  if (r.auth_user_get) return "AuthUserGet";
  if (r.auth_user_revoke_role) return "AuthUserRevokeRole";
  if (r.auth_role_add) return "AuthRoleAdd";
  if (r.auth_role_grant_permission) return "AuthRoleGrantPermission";
  if (r.auth_role_get) return "AuthRoleGet";
  if (r.auth_role_revoke_permission) return "AuthRoleRevokePermission";
  if (r.auth_role_delete) return "AuthRoleDelete";
  if (r.auth_user_list) return "AuthUserList";
  if (r.auth_role_list) return "AuthRoleList";
  if (r.cluster_version_set) return "ClusterVersionSet";
  if (r.cluster_member_attr_set) return "ClusterMemberAttrSet";
  if (r.downgrade_info_set) return "DowngradeInfoSet";
  if (r.downgrade_version_test) return "DowngradeVersionTest";
  return "unknown";
}
uint64_t request_id(const pb::InternalRaftRequest& r) {
  return r.id != 0 ? r.id : r.header->id;
}
}  // namespace

ApplyStage::ApplyStage(const Config& config, MemberId self, State state, io::Executor& strand,
                       io::Executor& file, io::Clock& clock, log::Logger& log, metrics::Registry& metrics,
                       ServerMetrics& server_metrics, SlowRequests& slow_requests, Waiters& waiters,
                       RequestIds& ids, Logins& logins, ApplySink& sink, OpenReceived open_received,
                       std::function<void(Error)> failed)
    : config_(config),
      self_(self),
      state_(std::move(state)),
      strand_(strand),
      file_(file),
      clock_(clock),
      log_(log),
      registry_(metrics),
      metrics_(server_metrics),
      slow_requests_(slow_requests),
      waiters_(waiters),
      ids_(ids),
      sink_(sink),
      open_received_(std::move(open_received)),
      failed_(std::move(failed)),
      quota_(config.quota_backend_bytes),
      auth_(state_.auth->store, &logins, *state_.lessor, config.bcrypt_cost),
      backend_probe_(state_.backend->probe()),
      watches_(std::make_unique<mvcc::WatchTable>(
          *state_.store, metrics,
          mvcc::WatchOptions{.fragment_bytes = config.max_request_bytes + (512 << 10)})),
      applied_(state_.applied),
      applied_term_(state_.applied_term),
      snapshots_(config, self, state_.disk_snapshot, state_.backend, sink, clock, log,
                 [this] { follow_cluster_version(); }),
      consistent_at_start_(state_.backend->consistent_index()),
      applied_gauge_(metrics.gauge("etcd_server_proposals_applied_total",
                                   "The total number of consensus proposals applied.")),
      installing_gauge_(metrics.gauge("etcd_server_snapshot_apply_in_progress_total",
                                      "1 if the server is applying the incoming snapshot. 0 if none.")) {
  make_applier();
  watch_backend();
  watches_->publish();
  if (const auto version = state_.cluster->view()->version) metrics_.cluster_version(version->minor_text());
  publish_status();
}

ApplyStage::~ApplyStage() = default;

void ApplyStage::make_applier() {
  applier_ = std::make_unique<Applier>(Applier::Parts{
      config_, self_, *state_.backend, *state_.store, *state_.lessor, *state_.glue, *state_.alarms, auth_,
      quota_, log_, registry_, [this] {
        const auto version = state_.cluster->view()->version;
        return config_.lease_checkpoint_persist || (version && *version >= membership::Version{3, 6, 0});
      }});
}

void ApplyStage::watch_backend() {
  state_.backend->set_not_full_callback([this] { run(); });
  state_.backend->set_failure_callback([this](Error e) { fail(std::move(e)); });
}

void ApplyStage::fail(Error error) {
  if (stopped_) return;
  stopped_ = true;
  // What the entry has changed so far is in memory and must not reach the file, nor may its index.
  if (!backend_closed_) state_.backend->abandon(error);
  // The backend that was being closed calls back no more.
  if (installing_ && !reading_) {
    installing_.reset();
    if (stop_after_steps_) strand_.post(std::exchange(stop_after_steps_, {}));
  }
  failed_(std::move(error));
}

// ---- entries ----

void ApplyStage::post_entries(std::vector<raft::Entry> entries) {
  strand_.post([this, entries = std::move(entries)]() mutable {
    if (stopped_) return;
    std::move(entries.begin(), entries.end(), std::back_inserter(queue_));
    run();
  });
}

void ApplyStage::post_soft_state(raft::SoftState state, Term term) {
  strand_.post([this, state, term] {
    const bool was_leader = soft_state_.role == raft::Role::kLeader;
    soft_state_ = state;
    soft_state_term_ = term;
    // Leases are promoted when the empty entry of the new term is applied.
    if (was_leader && state.role != raft::Role::kLeader) state_.lessor->demote();
  });
}

void ApplyStage::run() {
  if (running_ || stopped_ || conf_change_ || in_steps()) return;
  if (queue_.empty()) {
    if (arriving_) begin_install();
    return;
  }
  if (state_.backend->full()) return;  // goes on when it no longer is
  uint64_t encoded_bytes = 0, payload_bytes = 0;
  batch_work_ = 0;
  size_t work_at_clock = 0;
  const io::MonotonicNs begin = clock_.monotonic();
  for (size_t n = 0; n < kBatchEntries && batch_work_ < kBatchWork && !queue_.empty() && !conf_change_; ++n) {
    if (state_.backend->full()) break;
    if (batch_work_ - work_at_clock >= kWorkPerClockRead) {
      work_at_clock = batch_work_;
      if (clock_.monotonic() - begin > kBatchNs) break;
    }
    raft::Entry entry = std::move(queue_.front());
    queue_.pop_front();
    switch (apply_entry(entry)) {
      case Verdict::kApplied:
        break;
      case Verdict::kFailed:
        return outbox_.flush();
      case Verdict::kLarge:
        // Those before it are published first.
        if (n == 0) return begin_large(std::move(entry));
        queue_.push_front(std::move(entry));
        return finish_batch(encoded_bytes, payload_bytes);
    }
    encoded_bytes += raft::encoded_size(entry);
    payload_bytes += entry.data.size();
    count_applied(entry);
  }
  finish_batch(encoded_bytes, payload_bytes);
}

void ApplyStage::run_later() {
  // Also while entries wait: else a load without a pause would let what there is to free and to compact grow.
  maintain();
  if ((queue_.empty() && !arriving_) || stopped_ || conf_change_) return;
  running_ = true;
  strand_.post([this] {
    running_ = false;
    run();
  });
}

void ApplyStage::count_applied(const raft::Entry& entry) {
  applied_ = entry.index;
  applied_term_ = entry.term;
}

ApplyStage::Verdict ApplyStage::apply_entry(const raft::Entry& entry) {
  CHECK(entry.index == applied_ + 1, "entry {} after {}", entry.index, applied_);
  const bool first_effective = entry.index == consistent_at_start_ + 1;
  if (first_effective && state_.cluster->record().members.empty() && !state_.replay.members.empty()) {
    fail(make_error(Code::kCorruption, "the database holds no members at index {}, where the log has {}",
                    consistent_at_start_, state_.replay.members.size()));
  }
  if (stopped_) return Verdict::kFailed;
  switch (entry.type) {
    case raft::EntryType::kNormal:
      FAILPOINT(beforeApplyOneEntryNormal);
      apply_normal(entry);
      break;
    case raft::EntryType::kConfChange:
      FAILPOINT(beforeApplyOneConfChange);
      apply_conf_change(entry);
      break;
    case raft::EntryType::kConfChangeV2:
      fail(make_error(Code::kCorruption,
                      "entry {}: unknown entry type; must be either EntryNormal or EntryConfChange",
                      entry.index));
  }
  if (stopped_) return Verdict::kFailed;
  if (std::exchange(met_large_, false)) return Verdict::kLarge;
  // Not before: an entry that cannot be applied must not count as applied.
  if (effective(entry.index)) state_.backend->set_consistent_index(entry.index, entry.term);
  return Verdict::kApplied;
}

// ---- large entries ----

void ApplyStage::begin_large(raft::Entry entry) {
  large_ = std::make_unique<Large>();
  large_->start = clock_.monotonic();
  large_->entry = std::move(entry);
  large_->request = *wire::decode<pb::InternalRaftRequest>(large_->entry.data.view());
  if (!replayed(large_->entry)) large_->waiter = waiters_.take(request_id(large_->request));
  // Its changes and its index go into one commit.
  state_.backend->hold_freeze();
  applier_->begin_large(large_->request, large_->entry.index, large_->waiter.has_value());
  step_large();
}

void ApplyStage::step_large() {
  std::optional<Applier::Outcome> outcome;
  if (!stopped_) {
    outcome = applier_->step_large();
    if (!outcome) return strand_.post([this] { step_large(); });
  }
  const std::unique_ptr<Large> large = std::move(large_);
  if (outcome)
    conclude(large->entry, large->request, std::move(large->waiter), std::move(*outcome), large->start);
  if (!stopped_) {
    state_.backend->set_consistent_index(large->entry.index, large->entry.term);
    state_.backend->release_freeze();
    count_applied(large->entry);
    return finish_batch(raft::encoded_size(large->entry), large->entry.data.size());
  }
  end_batch();
}

void ApplyStage::between_entries(Task task) {
  if (!in_steps()) return std::move(task)();
  after_steps_.push_back(std::move(task));
}

void ApplyStage::with_backend(Task task) {
  if (!installing_) return std::move(task)();
  after_steps_.push_back(std::move(task));
}

void ApplyStage::between_batches(Task task) {
  if (!publishing_ && waiting_now_ == 0 && !installing_ && !replacing_) return std::move(task)();
  after_steps_.push_back(std::move(task));
}

void ApplyStage::apply_normal(const raft::Entry& entry) {
  if (entry.data.empty()) {
    // A new leader's first entry (or a refused configuration change).
    sink_.empty_entry_applied();
    if (soft_state_.role == raft::Role::kLeader && entry.term == soft_state_term_ &&
        !state_.lessor->primary()) {
      state_.lessor->promote(config_.election_ns);
    }
    return;
  }
  auto request = wire::decode<pb::InternalRaftRequest>(entry.data.view());
  if (!request || request->v2) {
    auto old = request ? translate_old_request(*request->v2) : translate_old_request(entry.data.view());
    if (!old) return fail(old.error().prefixed(fmt::format("entry {}", entry.index)));
    if (old->quorum_read) return;
    return apply_request(entry, old->request, old->id);
  }
  if (request->id == 0 && !request->header) {
    return fail(make_error(Code::kCorruption, "entry {}: a request without an id or a header", entry.index));
  }
  apply_request(entry, *request, request_id(*request));
}

void ApplyStage::apply_request(const raft::Entry& entry, const pb::InternalRaftRequest& request,
                               uint64_t id) {
  if (request.downgrade_version_test) newest_36_entry_ = entry.index;
  const bool effective = this->effective(entry.index);
  if (!effective && !is_cluster_request(request)) return;
  const size_t work = applier_->work_of(request);
  met_large_ = Applier::large(work);
  if (met_large_) return;
  batch_work_ += work + entry.data.size() / kBytesPerKey;
  std::optional<Waiter> waiter = !effective || replayed(entry) ? std::nullopt : waiters_.take(id);
  const io::MonotonicNs start = clock_.monotonic();
  if (is_cluster_request(request)) {
    Applier::Outcome outcome;
    outcome.answer.error = apply_cluster_request(request, effective);
    if (stopped_ || !effective) return;
    note_applied_request(request, start, &outcome);
    outcome.answer.revision = state_.store->revision();
    if (waiter) answer(std::move(*waiter), std::move(outcome.answer));
    return;
  }
  const bool wanted = waiter.has_value();
  Applier::Later later = [](Answer) {};
  auto deferred = std::make_shared<std::optional<Waiter>>();
  if (wanted && request.compaction) {
    // Its answer comes later, or at once from within apply().
    *deferred = std::exchange(waiter, std::nullopt);
    later = [this, deferred, start](Answer a) {
      a.apply_began = start;
      a.apply_ended = clock_.monotonic();
      if (*deferred) answer(std::move(**deferred), std::move(a));
      deferred->reset();
      outbox_.flush();
    };
  }
  Applier::Outcome outcome = applier_->apply(request, entry.index, wanted, later);
  if (*deferred && !outcome.deferred) waiter = std::exchange(*deferred, std::nullopt);
  conclude(entry, request, std::move(waiter), std::move(outcome), start);
}

void ApplyStage::conclude(const raft::Entry& entry, const pb::InternalRaftRequest& request,
                          std::optional<Waiter> waiter, Applier::Outcome outcome, io::MonotonicNs start) {
  if (outcome.fault) {
    // Whether it will have been applied, another start decides.
    if (waiter) answer(std::move(*waiter), {.error = Error(Code::kServerStopped)});
    return fail(outcome.fault->prefixed(fmt::format("entry {}", entry.index)));
  }
  note_applied_request(request, start, &outcome);
  if (outcome.raise_nospace) {
    LOG(log_, kWarn, "message exceeded backend quota; raising alarm", {"quota-size-bytes", quota_.limit()},
        {"quota-size", std::to_string(quota_.limit())});
    return raise_nospace(waiter ? std::move(*waiter) : Waiter{}, std::move(outcome.answer));
  }
  if (request.alarm) publish_status();
  if (waiter && !outcome.deferred) answer(std::move(*waiter), std::move(outcome.answer));
}

// The alarm is proposed first; whoever waits for the write that went over the quota hears of it afterwards.
void ApplyStage::raise_nospace(Waiter waiter, Answer outcome) {
  pb::InternalRaftRequest request;
  const uint64_t id = ids_.next();
  request.header.emplace().id = id;
  pb::AlarmRequest& alarm = request.alarm.emplace();
  alarm.member_id = self_.v;
  alarm.action = pb::AlarmRequest::AlarmAction::kActivate;
  alarm.alarm = pb::AlarmType::kNospace;
  if (waiter.executor != nullptr && !waiter.given_up) {
    const io::MonotonicNs now = clock_.monotonic();
    waiters_.add(id, {waiter.executor,
                      [done = std::move(waiter.done), outcome = std::move(outcome)](Answer) mutable {
                        done(std::move(outcome));
                      },
                      now});
  }
  sink_.propose({.id = id, .data = wire::encode_blob(request)});
}

void ApplyStage::note_applied_request(const pb::InternalRaftRequest& request, io::MonotonicNs start,
                                      Applier::Outcome* outcome) {
  const io::MonotonicNs end = clock_.monotonic();
  const int64_t took = end - start;
  outcome->answer.apply_began = start;
  outcome->answer.apply_ended = end;
  const Error* error = outcome->answer.error ? &*outcome->answer.error : nullptr;
  const bool success = error == nullptr || error->code() == Code::kCompacted;
  metrics_.applied(operation_name(request), success, static_cast<double>(took) / 1e9);
  const bool slow = slow_requests_.slow(took);
  if (!slow && success) [[likely]]
    return;
  const std::string text = request_text(request), response = response_text(*outcome);
  if (slow) slow_requests_.warn(took, "", text, response, error);
  if (!success) slow_requests_.failed(took, text, response, *error);
}

// The size of the response as apply makes it in etcd: only some have a whole header already. The answer to a
// transaction nobody waits for is not encoded here, and counts as its header alone.
std::string ApplyStage::response_text(const Applier::Outcome& outcome) const {
  using Shown = Applier::Outcome::Shown;
  if (outcome.shown == Shown::kNoResponse) return {};
  size_t size = outcome.answer.bytes();
  if (outcome.shown != Shown::kNoHeader) {
    pb::ResponseHeader header;
    header.revision = outcome.answer.revision != 0 ? outcome.answer.revision : state_.store->revision();
    if (outcome.shown == Shown::kFullHeader) {
      header.cluster_id = state_.replay.cluster_id.v;
      header.member_id = self_.v;
      header.raft_term = soft_state_term_.v;
    }
    size += wire::length_delimited_size(1, encoded_size(header));
  }
  return fmt::format("size:{}", size);
}

void ApplyStage::answer(Waiter waiter, Answer a) {
  outbox_.answer(std::move(waiter), std::move(a));
}

void ApplyStage::finish_batch(uint64_t encoded_bytes, uint64_t payload_bytes) {
  publishing_ = {encoded_bytes, payload_bytes};
  publish_step();
}

void ApplyStage::publish_step() {
  // After a failure nothing more is told; the answers are those of entries that were applied whole.
  if (stopped_) {
    publishing_.reset();
    return end_batch();
  }
  if (!watches_->publish_step()) return strand_.post([this] { publish_step(); });
  const auto [encoded_bytes, payload_bytes] = *std::exchange(publishing_, std::nullopt);
  applied_gauge_.set(static_cast<double>(applied_.v));
  // Known as applied before the answers leave: who has an answer may count on linearizable reads of it.
  sink_.note_applied(applied_);
  outbox_.flush();
  sink_.entries_applied(applied_, encoded_bytes, payload_bytes);
  release_applied_waiters();
  // Within a configuration change that raft has yet to take, the ConfState of this index is not known.
  if (!conf_change_) snapshots_.after_batch({applied_, applied_term_, state_.conf_state, members_now()});
  end_batch();
}

void ApplyStage::end_batch() {
  outbox_.flush();
  run_waiting();
}

void ApplyStage::run_waiting() {
  for (size_t n = 0; !after_steps_.empty(); ++n) {
    if (n == kWaitingPerTask) {
      waiting_now_ = after_steps_.size();
      return strand_.post([this] { run_waiting(); });
    }
    Task task = std::move(after_steps_.front());
    after_steps_.pop_front();
    waiting_now_ = after_steps_.size();
    std::move(task)();
  }
  waiting_now_ = 0;
  if (stop_after_steps_ && !conf_change_) return std::exchange(stop_after_steps_, {})();
  if (!stopped_) run_later();
}

void ApplyStage::release_applied_waiters() {
  while (!waiting_applied_.empty() && waiting_applied_.begin()->first <= applied_) {
    Task task = std::move(waiting_applied_.begin()->second);
    waiting_applied_.erase(waiting_applied_.begin());
    std::move(task)();
  }
}

void ApplyStage::when_applied(Index index, Task task) {
  if (applied_ >= index) return std::move(task)();
  waiting_applied_.emplace(index, std::move(task));
}

void ApplyStage::maintain() {
  // While a snapshot is installed the backend has nothing to show: a view made of it would be one of nothing.
  if (maintaining_ || stopped_ || installing_) return;
  const io::MonotonicNs start = clock_.monotonic();
  const int64_t compacted = state_.store->index_compacted();
  const bool compacting = state_.store->index_compacting();
  bool more = state_.store->maintain(kMaintainBudget);
  if (compacting) {
    // As etcd counts: once per compaction, all of its time.
    index_compaction_ns_ += clock_.monotonic() - start;
    if (state_.store->index_compacted() != compacted) {
      metrics_.index_compaction_ms.observe(static_cast<double>(std::exchange(index_compaction_ns_, 0)) / 1e6);
    }
  }
  if (state_.lessor->maintain(kMaintainBudget)) more = true;
  if (!publishing_ && !replacing_ && watches_->maintain()) more = true;
  if (!more) return;
  maintaining_ = true;
  strand_.post([this] {
    maintaining_ = false;
    maintain();
  });
}

void ApplyStage::stop(io::Executor& executor, Task done) {
  if (!in_steps() && !conf_change_) return close(executor, std::move(done));
  // A part of an entry cannot be saved; the whole of it soon can. What was applied is answered. The members that a
  // configuration change leaves are saved together with the ConfState, which raft is about to tell.
  stop_after_steps_ = [this, &executor, done = std::move(done)]() mutable {
    close(executor, std::move(done));
  };
}

void ApplyStage::close(io::Executor& executor, Task done) {
  stopped_ = true;
  queue_.clear();
  waiting_applied_.clear();
  watches_.reset();
  applier_.reset();
  state_.store->close();
  arriving_.reset();
  auto shared = std::make_shared<Task>(std::move(done));
  if (backend_closed_) return executor.post(std::move(*shared));
  state_.backend->close([this, &executor, shared](Result<> closed) {
    if (!closed) LOG(log_, kError, "failed to close the backend", {"error", closed.error().text()});
    executor.post(std::move(*shared));
  });
}

}  // namespace quoin::server
