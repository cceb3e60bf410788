#include "server/server_metrics.h"

#include "base/coding.h"
#include "membership/membership.h"

namespace quoin::server {

ServerMetrics::ServerMetrics(metrics::Registry& r, MemberId self, int64_t quota_bytes)
    : is_learner(r.gauge("etcd_server_is_learner",
                         "Whether or not this member is a learner. 1 if is, 0 otherwise.")),
      slow_applies(r.counter("etcd_server_slow_apply_total",
                             "The total number of slow apply requests (likely overloaded from slow disk).")),
      leases_expired(
          r.counter("etcd_debugging_server_lease_expired_total", "The total number of expired leases.")),
      index_compaction_ms(r.histogram("etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds",
                                      "Bucketed histogram of index compaction pause duration.",
                                      metrics::exponential_buckets(0.5, 2, 14))),
      hash_rev_seconds(r.histogram("etcd_mvcc_hash_rev_duration_seconds",
                                   "The latency distribution of storage hash by revision operation.",
                                   metrics::exponential_buckets(0.01, 2, 15))),
      registry_(r),
      promotions_(
          r.counter("etcd_server_learner_promote_successes",
                    "The total number of successful learner promotions while this member is leader.")) {
  const std::string id = hex(self.v);
  r.gauge("etcd_server_id",
          "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.",
          {{"server_id", id}})
      .set(1);
  r.gauge("etcd_server_quota_backend_bytes", "Current backend storage quota size in bytes.")
      .set(static_cast<double>(quota_bytes));
  // A member knows itself; received snapshots need others.
  r.gauge("etcd_network_known_peers", "The current number of known peers.", {{"Local", id}, {"Remote", id}})
      .set(1);
  r.gauge("etcd_server_snapshot_apply_in_progress_total",
          "1 if the server is applying the incoming snapshot. 0 if none.");
}

void ServerMetrics::applied(std::string_view operation, bool success, double seconds) {
  metrics::Histogram*& h = applied_[{operation, success}];
  if (h == nullptr) {
    h = &registry_.histogram(
        "etcd_server_apply_duration_seconds", "The latency distributions of v2 apply called by backend.",
        metrics::exponential_buckets(0.0001, 2, 20),
        {{"op", std::string(operation)}, {"success", success ? "true" : "false"}, {"version", "v3"}});
  }
  h->observe(seconds);
}

void ServerMetrics::promotion(const std::optional<Error>& refused) {
  if (!refused) return promotions_.inc();
  // etcd's own text of the reason, not that of the answer.
  std::string_view reason = refused->text();
  if (refused->code() == Code::kMemberNotFound) {
    reason = membership::refusal_text(membership::Refusal::kIdNotFound);
  } else if (refused->code() == Code::kMemberNotLearner) {
    reason = membership::refusal_text(membership::Refusal::kNotLearner);
  }
  auto it = refused_promotions_.find(reason);
  if (it == refused_promotions_.end()) {
    metrics::Counter& c = registry_.counter("etcd_server_learner_promote_failures",
                                            "The total number of failed learner promotions (likely learner "
                                            "not ready) while this member is leader.",
                                            {{"Reason", std::string(reason)}});
    it = refused_promotions_.emplace(std::string(reason), &c).first;
  }
  it->second->inc();
}

void ServerMetrics::cluster_version(std::string_view version) {
  for (auto& [known, gauge] : versions_) gauge->set(known == version ? 1 : 0);
  if (versions_.contains(version)) return;
  metrics::Gauge& g =
      registry_.gauge("etcd_cluster_version",
                      "Which version is running. 1 for 'cluster_version' label with current cluster "
                      "version",
                      {{"cluster_version", std::string(version)}});
  g.set(1);
  versions_.emplace(std::string(version), &g);
}

}  // namespace quoin::server
