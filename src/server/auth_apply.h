// Users and roles at apply: may the caller whom an entry names do what it asks for, and the requests of the Auth
// service themselves.
//
// An entry is checked as a whole before anything of it is applied, by the rights as they are then; so every member
// reaches the same verdict. etcd's members disagree about one thing: a member on which nobody waits for a
// transaction drops its reads before it checks, so that a caller who may write but not read is refused on one
// member and let in on the others. Here the reads count everywhere.
//
// Threads: apply strand. Lifetime: what the constructor is given outlives it.
// Bounds: a check goes in steps of about auth::kStep looks at a key; only entries that need more than one are
// applied in several tasks (Applier::begin_large). One request is not bounded by steps: an entry of etcd 3.4 that
// carries a password instead of its hash is hashed where it is applied, as in etcd. Such an entry can only be met
// when a log of that version is replayed.
// Errors: those of auth/checks.h and auth/store.h.
// Source: spec api-semantics 6.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "auth/checks.h"
#include "auth/secrets.h"
#include "auth/store.h"
#include "lease/lessor.h"
#include "server/answers.h"
#include "server/large_request.h"
#include "server/logins.h"
#include "wire/raft_internal.h"

namespace quoin::server {

// The keys of leases as checks ask for them.
class LessorKeys final : public auth::LeaseKeys {
 public:
  explicit LessorKeys(const lease::Lessor& lessor) : lessor_(lessor) {}
  std::vector<std::string> keys(LeaseId id, std::string_view from, size_t max) const override;

 private:
  const lease::Lessor& lessor_;
};

class AuthApply {
 public:
  using Request = wire::etcdserverpb::InternalRaftRequest;
  // `logins` null: a state machine without tokens (tools, tests).
  AuthApply(auth::Store& store, Logins* logins, const lease::Lessor& lessor, int bcrypt_cost);

  bool enabled() const { return store_.enabled(); }

  // Whether the caller may do what the request asks for.
  class Check {
   public:
    // The request and `parent` outlive it.
    Check(AuthApply& parent, const Request& request);
    // The answer, or nothing if there is more to do.
    std::optional<Result<>> step(size_t budget = auth::kStep);

   private:
    const Request& request_;
    auth::Access access_;
    std::optional<auth::RequestCheck> keys_;  // once the access is ready, of a request that has keys
    const auth::LeaseKeys& leases_;
  };

  // A request of the Auth service.
  static bool is_auth(const Request& request);
  // It changes nothing: where nobody waits for the answer there is nothing to do.
  static bool is_question(const Request& request);
  // More than a task should do: to be applied by large().
  bool is_large(const Request& request, bool wanted = true) const;
  std::unique_ptr<LargeRequest> large(const Request& request, int64_t revision);
  // The outcome of a request of the Auth service that was checked. `entry`: its index. The header's revision is the
  // caller's to fill in.
  Answer apply(const Request& request, Index entry);

  auth::RightsCache& cache() { return cache_; }
  const auth::LeaseKeys& lease_keys() const { return lease_keys_; }
  auth::Store& store() { return store_; }

 private:
  template <class R>
  std::string old_entry_hash(const R& request);

  auth::Store& store_;
  Logins* const logins_;
  const LessorKeys lease_keys_;
  const int bcrypt_cost_;
  auth::RightsCache cache_;
  std::unique_ptr<auth::Secrets> secrets_;  // made when an old entry needs salt
};

}  // namespace quoin::server
