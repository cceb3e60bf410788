// The log's metrics. Names, helps and buckets: spec operations 5.3.
#pragma once
#include "base/metrics.h"

namespace quoin::wal {

struct Probe {
  explicit Probe(metrics::Registry& registry);
  metrics::Histogram& fsync_seconds;  // each sync of a segment or of the directory at a cut
  metrics::Histogram& write_seconds;  // each write: here a batch, in etcd a record
  metrics::Gauge& write_bytes;        // frames and padding included
};

}  // namespace quoin::wal
