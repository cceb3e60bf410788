// `snapshot status`: what a database or saved snapshot holds. Reads only.
//
// Memory: 16 bytes a live key. Errors: kCorruption; the text of a damaged file is etcd's: "snapshot file integrity check
// failed. 2 errors found." and the findings, a line each; kStopped.
// Source: spec cli 10.1, storage-formats 6.2.
#pragma once
#include <cstdint>
#include <string>

#include "base/result.h"
#include "bolt/db.h"
#include "cmd/etcdutl/job.h"

namespace quoin::utl {

struct DbStatus {
  uint32_t hash = 0;  // of all keys and values of all buckets
  int64_t revision = 0;
  uint64_t total_keys = 0;  // that live
  uint64_t total_size = 0;  // of the database, without a digest behind it
  std::string version;      // of the storage; empty below 3.6
};

// `db`: open for reading only.
Result<DbStatus> db_status(bolt::Db& db, const Job& job);

}  // namespace quoin::utl
