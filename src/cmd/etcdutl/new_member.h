// The parts of a data directory that `snapshot restore` makes around a copied database, and that any tool needs which
// begins a new cluster with old data: the database is given new members, the log and the snapshot file say that they
// founded the cluster.
//
// All blocks. Everything written is synced, names included, except the name of the directory the caller gives.
// Errors: kCorruption of the database; those of the file system; kInvalidArgument.
// Source: spec storage-formats 6.3; etcdutl 3.6 (saveDB, modifyLatestRevision, saveWALAndSnap, updateCIndex).
#pragma once
#include <cstdint>
#include <string>

#include "base/result.h"
#include "cmd/etcdutl/job.h"
#include "membership/membership.h"

namespace quoin::utl {

struct NewMembers {
  const membership::Membership& members;  // the founders, with local_id and cluster_id
  // By how much the newest revision is raised, and everything up to there marked as compacted; 0: not at all. Clients
  // that saw revisions which the database does not have must not meet them again with another meaning.
  uint64_t bump_revision = 0;
};

// One commit: the members of before are forgotten, the new ones put in, the revision raised, and the consistent index
// set to the last entry of the log that found_log() makes.
Result<> give_new_members(const Machine& machine, const std::string& database, const NewMembers& what,
                          const Job& job);

// A log in `wal_dir` (made; nothing may be there) whose entries add the founders one by one, and in `snap_dir` the
// snapshot behind them.
Result<> found_log(const Machine& machine, const membership::Membership& members, const std::string& wal_dir,
                   const std::string& snap_dir);

}  // namespace quoin::utl
