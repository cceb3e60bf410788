// A log file that is renamed when full, with lumberjack's names and rules (spec operations 6.2): a write that
// would pass max_size renames x.log to x-2006-01-02T15-04-05.000.log and starts a new file; old ones are
// removed by number and age, and compressed to .gz where asked.
//
// Threads: write() is confined to one thread (the log writer). Clean-up runs on a thread of the file's own,
// since the log writer is the only one there is and a file to compress may be gigabytes; it reads and writes
// pieces of kPieceBytes, and the destructor waits for one piece at the most. A file whose compression is cut
// short stays as it was and is taken up by the next clean-up.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "base/result.h"

namespace quoin::posix {

struct LogRotateOptions {
  int64_t max_size_mib = 100;  // 0: 100
  int64_t max_age_days = 0;    // 0: no limit
  int64_t max_backups = 0;     // 0: all
  bool local_time = false;     // in backup names
  bool compress = false;
  // Makes a compressor for one file; needed where compress is set (this module links none). The compressor is
  // given the file piece by piece, appends what it has to the string, and all it holds at the last piece.
  using Compressor = std::function<void(std::string_view piece, bool last, std::string& out)>;
  std::function<Compressor()> gzip;
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
  // Waits for the clean-up that the last rotation asked for.
  void wait_clean_up();

 private:
  Result<> open_existing_or_new(size_t length);
  Result<> open_new();
  Result<> rotate();
  void ask_clean_up();
  void run_clean_up();
  void clean_up(int64_t now);
  Result<> compress_file(const std::string& path);
  int64_t max_bytes() const { return options_.max_size_mib * (int64_t{1} << 20); }

  std::string path_;
  LogRotateOptions options_;
  std::function<int64_t()> wall_ns_;
  int fd_ = -1;
  int64_t size_ = 0;

  static constexpr size_t kPieceBytes = 256 << 10;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool asked_ = false, cleaning_ = false, ending_ = false;  // guarded by mutex_
  int64_t asked_at_ = 0;  // guarded by mutex_: wall time of the last request
  std::thread cleaner_;   // started by the first need of it
};

}  // namespace quoin::posix
