// The flags of `snapshot restore`, which etcdutl and etcdctl both have.
//
// Threads: none. Errors: kInvalidArgument with etcd's text. Source: spec cli 10.2.
#pragma once
#include <string>

#include "base/result.h"
#include "cmd/cobra/flags.h"
#include "cmd/etcdutl/restore.h"

namespace quoin::utl {

void declare_restore_flags(cmd::CobraFlags& flags);
Result<RestoreOptions> read_restore_flags(const cmd::CobraFlags& flags, const std::string& snapshot);

}  // namespace quoin::utl
