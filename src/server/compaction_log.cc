#include "server/compaction_log.h"

namespace quoin::server {

void CompactionLog::compaction_started(int64_t revision) {
  started_ = clock_.monotonic();
  LOG(log_, kInfo, "compact tree index", {"revision", revision});
}

void CompactionLog::compaction_finished(const mvcc::CompactionEnd& end) {
  const log::Duration took{clock_.monotonic() - started_};
  if (!end.hash) {
    // etcd ends itself at such a record. Here it stays where it is, and whoever reads it is told.
    LOG(log_, kWarn, "compaction found records that can't be read; they stay, and there is no hash",
        {"compact-revision", end.revision}, {"took", took}, {"current-db-size-bytes", end.db_size},
        {"current-db-size", log::Size{end.db_size}}, {"current-db-size-in-use-bytes", end.db_size_in_use},
        {"current-db-size-in-use", log::Size{end.db_size_in_use}});
    return;
  }
  LOG(log_, kInfo, "finished scheduled compaction", {"compact-revision", end.revision}, {"took", took},
      {"hash", *end.hash}, {"current-db-size-bytes", end.db_size},
      {"current-db-size", log::Size{end.db_size}}, {"current-db-size-in-use-bytes", end.db_size_in_use},
      {"current-db-size-in-use", log::Size{end.db_size_in_use}});
  if (!end.hash_counts) {
    LOG(log_, kInfo, "previous compaction was interrupted, skip storing compaction hash value", );
    return;
  }
  LOG(log_, kInfo, "storing new hash", {"hash", *end.hash}, {"revision", end.revision},
      {"compact-revision", end.previous_compact_revision});
}

}  // namespace quoin::server
