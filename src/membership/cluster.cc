#include "membership/cluster.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/coding.h"

namespace quoin::membership {
namespace {
using backend::Bucket;
constexpr std::string_view kVersionKey = "clusterVersion";
constexpr std::string_view kDowngradeKey = "downgrade";
constexpr std::string_view kRemovedMark = "removed";

Result<MemberId> id_of_key(Bucket bucket, std::string_view key) {
  uint64_t id = 0;
  if (!parse_hex(key, &id)) {
    return make_error(Code::kCorruption, "bucket {}: key {} is no member id", backend::bucket_name(bucket),
                      hex_bytes(key));
  }
  return MemberId(id);
}
}  // namespace

Cluster::Cluster(Membership initial, Version server_version, log::Logger& log)
    : server_version_(server_version), log_(log) {
  record_.cluster_id = initial.cluster_id;
  record_.local_id = initial.local_id;
  initial_ = std::move(initial.members);
  publish();
}

std::shared_ptr<const Membership> Cluster::view() const {
  std::lock_guard lock(mutex_);
  return view_;
}

void Cluster::publish() {
  auto next = std::make_shared<Membership>(record_);
  for (const auto& [id, m] : initial_) {
    if (!record_.is_removed(id)) next->members.try_emplace(id, m);
  }
  const bool learners =
      std::ranges::any_of(next->members, [](const auto& entry) { return entry.second.is_learner; });
  std::lock_guard lock(mutex_);
  view_ = std::move(next);
  any_learner_.store(learners, std::memory_order_release);
}

Result<Membership> read_membership(absl::FunctionRef<Result<>(Bucket, const backend::PairVisitor&)> scan) {
  Membership found;
  Result<> damage;
  TRY(scan(Bucket::kMembers, [&](std::string_view key, std::string_view value) {
    auto m = parse_member(value);
    const auto id = id_of_key(Bucket::kMembers, key);
    if (!id) damage = id.error();
    if (!m) damage = make_error(Code::kCorruption, "bucket members: {}: {}", key, m.error().text());
    if (!damage) return false;
    // The key is the id, whatever the text says.
    m->id = *id;
    found.members.emplace(*id, std::move(*m));
    return true;
  }));
  TRY(damage);
  TRY(scan(Bucket::kMembersRemoved, [&](std::string_view key, std::string_view) {
    const auto id = id_of_key(Bucket::kMembersRemoved, key);
    if (!id) damage = id.error();
    if (id) found.removed.insert(*id);
    return damage.has_value();
  }));
  TRY(damage);
  TRY(scan(Bucket::kCluster, [&](std::string_view key, std::string_view value) {
    if (key == kVersionKey) {
      found.version = parse_version(value);
      if (!found.version)
        damage = make_error(Code::kCorruption, "bucket cluster: clusterVersion is \"{}\"", value);
    } else if (key == kDowngradeKey) {
      auto d = parse_downgrade(value);
      if (!d || (d->enabled && !parse_version(d->target))) {
        damage = make_error(Code::kCorruption, "bucket cluster: downgrade is \"{}\"", value);
      } else {
        found.downgrade = std::move(*d);
      }
    }
    return damage.has_value();
  }));
  TRY(damage);
  return found;
}

Result<> Cluster::recover(backend::Backend& backend) {
  backend_ = &backend;
  ASSIGN_OR_RETURN(Membership found, read_membership([&](Bucket bucket, const backend::PairVisitor& visit) {
                     return backend.scan(bucket, {}, {}, visit);
                   }));
  found.cluster_id = record_.cluster_id;
  found.local_id = record_.local_id;
  TRY(check_server_version(server_version_, found.version));
  record_ = std::move(found);
  if (!record_.members.empty()) initial_.clear();
  publish();
  if (record_.version) {
    LOG(log_, kInfo, "enabled capabilities for version", {"cluster-version", record_.version->minor_text()});
  }
  for (const auto& [id, m] : record_.members) {
    LOG(log_, kInfo, "recovered/added member from store", {"cluster-id", log::Hex{record_.cluster_id.v}},
        {"local-member-id", log::Hex{record_.local_id.v}}, {"recovered-remote-peer-id", log::Hex{id.v}},
        {"recovered-remote-peer-urls", m.peer_urls}, {"recovered-remote-peer-is-learner", m.is_learner});
  }
  if (record_.version) {
    LOG(log_, kInfo, "set cluster version from store", {"cluster-version", record_.version->minor_text()});
  }
  return {};
}

void Cluster::store_member(const Member& member) {
  backend_->put(Bucket::kMembers, hex(member.id.v), member_json(member));
}

void Cluster::apply(const Change& change) {
  const MemberId id = change.member.id;
  const log::Field cluster{"cluster-id", log::Hex{record_.cluster_id.v}};
  const log::Field local{"local-member-id", log::Hex{record_.local_id.v}};
  if (change.kind == ChangeKind::kRemove) {
    const Member gone = record_.members.at(id);
    record_.apply(change);
    backend_->erase(Bucket::kMembers, hex(id.v));
    backend_->put(Bucket::kMembersRemoved, hex(id.v), kRemovedMark);
    LOG(log_, kInfo, "removed member", cluster, local, {"removed-remote-peer-id", log::Hex{id.v}},
        {"removed-remote-peer-urls", gone.peer_urls}, {"removed-remote-peer-is-learner", gone.is_learner});
    return publish();
  }
  record_.apply(change);
  const Member& m = record_.members.at(id);
  store_member(m);
  switch (change.kind) {
    case ChangeKind::kPromote:
      LOG(log_, kInfo, "promote member", cluster, local, {"promoted-member-id", log::Hex{id.v}});
      break;
    case ChangeKind::kUpdate:
      LOG(log_, kInfo, "updated member", cluster, local, {"updated-remote-peer-id", log::Hex{id.v}},
          {"updated-remote-peer-urls", m.peer_urls}, {"updated-remote-peer-is-learner", m.is_learner});
      break;
    default:
      LOG(log_, kInfo, "added member", cluster, local, {"added-peer-id", log::Hex{id.v}},
          {"added-peer-peer-urls", m.peer_urls}, {"added-peer-is-learner", m.is_learner});
  }
  publish();
}

bool Cluster::set_attributes(MemberId id, std::string name, std::vector<std::string> client_urls) {
  if (!record_.set_attributes(id, std::move(name), std::move(client_urls))) {
    const log::Field cluster{"cluster-id", log::Hex{record_.cluster_id.v}};
    const log::Field local{"local-member-id", log::Hex{record_.local_id.v}};
    if (record_.is_removed(id)) {
      LOG(log_, kWarn, "skipped attributes update of removed member", cluster, local,
          {"updated-peer-id", log::Hex{id.v}});
    } else {
      // etcd stops here, and at every start that replays the entry.
      LOG(log_, kError, "skipped attributes update of unknown member", cluster, local,
          {"updated-peer-id", log::Hex{id.v}});
    }
    return false;
  }
  store_member(record_.members.at(id));
  publish();
  return true;
}

Result<VersionSet> Cluster::set_version(Version version) {
  TRY(check_server_version(server_version_, version));
  VersionSet out;
  out.before = std::exchange(record_.version, version);
  out.lowered = out.before && version < *out.before;
  backend_->put(Bucket::kCluster, kVersionKey, version.text());
  const log::Field cluster{"cluster-id", log::Hex{record_.cluster_id.v}};
  const log::Field local{"local-member-id", log::Hex{record_.local_id.v}};
  if (out.before) {
    LOG(log_, kInfo, "updated cluster version", cluster, local, {"from", out.before->minor_text()},
        {"to", version.minor_text()});
  } else {
    LOG(log_, kInfo, "set initial cluster version", cluster, local,
        {"cluster-version", version.minor_text()});
  }
  if (out.before != record_.version) {
    LOG(log_, kInfo, "enabled capabilities for version", {"cluster-version", version.minor_text()});
  }
  publish();
  return out;
}

void Cluster::set_downgrade(const Downgrade& downgrade) {
  record_.downgrade = downgrade;
  if (!downgrade.enabled) record_.downgrade.target.clear();
  backend_->put(Bucket::kCluster, kDowngradeKey, downgrade_json(record_.downgrade));
  publish();
}

}  // namespace quoin::membership
