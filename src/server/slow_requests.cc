#include "server/slow_requests.h"

namespace quoin::server {

std::string internal_text(const Error& error) {
  switch (error.code()) {
    case Code::kCompacted:
      return "mvcc: required revision has been compacted";
    case Code::kFutureRev:
      return "mvcc: required revision is a future revision";
    case Code::kNoSpace:
      return "etcdserver: no space";
    case Code::kLeaseNotFound:
      return "lease not found";
    case Code::kLeaseExist:
      return "lease already exists";
    case Code::kLeaseTtlTooLarge:
      return "too large lease TTL";
    case Code::kRootUserNotExist:
      return "auth: root user does not exist";
    case Code::kRootRoleNotExist:
      return "auth: root user does not have root role";
    case Code::kUserExist:
      return "auth: user already exists";
    case Code::kUserEmpty:
      return "auth: user name is empty";
    case Code::kUserNotFound:
      return "auth: user not found";
    case Code::kRoleExist:
      return "auth: role already exists";
    case Code::kRoleNotFound:
      return "auth: role not found";
    case Code::kRoleEmpty:
      return "auth: role name is empty";
    case Code::kPermissionNotGiven:
      return "auth: permission not given";
    case Code::kAuthFailed:
      return "auth: authentication failed, invalid user ID or password";
    case Code::kPermissionDenied:
      return "auth: permission denied";
    case Code::kRoleNotGranted:
      return "auth: role is not granted to the user";
    case Code::kPermissionNotGranted:
      return "auth: permission is not granted to the role";
    case Code::kAuthNotEnabled:
      return "auth: authentication is not enabled";
    case Code::kAuthOldRevision:
      return "auth: revision in header is old";
    case Code::kInvalidAuthToken:
      return "auth: invalid auth token";
    case Code::kInvalidAuthMgmt:
      return "auth: invalid auth management";
    default:
      return std::string(error.text());
  }
}

void SlowRequests::warn(int64_t took_ns, std::string_view prefix, std::string_view request,
                        std::string_view response, const Error* error) {
  slow_applies_.inc();
  if (error == nullptr) {
    LOG(log_, kWarn, "apply request took too long", {"took", log::Duration{took_ns}},
        {"expected-duration", log::Duration{threshold_ns_}}, {"prefix", prefix}, {"request", request},
        {"response", response});
    return;
  }
  LOG(log_, kWarn, "apply request took too long", {"took", log::Duration{took_ns}},
      {"expected-duration", log::Duration{threshold_ns_}}, {"prefix", prefix}, {"request", request},
      {"response", response}, {"error", internal_text(*error)});
}

void SlowRequests::failed(int64_t took_ns, std::string_view request, std::string_view response,
                          const Error& error) {
  LOG(log_, kWarn, "failed to apply request", {"took", log::Duration{took_ns}}, {"request", request},
      {"response", response}, {"error", internal_text(error)});
}

}  // namespace quoin::server
