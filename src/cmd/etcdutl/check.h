// `check`: looks at all of a member's data directory while the member does not run, and says in plain words what is wrong
// and what can be done. Reads only; a member that is running has its database locked and is not looked at.
//
// Looked at: the pages of the database, its buckets and the records in them; the chain of the log's segments, the checksum
// of each record, gaps and torn tails; the snapshot files; and whether the three agree on index, term, history and
// members. A damage inside a value that changes no length shows nowhere: bolt has no checksums. Comparing HashKV with
// another member shows it.
//
// Memory: 16 bytes a live key, and the configuration changes of the log.
// Errors: kStopped. What cannot be read is a fault of the report.
#pragma once
#include <string>

#include "base/result.h"
#include "cmd/etcdutl/job.h"
#include "cmd/etcdutl/report.h"

namespace quoin::utl {

// `wal_dir` empty: within the data directory.
Result<Report> check_directory(const std::string& data_dir, const std::string& wal_dir,
                               const Machine& machine, const Job& job);

}  // namespace quoin::utl
