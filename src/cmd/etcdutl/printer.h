// What `snapshot status` and `hashkv` print, in the formats of -w. Source: spec cli 10.1, 10.3.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "cmd/etcdutl/db_status.h"
#include "mvcc/hash_kv.h"

namespace quoin::utl {

enum class Format : uint8_t { kSimple, kTable, kJson, kFields, kProtobuf };
std::optional<Format> parse_format(std::string_view name);

// With the end of the line. Not for kProtobuf, which neither of them has (CHECK).
std::string print_status(const DbStatus& status, Format format);
std::string print_hash(const mvcc::HashKvResult& hash, Format format);

}  // namespace quoin::utl
