// From a database file to the parts of the state machine that live on it: at start, and when a snapshot that
// another member sent replaces the file. The second time they are built beside the running ones and swapped in.
//
// Threads: all functions block. At start on whichever thread starts the member; open_received() on the file
// strand. Lifetime: config and environment outlive what is made.
// Errors: kCorruption names the file; those of the file system.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "backend/backend.h"
#include "lease/lessor.h"
#include "membership/membership.h"
#include "mvcc/store.h"
#include "raft/types.h"
#include "server/alarms.h"
#include "server/applier.h"
#include "server/auth_store.h"
#include "server/member.h"

namespace quoin::server {

std::string snap_dir(const Config& config);
std::string database_path(const Config& config);

// `probe`: of the backend before; null at start.
Result<std::unique_ptr<backend::Backend>> open_backend(const Config& config, const Environment& env,
                                                       std::shared_ptr<backend::Probe> probe = nullptr);

// What reading a backend gives. The store attaches to these leases by this glue.
struct ReadState {
  std::unique_ptr<lease::Lessor> lessor;
  std::unique_ptr<LeaseGlue> glue;
  std::unique_ptr<mvcc::Store> store;
  std::optional<Alarms> alarms;
  std::unique_ptr<AuthStore> auth;
};
// `beside`: to be adopted by the parts in use (mvcc::Store::adopt, lease::Lessor::adopt, auth::Store::adopt).
Result<ReadState> read_state(const Config& config, const Environment& env, backend::Backend& backend,
                             mvcc::CompactionObserver* compactions, bool beside = false);

struct ReceivedState : ReadState {
  std::unique_ptr<backend::Backend> backend;
};
// `<index>.snap.db` takes the database's name, durably, and is read. The backend before is closed.
Result<ReceivedState> open_received(const Config& config, const Environment& env, Index index,
                                    std::shared_ptr<backend::Probe> probe,
                                    mvcc::CompactionObserver* compactions);

// The membership as of a snapshot, for checking changes that are replayed behind it. Refuses v2 content as etcd
// does.
Result<membership::Membership> membership_of(const raft::Snapshot& snapshot, MemberId self,
                                             ClusterId cluster);

}  // namespace quoin::server
