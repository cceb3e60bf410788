#include "cmd/etcd/notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "base/go_text.h"

namespace quoin::cmd {

namespace {
// As Go words a failed dial.
Error dial_error(const std::string& path, int e) {
  return make_error(Code::kIo, "dial unixgram {}: connect: {}", path, go_errno_text(e));
}
}  // namespace

Result<> send_ready(const std::string& path) {
  sockaddr_un to = {};
  to.sun_family = AF_UNIX;
  if (path.size() >= sizeof to.sun_path) return dial_error(path, EINVAL);
  memcpy(to.sun_path, path.data(), path.size());
  if (to.sun_path[0] == '@') to.sun_path[0] = '\0';
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return dial_error(path, errno);
  constexpr std::string_view kReady = "READY=1";
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  const ssize_t n =
      sendto(fd, kReady.data(), kReady.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&to), length);
  const int e = errno;
  ::close(fd);
  if (n != static_cast<ssize_t>(kReady.size())) return dial_error(path, e);
  return {};
}

void notify_init(const std::string& path, log::Logger& log) {
  LOG(log, kInfo, "notifying init daemon", );
  if (!path.empty()) {
    if (Result<> sent = send_ready(path); !sent) {
      LOG(log, kError, "failed to notify systemd for readiness", {"error", sent.error().text()});
      return;
    }
  }
  LOG(log, kInfo, "successfully notified init daemon", );
}

}  // namespace quoin::cmd
