#include "posix/log_rotate.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <optional>
#include <vector>

#include "base/check.h"

namespace quoin::posix {
namespace {

constexpr std::string_view kGzSuffix = ".gz";
constexpr int64_t kNsPerDay = int64_t{86400} * 1'000'000'000;

struct PathParts {
  std::string directory;
  std::string prefix;  // file name without its extension, and a dash
  std::string extension;
};

PathParts split_path(const std::string& path) {
  PathParts p;
  const size_t slash = path.rfind('/');
  p.directory = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  const size_t dot = name.rfind('.');
  p.prefix = name.substr(0, dot) + "-";
  if (dot != std::string::npos) p.extension = name.substr(dot);
  return p;
}

std::string stamp(int64_t wall_ns, bool local) {
  const std::time_t seconds = wall_ns / 1'000'000'000;
  std::tm tm{};
  if (local)
    localtime_r(&seconds, &tm);
  else
    gmtime_r(&seconds, &tm);
  char text[64];
  const size_t n = std::strftime(text, sizeof text, "%Y-%m-%dT%H-%M-%S", &tm);
  return fmt::format("{}.{:03}", std::string_view(text, n), wall_ns / 1'000'000 % 1000);
}

// The time in a backup's name, read as UTC; nothing if it is not one.
std::optional<int64_t> stamp_of(std::string_view text) {
  std::tm tm{};
  int ms = 0, end = 0;
  const std::string s(text);
  if (std::sscanf(s.c_str(), "%4d-%2d-%2dT%2d-%2d-%2d.%3d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
                  &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &ms, &end) != 7 ||
      static_cast<size_t>(end) != s.size()) {
    return std::nullopt;
  }
  tm.tm_year -= 1900;
  tm.tm_mon -= 1;
  return timegm(&tm) * 1'000'000'000 + int64_t{ms} * 1'000'000;
}

struct Backup {
  std::string name;
  int64_t wall_ns;
  bool compressed;
};

// Newest first.
std::vector<Backup> list_backups(const PathParts& parts) {
  std::vector<Backup> out;
  DIR* dir = opendir(parts.directory.c_str());
  if (dir == nullptr) return out;
  while (const dirent* entry = readdir(dir)) {
    std::string_view name = entry->d_name;
    const bool gz =
        name.size() > kGzSuffix.size() && name.substr(name.size() - kGzSuffix.size()) == kGzSuffix;
    if (gz) name.remove_suffix(kGzSuffix.size());
    if (name.size() <= parts.prefix.size() + parts.extension.size() ||
        name.substr(0, parts.prefix.size()) != parts.prefix ||
        name.substr(name.size() - parts.extension.size()) != parts.extension) {
      continue;
    }
    name.remove_prefix(parts.prefix.size());
    name.remove_suffix(parts.extension.size());
    if (const auto ns = stamp_of(name)) out.push_back({entry->d_name, *ns, gz});
  }
  closedir(dir);
  std::sort(out.begin(), out.end(), [](const Backup& a, const Backup& b) {
    return a.wall_ns != b.wall_ns ? a.wall_ns > b.wall_ns : a.name > b.name;
  });
  return out;
}

Result<> write_all(int fd, std::string_view data, std::string_view path) {
  while (!data.empty()) {
    const ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error("write", path, errno);
    data.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

}  // namespace

RotatingFile::RotatingFile(std::string path, LogRotateOptions options, std::function<int64_t()> wall_ns)
    : path_(std::move(path)), options_(std::move(options)), wall_ns_(std::move(wall_ns)) {
  constexpr int64_t kMaxMib = INT64_MAX >> 20, kMaxDays = INT64_MAX / kNsPerDay;
  if (options_.max_size_mib <= 0) options_.max_size_mib = 100;
  options_.max_size_mib = std::min(options_.max_size_mib, kMaxMib);
  if (options_.max_age_days > kMaxDays) options_.max_age_days = 0;  // longer than the clock goes
  CHECK(!options_.compress || options_.gzip, "compression of {} without a compressor", path_);
}

RotatingFile::~RotatingFile() {
  if (cleaner_.joinable()) {
    {
      std::lock_guard lock(mutex_);
      ending_ = true;
      changed_.notify_all();
    }
    cleaner_.join();
  }
  if (fd_ >= 0) ::close(fd_);
}

Result<> RotatingFile::write(std::string_view line) {
  const auto length = static_cast<int64_t>(line.size());
  if (length > max_bytes()) {
    return make_error(Code::kLimit, "write length {} exceeds maximum file size {}", length, max_bytes());
  }
  if (fd_ < 0) TRY(open_existing_or_new(line.size()));
  if (size_ + length > max_bytes()) TRY(rotate());
  TRY(write_all(fd_, line, path_));
  size_ += length;
  return {};
}

Result<> RotatingFile::open_existing_or_new(size_t length) {
  ask_clean_up();
  struct stat st {};
  if (::stat(path_.c_str(), &st) != 0) {
    if (errno != ENOENT) return errno_error("stat", path_, errno);
    return open_new();
  }
  if (st.st_size + static_cast<int64_t>(length) >= max_bytes()) return rotate();
  fd_ = ::open(path_.c_str(), O_APPEND | O_WRONLY | O_CLOEXEC);
  if (fd_ < 0) return open_new();
  size_ = st.st_size;
  return {};
}

// Moves what stands under the name aside and starts anew with its mode and owner.
Result<> RotatingFile::open_new() {
  const PathParts parts = split_path(path_);
  mode_t mode = 0600;
  struct stat st {};
  const bool existed = ::stat(path_.c_str(), &st) == 0;
  if (existed) {
    mode = st.st_mode & 07777;
    int64_t at = wall_ns_();
    std::string backup;
    do {  // two within a millisecond must not overwrite each other
      backup = fmt::format("{}/{}{}{}", parts.directory, parts.prefix, stamp(at, options_.local_time),
                           parts.extension);
      at += 1'000'000;
    } while (::access(backup.c_str(), F_OK) == 0 ||
             ::access((backup + std::string(kGzSuffix)).c_str(), F_OK) == 0);
    if (::rename(path_.c_str(), backup.c_str()) != 0) return errno_error("rename", path_, errno);
  } else {
    // Missing folders are made, as lumberjack does.
    for (size_t slash = parts.directory.find('/', 1); slash != std::string::npos;
         slash = parts.directory.find('/', slash + 1)) {
      ::mkdir(parts.directory.substr(0, slash).c_str(), 0755);
    }
    if (parts.directory != ".") ::mkdir(parts.directory.c_str(), 0755);
  }
  fd_ = ::open(path_.c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_APPEND | O_CLOEXEC, mode);
  if (fd_ < 0) return errno_error("open", path_, errno);
  if (existed) {
    (void)!fchown(fd_, st.st_uid, st.st_gid);
    (void)!fchmod(fd_, mode);
  }
  size_ = 0;
  return {};
}

Result<> RotatingFile::rotate() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  TRY(open_new());
  ask_clean_up();
  return {};
}

// ---- clean-up, on its own thread ----

void RotatingFile::ask_clean_up() {
  if (options_.max_backups == 0 && options_.max_age_days == 0 && !options_.compress) return;
  std::lock_guard lock(mutex_);
  asked_ = true;
  asked_at_ = wall_ns_();
  changed_.notify_all();
  if (!cleaner_.joinable()) cleaner_ = std::thread([this] { run_clean_up(); });
}

void RotatingFile::wait_clean_up() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !asked_ && !cleaning_; });
}

void RotatingFile::run_clean_up() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return asked_ || ending_; });
    if (ending_) return;
    asked_ = false;
    cleaning_ = true;
    const int64_t now = asked_at_;
    lock.unlock();
    clean_up(now);
    lock.lock();
    cleaning_ = false;
    changed_.notify_all();
  }
}

// path -> path.gz, with the same mode and owner; the original goes when the copy is whole.
Result<> RotatingFile::compress_file(const std::string& path) {
  const int in = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (in < 0) return errno_error("open", path, errno);
  const std::string target = path + std::string(kGzSuffix);
  struct stat st {};
  if (fstat(in, &st) != 0) st.st_mode = 0600;
  const int out = ::open(target.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, st.st_mode & 07777);
  if (out < 0) {
    ::close(in);
    return errno_error("open", target, errno);
  }
  (void)!fchown(out, st.st_uid, st.st_gid);
  auto compressor = options_.gzip();
  std::string piece(kPieceBytes, '\0'), packed;
  Result<> written;
  for (bool last = false; written && !last;) {
    const ssize_t n = ::read(in, piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      written = errno_error("read", path, errno);
      break;
    }
    last = n == 0;
    packed.clear();
    compressor(std::string_view(piece).substr(0, static_cast<size_t>(n)), last, packed);
    written = write_all(out, packed, target);
    std::lock_guard lock(mutex_);
    if (written && ending_) written = Error(Code::kStopped);
  }
  ::close(in);
  if (::close(out) != 0 && written) written = errno_error("close", target, errno);
  if (!written) {
    ::unlink(target.c_str());
    return written;
  }
  if (::unlink(path.c_str()) != 0) return errno_error("remove", path, errno);
  return {};
}

void RotatingFile::clean_up(int64_t now) {
  const PathParts parts = split_path(path_);
  // A file and its .gz count once.
  std::vector<int64_t> kept;
  const int64_t oldest = options_.max_age_days > 0 ? now - options_.max_age_days * kNsPerDay : INT64_MIN;
  for (const Backup& b : list_backups(parts)) {
    const std::string path = parts.directory + "/" + b.name;
    if (kept.empty() || kept.back() != b.wall_ns) kept.push_back(b.wall_ns);
    const bool too_many = options_.max_backups > 0 && kept.size() > static_cast<size_t>(options_.max_backups);
    if (too_many || b.wall_ns < oldest) {
      ::unlink(path.c_str());
    } else if (options_.compress && !b.compressed) {
      // A fault here leaves the file uncompressed; the next rotation tries again.
      (void)compress_file(path).has_value();
    }
  }
}

}  // namespace quoin::posix
