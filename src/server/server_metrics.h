// Metric cells of the member as a whole and of applied requests.
//
// Threads: set() and the cells on any thread, the methods on the apply strand. Source: spec
// operations 5.2, 5.6.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/metrics.h"
#include "base/result.h"

namespace quoin::server {

class ServerMetrics {
 public:
  ServerMetrics(metrics::Registry& registry, MemberId self, int64_t quota_bytes);

  // One applied request; the series begins with the first of its kind.
  void applied(std::string_view operation, bool success, double seconds);
  // A promotion that this member decided on as the leader, with what refused it.
  void promotion(const std::optional<Error>& refused);
  // "3.6": the current one is 1, the one before 0.
  void cluster_version(std::string_view version);

  metrics::Gauge& is_learner;  // set by whatever changes the members
  metrics::Counter& slow_applies;
  metrics::Counter& leases_expired;
  metrics::Histogram& index_compaction_ms;
  metrics::Histogram& hash_rev_seconds;

 private:
  metrics::Registry& registry_;
  metrics::Counter& promotions_;
  std::map<std::pair<std::string_view, bool>, metrics::Histogram*> applied_;
  std::map<std::string, metrics::Gauge*, std::less<>> versions_;
  std::map<std::string, metrics::Counter*, std::less<>> refused_promotions_;  // by etcd's text
};

}  // namespace quoin::server
