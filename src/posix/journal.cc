#include "posix/journal.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/go_text.h"

namespace quoin::posix {

namespace {

// syslog's numbers, as etcd maps its levels.
int priority_of(log::Level level) {
  switch (level) {
    case log::Level::kDebug:
      return 7;
    case log::Level::kInfo:
      return 6;
    case log::Level::kWarn:
      return 4;
    case log::Level::kError:
      return 3;
    default:
      return 2;
  }
}

// A value with a newline is told by its length (64 bits, little-endian), any other by the end of its line.
void append_field(std::string& out, std::string_view name, std::string_view value) {
  out += name;
  if (value.find('\n') == std::string_view::npos) {
    out += '=';
  } else {
    out += '\n';
    for (int i = 0; i < 8; ++i) out += static_cast<char>(static_cast<uint64_t>(value.size()) >> (8 * i));
  }
  out += value;
  out += '\n';
}

Error socket_error(std::string_view what, const std::string& path, int e) {
  return make_error(Code::kIo, "{} {}: {}", what, path, go_errno_text(e));
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un to = {};
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path, path.data(), path.size());
  return to;
}

// An empty message that carries the file.
bool send_as_file(int socket, sockaddr_un to, std::string_view data) {
  const int file = memfd_create("quoin-log-line", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file < 0) return false;
  bool ok = true;
  while (ok && !data.empty()) {
    const ssize_t n = ::write(file, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    ok = n > 0;
    if (ok) data.remove_prefix(static_cast<size_t>(n));
  }
  // journald maps only what can't change any more.
  ok = ok && fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0;
  if (ok) {
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_name = &to;
    message.msg_namelen = sizeof to;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(head), &file, sizeof file);
    ok = sendmsg(socket, &message, MSG_NOSIGNAL) >= 0;
  }
  ::close(file);
  return ok;
}

}  // namespace

std::string journal_datagram(log::Level level, std::string_view package, std::string_view identifier,
                             std::string_view line) {
  std::string out;
  append_field(out, "PRIORITY", std::to_string(priority_of(level)));
  append_field(out, "MESSAGE", line);
  append_field(out, "PACKAGE", package);
  append_field(out, "SYSLOG_IDENTIFIER", identifier);
  return out;
}

Result<Journal> Journal::open(const std::string& socket_path, std::string identifier) {
  if (socket_path.size() >= sizeof(sockaddr_un::sun_path))
    return socket_error("dial unixgram", socket_path, EINVAL);
  const sockaddr_un to = address_of(socket_path);
  const int probe = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const bool there = connect(probe, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
  const int e = errno;
  if (probe >= 0) ::close(probe);
  Journal out(fd, socket_path, std::move(identifier));
  if (!there) return socket_error("dial unixgram", socket_path + ": connect", e);
  return out;
}

Journal::~Journal() {
  if (fd_ >= 0) ::close(fd_);
}

Result<> Journal::send(log::Level level, std::string_view caller, std::string_view line) const {
  const size_t slash = caller.rfind('/');
  const std::string data = journal_datagram(
      level, slash == std::string_view::npos ? "." : caller.substr(0, slash), identifier_, line);
  const sockaddr_un to = address_of(socket_path_);
  ssize_t n;
  do {
    n = ::sendto(fd_, data.data(), data.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&to),
                 sizeof to);
  } while (n < 0 && errno == EINTR);
  if (n >= 0) return {};
  if ((errno == EMSGSIZE || errno == ENOBUFS) && send_as_file(fd_, to, data)) return {};
  return socket_error("send to", "journald", errno);
}

}  // namespace quoin::posix
