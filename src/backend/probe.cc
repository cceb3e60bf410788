#include "backend/probe.h"

namespace quoin::backend {
namespace {
std::vector<double> commit_buckets() {
  return metrics::exponential_buckets(0.001, 2, 14);
}
}  // namespace

Probe::Probe(metrics::Registry& r)
    : commit_seconds(r.histogram("etcd_disk_backend_commit_duration_seconds", "Time a backend commit took.",
                                 commit_buckets())),
      rebalance_seconds(r.histogram("etcd_debugging_disk_backend_commit_rebalance_duration_seconds",
                                    "Time a backend commit spent merging pages.", commit_buckets())),
      spill_seconds(r.histogram("etcd_debugging_disk_backend_commit_spill_duration_seconds",
                                "Time a backend commit spent laying out changed pages.", commit_buckets())),
      write_seconds(r.histogram("etcd_debugging_disk_backend_commit_write_duration_seconds",
                                "Time a backend commit spent writing and syncing.", commit_buckets())),
      snapshot_seconds(r.histogram("etcd_disk_backend_snapshot_duration_seconds",
                                   "Life of a copy of the backend being read out.",
                                   metrics::exponential_buckets(0.01, 2, 17))),
      defrag_seconds(r.histogram("etcd_disk_backend_defrag_duration_seconds", "Time a defragmentation took.",
                                 metrics::exponential_buckets(0.1, 2, 13))),
      defrag_inflight(r.gauge("etcd_disk_defrag_inflight", "1 while a defragmentation is under way.")),
      hash_seconds(r.histogram("etcd_mvcc_hash_duration_seconds", "Time hashing the whole backend took.",
                               metrics::exponential_buckets(0.01, 2, 15))),
      total_size_bytes(r.gauge("etcd_mvcc_db_total_size_in_bytes",
                               "Size of the database: high-water mark times page size.")),
      in_use_bytes(
          r.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Size of the database without its free pages.")),
      open_reads(r.gauge("etcd_mvcc_db_open_read_transactions", "Open read transactions of the database.")),
      compaction_pause_ms(r.histogram("etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
                                      "Time one step of a compaction took.",
                                      metrics::exponential_buckets(1, 2, 13))),
      compaction_total_ms(r.histogram("etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
                                      "Time a whole compaction took.",
                                      metrics::exponential_buckets(100, 2, 14))),
      compaction_keys(
          r.counter("etcd_debugging_mvcc_db_compaction_keys_total", "Revisions compactions deleted.")),
      compaction_last(
          r.gauge("etcd_debugging_mvcc_db_compaction_last",
                  "When the last compaction ended, in unix seconds; 0 since the start of the process.")) {}

uint64_t file_size(const Probe& probe) {
  return static_cast<uint64_t>(probe.total_size_bytes.value());
}

uint64_t file_size_in_use(const Probe& probe) {
  return static_cast<uint64_t>(probe.in_use_bytes.value());
}

}  // namespace quoin::backend
