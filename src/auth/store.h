// The auth store: whether auth is on, its revision, users and roles, and every change of the Auth service.
//
// Each operation is an applied log entry and gives the same result and the same stored bytes on every member,
// byte for byte what etcd 3.6 writes. What is not deterministic is done before an entry is proposed: passwords
// are hashed by who receives the call (password_checker.h), and the entry carries the hash. A change makes a new
// Permissions value and publishes it; then it asks the backend for a commit, as etcd does after each auth
// change, without waiting for it.
//
// Threads: apply strand. Published is read by all.
// Lifetime: published, listener, log and the backend given to recover() outlive the store.
// Steps: an operation is linear in the one user's or role's record that it writes. Two go over all users:
// the list, which user_names() gives in pieces, and the deletion of a role, which RoleDeletion does in steps.
// recover() reads everything in one go, beside the store that serves.
// Errors: etcd's codes and texts (base/error_table.h), in etcd's order of checks. kCorruption from recover() if
// a stored record cannot be read.
// Source: spec api-semantics 6.1, 6.2; storage-formats 2.1; etcd's store.go.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "auth/permissions.h"
#include "backend/backend.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"
#include "wire/rpc.h"

namespace quoin::auth {

// What a change makes invalid beside permissions, which carry their revision with them.
class Listener {
 public:
  virtual ~Listener() = default;
  // Auth is on, from here or since the start: tokens may be handed out.
  virtual void enabled() = 0;
  // Every token ends.
  virtual void disabled() = 0;
  // The user was deleted or has another password: its tokens end.
  virtual void user_changed(std::string_view user) = 0;
};

class RoleDeletion;

class Store {
 public:
  Store(Published& published, Listener& listener, metrics::Registry& metrics, log::Logger& log);
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // Forgets everything and reads the auth buckets of `backend`, which is written to from now on. Where there is
  // no revision yet, the first one (1) is written.
  Result<> recover(backend::Backend& backend);
  // Takes over what `fresh` read beside this store from another backend, and publishes it. Every token ends, as at a
  // restart: which of them should have ended by what the snapshot has skipped, nobody knows. `fresh` must not be used
  // afterwards.
  void adopt(Store& fresh);

  bool enabled() const { return now_->enabled; }
  uint64_t revision() const { return now_->revision; }
  const PermissionsRef& permissions() const { return now_; }

  // ---- operations ----
  using UserAdd = wire::etcdserverpb::AuthUserAddRequest;
  using ChangePassword = wire::etcdserverpb::AuthUserChangePasswordRequest;
  using Permission = wire::authpb::Permission;

  Result<> enable();  // kRootUserNotExist, kRootRoleNotExist
  void disable();

  // True for an entry of etcd 3.4 or older, which carries the password itself: hash it (off the strand), then
  // apply with `old_entry_hash`. If hashing failed, apply without.
  template <class Request>
  static bool wants_hash(const Request& request) {
    return !request.password.empty() && request.hashed_password.empty();
  }
  // kUserEmpty, kUserExist, kNoPasswordUser (the hash is no base64, or is missing in an old entry).
  Result<> user_add(const UserAdd& request, std::string_view old_entry_hash = {});
  // kUserNotFound, kNoPasswordUser. The user's tokens end.
  Result<> user_change_password(const ChangePassword& request, std::string_view old_entry_hash = {});
  // kInvalidAuthMgmt (root while auth is on), kUserNotFound. The user's tokens end.
  Result<> user_delete(std::string_view name);
  Result<> user_grant_role(std::string_view user, std::string_view role);  // kUserNotFound, kRoleNotFound
  Result<> user_revoke_role(std::string_view user,
                            std::string_view role);  // kInvalidAuthMgmt, kUserNotFound,
                                                     // kRoleNotGranted
  Result<> role_add(std::string_view name);          // kRoleEmpty, kRoleExist
  // `permission` null: kPermissionNotGiven. kInvalidAuthMgmt for a range that is none, kRoleNotFound.
  Result<> role_grant_permission(std::string_view role, const Permission* permission);
  // kRoleNotFound, kPermissionNotGranted.
  Result<> role_revoke_permission(std::string_view role, std::string_view key, std::string_view range_end);
  // All at once. kInvalidAuthMgmt (root while auth is on), kRoleNotFound.
  Result<> role_delete(std::string_view name);
  // The same in steps. The store must not be changed meanwhile, and the backend must not freeze: both belong to
  // the entry.
  Result<RoleDeletion> begin_role_delete(std::string_view name);
  // True where role_delete() might take longer than a step.
  bool role_delete_is_large() const { return now_->users.size() > 500; }

  // ---- questions, as entries too ----
  // kUserNotFound. The record's roles are the answer.
  Result<std::shared_ptr<const User>> user_get(std::string_view name) const;
  // kRoleNotFound. For the role root one permission for everything, whatever is stored. The views live as long
  // as `*holder`.
  Result<std::vector<Permission>> role_get(std::string_view name, std::shared_ptr<const Role>* holder) const;
  // Up to `max` names after `after` (empty: from the first on), ascending. Views live until the next change.
  std::vector<std::string_view> user_names(std::string_view after = {}, size_t max = SIZE_MAX) const;
  // Without roles whose names begin with the byte ff, which etcd's scan does not reach.
  std::vector<std::string_view> role_names(std::string_view after = {}, size_t max = SIZE_MAX) const;

  // What Authenticate needs before the password can be compared, on any thread: the user's hash and the auth
  // revision it is of. kAuthNotEnabled, kAuthFailed (no such user), kNoPasswordUser.
  struct Login {
    std::shared_ptr<const User> user;
    uint64_t revision = 0;
    std::string_view hash() const { return user->record.password; }
  };
  static Result<Login> begin_login(const Permissions& permissions, std::string_view name);
  // The Authenticate entry: whom a token is to be made for, and as of which revision. kAuthNotEnabled,
  // kAuthFailed. The caller repeats everything if the revision is not the one of begin_login().
  Result<uint64_t> authenticate(std::string_view name) const;

 private:
  friend class RoleDeletion;
  void put_user(Permissions& next, const wire::authpb::User& record);
  void put_role(Permissions& next, const wire::authpb::Role& record);
  Permissions copy() const { return *now_; }
  // One revision further, stored and published.
  void commit(Permissions next, bool roles_changed);
  void publish(Permissions next, bool roles_changed);
  Result<std::string> new_password(std::string_view password, std::string_view hashed,
                                   std::string_view old_entry_hash) const;

  Published& published_;
  Listener& listener_;
  log::Logger& log_;
  metrics::Gauge& revision_gauge_;
  backend::Backend* backend_ = nullptr;
  PermissionsRef now_;
};

// Deletes a role and takes it from every user.
class RoleDeletion {
 public:
  // Looks at about `budget` users; one that has the role counts as forty. True when the deletion is done and
  // published.
  bool step(size_t budget = 2000);

 private:
  friend class Store;
  RoleDeletion(Store& store, std::string_view role) : store_(&store), role_(role), next_(store.copy()) {}

  Store* store_;
  std::string role_;
  Permissions next_;
  std::string after_;  // the last user looked at
};

}  // namespace quoin::auth
