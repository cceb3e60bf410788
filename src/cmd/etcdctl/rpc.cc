#include "cmd/etcdctl/rpc.h"

#include <array>

#include "base/result.h"

namespace quoin::ctl {
namespace {

constexpr std::array<std::string_view, 17> kNames = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

bool in_table(std::string_view text) {
#define QUOIN_ROW(name, status, row_text) \
  if (text == row_text) return true;
  QUOIN_ERRORS(QUOIN_ROW)
#undef QUOIN_ROW
  return false;
}

}  // namespace

std::string_view status_name(GrpcStatus status) {
  const auto i = static_cast<size_t>(status);
  return i < kNames.size() ? kNames[i] : "Unknown";
}

// The table has etcd's texts and some internal ones, which do not begin so.
bool RpcError::is_etcd() const {
  return message.starts_with("etcdserver: ") && in_table(message);
}

bool RpcError::is(Code code) const {
  return message == error_info(code).text;
}

std::string RpcError::grpc_text() const {
  return fmt::format("rpc error: code = {} desc = {}", status_name(status), message);
}

std::string RpcError::text() const {
  if (is_etcd()) return message;
  if (by_deadline) return "context deadline exceeded";
  return grpc_text();
}

}  // namespace quoin::ctl
