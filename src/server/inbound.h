// What comes in from the other members: their messages go to raft, their databases to the snap directory.
//
// Threads: any. Lifetime: a part of the member; the transport stops before the member does.
// Source: spec raft-and-peers 21, 23.
#pragma once
#include "server/peers.h"

namespace quoin::server {

class Stages;

class Inbound final : public PeerHandler {
 public:
  explicit Inbound(Stages& stages) : s_(stages) {}

  MemberId self() const override;
  ClusterId cluster() const override;
  bool removed(MemberId id) const override;
  void received(std::vector<raft::Message> messages, Charge charge) override;
  void process(raft::Message message, Charge charge, io::Executor& executor,
               absl::AnyInvocable<void(Result<>)> done) override;
  void unreachable(MemberId id) override;
  void snapshot_sent(MemberId id, bool failed) override;
  void found_removed() override;
  io::FileSystem& snapshot_files() override;
  io::Executor& snapshot_executor() override;
  std::string new_snapshot_path() override;
  void keep_snapshot(std::string path, Index index, io::Executor& executor,
                     absl::AnyInvocable<void(Result<>)> done) override;

 private:
  Stages& s_;
};

}  // namespace quoin::server
