#include "v3rpc/auth_service.h"

#include "auth/password.h"
#include "wire/raft_internal.h"

namespace quoin::v3rpc {

namespace pb = wire::etcdserverpb;
using Fields = pb::InternalRaftRequest;

struct AuthService::Handlers {
  Unary enable, disable, status, authenticate;
  Unary user_add, user_get, user_list, user_delete, user_change_password, user_grant_role, user_revoke_role;
  Unary role_add, role_get, role_list, role_delete, role_grant_permission, role_revoke_permission;
};

AuthService::AuthService(Loop& loop, Gate& gate, grpc::MethodTable& methods) : loop_(loop) {
  const auto unary = [&](auto handle) { return Unary(gate, false, std::move(handle)); };
  const auto hashing = [&](auto handle) {
    return Unary(gate, false, std::move(handle),
                 [this](const grpc::Call& c, std::string_view, grpc::CancelReason) { cancelled(c); });
  };
  const auto plain = [&]<class Request>(uint32_t field, const Request&) {
    return unary([this, field](grpc::Call& c, std::string_view r) { pass_on<Request>(c, field, r); });
  };
  handlers_.reset(new Handlers{
      .enable = plain(Fields::kAuthEnableField, pb::AuthEnableRequest()),
      .disable = plain(Fields::kAuthDisableField, pb::AuthDisableRequest()),
      .status = plain(Fields::kAuthStatusField, pb::AuthStatusRequest()),
      .authenticate = hashing([this](grpc::Call& c, std::string_view r) { authenticate(c, r); }),
      .user_add = hashing([this](grpc::Call& c, std::string_view r) { user_add(c, r); }),
      .user_get = plain(Fields::kAuthUserGetField, pb::AuthUserGetRequest()),
      .user_list = plain(Fields::kAuthUserListField, pb::AuthUserListRequest()),
      .user_delete = plain(Fields::kAuthUserDeleteField, pb::AuthUserDeleteRequest()),
      .user_change_password =
          hashing([this](grpc::Call& c, std::string_view r) { user_change_password(c, r); }),
      .user_grant_role = plain(Fields::kAuthUserGrantRoleField, pb::AuthUserGrantRoleRequest()),
      .user_revoke_role = plain(Fields::kAuthUserRevokeRoleField, pb::AuthUserRevokeRoleRequest()),
      .role_add = plain(Fields::kAuthRoleAddField, pb::AuthRoleAddRequest()),
      .role_get = plain(Fields::kAuthRoleGetField, pb::AuthRoleGetRequest()),
      .role_list = plain(Fields::kAuthRoleListField, pb::AuthRoleListRequest()),
      .role_delete = plain(Fields::kAuthRoleDeleteField, pb::AuthRoleDeleteRequest()),
      .role_grant_permission =
          plain(Fields::kAuthRoleGrantPermissionField, pb::AuthRoleGrantPermissionRequest()),
      .role_revoke_permission =
          plain(Fields::kAuthRoleRevokePermissionField, pb::AuthRoleRevokePermissionRequest()),
  });
  const auto add = [&](std::string_view name, Unary& handler) {
    methods.add_unary("etcdserverpb.Auth", name, handler);
  };
  add("AuthEnable", handlers_->enable);
  add("AuthDisable", handlers_->disable);
  add("AuthStatus", handlers_->status);
  add("Authenticate", handlers_->authenticate);
  add("UserAdd", handlers_->user_add);
  add("UserGet", handlers_->user_get);
  add("UserList", handlers_->user_list);
  add("UserDelete", handlers_->user_delete);
  add("UserChangePassword", handlers_->user_change_password);
  add("UserGrantRole", handlers_->user_grant_role);
  add("UserRevokeRole", handlers_->user_revoke_role);
  add("RoleAdd", handlers_->role_add);
  add("RoleGet", handlers_->role_get);
  add("RoleList", handlers_->role_list);
  add("RoleDelete", handlers_->role_delete);
  add("RoleGrantPermission", handlers_->role_grant_permission);
  add("RoleRevokePermission", handlers_->role_revoke_permission);
}

AuthService::~AuthService() = default;

template <class Request>
void AuthService::pass_on(grpc::Call& call, uint32_t field, std::string_view bytes) {
  if (auto request = decode_or_fail<Request>(call, bytes)) propose(loop_, call, field, *request);
}

// ---- passwords ----

auth::PasswordChecker::GivenUp AuthService::job_of(const grpc::Call& call) {
  auto given_up = std::make_shared<std::atomic<bool>>(false);
  jobs_[call.id().v] = given_up;
  return given_up;
}

void AuthService::cancelled(const grpc::Call& call) {
  const auto job = jobs_.find(call.id().v);
  if (job == jobs_.end()) return;
  job->second->store(true, std::memory_order_relaxed);
  jobs_.erase(job);
}

void AuthService::user_add(grpc::Call& call, std::string_view bytes) {
  auto request = decode_or_fail<pb::AuthUserAddRequest>(call, bytes);
  if (!request) return;
  if (!request->options || !request->options->no_password)
    return propose_hashed<pb::AuthUserAddRequest>(call, Fields::kAuthUserAddField, bytes);
  propose(loop_, call, Fields::kAuthUserAddField, *request);
}

void AuthService::user_change_password(grpc::Call& call, std::string_view bytes) {
  auto request = decode_or_fail<pb::AuthUserChangePasswordRequest>(call, bytes);
  if (!request) return;
  // Without a password the hash is taken as the client sent it.
  if (!request->password.empty()) {
    return propose_hashed<pb::AuthUserChangePasswordRequest>(call, Fields::kAuthUserChangePasswordField,
                                                             bytes);
  }
  propose(loop_, call, Fields::kAuthUserChangePasswordField, *request);
}

namespace {
template <class Request>
std::string_view decode_password(std::string_view bytes) {
  return wire::decode<Request>(bytes)->password;
}
}  // namespace

template <class Request>
void AuthService::propose_hashed(grpc::Call& call, uint32_t field, std::string_view bytes) {
  if (decode_password<Request>(bytes).size() > auth::kPasswordBytesMax)
    return call.fail(Error(Code::kPasswordTooLong));
  // Whoever may not do it costs no hash. Apply would refuse it for the same reason.
  loop_.callers->when_admitted(call, auth::Need::kAdmin, [this, field, bytes](grpc::Call& c) {
    loop_.member.logins().passwords().hash(
        std::string(decode_password<Request>(bytes)), loop_.port.loop(),
        CallRef(c).then([this, field, bytes](grpc::Call& call, const Result<std::string>& hash) {
          jobs_.erase(call.id().v);
          if (!hash) return call.fail(hash.error());
          const auto hashed = std::make_shared<const std::string>(auth::hashed_password_field(*hash));
          Request request = *wire::decode<Request>(bytes);
          request.password = {};
          request.hashed_password = *hashed;
          propose(loop_, call, field, request, hashed);
        }),
        job_of(c));
  });
}

// ---- Authenticate ----

void AuthService::authenticate(grpc::Call& call, std::string_view bytes) {
  if (!decode_or_fail<pb::AuthenticateRequest>(call, bytes)) return;
  // A user that was just made elsewhere is there.
  loop_.port.read_index(CallRef(call).then([this, bytes](grpc::Call& c, const Result<>& confirmed) {
    if (!confirmed) return c.fail(confirmed.error());
    check_password(c, bytes);
  }));
}

void AuthService::check_password(grpc::Call& call, std::string_view bytes) {
  const pb::AuthenticateRequest request = *wire::decode<pb::AuthenticateRequest>(bytes);
  const auth::Permissions& now = *loop_.callers->permissions();
  const auto login = auth::Store::begin_login(now, request.name);
  if (!login) return refuse_login(call, request.name, login.error());
  loop_.member.logins().passwords().compare(
      std::string(login->hash()), std::string(request.password), loop_.port.loop(),
      CallRef(call).then([this, bytes, revision = login->revision](grpc::Call& c, const Result<>& right) {
        jobs_.erase(c.id().v);
        const std::string_view user = wire::decode<pb::AuthenticateRequest>(bytes)->name;
        if (!right && right.error().code() == Code::kAuthFailed) {
          LOG(loop_.log, kInfo, "invalid password", {"user-name", user});
        }
        if (!right) return refuse_login(c, user, right.error());
        propose_login(c, bytes, revision);
      }),
      job_of(call));
}

void AuthService::refuse_login(grpc::Call& call, std::string_view user, const Error& error) {
  if (error.code() != Code::kAuthNotEnabled) {
    LOG(loop_.log, kWarn, "invalid authentication was requested", {"user", user},
        {"error", server::internal_text(error)});
  }
  call.fail(error);
}

void AuthService::propose_login(grpc::Call& call, std::string_view bytes, uint64_t revision) {
  const std::string prefix = loop_.member.logins().new_token_prefix();
  pb::InternalAuthenticateRequest login;
  login.name = wire::decode<pb::AuthenticateRequest>(bytes)->name;
  login.simple_token = prefix;
  const uint64_t id = loop_.member.next_id();
  call.context = id;
  loop_.port.propose(id, raft_request(id, Fields::kAuthenticateField, login),
                     CallRef(call).then([this, bytes, revision](grpc::Call& c, const server::Answer& answer) {
                       logged_in(c, bytes, revision, answer);
                     }));
}

void AuthService::logged_in(grpc::Call& call, std::string_view bytes, uint64_t revision,
                            const server::Answer& answer) {
  if (answer.error) return call.fail(*answer.error);
  if (revision != loop_.callers->permissions()->revision) {
    LOG(loop_.log, kInfo, "revision when password checked became stale; retrying", );
    return check_password(call, bytes);
  }
  server::Logins& logins = loop_.member.logins();
  if (!logins.signs_tokens()) {
    server::Answer out = answer;
    out.count = 0;
    return respond(call, loop_.member, out);
  }
  const std::string user(wire::decode<pb::AuthenticateRequest>(bytes)->name);
  logins.sign(
      user, static_cast<uint64_t>(answer.count), loop_.port.loop(),
      CallRef(call).then([this, at = answer.revision](grpc::Call& c, const Result<std::string>& token) {
        if (!token) return c.fail(token.error());
        pb::AuthenticateResponse response;
        response.token = *token;
        respond(c, loop_.member, at, response);
      }));
}

}  // namespace quoin::v3rpc
