// The part of `check` that looks at a database file.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "base/ids.h"
#include "base/result.h"
#include "cmd/etcdutl/job.h"
#include "cmd/etcdutl/report.h"
#include "membership/membership.h"

namespace quoin::utl {

struct DatabaseFacts {
  bool readable = false;  // all below is known
  Index consistent_index;
  Term term;  // 0: not stored
  int64_t revision = 0;
  std::optional<membership::Membership> members;  // without the ids of the cluster and of this member
};

// Errors: kStopped.
Result<DatabaseFacts> check_database(const std::string& path, io::FileSystem& fs, const Job& job,
                                     Report* report);

}  // namespace quoin::utl
