// Whether a caller may do what a request asks for.
//
// An Access is one caller's rights as of one Permissions value. It is made once a request, stepped until it is
// ready (nearly always at once: only rights that were never asked for must be merged), and then answers
// questions about keys without state of its own. RequestCheck goes through what has many parts: a transaction
// with its nested ones, the keys of a lease. Where something is checked, before apply or in it, is the caller's
// choice; for apply the caller is who the entry's header names.
//
// Threads: an Access and a RequestCheck belong to the thread whose RightsCache they were made with. LeaseKeys is
// called on that thread.
// Lifetime: the RightsCache and the LeaseKeys must outlive them, and so must the request, which is not copied.
// Bounds: a step does about `budget` looks at a key, each a search in a sorted list; kStep of them stay below a
// millisecond. A transaction is walked with a stack on the heap, as deep as the decoder lets one be.
// Errors: kUserEmpty (nobody is named), kAuthOldRevision (named before the last change), kPermissionDenied,
// kUserNotFound (admin calls only). While auth is off everything is allowed.
// Source: spec api-semantics 6.4-6.6; etcd's apply_auth.go. Advisories of 2026 this follows:
// GHSA-rfx7-8w68-q57q (nested transactions), GHSA-x35m-3gp4-4fh5 (prev_kv and leases of puts in transactions),
// GHSA-q8m4-xhhv-38mg (calls that were open to all), GHSA-xg4h-6gfc-h4m8 (open-ended watches).
#pragma once
#include <absl/container/flat_hash_set.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "auth/permissions.h"
#include "base/ids.h"
#include "base/result.h"
#include "wire/raft_internal.h"
#include "wire/rpc.h"

namespace quoin::auth {

// Who asks, and as of which auth revision that was established. Revision 0: nobody.
struct AuthInfo {
  std::string user;
  uint64_t revision = 0;
};
// What a member does by itself (revoking an expired lease) it does as root.
inline AuthInfo internal_root(const Permissions& permissions) {
  return {std::string(kRootUser), permissions.revision};
}

constexpr size_t kStep = 2000;

class Access {
 public:
  // `info` empty: the call came without credentials.
  Access(PermissionsRef permissions, std::optional<AuthInfo> info, RightsCache& cache);

  // Goes on with merging the caller's rights. True when the checks below may be asked.
  bool step(size_t budget = kStep);

  // READ or WRITE on the key (range_end empty), or on all of [key, range_end). range_end is taken as the request
  // has it: "\0" means open-ended here, and must not have been turned into anything else.
  Result<> read(std::string_view key, std::string_view range_end = {}) const;
  Result<> write(std::string_view key, std::string_view range_end = {}) const;
  // Has the role root. The revision does not matter.
  Result<> admin() const;
  // Came with credentials, whoever that is.
  Result<> authenticated() const;
  // AuthUserGet and AuthRoleGet are open to those who ask about themselves.
  Result<> user_get(std::string_view user) const;
  Result<> role_get(std::string_view role) const;

  // What was read belongs to the rights that were checked: kAuthOldRevision if auth changed meanwhile. For a
  // read (Range, a read-only Txn) the caller's own revision counts, for what is asked about leases (keep-alive,
  // TimeToLive, Leases) the one at which the check began.
  Result<> still_current_for_read(const Permissions& now) const;
  Result<> still_current_for_lease(const Permissions& now) const;

  const Permissions& permissions() const { return *permissions_; }
  const std::optional<AuthInfo>& info() const { return info_; }

 private:
  // Decides what does not depend on keys: a result, or none if the rights do.
  std::optional<Result<>> before_keys() const;
  Result<> covered(RangeSet Rights::*set, std::string_view key, std::string_view range_end) const;

  PermissionsRef permissions_;
  std::optional<AuthInfo> info_;
  RightsCache* cache_;
  std::shared_ptr<const User> user_;  // null: no such user
  std::shared_ptr<const Rights> rights_;
  std::unique_ptr<Merge> merge_;
};

// The keys that hang on a lease, which the lessor knows.
class LeaseKeys {
 public:
  virtual ~LeaseKeys() = default;
  // The lease's keys from `from` on, ascending, at most `max`; none if there is no such lease.
  virtual std::vector<std::string> keys(LeaseId id, std::string_view from, size_t max) const = 0;
};

class RequestCheck {
 public:
  using Put = wire::etcdserverpb::PutRequest;
  using DeleteRange = wire::etcdserverpb::DeleteRangeRequest;
  using Txn = wire::etcdserverpb::TxnRequest;

  // The access must be ready.
  RequestCheck(const Access& access, const LeaseKeys& leases) : access_(access), leases_(leases) {}

  // WRITE on the key and on every key of the lease (an admin need not), READ on the key for prev_kv.
  void put(const Put& put);
  // WRITE, and READ for prev_kv.
  void delete_range(const DeleteRange& erase);
  // READ on every compare, and each operation of both branches as if it stood alone, at any depth.
  void txn(const Txn& txn);
  // WRITE (revoke, keep-alive) or READ (keys of TimeToLive, Leases) on every key of the lease, or admin.
  void lease_write(LeaseId id) { leases_of({id}, &Access::write); }
  void lease_read(LeaseId id) { leases_of({id}, &Access::read); }
  void leases_read(std::vector<LeaseId> ids) { leases_of(std::move(ids), &Access::read); }

  // The answer, or nothing if there is more to do.
  std::optional<Result<>> step(size_t budget = kStep);
  // All of it in one go.
  Result<> run();

 private:
  using Question = Result<> (Access::*)(std::string_view, std::string_view) const;
  // A transaction that is being gone through: its compares, then its branches.
  struct Frame {
    const Txn* txn;
    uint8_t part = 0;
    size_t next = 0;
  };
  void leases_of(std::vector<LeaseId> ids, Question question);
  void refuse(Result<> r) {
    if (!r && refused_) refused_ = std::move(r);
  }
  void next_of(Frame& frame);
  void next_of_lease(size_t& budget);

  const Access& access_;
  const LeaseKeys& leases_;
  Result<> refused_;  // an error: the answer is known
  std::vector<Frame> stack_;
  // Leases whose keys are still to be looked at, the present one last, and where it goes on.
  std::vector<LeaseId> lease_queue_;
  std::string lease_from_;
  Question lease_question_ = &Access::write;
  absl::flat_hash_set<LeaseId> leases_seen_;
};

// ---- what a call needs whatever it asks for ----

enum class Need : uint8_t {
  kNothing,        // or it depends on keys
  kAuthenticated,  // any user
  kAdmin,
};
// By the call's gRPC path ("/etcdserverpb.KV/Compact"), to be asked of whoever calls, before anything else is
// done. Alarm is not in the table: see alarm_need.
Need need_of_call(std::string_view path);
inline Need alarm_need(wire::etcdserverpb::AlarmRequest::AlarmAction action) {
  return action == wire::etcdserverpb::AlarmRequest::AlarmAction::kGet ? Need::kAuthenticated : Need::kAdmin;
}
// Of an entry at apply: all of the Auth service's calls but Authenticate, AuthUserGet and AuthRoleGet.
bool needs_admin_at_apply(const wire::etcdserverpb::InternalRaftRequest& request);
Result<> check_need(const Access& access, Need need);

}  // namespace quoin::auth
