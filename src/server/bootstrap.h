// From a data directory (or none) to everything a member's stages start with. Blocking; before any strand
// runs.
//
// Order (spec storage-formats 5, operations 2.1): directories, backend, snapshot that the WAL vouches for,
// WAL, identity, membership, leases, store. A directory whose WAL holds no segment founds a cluster or joins
// one that runs (--initial-cluster-state); otherwise the identity comes from the WAL and the cluster flags are
// ignored. Founding and joining ask the other members by Environment::peers.
//
// Errors: etcd's texts; kCorruption names the file.
#pragma once
#include <memory>
#include <vector>

#include "membership/membership.h"
#include "raft/memory_storage.h"
#include "raft/rawnode.h"
#include "server/apply_stage.h"
#include "server/member.h"
#include "snap/snapshotter.h"
#include "wal/probe.h"
#include "wal/wal.h"

namespace quoin::server {

struct Bootstrapped {
  MemberId self;
  ClusterId cluster;
  std::unique_ptr<wal::Probe> wal_probe;
  std::unique_ptr<snap::Probe> snap_probe;
  std::unique_ptr<snap::Snapshotter> snapshotter;
  wal::Tail tail;
  std::unique_ptr<raft::MemoryStorage> storage;
  bool restarted = false;            // the directory had a log
  bool alone = false;                // the only voter, here and at the end of the log
  bool defragment = false;           // enough of the file is free (Config::bootstrap_defrag_mib)
  std::vector<raft::Peer> founders;  // not empty: a new cluster
  // What raft starts with and the log does not hold, to be written to it before anything else: the hard state, where
  // the start made up a commit or a term that the log has lost (empty: none), and entries of --force-new-cluster.
  raft::HardState made_up;
  std::vector<raft::Entry> forced;
  ApplyStage::State state;
};

Result<Bootstrapped> bootstrap(const Config& config, Environment& env);

}  // namespace quoin::server
