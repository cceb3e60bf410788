#include "base/result.h"

#include <cerrno>

#include "base/go_text.h"

namespace quoin {
namespace {
constexpr ErrorInfo kTable[] = {
#define X(name, status, text) {#name, GrpcStatus::status, text},
    QUOIN_ERRORS(X)
#undef X
};
}  // namespace

const ErrorInfo& error_info(Code code) {
  return kTable[static_cast<size_t>(code)];
}

Error errno_error(std::string_view operation, std::string_view path, int errno_value) {
  Code code = Code::kIo;
  if (errno_value == ENOSPC || errno_value == EDQUOT) code = Code::kNoSpaceOnDevice;
  if (errno_value == ENOENT) code = Code::kFileNotFound;
  if (errno_value == EEXIST) code = Code::kFileExists;
  return make_error(code, "{} {}: {}", operation, path, go_errno_text(errno_value));
}
}  // namespace quoin
