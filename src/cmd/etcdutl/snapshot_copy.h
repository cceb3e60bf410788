// Copies a saved snapshot (or a database file) into a new database file, and checks its digest.
//
// A saved snapshot is a database and the SHA-256 of it; that there is a digest shows in the size, which is 32 more than
// a multiple of 512. Source: spec storage-formats 6.1, 6.3.
//
// Memory: one block. Errors: those of the file system; kInvalidArgument, with etcd's texts: "snapshot missing hash but
// --skip-hash-check=false", "expected sha256 [..], got [..]"; kStopped. After an error `to` may be there, incomplete.
#pragma once
#include <string>

#include "base/result.h"
#include "cmd/etcdutl/job.h"

namespace quoin::utl {

// `to` is made with mode 0600, and synced; its name is not.
Result<> copy_snapshot(io::FileSystem& fs, const std::string& from, const std::string& to,
                       bool skip_hash_check, const Job& job);

}  // namespace quoin::utl
