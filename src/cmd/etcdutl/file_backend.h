// A database file as the store sees it, for reading only: nothing is written, nothing is locked but the file, by a
// shared lock. The calls that would change something must not be made (CHECK).
//
// Threads: any one at a time. Lifetime: the Db outlives it.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "backend/backend.h"
#include "bolt/db.h"

namespace quoin::utl {

std::unique_ptr<backend::Backend> make_file_backend(bolt::Db& db);

}  // namespace quoin::utl
