#include "cmd/etcdctl/snapshot_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/go_text.h"

namespace quoin::ctl {

SnapshotFile::~SnapshotFile() {
  if (fd_ >= 0) ::close(fd_);
  if (made_) ::unlink(part_.c_str());
}

std::string SnapshotFile::reason(std::string_view call) const {
  return fmt::format("{} {}: {}", call, part_, go_errno_text(errno));
}

std::optional<std::string> SnapshotFile::open() {
  constexpr mode_t kPrivate = 0600;
  do fd_ = ::open(part_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, kPrivate);
  while (fd_ < 0 && errno == EINTR);
  if (fd_ < 0) return reason("open");
  made_ = true;
  return std::nullopt;
}

std::optional<std::string> SnapshotFile::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return reason("write");
    bytes.remove_prefix(static_cast<size_t>(n));
    size_ += static_cast<uint64_t>(n);
  }
  return std::nullopt;
}

std::optional<std::string> SnapshotFile::sync() {
  if (::fsync(fd_) != 0) return reason("sync");
  return std::nullopt;
}

std::optional<std::string> SnapshotFile::close() {
  const int fd = fd_;
  fd_ = -1;
  if (::close(fd) != 0) return reason("close");
  return std::nullopt;
}

std::optional<std::string> SnapshotFile::rename() {
  const auto why = [&] { return fmt::format("rename {} {}: {}", part_, path_, go_errno_text(errno)); };
  // Go does not rename over a directory, and says so in its own way.
  struct stat there {};
  if (::lstat(path_.c_str(), &there) == 0 && S_ISDIR(there.st_mode)) {
    errno = EEXIST;
    return why();
  }
  if (::rename(part_.c_str(), path_.c_str()) != 0) return why();
  made_ = false;
  // The name, too, is to outlive a power failure. Some file systems do not sync directories; the file is whole anyway.
  const size_t slash = path_.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  const bool failed = ::fsync(fd) != 0 && errno == EIO;
  ::close(fd);
  if (failed) return fmt::format("sync {}: {}", folder, go_errno_text(EIO));
  return std::nullopt;
}

}  // namespace quoin::ctl
