// The membership of record: the buckets `members`, `members_removed` and `cluster` of the backend, kept in
// memory as one immutable value that is replaced at each change.
//
// A member that founds or joins a cluster knows the others from its flags before the log brings them. These
// count in view(), so that they can be talked to, until their entries are applied; configuration changes are
// checked against the record alone.
//
// Threads: apply strand, except view() and any_learner(), which any thread may call; what view() returns never
// changes.
// Lifetime: backend and log outlive the Cluster.
// Every change is written to the backend's active segment within the entry that makes it.
// Errors: kCorruption from records that cannot be read, naming bucket and key.
// Source: spec storage-formats 2.1, raft-and-peers 28, 30; log lines operations 6.3.
#pragma once
#include <absl/functional/function_ref.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string_view>

#include "backend/backend.h"
#include "base/log.h"
#include "membership/membership.h"

namespace quoin::membership {

struct VersionSet {
  std::optional<Version> before;
  // The cluster version went down: the caller takes a snapshot to disk, so that an older server can start.
  bool lowered = false;
};

// What a database holds: the buckets are read through `scan`. Without the ids of the cluster and of this member.
// kCorruption, naming bucket and key.
Result<Membership> read_membership(
    absl::FunctionRef<Result<>(backend::Bucket, const backend::PairVisitor&)> scan);

class Cluster {
 public:
  // `initial`: the ids, and the members known from flags if there is no log yet.
  Cluster(Membership initial, Version server_version, log::Logger& log);

  // Reads what `backend` holds, which is written to from now on. If it has members, those known before are
  // forgotten. kUnsupported if this server is older than the cluster version. At start and after a received
  // snapshot.
  Result<> recover(backend::Backend& backend);

  std::shared_ptr<const Membership> view() const;
  // view() has a learner. Any thread, no lock: every request asks.
  bool any_learner() const { return any_learner_.load(std::memory_order_acquire); }

  // ---- applied entries ----
  // What the backend holds: without the members that are known from flags alone.
  const Membership& record() const { return record_; }
  // A change that record().validate() let pass.
  void apply(const Change& change);
  // Published by a member of itself. False: it was removed or was never a member, and nothing happens.
  bool set_attributes(MemberId id, std::string name, std::vector<std::string> client_urls);
  // kUnsupported (the process must stop) if this server is older than `version`.
  Result<VersionSet> set_version(Version version);
  void set_downgrade(const Downgrade& downgrade);

 private:
  void publish();
  void store_member(const Member& member);

  const Version server_version_;
  log::Logger& log_;
  backend::Backend* backend_ = nullptr;
  Membership record_;                   // what the backend holds
  std::map<MemberId, Member> initial_;  // from flags
  mutable std::mutex mutex_;
  std::shared_ptr<const Membership> view_;  // guarded by mutex_
  std::atomic<bool> any_learner_{false};
};

}  // namespace quoin::membership
