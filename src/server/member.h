// One etcd member without its sockets: start it, give it requests, read its views, stop it.
//
// What runs where (design.md section 1): RaftStage on the raft executor, ApplyStage on apply, AppendStage on
// append, the backend's file work on file. A ClientPort on each client loop gathers what one loop round wants
// proposed or confirmed and hands it over once.
//
// Threads: start() and the destructor on the thread that owns the member; methods of Member as stated with
// each. Lifetime: the Environment outlives the member. Order of the end: all ports quiet, stop(), its
// callback, then destruction. Source: spec raft-and-peers 26-33, operations 2, api-semantics 2-5.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "auth/checks.h"
#include "backend/backend.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"
#include "io/clock.h"
#include "io/executor.h"
#include "io/file.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "io/timer.h"
#include "membership/member.h"
#include "mvcc/read_view.h"
#include "mvcc/watch.h"
#include "server/alarms.h"
#include "server/answers.h"
#include "server/config.h"
#include "server/peers.h"
#include "server/slow_requests.h"

namespace quoin::server {

struct Environment {
  io::Executor& raft;
  io::Executor& apply;
  io::Executor& append;
  io::Executor& file;
  io::FileSystem& append_fs;  // bound to append
  io::FileSystem& file_fs;    // bound to file
  io::TimerService& timers;
  io::Clock& clock;
  log::Logger& log;
  metrics::Registry& metrics;
  uint64_t seed;
  Peers* peers = nullptr;  // null: this member talks to no other
  // Looks up the hosts of peer URLs where a cluster is founded or joined; null: their texts are compared.
  io::Resolver* resolver = nullptr;
  // Threads that hash passwords, 100 ms each. Empty: `file` does, and its work waits meanwhile.
  std::vector<io::Executor*> passwords = {};
};

// What Status and the response headers show, as of one moment.
struct MemberStatus {
  Term term;
  MemberId leader;
  Index committed, applied;
  bool learner = false;
  uint64_t db_size = 0, db_size_in_use = 0;
  int64_t db_quota = 0;
  std::string storage_version;  // "3.6.0"; empty if undetectable
  std::string cluster_version;  // "3.6.0"; empty before it is decided
  std::vector<Alarm> alarms;
  bool downgrade_enabled = false;
  std::string downgrade_target;
};

// "X.Y" or "X.Y.Z", suffix allowed, as "X.Y.0"; empty for anything else.
std::optional<std::string> parse_target_version(std::string_view version);

struct LeaseTimes {
  int64_t ttl = -1;  // seconds left; -1: no such lease
  int64_t granted_ttl = 0;
  std::vector<std::string> keys;
};

// What a caller wants to do with the keys of a lease.
enum class LeaseRight : uint8_t { kRead, kWrite };

class Admin;
class Logins;
class Stages;

class Member {
 public:
  // Blocking: opens or founds the data directory, replays nothing yet. Logs etcd's lines.
  static Result<std::unique_ptr<Member>> start(Config config, Environment env);
  ~Member();

  // Once, before run(), blocking: the check of the data at the start of a member that was there before, if it is
  // asked for. An error ends the start, and is told by the caller.
  Result<> check_data();

  // From now on time passes and entries are applied. `ready` runs on `executor` once the member has published
  // itself and may serve clients; `failed` on any strand when the member can't go on (a failed sync, a
  // corrupt record, its own removal): the process must end with that error.
  void run(io::Executor& executor, Task ready, std::function<void(Error)> failed);
  // Stops taking requests, answers what waits, saves what a clean stop saves. `done` on `executor`.
  void stop(io::Executor& executor, Task done);

  // ---- any thread ----
  MemberId id() const;
  ClusterId cluster_id() const;
  const Config& config() const;
  uint64_t next_id();
  Term term() const;
  MemberId leader() const;
  bool learner() const;
  // Never null. Once stop() is done, reads of its values end with kServerStopped.
  std::shared_ptr<const mvcc::ReadView> view() const;
  int64_t revision() const;  // of view(), for less
  MemberStatus status() const;
  std::vector<membership::Member> members() const;
  std::string cluster_version() const;
  // Target "X.Y.0" of a downgrade to `version` that is possible now; kInvalidDowngradeTargetVersion,
  // kDowngradeInProcess, kWrongDowngradeVersionFormat.
  Result<std::string> check_downgrade(std::string_view version) const;
  // The database's size leaves room for a request of this cost.
  bool quota_allows(uint64_t cost) const;
  // For reads: the loop that reads measures the time.
  SlowRequests& slow_requests();
  // committed - applied > 5,000.
  bool overloaded() const;
  Index applied() const;
  // Passwords, tokens, and the permissions as they are now.
  Logins& logins();
  // A loop read `ranges` ranges of a view for one request; compares count as ranges, as in etcd.
  void count_ranges(size_t ranges);

  // ---- by a loop, answered on it ----
  // Watch tables live on apply: `work` runs there, in order of the calls from one loop.
  void on_apply(absl::AnyInvocable<void(mvcc::WatchTable&)> work);
  // Of the leader's clock, wherever it is: kNoLeader, kTimeout, kLeaderChanged, kTimeoutWaitAppliedIndex.
  void lease_times(LeaseId id, bool keys, io::Executor& executor,
                   absl::AnyInvocable<void(Result<LeaseTimes>)> done);
  // The same for another member that asks this one: kNotPrimary where it does not lead,
  // kTimeoutWaitAppliedIndex if it falls behind for a second.
  void lease_times_here(LeaseId id, bool keys, io::Executor& executor,
                        absl::AnyInvocable<void(Result<LeaseTimes>)> done);
  // A renewal that another member asks for; answered as ClientPort::renew_lease, but never by asking others.
  void renew_here(LeaseId id, io::Executor& executor, RenewDone done);
  // raft's state as JSON, in the form of etcd's.
  void raft_status(io::Executor& executor, absl::AnyInvocable<void(std::string)> done);
  void leases(io::Executor& executor, absl::AnyInvocable<void(Result<std::vector<LeaseId>>)> done);
  // check_lease_rights() of server/lease_questions.h.
  void check_leases(LeaseRight right, std::optional<auth::AuthInfo> caller, std::vector<LeaseId> leases,
                    io::Executor& executor, absl::AnyInvocable<void(Result<uint64_t>)> done);
  // The hash and the revision it is of.
  void hash(io::Executor& executor, absl::AnyInvocable<void(Result<backend::StateHash>)> done);
  struct HashKv {
    uint32_t hash = 0;
    int64_t compact_revision = -1, hash_revision = 0, revision = 0;
  };
  void hash_kv(int64_t revision, io::Executor& executor, absl::AnyInvocable<void(Result<HashKv>)> done);
  void defragment(io::Executor& executor, absl::AnyInvocable<void(Result<>)> done);
  void snapshot(io::Executor& executor,
                absl::AnyInvocable<void(Result<std::shared_ptr<backend::SnapshotSource>>)> done);
  // The file strand, for reading a snapshot source off the loops.
  io::Executor& file_executor();

  // Members come, go, are promoted; leadership moves (server/admin.h).
  Admin& admin();

  // ---- other members ----
  // The way in for the transport.
  PeerHandler& peer_handler();

 private:
  friend class ClientPort;
  friend class MemberPeer;  // tests
  Member();
  std::unique_ptr<Stages> stages_;
};

// How a client loop makes requests of the member. Confined to its loop. The member outlives it, and it
// outlives its calls.
class ClientPort {
 public:
  ClientPort(Member& member, io::Loop& loop);
  ~ClientPort();

  Member& member() { return member_; }
  io::Loop& loop() { return loop_; }

  // `request` is an encoded InternalRaftRequest whose header carries `id` (Member::next_id()). Answered on
  // this loop: the applied outcome, or kTooManyRequests, kRequestTooLarge, kTimeout..., kServerStopped.
  void propose(uint64_t id, Blob request, AnswerDone done);
  // The client of this proposal has gone: `done` is not called any more, unless it was before. The proposal
  // may still be applied; it counts as failed.
  void give_up(uint64_t id);
  // Calls back once a read of the newest view is linearizable.
  void read_index(ReadDone done);
  // Renews a lease: the granted TTL, kLeaseNotFound, kNotPrimary, kTimeoutWaitAppliedIndex, kServerStopped.
  void renew_lease(LeaseId id, RenewDone done);

 private:
  struct Batch;
  void flush();
  Member& member_;
  io::Loop& loop_;
  std::shared_ptr<Batch> batch_;
};

}  // namespace quoin::server
