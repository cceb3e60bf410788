// `defrag`: rewrites the database of a member that does not run, so that it takes no more room than its contents need.
//
// The new file is made beside the old one, as `db.tmp.<process>`, and takes its place when it is complete and on disk.
// Until then the old one is locked and not changed.
// Errors: kCorruption; kStopped; those of the file system. Source: spec cli 10.4, storage-formats 8.
#pragma once
#include <string>

#include "base/result.h"
#include "bolt/db.h"
#include "cmd/etcdutl/job.h"

namespace quoin::utl {

// `db`: open for writing; it is of no use afterwards.
Result<> defragment(const Machine& machine, std::unique_ptr<bolt::Db> db, const Job& job);

}  // namespace quoin::utl
