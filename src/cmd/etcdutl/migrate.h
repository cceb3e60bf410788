// `migrate`: makes the database of a member that does not run fit another version of etcd. That is one key of bucket
// `meta`: 3.6 and later keep the version there, 3.5 knows none.
//
// Errors: kInvalidArgument, kUnsupported, kCorruption with etcd's texts. Source: spec cli 10.4, storage-formats 2.6.
#pragma once
#include <string>
#include <string_view>

#include "backend/schema.h"
#include "base/result.h"
#include "bolt/db.h"
#include "cmd/etcdutl/job.h"

namespace quoin::utl {

// "3.6", and nothing below 3.5.
Result<backend::SchemaVersion> parse_target_version(std::string_view text);

struct MigrateOptions {
  std::string data_dir;
  backend::SchemaVersion target;
  bool force = false;  // write the version also where no way to it is known
};

// `db`: of that directory, open for writing; it is of no use afterwards.
Result<> migrate(const MigrateOptions& options, const Machine& machine, std::unique_ptr<bolt::Db> db);

}  // namespace quoin::utl
