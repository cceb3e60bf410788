// The apply stage and snapshots of the state between members: one received is installed, one that another
// member needs is made.
#include "failpoint/failpoint.h"
#include "membership/member.h"
#include "membership/snapshot_state.h"
#include "server/apply_stage.h"

namespace quoin::server {

// ---- received ----

void ApplyStage::post_snapshot(std::shared_ptr<const raft::Snapshot> snapshot) {
  strand_.post([this, snapshot = std::move(snapshot)]() mutable {
    if (stopped_) return;
    arriving_ = std::move(snapshot);
    run();
  });
}

// The running backend is closed, its file replaced and read by the file strand. Meanwhile readers go on with the
// view that was published last, and everything that needs the backend waits (in_steps()).
void ApplyStage::begin_install() {
  const raft::SnapshotMetadata& meta = arriving_->metadata;
  LOG(log_, kInfo, "applying snapshot", {"current-snapshot-index", snapshots_.disk().v},
      {"current-applied-index", applied_.v}, {"incoming-leader-snapshot-index", meta.index.v},
      {"incoming-leader-snapshot-term", meta.term.v});
  if (meta.index <= applied_) {
    return fail(make_error(Code::kCorruption,
                           "unexpected leader snapshot from outdated index {} (applied {})", meta.index,
                           applied_));
  }
  installing_ = std::exchange(arriving_, nullptr);
  installing_gauge_.set(1);
  backend_closed_ = true;
  LOG(log_, kInfo, "closing old backend file", );
  state_.backend->close([this](Result<> closed) {
    // Nothing of the old file counts any more.
    if (!closed) {
      LOG(log_, kWarn, "failed to close the backend", {"error", closed.error().text()});
    } else {
      LOG(log_, kInfo, "closed old backend file", );
    }
    if (!installing_) return;
    reading_ = true;
    file_.post([this, alive = std::weak_ptr<int>(alive_), index = installing_->metadata.index,
                probe = backend_probe_, observer = state_.compaction_log.get()] {
      FAILPOINT(applyBeforeOpenSnapshot);
      auto received = std::make_shared<Result<ReceivedState>>(open_received_(index, probe, observer));
      FAILPOINT(applyAfterOpenSnapshot);
      strand_.post([this, alive, received] {
        if (!alive.expired()) finish_install(std::move(*received));
      });
    });
  });
}

void ApplyStage::finish_install(Result<ReceivedState> received) {
  const auto snapshot = std::exchange(installing_, nullptr);
  reading_ = false;
  installing_gauge_.set(0);
  if (stopped_) return end_batch();
  LOG(log_, kInfo, "restoring v2 store", );
  auto members = membership_of(*snapshot, self_, state_.replay.cluster_id);
  if (received && !members) received = members.error();
  if (!received) {
    fail(received.error().prefixed(fmt::format("received snapshot {}", snapshot->metadata.index)));
    return end_batch();
  }
  LOG(log_, kInfo, "restored v2 store", );
  adopt(std::move(*received), *snapshot, std::move(*members));
  replaced_step();
}

// Watchers fall back in steps. The next entry waits for the last of them.
void ApplyStage::replaced_step() {
  replacing_ = !stopped_ && !watches_->publish_step();
  if (replacing_) return strand_.post([this] { replaced_step(); });
  end_batch();
}

void ApplyStage::adopt(ReceivedState received, const raft::Snapshot& snapshot,
                       membership::Membership members) {
  const raft::SnapshotMetadata& meta = snapshot.metadata;
  std::swap(state_.backend, received.backend);
  backend_closed_ = false;
  watch_backend();
  state_.lessor->adopt(*received.lessor);
  // Before the keys: nobody reads new ones with the rights of before.
  state_.auth->store.adopt(received.auth->store);
  received.store = state_.store->adopt(std::move(received.store));
  *state_.alarms = std::move(*received.alarms);
  LOG(log_, kInfo, "restoring cluster configuration", );
  if (Result<> recovered = state_.cluster->recover(*state_.backend); !recovered)
    return fail(recovered.error());
  LOG(log_, kInfo, "restored cluster configuration", );
  make_applier();
  consistent_at_start_ = state_.backend->consistent_index();
  state_.replay = std::move(members);
  state_.conf_state = meta.conf_state;
  state_.backend->set_conf_state(membership::conf_state_json(meta.conf_state));
  applied_ = meta.index;
  applied_term_ = meta.term;
  snapshots_.replaced(meta.index);
  watches_->store_replaced();
  publish_status();
  if (const auto version = state_.cluster->view()->version) metrics_.cluster_version(version->minor_text());
  applied_gauge_.set(static_cast<double>(applied_.v));
  LOG(log_, kInfo, "removing old peers from network", );
  sink_.members_replaced(*state_.cluster->view());
  LOG(log_, kInfo, "removed old peers from network", );
  LOG(log_, kInfo, "adding peers from new cluster configuration", );
  LOG(log_, kInfo, "added peers from new cluster configuration", );
  sink_.note_applied(applied_);
  sink_.snapshot_installed(meta);
  release_applied_waiters();
  LOG(log_, kInfo, "applied snapshot", {"current-snapshot-index", meta.index.v},
      {"current-applied-index", applied_.v}, {"incoming-leader-snapshot-index", meta.index.v},
      {"incoming-leader-snapshot-term", meta.term.v});
  // What was replaced may take long to destroy.
  file_.post([old = std::make_shared<ReceivedState>(std::move(received))]() mutable { old.reset(); });
}

// ---- wanted ----

void ApplyStage::post_snapshot_wanted(raft::Message message) {
  strand_.post([this, message = std::move(message)]() mutable {
    between_entries([this, message = std::move(message)]() mutable { make_snapshot(std::move(message)); });
  });
}

void ApplyStage::post_snapshot_sent(bool failed) {
  strand_.post([this, failed] { snapshots_.sent(failed); });
}

// raft's message is only what set it off: index, term, configuration and members are those of the copy.
void ApplyStage::make_snapshot(raft::Message wanted) {
  if (stopped_) return sink_.snapshot_failed(wanted.to);
  snapshots_.sending();
  // The database may tell of another configuration than raft has: a restore founds a cluster anew and leaves what the old
  // one had. Whoever is sent that would not find itself in it.
  if (!conf_change_ && applied_ >= consistent_at_start_) {
    const std::string now = membership::conf_state_json(state_.conf_state);
    if (state_.backend->get(backend::Bucket::kMeta, "confState") != now) state_.backend->set_conf_state(now);
  }
  auto shared = std::make_shared<raft::Message>(std::move(wanted));
  state_.backend->snapshot([this, shared](Result<std::shared_ptr<backend::SnapshotSource>> source) {
    Error error(Code::kStopped);
    raft::Message message;
    if (source) {
      message = snapshot_message(*shared, **source, &error);
    } else {
      error = source.error();
    }
    if (message.snapshot) return sink_.send_snapshot(std::move(message), std::move(*source));
    LOG(log_, kWarn, "failed to make a snapshot for a member", {"to", log::Hex{shared->to.v}},
        {"error", error.text()});
    snapshots_.sent(/*failed=*/true);
    sink_.snapshot_failed(shared->to);
  });
}

// Without a snapshot in it if that fails.
raft::Message ApplyStage::snapshot_message(raft::Message wanted, const backend::SnapshotSource& source,
                                           Error* error) {
  wanted.snapshot.reset();
  auto members = membership::read_membership(
      [&](backend::Bucket bucket, const backend::PairVisitor& visit) { return source.scan(bucket, visit); });
  if (!members) {
    *error = members.error();
    return wanted;
  }
  raft::Snapshot snapshot;
  snapshot.metadata = {state_.conf_state, source.consistent_index(), source.consistent_term()};
  if (!source.conf_state().empty()) {
    auto conf_state = membership::parse_conf_state(source.conf_state());
    if (!conf_state) {
      *error = conf_state.error();
      return wanted;
    }
    snapshot.metadata.conf_state = std::move(*conf_state);
  }
  snapshot.data = Blob::copy(
      snap::write_membership_json(membership::snapshot_state(*members), snapshot.metadata.index.v));
  wanted.snapshot = std::make_shared<const raft::Snapshot>(std::move(snapshot));
  return wanted;
}

}  // namespace quoin::server
