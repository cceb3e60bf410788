// What the data directory holds before anything opens it, as etcd tells it at start (spec operations 2.1,
// step 4). Blocking.
#pragma once
#include <string>

#include "base/log.h"
#include "io/clock.h"
#include "io/file.h"

namespace quoin::cmd {

enum class DataDir : uint8_t {
  kEmpty,  // or not there, or nothing of etcd's in it
  kMember,
  kUnreadable,  // the rest: told by a fatal or panic line, which ends the process
  kBoth,
  kProxy,
};

// Lists it, warns of every name that is not etcd's, and says what it is.
DataDir identify_data_dir(const std::string& path, io::FileSystem& fs, log::Logger& log);

// Waits while another process has the database locked (the one before this one, which has not ended yet): for
// ever, as bbolt does, with etcd's line after ten seconds. A database that is not there, or can't be opened,
// is not waited for.
void wait_for_database(const std::string& path, io::FileSystem& fs, const io::Clock& clock, log::Logger& log);

}  // namespace quoin::cmd
