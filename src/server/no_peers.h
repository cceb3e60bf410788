// The peers of a member that has none: messages go nowhere, and nobody answers.
#pragma once
#include "server/peers.h"

namespace quoin::server {

class NoPeers : public Peers {
 public:
  void send(std::vector<raft::Message>) override {}
  void send_snapshot(raft::Message, std::shared_ptr<backend::SnapshotSource>) override {}
  void add(MemberId, std::vector<std::string>) override {}
  void add_remote(MemberId, std::vector<std::string>) override {}
  void update(MemberId, std::vector<std::string>) override {}
  void remove(MemberId) override {}
  void remove_all() override {}
  std::optional<io::MonotonicNs> active_since(MemberId) const override { return std::nullopt; }
  void fetch(std::string, PeerRequest, io::Executor& executor, PeerAnswered done) override {
    executor.post([done = std::move(done)]() mutable { done(unreachable()); });
  }
  Result<PeerAnswer> fetch_now(std::string, PeerRequest) override { return unreachable(); }

 private:
  static Error unreachable() { return Error(Code::kIo, "this member talks to no other"); }
};

}  // namespace quoin::server
