// snapshot status and snapshot restore, on files: etcdctl 3.6 has them no more, but procedures that people wrote down use
// them. They do what etcdutl's do, with the same flags.
//
// Threads: of the main thread.
#pragma once
#include "cmd/etcdctl/commands.h"

namespace quoin::ctl {

void add_offline_snapshot_commands(Registry& r, CobraCommand& snapshot);

}  // namespace quoin::ctl
