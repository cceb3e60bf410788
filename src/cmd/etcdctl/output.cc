#include "cmd/etcdctl/output.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/go_text.h"

namespace quoin::ctl {
namespace {

// More than this is written without waiting for the end of the answer.
constexpr size_t kPendingBytesMax = 1 << 20;

// False: the file takes no more.
bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

// Unlike etcd's, which ends with 0 when the disk behind its output is full.
void write_or_exit(std::string_view bytes) {
  if (write_all(STDOUT_FILENO, bytes)) return;
  const std::string text = fmt::format("Error: write /dev/stdout: {}\n", go_errno_text(errno));
  write_all(STDERR_FILENO, text);
  _exit(1);
}

}  // namespace

void Output::put(std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  pending_ += bytes;
  if (pending_.size() < kPendingBytesMax) return;
  write_or_exit(pending_);
  pending_.clear();
}

void Output::flush() {
  const std::lock_guard lock(mutex_);
  if (!pending_.empty()) write_or_exit(pending_);
  pending_.clear();
}

Output& out() {
  static Output output;
  return output;
}

void put_error(std::string_view text) {
  out().flush();
  write_all(STDERR_FILENO, text);
}

}  // namespace quoin::ctl
