// The apply stage's entries about the cluster: members, its version, downgrades; and what clients are shown of
// them.
#include "backend/schema.h"
#include "membership/cluster.h"
#include "raft/codec.h"
#include "server/apply_stage.h"

namespace quoin::server {

namespace pb = wire::etcdserverpb;

const membership::Membership& ApplyStage::members_now() const {
  return effective(applied_ + 1) ? state_.cluster->record() : state_.replay;
}

bool ApplyStage::is_cluster_request(const pb::InternalRaftRequest& r) {
  return r.cluster_version_set || r.cluster_member_attr_set || r.downgrade_info_set;
}

std::optional<Error> ApplyStage::apply_cluster_request(const pb::InternalRaftRequest& r, bool effective) {
  if (r.cluster_version_set) {
    const auto version = membership::parse_version(r.cluster_version_set->ver);
    // etcd stops here. Nothing is known that such an entry could mean to any version.
    if (!version) {
      return make_error(Code::kInvalidArgument, "cluster version \"{}\" cannot be read",
                        r.cluster_version_set->ver);
    }
    if (!effective) {
      state_.replay.version = *version;
      return std::nullopt;
    }
    auto set = state_.cluster->set_version(*version);
    if (!set) {
      fail(set.error());
      return set.error();
    }
    if (set->lowered) {
      LOG(log_, kInfo, "Cluster version downgrade detected, forcing snapshot", );
      snapshots_.force();
    }
    metrics_.cluster_version(version->minor_text());
    // The schema's version says nothing before a term is in the file.
    state_.backend->commit([this] { follow_cluster_version(); });
    return std::nullopt;
  }
  if (r.cluster_member_attr_set) {
    const auto& m = *r.cluster_member_attr_set;
    std::vector<std::string> urls;
    std::string name;
    if (m.member_attributes) {
      name = m.member_attributes->name;
      urls.assign(m.member_attributes->client_urls.begin(), m.member_attributes->client_urls.end());
    }
    const MemberId id(m.member_id);
    if (effective) {
      state_.cluster->set_attributes(id, std::move(name), std::move(urls));
    } else {
      state_.replay.set_attributes(id, std::move(name), std::move(urls));
    }
    return std::nullopt;
  }
  if (r.downgrade_info_set && effective) {
    const auto& d = *r.downgrade_info_set;
    if (d.enabled && !membership::parse_version(d.ver)) {
      return make_error(Code::kInvalidArgument, "downgrade target \"{}\" cannot be read", d.ver);
    }
    state_.cluster->set_downgrade({d.enabled, std::string(d.enabled ? d.ver : std::string_view())});
  }
  return std::nullopt;
}

void ApplyStage::apply_conf_change(const raft::Entry& entry) {
  auto cc = raft::decode_conf_change(entry.data);
  if (!cc) return fail(cc.error().prefixed(fmt::format("entry {}", entry.index)));
  auto change = membership::decode_change(*cc);
  if (!change) return fail(change.error().prefixed(fmt::format("entry {}", entry.index)));
  const bool effective = this->effective(entry.index);
  std::optional<Waiter> waiter = effective && !replayed(entry) ? waiters_.take(cc->id) : std::nullopt;
  const membership::Refusal refusal = members_now().validate(*change, config_.max_learners);
  Answer outcome;
  if (refusal != membership::Refusal::kNone) {
    LOG(log_, kError, "Validation on configuration change failed", {"shouldApplyV3", effective},
        {"error", membership::refusal_text(refusal)});
    cc->node_id = MemberId();
    outcome.error = membership::refusal_error(refusal);
  } else {
    if (effective) {
      state_.cluster->apply(*change);
    } else {
      state_.replay.apply(*change);
    }
    outcome.revision = state_.store->revision();
    if (effective) sink_.member_changed(*change);
    // Also where an earlier life applied it: that life ended before it stopped for good.
    if (change->kind == membership::ChangeKind::kRemove && change->member.id == self_) sink_.removed_self();
  }
  // Nothing further is applied before raft has switched, and members and ConfState go into one commit.
  conf_change_ = true;
  state_.backend->hold_freeze();
  sink_.conf_change_applied(
      std::move(*cc), entry.index,
      [this, effective, waiter = std::move(waiter),
       outcome = std::move(outcome)](raft::ConfState state) mutable {
        // By now raft has been told that the entry is applied (end of the batch), so that
        // the next change, which whoever waits may ask for at once, is not dropped as one
        // too many.
        if (waiter) answer(std::move(*waiter), std::move(outcome));
        outbox_.flush();
        conf_change_ = false;
        if (stopped_) {  // it failed meanwhile; a stop may wait here
          if (stop_after_steps_) std::exchange(stop_after_steps_, {})();
          return;
        }
        if (effective) state_.backend->set_conf_state(membership::conf_state_json(state));
        state_.backend->release_freeze();
        state_.conf_state = std::move(state);
        if (stop_after_steps_ && !in_steps()) return std::exchange(stop_after_steps_, {})();
        run();
      });
}

// ---- versions ----

void ApplyStage::follow_cluster_version() {
  if (stopped_ || installing_) return;
  const auto version = state_.cluster->view()->version;
  if (!version || version->cluster() == membership::kClusterVersionMin) return;
  const backend::SchemaVersion target{version->major, version->minor};
  auto stored = backend::detect_schema_version(*state_.backend);
  if (stored && *stored == target) return;
  if (stored && target < *stored && (newest_36_entry_ > snapshots_.disk() || snapshots_.under_way())) {
    // Entries an older server cannot read may still be replayed; the snapshot that puts them behind is under
    // way.
    return;
  }
  if (stored) {
    LOG(log_, kInfo, "cluster version differs from storage version.", {"cluster-version", version->text()},
        {"storage-version", stored->text()});
  }
  if (Result<> r = backend::migrate_schema(*state_.backend, target); !r) {
    LOG(log_, kError, "failed to update storage version", {"cluster-version", version->text()},
        {"error", r.error().text()});
    return;
  }
  LOG(log_, kInfo, "updated storage version", {"new-storage-version", target.text()});
  publish_status();
}

void ApplyStage::publish_status() {
  auto stored = backend::detect_schema_version(*state_.backend);
  std::lock_guard lock(status_mutex_);
  published_alarms_ = state_.alarms->list(kAlarmNone);
  published_storage_version_ = stored ? stored->text() : std::string();
}

std::vector<Alarm> ApplyStage::alarms() const {
  std::lock_guard lock(status_mutex_);
  return published_alarms_;
}

std::string ApplyStage::storage_version() const {
  std::lock_guard lock(status_mutex_);
  return published_storage_version_;
}

}  // namespace quoin::server
