// Whether a file that another member sent can be a database at all. A member that took over another one would find out
// when its own is gone already, and at every start from then on.
//
// Looks at the first meta page, which whoever sends a database writes anew, and at the length it tells: what is cut, or
// something else, does not pass. What the pages hold is read when the database is installed.
//
// Blocks: on the file strand. Errors: kCorruption with what is wrong; kIo and such of the file system.
#pragma once
#include <string>

#include "base/result.h"
#include "io/file.h"

namespace quoin::server {

Result<> check_received_database(io::FileSystem& fs, const std::string& path);

}  // namespace quoin::server
