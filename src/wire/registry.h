// Every message of the module by its full name ("etcdserverpb.PutRequest"), for tests and fuzz targets that
// must reach all of them. The table is generated.
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace quoin::wire {

struct MessageInfo {
  std::string_view full_name;
  // Decodes and encodes again.
  Result<std::string> (*recode)(std::string_view in);
};

// In the order of files and declarations.
std::span<const MessageInfo> messages();

}  // namespace quoin::wire
