#include "cmd/etcd/data_dir.h"

#include <chrono>
#include <thread>

namespace quoin::cmd {

namespace {
// "open /path: permission denied", as Go words it: what stands behind the last colon is the system's.
std::string go_text(const std::string& path, const Error& error, io::FileSystem& fs) {
  const std::string text(error.text());
  const std::string why = text.substr(text.rfind(": ") == std::string::npos ? 0 : text.rfind(": ") + 2);
  // Go opens a file as gladly as a directory and fails when it reads it.
  const bool file = why == "not a directory" && fs.exists(path).value_or(false);
  return fmt::format("{} {}: {}", file ? "readdirent" : "open", path, why);
}
}  // namespace

DataDir identify_data_dir(const std::string& path, io::FileSystem& fs, log::Logger& log) {
  bool member = false, proxy = false;
  auto entries = fs.list(path);
  if (!entries && entries.error().code() != Code::kFileNotFound) {
    LOG(log, kFatal, "failed to list data directory", {"dir", path},
        {"error", go_text(path, entries.error(), fs)});
    return DataDir::kUnreadable;
  }
  if (entries) {
    for (const io::DirEntry& e : *entries) {
      if (e.name == "member") {
        member = true;
      } else if (e.name == "proxy") {
        proxy = true;
      } else {
        LOG(log, kWarn, "found invalid file under data directory", {"filename", e.name}, {"data-dir", path});
      }
    }
  }
  if (member && proxy) {
    LOG(log, kFatal, "invalid datadir; both member and proxy directories exist", );
    return DataDir::kBoth;
  }
  if (!member && !proxy) {
    LOG(log, kInfo, "Initialize and start etcd server", {"data-dir", path}, {"dir-type", "empty"});
    return DataDir::kEmpty;
  }
  LOG(log, kInfo, "server has already been initialized", {"data-dir", path},
      {"dir-type", member ? "member" : "proxy"});
  if (member) return DataDir::kMember;
  LOG(log, kPanic, "v2 http proxy has already been deprecated in 3.6", {"dir-type", "proxy"});
  return DataDir::kProxy;
}

void wait_for_database(const std::string& path, io::FileSystem& fs, const io::Clock& clock,
                       log::Logger& log) {
  constexpr auto kRetry = std::chrono::milliseconds(50);
  constexpr int64_t kTellAfterNs = 10 * io::kSecond;
  const io::MonotonicNs began = clock.monotonic();
  bool told = false;
  for (;;) {
    auto file = fs.open(path, {});
    if (!file) return;
    const Result<> locked = (*file)->lock(io::LockMode::kExclusive);  // dropped with the file
    if (locked || locked.error().code() != Code::kLocked) return;
    const int64_t took = clock.monotonic() - began;
    if (!told && took >= kTellAfterNs) {
      LOG(log, kInfo, "db file is flocked by another process, or taking too long", {"path", path},
          {"took", log::Duration{took}});
      told = true;
    }
    std::this_thread::sleep_for(kRetry);
  }
}

}  // namespace quoin::cmd
