// All peers and remotes of this member, and what they share.
//
// Threads: the peer loop, but active_since().
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "peer/context.h"
#include "peer/peer.h"
#include "peer/raft_door.h"

namespace quoin::peer {

class PeerSet final : public Members {
 public:
  explicit PeerSet(Context context);
  ~PeerSet() override;

  Context& context() { return context_; }
  RaftDoor& door() { return door_; }
  IdleLinks& links() { return links_; }
  std::optional<io::MonotonicNs> active_since(MemberId id) const { return active_.since(id); }

  void send(raft::Message message, size_t bytes);
  void send_snapshot(raft::Message message, std::shared_ptr<backend::SnapshotSource> source);
  void add(MemberId id, std::vector<std::string> urls);
  void update(MemberId id, std::vector<std::string> urls);
  void remove(MemberId id);
  void remove_all();
  // Nothing is sent or taken from now on.
  void stop();

  // Members
  Peer* find(MemberId id) override;
  void add_remote(MemberId id, std::vector<std::string> urls) override;

 private:
  Context context_;
  ActiveTable active_;
  IdleLinks links_;
  RaftDoor door_;
  bool stopped_ = false;
  // Ordered, so that whatever is done to all is done in the same order in every run.
  std::map<MemberId, std::unique_ptr<Peer>> peers_;
  std::map<MemberId, std::unique_ptr<Remote>> remotes_;
};

}  // namespace quoin::peer
