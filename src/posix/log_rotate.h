// A log file that is renamed when full, with lumberjack's names and rules (spec operations 6.2): a write that
// would pass max_size renames x.log to x-2006-01-02T15-04-05.000.log and starts a new file; old ones are
// removed by number and age, and compressed to .gz where asked.
//
// Threads: write() is confined to one thread (the log writer); clean-up runs in it too, after the rename,
// since nothing waits for that thread but a full ring.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace quoin::posix {

struct LogRotateOptions {
  int64_t max_size_mib = 100;  // 0: 100
  int64_t max_age_days = 0;    // 0: no limit
  int64_t max_backups = 0;     // 0: all
  bool local_time = false;     // in backup names
  bool compress = false;
  // Makes a .gz of a whole file's bytes; needed where compress is set (this module links no compressor).
  std::function<std::string(std::string_view)> gzip;
};

class RotatingFile {
 public:
  // `wall_ns`: nanoseconds since 1970. Nothing is opened before the first write.
  RotatingFile(std::string path, LogRotateOptions options, std::function<int64_t()> wall_ns);
  ~RotatingFile();
  RotatingFile(const RotatingFile&) = delete;
  RotatingFile& operator=(const RotatingFile&) = delete;

  // Appends one line. kLimit: longer than a whole file may be. kIo: open, rename or write failed.
  Result<> write(std::string_view line);

 private:
  Result<> open_existing_or_new(size_t length);
  Result<> open_new();
  Result<> rotate();
  void clean_up() const;
  int64_t max_bytes() const { return options_.max_size_mib * (int64_t{1} << 20); }

  std::string path_;
  LogRotateOptions options_;
  std::function<int64_t()> wall_ns_;
  int fd_ = -1;
  int64_t size_ = 0;
};

}  // namespace quoin::posix
