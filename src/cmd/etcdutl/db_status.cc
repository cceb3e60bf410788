#include "cmd/etcdutl/db_status.h"

#include <absl/container/flat_hash_set.h>
#include <fmt/ranges.h>

#include "backend/backend.h"
#include "backend/schema.h"
#include "base/crc32c.h"
#include "base/go_text.h"
#include "mvcc/key_value.h"

namespace quoin::utl {

namespace {

constexpr uint64_t kItemsPerStep = 1 << 12;

// Items of the buckets in order.
class Reader {
 public:
  Reader(const bolt::ReadTx& tx, const Job& job) : tx_(tx), job_(job) {}

  Result<DbStatus> read() {
    status_.total_size = tx_.size_bytes();
    const auto version = tx_.get(backend::bucket_name(backend::Bucket::kMeta), "storageVersion");
    if (!version) return version.error();
    if (*version && backend::parse_schema_version(**version)) status_.version = **version;
    bolt::Cursor buckets = tx_.root().cursor();
    ASSIGN_OR_RETURN(bool more, buckets.first());
    while (more) {
      if (!buckets.is_bucket()) {
        return make_error(Code::kCorruption, "nil bucket: {}", go_quote(buckets.key()));
      }
      TRY(read_bucket(buckets.key()));
      ASSIGN_OR_RETURN(more, buckets.next());
    }
    status_.total_keys = live_.size();
    return status_;
  }

 private:
  Result<> read_bucket(std::string_view name) {
    status_.hash = crc32c(status_.hash, name);
    ASSIGN_OR_RETURN(const auto bucket, tx_.bucket(name));
    const bool records = name == backend::bucket_name(backend::Bucket::kKey);
    bolt::Cursor cursor = bucket->cursor();
    ASSIGN_OR_RETURN(bool more, cursor.first());
    while (more) {
      if (items_++ % kItemsPerStep == 0) TRY(job_.step("reading the database", bytes_, status_.total_size));
      bytes_ += cursor.key().size() + cursor.value().size();
      status_.hash = crc32c(status_.hash, cursor.key());
      // Go hands out a bucket within a bucket as a key without a value.
      if (!cursor.is_bucket()) status_.hash = crc32c(status_.hash, cursor.value());
      if (records) {
        if (const auto taken = take_record(cursor.key(), cursor.value()); !taken) {
          return make_error(Code::kCorruption, "error during bucket key iteration, name: {} err: {}",
                            go_quote(name), taken.error().text());
        }
      }
      ASSIGN_OR_RETURN(more, cursor.next());
    }
    return {};
  }

  Result<> take_record(std::string_view key, std::string_view value) {
    const auto parsed = backend::parse_revision_key(key);
    if (!parsed) {
      return make_error(Code::kCorruption, "cannot parse revision key: {} err: {}", go_quote(key),
                        parsed.error().text());
    }
    status_.revision = parsed->revision.main;
    // Without any bytes it is the empty key: restore puts such a record where it raises the revision.
    const auto name = mvcc::decode_key(value);
    if (!name) {
      return make_error(Code::kCorruption, "cannot unmarshal value, key: {} value: {} err: {}", go_quote(key),
                        go_quote(value), name.error().text());
    }
    if (parsed->tombstone)
      live_.erase(*name);
    else
      live_.insert(*name);
    return {};
  }

  const bolt::ReadTx& tx_;
  const Job& job_;
  DbStatus status_;
  uint64_t items_ = 0, bytes_ = 0;
  absl::flat_hash_set<std::string_view> live_;  // views into the file
};

}  // namespace

Result<DbStatus> db_status(bolt::Db& db, const Job& job) {
  TRY(job.step("checking the pages", 0, 0));
  if (const auto findings = db.check(); !findings.empty()) {
    return make_error(Code::kCorruption, "snapshot file integrity check failed. {} errors found.\n{}",
                      findings.size(), fmt::join(findings, "\n"));
  }
  const auto tx = db.begin_read();
  return Reader(*tx, job).read();
}

}  // namespace quoin::utl
