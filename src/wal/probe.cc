#include "wal/probe.h"

namespace quoin::wal {

Probe::Probe(metrics::Registry& registry)
    : fsync_seconds(registry.histogram("etcd_disk_wal_fsync_duration_seconds",
                                       "The latency distributions of fsync called by WAL.",
                                       metrics::exponential_buckets(0.001, 2, 14))),
      write_seconds(registry.histogram("etcd_disk_wal_write_duration_seconds",
                                       "The latency distributions of write called by WAL.",
                                       metrics::exponential_buckets(0.001, 2, 14))),
      write_bytes(
          registry.gauge("etcd_disk_wal_write_bytes_total", "Total number of bytes written in WAL.")) {}

}  // namespace quoin::wal
