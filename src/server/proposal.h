// A request on its way into the raft log.
#pragma once
#include <cstdint>

#include "base/blob.h"
#include "base/ids.h"
#include "raft/types.h"

namespace quoin::server {

struct Proposal {
  uint64_t id = 0;
  Blob data;
  Term only_in_term;      // 0: any; else dropped when this member does not lead in that term
  bool admitted = false;  // was charged to RaftStage::backlog()
  // Somebody waits for the outcome under this id (waiters.h). Once nobody does any more, a proposal that raft
  // has not taken yet is dropped.
  bool awaited = false;
  bool patient = false;  // while somebody waits, it may wait for a leader without a limit
  raft::EntryType type = raft::EntryType::kNormal;
};

}  // namespace quoin::server
