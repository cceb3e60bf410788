#include "auth/store.h"

#include <algorithm>
#include <utility>

#include "auth/base64.h"
#include "base/check.h"
#include "base/coding.h"
#include "wire/message.h"

namespace quoin::auth {
namespace {

using backend::Bucket;
using UserRecord = wire::authpb::User;

constexpr std::string_view kEnabledKey = "authEnabled";
constexpr std::string_view kRevisionKey = "authRevision";
constexpr std::string_view kOn("\x01", 1);
constexpr std::string_view kOff("\0", 1);

// A record without one role, and without fields this build has no name for, as etcd writes it then. Empty if the
// user does not have the role.
std::optional<UserRecord> without_role(const UserRecord& record, std::string_view role) {
  UserRecord out;
  out.name = record.name;
  out.password = record.password;
  out.options = record.options;
  std::copy_if(record.roles.begin(), record.roles.end(), std::back_inserter(out.roles),
               [&](std::string_view r) { return r != role; });
  if (out.roles.size() == record.roles.size()) return std::nullopt;
  return out;
}

// As a log field.
std::vector<std::string> role_list(const UserRecord& record) {
  return {record.roles.begin(), record.roles.end()};
}

}  // namespace

Store::Store(Published& published, Listener& listener, metrics::Registry& metrics, log::Logger& log)
    : published_(published),
      listener_(listener),
      log_(log),
      revision_gauge_(metrics.gauge("etcd_debugging_auth_revision", "The current revision of auth store.")),
      now_(std::make_shared<const Permissions>()) {}

Result<> Store::recover(backend::Backend& backend) {
  backend_ = &backend;
  Permissions next;
  next.enabled = backend.get(Bucket::kAuth, kEnabledKey) == kOn;
  if (const auto stored = backend.get(Bucket::kAuth, kRevisionKey)) {
    if (stored->size() != 8) {
      return make_error(Code::kCorruption, "auth revision of {} bytes", stored->size());
    }
    next.revision = load_be64(stored->data());
  }
  Result<> damage;
  TRY(backend.scan(Bucket::kAuthUsers, {}, {}, [&](std::string_view key, std::string_view value) {
    auto user = User::read(key, std::string(value));
    if (!user) {
      damage = user.error();
      return false;
    }
    next.users.put(std::move(*user));
    return true;
  }));
  TRY(std::move(damage));
  TRY(backend.scan(Bucket::kAuthRoles, {}, {}, [&](std::string_view key, std::string_view value) {
    auto role = Role::make(key, std::string(value));
    if (!role) {
      damage = role.error();
      return false;
    }
    next.roles.put(std::move(*role));
    return true;
  }));
  TRY(std::move(damage));
  if (next.revision == 0) {
    next.revision = 1;
    backend.put(Bucket::kAuth, kRevisionKey, be64(1));
  }
  publish(std::move(next), true);
  if (now_->enabled) listener_.enabled();
  return {};
}

void Store::adopt(Store& fresh) {
  backend_ = fresh.backend_;
  publish(fresh.copy(), true);
  // Whose password changed meanwhile, the snapshot does not say.
  listener_.disabled();
  if (now_->enabled) listener_.enabled();
}

void Store::publish(Permissions next, bool roles_changed) {
  next.serial = now_->serial + 1;
  next.roles_serial = roles_changed ? next.serial : now_->roles_serial;
  now_ = std::make_shared<const Permissions>(std::move(next));
  published_.publish(now_);
  revision_gauge_.set(static_cast<double>(now_->revision));
}

void Store::commit(Permissions next, bool roles_changed) {
  ++next.revision;
  backend_->put(Bucket::kAuth, kRevisionKey, be64(next.revision));
  publish(std::move(next), roles_changed);
  backend_->commit([] {});
}

void Store::put_user(Permissions& next, const UserRecord& record) {
  std::string bytes = wire::encode_string(record);
  backend_->put(Bucket::kAuthUsers, record.name, bytes);
  auto user = User::read(record.name, std::move(bytes));
  CHECK(user.has_value(), "a user record that was just encoded cannot be read");
  next.users.put(std::move(*user));
}

void Store::put_role(Permissions& next, const wire::authpb::Role& record) {
  std::string bytes = wire::encode_string(record);
  backend_->put(Bucket::kAuthRoles, record.name, bytes);
  auto role = Role::make(record.name, std::move(bytes));
  CHECK(role.has_value(), "a role record that was just encoded cannot be read");
  next.roles.put(std::move(*role));
}

// ---- on and off ----

Result<> Store::enable() {
  if (now_->enabled) {
    LOG(log_, kInfo, "authentication is already enabled; ignored auth enable request", );
    return {};
  }
  const User* root = now_->users.find(kRootUser);
  // etcd commits even where it refuses, which nobody can see.
  if (root == nullptr) return Code::kRootUserNotExist;
  if (!root->root) return Code::kRootRoleNotExist;
  backend_->put(Bucket::kAuth, kEnabledKey, kOn);
  Permissions next = copy();
  next.enabled = true;
  publish(std::move(next), false);
  backend_->commit([] {});
  listener_.enabled();
  LOG(log_, kInfo, "enabled authentication", );
  return {};
}

void Store::disable() {
  if (!now_->enabled) return;
  backend_->put(Bucket::kAuth, kEnabledKey, kOff);
  Permissions next = copy();
  next.enabled = false;
  commit(std::move(next), false);
  listener_.disabled();
  LOG(log_, kInfo, "disabled authentication", );
}

// ---- users ----

Result<std::string> Store::new_password(std::string_view password, std::string_view hashed,
                                        std::string_view old_entry_hash) const {
  if (!password.empty() && hashed.empty()) {
    if (old_entry_hash.empty()) return Code::kNoPasswordUser;
    return std::string(old_entry_hash);
  }
  std::optional<std::string> bytes = base64_decode(hashed);
  // etcd's answer to a hash that is no base64 speaks of something else; clients see it.
  if (!bytes) return Code::kNoPasswordUser;
  return *std::move(bytes);
}

Result<> Store::user_add(const UserAdd& request, std::string_view old_entry_hash) {
  if (request.name.empty()) return Code::kUserEmpty;
  if (now_->users.find(request.name) != nullptr) return Code::kUserExist;
  UserRecord record;
  record.name = request.name;
  record.options = request.options ? request.options : wire::authpb::UserAddOptions();
  std::string password;
  if (!record.options->no_password) {
    ASSIGN_OR_RETURN(password, new_password(request.password, request.hashed_password, old_entry_hash));
    record.password = password;
  }
  Permissions next = copy();
  put_user(next, record);
  commit(std::move(next), false);
  LOG(log_, kInfo, "added a user", {"user-name", request.name});
  return {};
}

Result<> Store::user_change_password(const ChangePassword& request, std::string_view old_entry_hash) {
  const User* user = now_->users.find(request.name);
  if (user == nullptr) return Code::kUserNotFound;
  UserRecord record;
  record.name = request.name;
  record.roles = user->record.roles;
  record.options = user->record.options;
  std::string password;
  if (!user->no_password()) {
    ASSIGN_OR_RETURN(password, new_password(request.password, request.hashed_password, old_entry_hash));
    record.password = password;
  }
  const PermissionsRef old = now_;  // the record's views lie in it
  Permissions next = copy();
  put_user(next, record);
  commit(std::move(next), false);
  listener_.user_changed(request.name);
  LOG(log_, kInfo, "changed a password of a user", {"user-name", request.name},
      {"user-roles", role_list(user->record)});
  return {};
}

Result<> Store::user_delete(std::string_view name) {
  if (now_->enabled && name == kRootUser) {
    LOG(log_, kError, "cannot delete 'root' user", {"user-name", name});
    return Code::kInvalidAuthMgmt;
  }
  const User* user = now_->users.find(name);
  if (user == nullptr) return Code::kUserNotFound;
  const PermissionsRef old = now_;
  backend_->erase(Bucket::kAuthUsers, name);
  Permissions next = copy();
  next.users.erase(name);
  commit(std::move(next), false);
  listener_.user_changed(name);
  LOG(log_, kInfo, "deleted a user", {"user-name", name}, {"user-roles", role_list(user->record)});
  return {};
}

Result<> Store::user_grant_role(std::string_view name, std::string_view role) {
  const User* user = now_->users.find(name);
  if (user == nullptr) return Code::kUserNotFound;
  // The role root exists by its name alone.
  if (role != kRootRole && now_->roles.find(role) == nullptr) return Code::kRoleNotFound;
  UserRecord record = user->record;
  if (std::binary_search(record.roles.begin(), record.roles.end(), role)) {
    LOG(log_, kWarn, "ignored grant role request to a user", {"user-name", name},
        {"user-roles", role_list(record)}, {"duplicate-role-name", role});
    return {};
  }
  record.roles.push_back(role);
  std::sort(record.roles.begin(), record.roles.end());
  const PermissionsRef old = now_;
  Permissions next = copy();
  put_user(next, record);
  commit(std::move(next), false);
  LOG(log_, kInfo, "granted a role to a user", {"user-name", name}, {"user-roles", role_list(record)},
      {"added-role-name", role});
  return {};
}

Result<> Store::user_revoke_role(std::string_view name, std::string_view role) {
  if (now_->enabled && name == kRootUser && role == kRootRole) {
    LOG(log_, kError, "'root' user cannot revoke 'root' role", {"user-name", name}, {"role-name", role});
    return Code::kInvalidAuthMgmt;
  }
  const User* user = now_->users.find(name);
  if (user == nullptr) return Code::kUserNotFound;
  const std::optional<UserRecord> record = without_role(user->record, role);
  if (!record) return Code::kRoleNotGranted;
  const PermissionsRef old = now_;
  Permissions next = copy();
  put_user(next, *record);
  commit(std::move(next), false);
  LOG(log_, kInfo, "revoked a role from a user", {"user-name", name},
      {"old-user-roles", role_list(user->record)}, {"new-user-roles", role_list(*record)},
      {"revoked-role-name", role});
  return {};
}

Result<std::shared_ptr<const User>> Store::user_get(std::string_view name) const {
  const auto* user = now_->users.find_shared(name);
  if (user == nullptr) return Code::kUserNotFound;
  return *user;
}

std::vector<std::string_view> Store::user_names(std::string_view after, size_t max) const {
  std::vector<std::string_view> names;
  now_->users.scan(after, [&](const std::shared_ptr<const User>& user) {
    if (names.size() == max) return false;
    if (after.empty() || user->name != after) names.push_back(user->record.name);
    return true;
  });
  return names;
}

// ---- logging in ----

Result<Store::Login> Store::begin_login(const Permissions& permissions, std::string_view name) {
  if (!permissions.enabled) return Code::kAuthNotEnabled;
  const auto* user = permissions.users.find_shared(name);
  if (user == nullptr) return Code::kAuthFailed;
  if ((*user)->no_password()) return Code::kNoPasswordUser;
  return Login{*user, permissions.revision};
}

Result<uint64_t> Store::authenticate(std::string_view name) const {
  if (!now_->enabled) return Code::kAuthNotEnabled;
  const User* user = now_->users.find(name);
  if (user == nullptr || user->no_password()) return Code::kAuthFailed;
  return now_->revision;
}

}  // namespace quoin::auth
