// The backend's metric cells. Names, types and buckets: spec operations 5.3, 5.4.
#pragma once
#include "base/metrics.h"

namespace quoin::backend {

struct Probe {
  explicit Probe(metrics::Registry& registry);

  metrics::Histogram& commit_seconds;
  metrics::Histogram& rebalance_seconds;
  metrics::Histogram& spill_seconds;
  metrics::Histogram& write_seconds;
  metrics::Histogram& snapshot_seconds;  // life of a SnapshotSource
  metrics::Histogram& defrag_seconds;
  metrics::Gauge& defrag_inflight;
  metrics::Histogram& hash_seconds;
  metrics::Gauge& total_size_bytes;
  metrics::Gauge& in_use_bytes;
  metrics::Gauge& open_reads;
  metrics::Histogram& compaction_pause_ms;  // per step, without the sleep
  metrics::Histogram& compaction_total_ms;
  metrics::Counter& compaction_keys;
  metrics::Gauge& compaction_last;  // unix seconds
};

}  // namespace quoin::backend
