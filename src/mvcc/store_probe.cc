#include "mvcc/store_probe.h"

namespace quoin::mvcc {

StoreProbe::StoreProbe(metrics::Registry& r)
    : puts(r.counter("etcd_mvcc_put_total", "Puts, counted at the end of their transaction.")),
      deletes(r.counter("etcd_mvcc_delete_total", "Deletes, counted at the end of their transaction.")),
      ranges(r.counter("etcd_mvcc_range_total", "Ranges, counted at the end of their transaction.")),
      txns(r.counter("etcd_mvcc_txn_total", "Transactions with more than one operation.")),
      keys(r.gauge("etcd_debugging_mvcc_keys_total", "Live keys.")),
      current_revision(r.gauge("etcd_debugging_mvcc_current_revision", "Revision of the store.")),
      compact_revision(
          r.gauge("etcd_debugging_mvcc_compact_revision", "Revision of the last compaction, -1 before it.")),
      put_bytes(r.gauge("etcd_debugging_mvcc_total_put_size_in_bytes", "Bytes of keys and values put.")) {}

}  // namespace quoin::mvcc
