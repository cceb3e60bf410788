#include "server/auth_apply.h"

#include "auth/password.h"
#include "wire/message.h"

namespace quoin::server {

namespace pb = wire::etcdserverpb;

namespace {

// Names of a list beyond which it is answered in steps.
constexpr size_t kNamesPerStep = 2'000;

template <class Response>
Answer answer_of(Result<> outcome, const Response& response = {}) {
  if (!outcome) return {.error = outcome.error()};
  return {.body = wire::encode_string(response)};
}

class LargeRoleDeletion final : public LargeRequest {
 public:
  LargeRoleDeletion(auth::Store& store, std::string_view role, int64_t revision)
      : store_(store), role_(role), revision_(revision) {}
  Result<bool> step(size_t) override {
    if (!deletion_) {
      ASSIGN_OR_RETURN(deletion_, store_.begin_role_delete(role_));
    }
    return deletion_->step();
  }
  Answer take_answer() override { return {.revision = revision_}; }
  bool full_header() const override { return true; }

 private:
  auth::Store& store_;
  const std::string_view role_;
  const int64_t revision_;
  std::optional<auth::RoleDeletion> deletion_;  // from the first step on
};

// Of users or of roles.
class LargeList final : public LargeRequest {
 public:
  LargeList(const auth::Store& store, bool users, int64_t revision)
      : store_(store), users_(users), revision_(revision) {}
  Result<bool> step(size_t) override {
    const auto names =
        users_ ? store_.user_names(after_, kNamesPerStep) : store_.role_names(after_, kNamesPerStep);
    if (users_) {
      pb::AuthUserListResponse some;
      some.users = names;
      parts_.push_back(wire::encode_blob(some));
    } else {
      pb::AuthRoleListResponse some;
      some.roles = names;
      parts_.push_back(wire::encode_blob(some));
    }
    if (names.size() < kNamesPerStep) return true;
    after_ = names.back();
    return false;
  }
  Answer take_answer() override { return {.revision = revision_, .parts = std::move(parts_)}; }
  bool full_header() const override { return true; }

 private:
  const auth::Store& store_;
  const bool users_;
  const int64_t revision_;
  std::string after_;
  std::vector<Blob> parts_;
};

}  // namespace

std::vector<std::string> LessorKeys::keys(LeaseId id, std::string_view from, size_t max) const {
  return lessor_.keys(id, from, max);
}

AuthApply::AuthApply(auth::Store& store, Logins* logins, const lease::Lessor& lessor, int bcrypt_cost)
    : store_(store), logins_(logins), lease_keys_(lessor), bcrypt_cost_(bcrypt_cost) {}

// ---- checks ----

namespace {
auth::AuthInfo caller_of(const AuthApply::Request& r) {
  if (!r.header) return {};
  return {std::string(r.header->username), r.header->auth_revision};
}
}  // namespace

AuthApply::Check::Check(AuthApply& parent, const Request& request)
    : request_(request),
      access_(parent.store_.permissions(), caller_of(request), parent.cache_),
      leases_(parent.lease_keys_) {}

std::optional<Result<>> AuthApply::Check::step(size_t budget) {
  const Request& r = request_;
  if (keys_) return keys_->step(budget);
  if (auth::needs_admin_at_apply(r)) return access_.admin();
  if (r.auth_user_get) return access_.user_get(r.auth_user_get->name);
  if (r.auth_role_get) return access_.role_get(r.auth_role_get->role);
  if (!r.put && !r.delete_range && !r.txn && !r.range && !r.lease_revoke) return Result<>();
  if (!access_.step(budget)) return std::nullopt;
  if (r.range) return access_.read(r.range->key, r.range->range_end);
  keys_.emplace(access_, leases_);
  if (r.put) keys_->put(*r.put);
  if (r.delete_range) keys_->delete_range(*r.delete_range);
  if (r.txn) keys_->txn(*r.txn);
  if (r.lease_revoke) keys_->lease_write(LeaseId(r.lease_revoke->id));
  return keys_->step(budget);
}

// ---- requests ----

bool AuthApply::is_auth(const Request& r) {
  return r.authenticate || r.auth_enable || r.auth_disable || r.auth_status || r.auth_user_add ||
         r.auth_user_delete || r.auth_user_get || r.auth_user_change_password || r.auth_user_grant_role ||
         r.auth_user_revoke_role || r.auth_user_list || r.auth_role_list || r.auth_role_add ||
         r.auth_role_delete || r.auth_role_get || r.auth_role_grant_permission ||
         r.auth_role_revoke_permission;
}

bool AuthApply::is_question(const Request& r) {
  return r.auth_status || r.auth_user_get || r.auth_user_list || r.auth_role_get || r.auth_role_list;
}

bool AuthApply::is_large(const Request& r, bool wanted) const {
  if (r.auth_role_delete) return store_.role_delete_is_large();
  if (!wanted) return false;
  if (r.auth_user_list) return store_.permissions()->users.size() > kNamesPerStep;
  if (r.auth_role_list) return store_.permissions()->roles.size() > kNamesPerStep;
  return false;
}

std::unique_ptr<LargeRequest> AuthApply::large(const Request& r, int64_t revision) {
  if (r.auth_role_delete)
    return std::make_unique<LargeRoleDeletion>(store_, r.auth_role_delete->role, revision);
  return std::make_unique<LargeList>(store_, static_cast<bool>(r.auth_user_list), revision);
}

template <class R>
std::string AuthApply::old_entry_hash(const R& request) {
  if (!auth::Store::wants_hash(request)) return {};
  if (!secrets_) secrets_ = auth::system_secrets();
  auto hash = auth::hash_password(request.password, bcrypt_cost_, *secrets_);
  return hash ? *hash : std::string();
}

Answer AuthApply::apply(const Request& r, Index entry) {
  if (r.authenticate) {
    auto revision = store_.authenticate(r.authenticate->name);
    if (!revision) return {.error = revision.error()};
    if (logins_ == nullptr) return {.error = Error(Code::kAuthFailed)};
    auto token = logins_->assign(r.authenticate->name, r.authenticate->simple_token, entry);
    if (!token) return {.error = token.error()};
    pb::AuthenticateResponse response;
    response.token = *token;
    Answer answer = answer_of({}, response);
    answer.count = static_cast<int64_t>(*revision);
    return answer;
  }
  if (r.auth_enable) return answer_of<pb::AuthEnableResponse>(store_.enable());
  if (r.auth_disable) {
    store_.disable();
    return answer_of<pb::AuthDisableResponse>({});
  }
  if (r.auth_status) {
    pb::AuthStatusResponse response;
    response.enabled = store_.enabled();
    response.auth_revision = store_.revision();
    return answer_of({}, response);
  }
  if (r.auth_user_add) {
    const auto& a = *r.auth_user_add;
    return answer_of<pb::AuthUserAddResponse>(store_.user_add(a, old_entry_hash(a)));
  }
  if (r.auth_user_change_password) {
    const auto& a = *r.auth_user_change_password;
    return answer_of<pb::AuthUserChangePasswordResponse>(store_.user_change_password(a, old_entry_hash(a)));
  }
  if (r.auth_user_delete) {
    return answer_of<pb::AuthUserDeleteResponse>(store_.user_delete(r.auth_user_delete->name));
  }
  if (r.auth_user_grant_role) {
    const auto& a = *r.auth_user_grant_role;
    return answer_of<pb::AuthUserGrantRoleResponse>(store_.user_grant_role(a.user, a.role));
  }
  if (r.auth_user_revoke_role) {
    const auto& a = *r.auth_user_revoke_role;
    return answer_of<pb::AuthUserRevokeRoleResponse>(store_.user_revoke_role(a.name, a.role));
  }
  if (r.auth_user_get) {
    auto user = store_.user_get(r.auth_user_get->name);
    if (!user) return {.error = user.error()};
    pb::AuthUserGetResponse response;
    response.roles = (*user)->record.roles;
    return answer_of({}, response);
  }
  if (r.auth_user_list) {
    pb::AuthUserListResponse response;
    response.users = store_.user_names();
    return answer_of({}, response);
  }
  if (r.auth_role_add) return answer_of<pb::AuthRoleAddResponse>(store_.role_add(r.auth_role_add->name));
  if (r.auth_role_grant_permission) {
    const auto& a = *r.auth_role_grant_permission;
    return answer_of<pb::AuthRoleGrantPermissionResponse>(
        store_.role_grant_permission(a.name, a.perm ? &*a.perm : nullptr));
  }
  if (r.auth_role_revoke_permission) {
    const auto& a = *r.auth_role_revoke_permission;
    return answer_of<pb::AuthRoleRevokePermissionResponse>(
        store_.role_revoke_permission(a.role, a.key, a.range_end));
  }
  if (r.auth_role_delete) {
    return answer_of<pb::AuthRoleDeleteResponse>(store_.role_delete(r.auth_role_delete->role));
  }
  if (r.auth_role_get) {
    std::shared_ptr<const auth::Role> holder;
    auto permissions = store_.role_get(r.auth_role_get->role, &holder);
    if (!permissions) return {.error = permissions.error()};
    pb::AuthRoleGetResponse response;
    response.perm = std::move(*permissions);
    return answer_of({}, response);
  }
  CHECK(static_cast<bool>(r.auth_role_list), "a request of the Auth service");
  pb::AuthRoleListResponse response;
  response.roles = store_.role_names();
  return answer_of({}, response);
}

}  // namespace quoin::server
