#include "posix/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <filesystem>

#include "base/check.h"

namespace quoin::posix {
namespace {

// What the SIGBUS handler may look at: fixed slots, filled before use, never freed.
struct MappedRange {
  std::atomic<uintptr_t> base{0};
  uint64_t size = 0;
  char path[512] = {};
};
constexpr int kMappedRanges = 16;
MappedRange mapped_ranges[kMappedRanges];

void on_sigbus(int, siginfo_t* info, void*) {
  const uintptr_t at = reinterpret_cast<uintptr_t>(info->si_addr);
  for (const MappedRange& r : mapped_ranges) {
    const uintptr_t base = r.base.load(std::memory_order_acquire);
    if (base == 0 || at < base || at >= base + r.size) continue;
    char line[700];
    const int n =
        std::snprintf(line, sizeof line, "fatal: cannot read %s at offset %llu (SIGBUS in its mapping)\n",
                      r.path, static_cast<unsigned long long>(at - base));
    if (write(STDERR_FILENO, line, n) < 0) break;
  }
  signal(SIGBUS, SIG_DFL);
  raise(SIGBUS);
}

class PosixMapping final : public io::Mapping {
 public:
  PosixMapping(int fd, std::string path, char* base, uint64_t reserved, int slot)
      : fd_(fd), path_(std::move(path)), base_(base), reserved_(reserved), slot_(slot) {}
  ~PosixMapping() override {
    if (slot_ >= 0) mapped_ranges[slot_].base.store(0, std::memory_order_release);
    munmap(base_, reserved_);
    ::close(fd_);
  }
  const char* data() const override { return base_; }
  uint64_t size() const override { return size_.load(std::memory_order_acquire); }
  Result<> refresh() override {
    struct stat st;
    if (fstat(fd_, &st) != 0) return errno_error("stat", path_, errno);
    if (static_cast<uint64_t>(st.st_size) > reserved_) {
      return make_error(Code::kLimit, "{}: {} bytes do not fit the {} bytes of address space reserved for it",
                        path_, st.st_size, reserved_);
    }
    size_.store(st.st_size, std::memory_order_release);
    return {};
  }

 private:
  const int fd_;  // own descriptor: the mapping may outlive the File
  const std::string path_;
  char* const base_;
  const uint64_t reserved_;
  const int slot_;
  std::atomic<uint64_t> size_{0};
};

int remember_mapping(const std::string& path, char* base, uint64_t size) {
  static std::atomic_flag busy = ATOMIC_FLAG_INIT;
  while (busy.test_and_set(std::memory_order_acquire)) {
  }
  int slot = -1;
  for (int i = 0; i < kMappedRanges && slot < 0; ++i) {
    if (mapped_ranges[i].base.load(std::memory_order_relaxed) != 0) continue;
    slot = i;
    mapped_ranges[i].size = size;
    std::snprintf(mapped_ranges[i].path, sizeof mapped_ranges[i].path, "%s", path.c_str());
    mapped_ranges[i].base.store(reinterpret_cast<uintptr_t>(base), std::memory_order_release);
  }
  busy.clear(std::memory_order_release);
  return slot;
}

// Of a file's bytes: at most half of the memory that the process can have. Reading more would push out again
// what was read first, and all else with it.
uint64_t worth_reading_ahead(uint64_t file_bytes) {
  uint64_t memory =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  // A container's own limit; "max" where there is none.
  if (FILE* limit = fopen("/sys/fs/cgroup/memory.max", "re")) {
    unsigned long long bytes = 0;
    if (fscanf(limit, "%llu", &bytes) == 1) memory = std::min<uint64_t>(memory, bytes);
    fclose(limit);
  }
  return std::min(file_bytes, memory / 2);
}

class PosixFile final : public io::File {
 public:
  PosixFile(int fd, std::string path, io::Executor& completions)
      : fd_(fd), path_(std::move(path)), completions_(completions) {}
  ~PosixFile() override { ::close(fd_); }
  const std::string& path() const override { return path_; }

  Result<size_t> read_at(uint64_t offset, std::span<char> out) override {
    size_t got = 0;
    while (got < out.size()) {
      const ssize_t n = pread(fd_, out.data() + got, out.size() - got, offset + got);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return errno_error("read", path_, errno);
      if (n == 0) break;
      got += n;
    }
    return got;
  }
  Result<> write_at(uint64_t offset, std::string_view bytes) override {
    std::vector<std::string_view> parts{bytes};
    return write_parts(offset, parts);
  }
  Result<> sync() override {
    if (fdatasync(fd_) != 0) return errno_error("fdatasync", path_, errno);
    return {};
  }
  Result<> truncate(uint64_t size) override {
    if (ftruncate(fd_, size) != 0) return errno_error("truncate", path_, errno);
    return {};
  }
  Result<> allocate(uint64_t size) override {
    ASSIGN_OR_RETURN(const uint64_t now, this->size());
    if (size <= now) return {};
    int r;
    do {
      r = ::fallocate(fd_, 0, now, size - now);
    } while (r != 0 && errno == EINTR);
    if (r != 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) return truncate(size);
    if (r != 0) return errno_error("fallocate", path_, errno);
    return {};
  }
  Result<uint64_t> size() override {
    struct stat st;
    if (fstat(fd_, &st) != 0) return errno_error("stat", path_, errno);
    return static_cast<uint64_t>(st.st_size);
  }
  Result<> lock(io::LockMode mode) override {
    const int how = (mode == io::LockMode::kShared ? LOCK_SH : LOCK_EX) | LOCK_NB;
    if (flock(fd_, how) == 0) return {};
    if (errno == EWOULDBLOCK) return Error(Code::kLocked);
    return errno_error("flock", path_, errno);
  }
  Result<> lock_ofd() override {
    struct flock whole = {};
    whole.l_type = F_WRLCK;
    whole.l_whence = SEEK_SET;
    if (fcntl(fd_, F_OFD_SETLK, &whole) == 0) return {};
    if (errno == EAGAIN || errno == EACCES) return Error(Code::kLocked);
    return errno_error("lock", path_, errno);
  }
  Result<> unlock() override {
    struct flock whole = {};
    whole.l_type = F_UNLCK;
    whole.l_whence = SEEK_SET;
    if (fcntl(fd_, F_OFD_SETLK, &whole) != 0 || flock(fd_, LOCK_UN) != 0)
      return errno_error("unlock", path_, errno);
    return {};
  }
  Result<std::unique_ptr<io::Mapping>> map(uint64_t reserve_bytes, bool prefault) override {
    const int fd = fcntl(fd_, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) return errno_error("dup", path_, errno);
    void* base = mmap(nullptr, reserve_bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (base == MAP_FAILED) {
      const int e = errno;
      ::close(fd);
      return errno_error("mmap", path_, e);
    }
    char* p = static_cast<char*>(base);
    auto mapping = std::make_unique<PosixMapping>(fd, path_, p, reserve_bytes,
                                                  remember_mapping(path_, p, reserve_bytes));
    TRY(mapping->refresh());
    // Best effort: kernels before 5.14 do not know it, and a fault later is only slower.
    if (prefault && mapping->size() > 0)
      madvise(base, worth_reading_ahead(mapping->size()), MADV_POPULATE_READ);
    return std::unique_ptr<io::Mapping>(std::move(mapping));
  }

  void async_write(uint64_t offset, std::vector<std::string_view> parts, io::Completion done) override {
    finish(std::move(done), write_parts(offset, parts));
  }
  void async_sync(io::Completion done) override { finish(std::move(done), sync()); }
  void async_truncate(uint64_t size, io::Completion done) override {
    finish(std::move(done), truncate(size));
  }
  void async_allocate(uint64_t size, io::Completion done) override {
    finish(std::move(done), allocate(size));
  }

 private:
  void finish(io::Completion done, Result<> result) {
    completions_.post(
        [done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
  }
  Result<> write_parts(uint64_t offset, std::vector<std::string_view>& parts) {
    std::vector<iovec> iov(std::min<size_t>(parts.size(), IOV_MAX));
    size_t next = 0;
    while (next < parts.size()) {
      size_t n = 0;
      for (size_t i = next; i < parts.size() && n < iov.size(); ++i) {
        if (parts[i].empty()) continue;
        iov[n++] = {const_cast<char*>(parts[i].data()), parts[i].size()};
      }
      if (n == 0) return {};
      ssize_t written = pwritev(fd_, iov.data(), static_cast<int>(n), offset);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return errno_error("write", path_, errno);
      offset += written;
      while (next < parts.size() && static_cast<size_t>(written) >= parts[next].size()) {
        written -= parts[next++].size();
      }
      if (written > 0) parts[next].remove_prefix(written);
    }
    return {};
  }

  const int fd_;
  const std::string path_;
  io::Executor& completions_;
};

class PosixFileSystem final : public io::FileSystem {
 public:
  explicit PosixFileSystem(io::Executor& completions) : completions_(completions) {}

  Result<std::unique_ptr<io::File>> open(const std::string& path, io::OpenOptions o) override {
    int flags = O_CLOEXEC | (o.write ? O_RDWR : O_RDONLY);
    if (o.create) flags |= O_CREAT;
    if (o.exclusive) flags |= O_EXCL;
    if (o.truncate) flags |= O_TRUNC;
    int fd;
    do {
      fd = ::open(path.c_str(), flags, o.mode);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) return errno_error("open", path, errno);
    return std::unique_ptr<io::File>(std::make_unique<PosixFile>(fd, path, completions_));
  }
  Result<> make_dir(const std::string& path, uint32_t mode) override {
    if (mkdir(path.c_str(), mode) == 0) return {};
    const int e = errno;
    struct stat st;
    if (e == EEXIST && stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return {};
    return errno_error("mkdir", path, e);
  }
  Result<> make_dirs(const std::string& path, uint32_t mode) override {
    for (size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
      TRY(make_dir(path.substr(0, at), mode));
    }
    return make_dir(path, mode);
  }
  Result<std::vector<io::DirEntry>> list(const std::string& path) override {
    DIR* dir = opendir(path.c_str());
    if (dir == nullptr) return errno_error("open directory", path, errno);
    std::vector<io::DirEntry> entries;
    errno = 0;
    while (dirent* e = readdir(dir)) {
      const std::string name = e->d_name;
      if (name == "." || name == "..") continue;
      bool directory = e->d_type == DT_DIR;
      if (e->d_type == DT_UNKNOWN || e->d_type == DT_LNK) {
        struct stat st;
        directory = stat((path + "/" + name).c_str(), &st) == 0 && S_ISDIR(st.st_mode);
      }
      entries.push_back({name, directory});
    }
    const int e = errno;
    closedir(dir);
    if (e != 0) return errno_error("read directory", path, e);
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    return entries;
  }
  Result<bool> exists(const std::string& path) override {
    struct stat st;
    if (stat(path.c_str(), &st) == 0) return true;
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return errno_error("stat", path, errno);
  }
  Result<> rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return errno_error("rename", from + " to " + to, errno);
    return {};
  }
  Result<> remove(const std::string& path) override {
    if (unlink(path.c_str()) != 0) return errno_error("remove", path, errno);
    return {};
  }
  Result<> remove_all(const std::string& path) override {
    std::error_code ec;
    std::filesystem::remove_all(path, ec);
    if (ec) return errno_error("remove", path, ec.value());
    return {};
  }
  Result<> sync_dir(const std::string& path) override {
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return errno_error("open directory", path, errno);
    const int r = fsync(fd);
    const int e = errno;
    ::close(fd);
    if (r != 0) return errno_error("fsync directory", path, e);
    return {};
  }
  Result<uint32_t> permissions(const std::string& path) override {
    struct stat st;
    if (stat(path.c_str(), &st) != 0) return errno_error("stat", path, errno);
    return static_cast<uint32_t>(st.st_mode & 0777);
  }

  void async_open(const std::string& path, io::OpenOptions options,
                  absl::AnyInvocable<void(Result<std::unique_ptr<io::File>>)> done) override {
    completions_.post([done = std::move(done), r = open(path, options)]() mutable { done(std::move(r)); });
  }
  void async_rename(const std::string& from, const std::string& to, io::Completion done) override {
    finish(std::move(done), rename(from, to));
  }
  void async_remove(const std::string& path, io::Completion done) override {
    finish(std::move(done), remove(path));
  }
  void async_sync_dir(const std::string& path, io::Completion done) override {
    finish(std::move(done), sync_dir(path));
  }

 private:
  void finish(io::Completion done, Result<> result) {
    completions_.post(
        [done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
  }
  io::Executor& completions_;
};

}  // namespace

std::unique_ptr<io::FileSystem> make_file_system(io::Executor& completions) {
  return std::make_unique<PosixFileSystem>(completions);
}

void install_sigbus_report() {
  struct sigaction action = {};
  action.sa_sigaction = on_sigbus;
  action.sa_flags = SA_SIGINFO | SA_RESETHAND;
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace quoin::posix
