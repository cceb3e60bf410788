#include <array>

#include "backend/backend.h"
#include "base/check.h"
#include "base/coding.h"

namespace quoin::backend {
namespace {
constexpr std::array<std::string_view, kBucketCount> kNames = {
    "alarm", "auth",  "authRoles", "authUsers",       "cluster",
    "key",   "lease", "members",   "members_removed", "meta"};
constexpr size_t kPlainSize = 17;
constexpr size_t kTombstoneSize = 18;
constexpr char kSeparator = '_';
constexpr char kTombstoneMark = 't';
}  // namespace

std::string_view bucket_name(Bucket bucket) {
  return kNames[static_cast<size_t>(bucket)];
}

RevisionKey::RevisionKey(Revision revision, bool tombstone) : size_(tombstone ? kTombstoneSize : kPlainSize) {
  store_be64(bytes_, static_cast<uint64_t>(revision.main));
  bytes_[8] = kSeparator;
  store_be64(bytes_ + 9, static_cast<uint64_t>(revision.sub));
  bytes_[17] = kTombstoneMark;
}

Result<ParsedRevisionKey> parse_revision_key(std::string_view key) {
  if (key.size() != kPlainSize && key.size() != kTombstoneSize) {
    return make_error(Code::kCorruption, "invalid revision length: {}", key.size());
  }
  if (key[8] != kSeparator) {
    return make_error(Code::kCorruption, "invalid separator in bucket key: {}", hex_bytes(key));
  }
  ParsedRevisionKey out;
  out.revision.main = static_cast<int64_t>(load_be64(key.data()));
  out.revision.sub = static_cast<int64_t>(load_be64(key.data() + 9));
  if (out.revision.main < 0 || out.revision.sub < 0) {
    return make_error(Code::kCorruption, "negative revision: main={} sub={}", out.revision.main,
                      out.revision.sub);
  }
  if (key.size() == kTombstoneSize) {
    if (key[17] != kTombstoneMark) {
      return make_error(Code::kCorruption, "invalid tombstone mark in bucket key: {}", hex_bytes(key));
    }
    out.tombstone = true;
  }
  return out;
}

}  // namespace quoin::backend
