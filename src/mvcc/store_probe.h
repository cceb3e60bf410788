// The store's metric cells. Names, types and buckets: spec operations 5.4.
#pragma once
#include "base/metrics.h"

namespace quoin::mvcc {

struct StoreProbe {
  explicit StoreProbe(metrics::Registry& registry);

  metrics::Counter& puts;
  metrics::Counter& deletes;
  metrics::Counter& ranges;
  metrics::Counter& txns;
  metrics::Gauge& keys;
  metrics::Gauge& current_revision;
  metrics::Gauge& compact_revision;
  metrics::Gauge& put_bytes;
};

}  // namespace quoin::mvcc
