// `hashkv`: the hash over the history of all keys, as a member computes it (mvcc/hash_kv.h), from a file. Reads only;
// a compaction that was scheduled counts as done.
//
// Memory: the index of the keys. Errors: kCompacted, kFutureRev for the revision; kCorruption; kStopped.
#pragma once
#include "base/result.h"
#include "bolt/db.h"
#include "cmd/etcdutl/job.h"
#include "mvcc/hash_kv.h"

namespace quoin::utl {

// `db`: open for reading only. `revision` 0: the newest.
Result<mvcc::HashKvResult> hash_file(bolt::Db& db, int64_t revision, const Job& job);

}  // namespace quoin::utl
