// Who makes a call, and what they may do: the one place where services ask.
//
//   callers.who(call)                  whom the call is from, if that is known now
//   callers.when_known(call, f)        f(call, who), as soon as it is known
//   callers.when_admitted(call, f)     f(call), once the call's own need is met (Compact: an admin, ...)
//   callers.with_access(call, f)       f(call, access): what the caller may do with keys
//
// Nearly always all of it is known at once, and `f` runs within the call. Two things may take longer: a simple
// token carries the index of the entry that made it, which must be applied here first; and the rights of a user
// with very many permissions are merged in several turns.
//
// While auth is off everything is allowed, and asking costs one comparison.
//
// Threads: confined to its loop. Lifetime: the loop's; callbacks of calls that have ended do not run.
// Bounds: a call waits once, so there are no more waiting than calls in progress; those of ended calls are dropped
// within a few looks, every kLookNs, which go round.
// Errors: kInvalidAuthToken; those of auth/checks.h.
// Source: spec api-semantics 1.3, 6.3, 6.5, 6.7.
#pragma once
#include <absl/functional/any_invocable.h>

#include <map>
#include <memory>
#include <optional>

#include "auth/checks.h"
#include "auth/permissions.h"
#include "grpc/call.h"
#include "io/timer.h"
#include "server/logins.h"
#include "v3rpc/call_ref.h"

namespace quoin::v3rpc {

struct Loop;

// Nobody: the call carries neither token nor certificate.
using Who = std::optional<auth::AuthInfo>;
// An access and whatever it stands on. Ready to be asked.
using AccessRef = std::shared_ptr<auth::Access>;

class Callers {
 public:
  static constexpr int64_t kLookNs = 5 * io::kMillisecond;
  // At each look, as many are let go on, and as many are asked whether their call is still there.
  static constexpr size_t kDuePerLook = 200, kSweptPerLook = 1'000;

  explicit Callers(Loop& loop);

  // As they are now. The reference is good until the next call of this function.
  const auth::PermissionsRef& permissions();
  bool enabled() { return permissions()->enabled; }

  // Empty: not known yet.
  std::optional<Result<Who>> who(const grpc::Call& call);
  using OnKnown = absl::AnyInvocable<void(grpc::Call&, Result<Who>)>;
  void when_known(grpc::Call& call, OnKnown f);

  // What the call needs whatever it asks for (auth::need_of_call), or `need`. The call fails if that is not met.
  using OnAdmitted = absl::AnyInvocable<void(grpc::Call&)>;
  void when_admitted(grpc::Call& call, auth::Need need, OnAdmitted f);

  using OnAccess = absl::AnyInvocable<void(grpc::Call&, Result<AccessRef>)>;
  void with_access(grpc::Call& call, OnAccess f);
  // All of a transaction. `txn` outlives the call. The access is that of the check.
  void with_txn_access(grpc::Call& call, const wire::etcdserverpb::TxnRequest& txn, OnAccess f);

  // What was read under `access` may still be shown: kAuthOldRevision if auth changed meanwhile.
  Result<> still_current(const auth::Access& access) { return access.still_current_for_read(*permissions()); }

  size_t waiting() const { return waiting_.size(); }

 private:
  struct Waiting {
    CallRef call;
    OnKnown then;
  };
  std::optional<std::string_view> token_of(const grpc::Call& call) const;
  // A token's index is applied, or it has none.
  Result<Who> by_token(std::string_view token);
  void wait_for(Index index, grpc::Call& call, OnKnown f);
  void look();
  void merge(const CallRef& call, AccessRef access, OnAccess f);

  Loop& loop_;
  server::Logins& logins_;
  auth::PermissionsRef permissions_;
  auth::RightsCache rights_;
  using Place = std::pair<Index, uint64_t>;
  std::map<Place, Waiting> waiting_;  // for an index to be applied; in the order they came
  uint64_t next_place_ = 0;
  Place swept_;  // where the search for ended calls goes on
  std::unique_ptr<io::Timer> timer_;
};

}  // namespace quoin::v3rpc
