#include "cmd/etcd/data_dir.h"

namespace quoin::cmd {

namespace {
// "open /path: permission denied", in Go's words: what stands behind the last colon is the system's.
std::string go_text(const std::string& path, const Error& error) {
  const std::string text(error.text());
  std::string why = text.substr(text.rfind(": ") == std::string::npos ? 0 : text.rfind(": ") + 2);
  if (!why.empty() && why[0] >= 'A' && why[0] <= 'Z') why[0] = static_cast<char>(why[0] + 32);
  // Go opens a file as gladly as a directory and fails when it reads it.
  return fmt::format("{} {}: {}", why == "not a directory" ? "readdirent" : "open", path, why);
}
}  // namespace

DataDir identify_data_dir(const std::string& path, io::FileSystem& fs, log::Logger& log) {
  bool member = false, proxy = false;
  auto entries = fs.list(path);
  if (!entries && entries.error().code() != Code::kFileNotFound) {
    LOG(log, kFatal, "failed to list data directory", {"dir", path},
        {"error", go_text(path, entries.error())});
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

}  // namespace quoin::cmd
