// What only the network could bring about in a raft stage.
#pragma once
#include "server/raft_stage.h"

namespace quoin::server {

// Everything on the raft strand.
class RaftStagePeer {
 public:
  static raft::RawNode& node(RaftStage& stage) { return *stage.node_; }
  static size_t parked(const RaftStage& stage) { return stage.parked_.size(); }
  static size_t parked_bytes(const RaftStage& stage) { return stage.parked_bytes_; }
  static void run_ready(RaftStage& stage) { stage.run_ready(); }
};

}  // namespace quoin::server
