#include "cmd/etcd/small_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace quoin::cmd {

Result<std::string> read_small_file(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno_error("open", path, errno);
  std::string text;
  Result<> outcome;
  for (;;) {
    char piece[64 << 10];
    const ssize_t n = read(fd, piece, sizeof piece);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) outcome = errno_error("read", path, errno);
    if (n <= 0) break;
    text.append(piece, static_cast<size_t>(n));
    if (text.size() > kSmallFileMax) {
      outcome = make_error(Code::kInvalidArgument, "read {}: more than {} bytes", path, kSmallFileMax);
      break;
    }
  }
  close(fd);
  if (!outcome) return outcome.error();
  return text;
}

}  // namespace quoin::cmd
