#include "cmd/etcdutl/files.h"

#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "base/go_text.h"

namespace quoin::utl {

Result<> check_there(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return errno_error("stat", path, errno);
  return {};
}

uint64_t size_of(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 ? static_cast<uint64_t>(st.st_size) : 0;
}

std::string without_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

std::string database_path(const std::string& data_dir) {
  return snap_path(data_dir) + "/db";
}
std::string wal_path(const std::string& data_dir) {
  return without_slashes(data_dir) + "/member/wal";
}
std::string snap_path(const std::string& data_dir) {
  return without_slashes(data_dir) + "/member/snap";
}

std::string parent_of(const std::string& path) {
  const std::string plain = without_slashes(path);
  const size_t slash = plain.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : plain.substr(0, slash);
}

Result<std::unique_ptr<bolt::Db>> open_database(io::FileSystem& fs, const std::string& path,
                                                const bolt::Options& options, const Job& job,
                                                const std::function<void()>& waiting) {
  using std::chrono::milliseconds;
  constexpr auto kRetry = milliseconds(50);  // as often as bbolt tries
  constexpr auto kQuiet = milliseconds(1000);
  for (auto waited = milliseconds(0);; waited += kRetry) {
    auto db = bolt::Db::open(fs, path, options);
    if (db || db.error().code() != Code::kLocked) return db;
    if (waited == kQuiet && waiting) waiting();
    if (job.interrupted && job.interrupted()) return Error(Code::kStopped, "interrupted");
    std::this_thread::sleep_for(kRetry);
  }
}

}  // namespace quoin::utl
