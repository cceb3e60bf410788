#include <algorithm>

#include "auth/permission_order.h"
#include "auth/store.h"

namespace quoin::auth {
namespace {

using backend::Bucket;
using wire::authpb::Permission;

constexpr std::string_view kOpenEnd("\0", 1);
// A user that has the deleted role is encoded, stored and decoded; one that has not is looked at.
constexpr size_t kChangedUserCost = 40;

bool valid_range(std::string_view key, std::string_view range_end) {
  if (key.empty()) return false;
  return range_end.empty() || range_end == kOpenEnd || key < range_end;
}

std::string_view type_name(Permission::Type type) {
  switch (type) {
    case Permission::Type::kRead:
      return "READ";
    case Permission::Type::kWrite:
      return "WRITE";
    case Permission::Type::kReadwrite:
      return "READWRITE";
  }
  return "";
}

}  // namespace

Result<> Store::role_add(std::string_view name) {
  if (name.empty()) return Code::kRoleEmpty;
  if (now_->roles.find(name) != nullptr) return Code::kRoleExist;
  wire::authpb::Role record;
  record.name = name;
  Permissions next = copy();
  put_role(next, record);
  // A user may hold the name already (root may be granted before the role exists).
  commit(std::move(next), true);
  LOG(log_, kInfo, "created a role", {"role-name", name});
  return {};
}

Result<> Store::role_grant_permission(std::string_view name, const Permission* permission) {
  if (permission == nullptr) return Code::kPermissionNotGiven;
  if (!valid_range(permission->key, permission->range_end)) return Code::kInvalidAuthMgmt;
  const Role* role = now_->roles.find(name);
  if (role == nullptr) return Code::kRoleNotFound;
  wire::authpb::Role record = role->record;
  auto& list = record.key_permission;
  const auto at = std::lower_bound(list.begin(), list.end(), permission->key,
                                   [](const Permission& p, std::string_view key) { return p.key < key; });
  // Of several with this key only the first is looked at, so that the others can be there twice.
  if (at != list.end() && at->key == permission->key && at->range_end == permission->range_end) {
    at->perm_type = permission->perm_type;
  } else {
    Permission added;
    added.perm_type = permission->perm_type;
    added.key = permission->key;
    added.range_end = permission->range_end;
    add_in_order(&list, std::move(added));
  }
  const PermissionsRef old = now_;  // the record's views lie in it
  Permissions next = copy();
  put_role(next, record);
  commit(std::move(next), true);
  LOG(log_, kInfo, "granted/updated a permission to a user", {"user-name", name},
      {"permission-name", type_name(permission->perm_type)}, {"key", permission->key},
      {"range-end", permission->range_end});
  return {};
}

Result<> Store::role_revoke_permission(std::string_view name, std::string_view key,
                                       std::string_view range_end) {
  const Role* role = now_->roles.find(name);
  if (role == nullptr) return Code::kRoleNotFound;
  wire::authpb::Role record;
  record.name = role->record.name;
  const auto& list = role->record.key_permission;
  std::copy_if(list.begin(), list.end(), std::back_inserter(record.key_permission),
               [&](const Permission& p) { return p.key != key || p.range_end != range_end; });
  if (record.key_permission.size() == list.size()) return Code::kPermissionNotGranted;
  const PermissionsRef old = now_;
  Permissions next = copy();
  put_role(next, record);
  commit(std::move(next), true);
  LOG(log_, kInfo, "revoked a permission on range", {"role-name", name}, {"key", key},
      {"range-end", range_end});
  return {};
}

Result<> Store::role_delete(std::string_view name) {
  ASSIGN_OR_RETURN(RoleDeletion deletion, begin_role_delete(name));
  while (!deletion.step()) {
  }
  return {};
}

Result<RoleDeletion> Store::begin_role_delete(std::string_view name) {
  if (now_->enabled && name == kRootRole) {
    LOG(log_, kError, "cannot delete 'root' role", {"role-name", name});
    return Code::kInvalidAuthMgmt;
  }
  if (now_->roles.find(name) == nullptr) return Code::kRoleNotFound;
  RoleDeletion deletion(*this, name);
  backend_->erase(Bucket::kAuthRoles, name);
  deletion.next_.roles.erase(name);
  return deletion;
}

bool RoleDeletion::step(size_t budget) {
  // The users of before, which do not change while this goes on.
  const PermissionsRef before = store_->permissions();
  bool all = true;
  const std::string begin = after_;
  before->users.scan(begin, [&](const std::shared_ptr<const User>& user) {
    if (user->name == begin) return true;
    if (budget == 0) return all = false;
    after_ = user->name;
    const auto& old = user->record;
    if (!user->has_role(role_)) {
      --budget;
      return true;
    }
    budget -= std::min(budget, kChangedUserCost);
    wire::authpb::User record;
    record.name = old.name;
    record.password = old.password;
    record.options = old.options;
    std::copy_if(old.roles.begin(), old.roles.end(), std::back_inserter(record.roles),
                 [&](std::string_view r) { return r != role_; });
    store_->put_user(next_, record);
    return true;
  });
  if (!all) return false;
  store_->commit(std::move(next_), true);
  LOG(store_->log_, kInfo, "deleted a role", {"role-name", role_});
  return true;
}

Result<std::vector<Permission>> Store::role_get(std::string_view name,
                                                std::shared_ptr<const Role>* holder) const {
  const auto* role = now_->roles.find_shared(name);
  if (role == nullptr) return Code::kRoleNotFound;
  *holder = *role;
  if ((*role)->record.name != kRootRole) return (*role)->record.key_permission;
  Permission everything;
  everything.perm_type = Permission::Type::kReadwrite;
  everything.range_end = kOpenEnd;
  return std::vector<Permission>{everything};
}

std::vector<std::string_view> Store::role_names(std::string_view after, size_t max) const {
  std::vector<std::string_view> names;
  now_->roles.scan(after, [&](const std::shared_ptr<const Role>& role) {
    if (names.size() == max || role->name.starts_with('\xff')) return false;
    if (after.empty() || role->name != after) names.push_back(role->record.name);
    return true;
  });
  return names;
}

}  // namespace quoin::auth
