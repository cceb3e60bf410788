#include "client/retry.h"

#include <algorithm>
#include <array>

namespace quoin::client {

namespace {

constexpr std::array kTexts = {
#define X(name, status, text) std::string_view(text),
    QUOIN_ERRORS(X)
#undef X
};

}  // namespace

bool is_etcd_error(std::string_view text) {
  // What the server says and its clients have no name for.
  constexpr std::array kNoNames = {Code::kRequestCancelled,      Code::kUnknownMethod,
                                   Code::kTimeoutLeaderTransfer, Code::kInvalidClientApiVersion,
                                   Code::kPermissionNotGiven,    Code::kTimeoutWaitAppliedIndex,
                                   Code::kWatchCanceled};
  if (!text.starts_with("etcdserver: ")) return false;
  for (const Code code : kNoNames) {
    if (text == error_info(code).text) return false;
  }
  return std::find(kTexts.begin(), kTexts.end(), text) != kTexts.end();
}

bool safe_to_retry(Retry retry, GrpcStatus status, std::string_view text) {
  if (status != GrpcStatus::kUnavailable) return false;
  switch (retry) {
    case Retry::kNever:
      return false;
    case Retry::kRead:
      return true;
    case Retry::kWrite:
      return text == "there is no address available" || text == "there is no connection available";
  }
  return false;
}

bool token_is_stale(GrpcStatus, std::string_view text, bool has_password) {
  const auto is = [text](Code code) { return text == error_info(code).text; };
  if (is(Code::kUserEmpty)) return has_password;
  return is(Code::kAuthOldRevision) || (is(Code::kInvalidAuthToken) && has_password);
}

int64_t retry_pause_ns(unsigned attempt, size_t endpoints, Prng& prng) {
  const auto quorum = static_cast<unsigned>(endpoints / 2 + 1);
  if (attempt == 0 || attempt % quorum != 0) return 0;
  return kRetryWaitNs - kRetryWaitNs / 10 + static_cast<int64_t>(prng.below(kRetryWaitNs / 5 + 1));
}

}  // namespace quoin::client
