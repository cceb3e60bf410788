// `snapshot restore`: from a saved snapshot to the data directory of a new member of a new cluster.
//
// All is made below `<data-dir>/member.restoring` and takes its place when it is complete and on disk, so that no
// member can start on half of it. After an error, or when interrupted, what was made is removed again; a process that
// was killed leaves `member.restoring`. Memory does not depend on the size of the snapshot.
//
// Errors: kInvalidArgument with etcd's texts for what is wrong with the options, the directories and the digest;
// kCorruption of the snapshot; kStopped; those of the file system.
// Source: spec cli 10.2, storage-formats 6.3.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "cmd/etcdutl/job.h"
#include "membership/membership.h"

namespace quoin::utl {

struct RestoreOptions {
  std::string snapshot;
  std::string name = "default";
  std::string data_dir;  // empty: <name>.etcd
  std::string wal_dir;   // empty: within the data directory
  std::string initial_cluster = "default=http://localhost:2380";
  std::string initial_cluster_token = "etcd-cluster";
  std::vector<std::string> peer_urls = {"http://localhost:2380"};  // advertised
  bool skip_hash_check = false;
  uint64_t map_bytes = 10ull << 30;  // shown in the log; the whole file is mapped whatever it says
  uint64_t bump_revision = 0;        // 0: not; else all before is marked as compacted
};

Result<> restore_snapshot(const RestoreOptions& options, const Machine& machine, const Job& job);

// The founders as the options name them. A part of restore_snapshot, for tools that begin a cluster from other data.
Result<membership::Membership> founding_members(const RestoreOptions& options, const Machine& machine);

}  // namespace quoin::utl
