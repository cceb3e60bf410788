// Small questions about files and directories.
#pragma once
#include <memory>
#include <string>

#include "base/result.h"
#include "bolt/db.h"
#include "cmd/etcdutl/job.h"
#include "io/file.h"

namespace quoin::utl {

// "stat <path>: no such file or directory" and the like, as Go words it, if there is nothing at `path`.
Result<> check_there(const std::string& path);
uint64_t size_of(const std::string& path);  // 0 if there is none

std::string database_path(const std::string& data_dir);
std::string wal_path(const std::string& data_dir);
std::string snap_path(const std::string& data_dir);
std::string parent_of(const std::string& path);
// `path` without slashes at its end.
std::string without_slashes(std::string path);

// Opens a database. While another process holds it locked this waits; a second after the first try `waiting` is called,
// once. kStopped if `job` is interrupted meanwhile.
Result<std::unique_ptr<bolt::Db>> open_database(io::FileSystem& fs, const std::string& path,
                                                const bolt::Options& options, const Job& job,
                                                const std::function<void()>& waiting);

}  // namespace quoin::utl
