// The version of the schema in bucket `meta`: which etcd minor wrote the file, and stepping between them.
//
// 3.5 has no mark; 3.6 marks itself with meta/storageVersion. Nothing is migrated when a member starts; a
// running member follows the cluster version, each for itself and outside apply, which is why Hash leaves the
// mark out. Whether the WAL allows a step down is another question, asked elsewhere.
//
// Threads: apply strand (Backend's).
// Errors: kCorruption "missing term information" where neither a mark nor a term is stored: 3.4 or older, or
// no commit with a term yet. kUnsupported for a version this program does not know. Texts are etcd's.
// Source: spec storage-formats 2.6.
#pragma once
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "backend/backend.h"
#include "base/result.h"

namespace quoin::backend {

struct SchemaVersion {
  int64_t major = 0;
  int64_t minor = 0;
  friend auto operator<=>(const SchemaVersion&, const SchemaVersion&) = default;
  std::string text() const;  // "3.6.0", as stored and as Status shows it
};
constexpr SchemaVersion kSchema35{3, 5};
constexpr SchemaVersion kSchema36{3, 6};

// "X.Y.Z" with an optional pre-release and build suffix, as Go's semver reads it; no value otherwise. The
// patch number and the suffixes are read over.
std::optional<SchemaVersion> parse_schema_version(std::string_view text);

// What the pairs of `meta` say; empty optionals where a key is missing.
Result<SchemaVersion> detect_schema_version(std::optional<std::string_view> storage_version,
                                            std::optional<std::string_view> term);
Result<SchemaVersion> detect_schema_version(const Backend& backend);

// Whether a member of version `own` may start on this file: a way from the detected version to it must be
// known. An undetectable version is no hindrance (the caller warns): nullopt.
Result<std::optional<SchemaVersion>> validate_schema(const Backend& backend, SchemaVersion own);

// The step that would turn `from` into `to`; kUnsupported where none is known. Applied as a change of
// segments, durable with the next commit; the caller asks for one where it cannot wait.
Result<> check_migration(SchemaVersion from, SchemaVersion to);
Result<> migrate_schema(Backend& backend, SchemaVersion to);
// migrate_schema without looking at what is there (etcdutl migrate --force).
void force_schema(Backend& backend, SchemaVersion to);

}  // namespace quoin::backend
