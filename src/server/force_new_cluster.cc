#include "server/force_new_cluster.h"

#include <algorithm>
#include <set>

#include "membership/membership.h"
#include "raft/codec.h"

namespace quoin::server {

Result<std::vector<raft::Entry>> force_new_cluster(MemberId self, const raft::ConfState& at_snapshot,
                                                   Index consistent, raft::HardState* hard_state,
                                                   std::vector<raft::Entry>* entries,
                                                   const std::vector<MemberId>& also) {
  hard_state->commit = std::max(hard_state->commit, consistent);
  std::erase_if(*entries, [&](const raft::Entry& e) { return e.index > hard_state->commit; });

  std::set<MemberId> members(at_snapshot.voters.begin(), at_snapshot.voters.end());
  members.insert(at_snapshot.learners.begin(), at_snapshot.learners.end());
  bool learner =
      std::find(at_snapshot.learners.begin(), at_snapshot.learners.end(), self) != at_snapshot.learners.end();
  for (const raft::Entry& e : *entries) {
    if (e.type != raft::EntryType::kConfChange) continue;
    ASSIGN_OR_RETURN(const raft::ConfChange cc, raft::decode_conf_change(e.data));
    if (cc.node_id == self && cc.type != raft::ConfChangeType::kUpdateNode) {
      learner = cc.type == raft::ConfChangeType::kAddLearnerNode;
    }
    if (cc.type == raft::ConfChangeType::kRemoveNode) {
      members.erase(cc.node_id);
    } else if (cc.type != raft::ConfChangeType::kUpdateNode) {
      members.insert(cc.node_id);
    }
  }

  // The others can't be removed: a cluster needs a voter.
  if (learner) {
    return Error(Code::kInvalidArgument,
                 "--force-new-cluster: this member is a learner, which can't found a cluster; take the data "
                 "of a voting "
                 "member, or restore a snapshot (etcdutl snapshot restore) of this one");
  }
  std::vector<membership::Change> changes;
  if (!members.contains(self)) {
    membership::Change add;
    add.member.id = self;
    add.member.peer_urls = {"http://localhost:2380"};
    changes.push_back(std::move(add));
  }
  members.insert(also.begin(), also.end());
  for (MemberId other : members) {
    if (other == self) continue;
    membership::Change remove;
    remove.kind = membership::ChangeKind::kRemove;
    remove.member.id = other;
    changes.push_back(std::move(remove));
  }
  std::vector<raft::Entry> appended;
  for (const membership::Change& change : changes) {
    raft::Entry e;
    e.term = hard_state->term;
    e.index = ++hard_state->commit;
    e.type = raft::EntryType::kConfChange;
    e.data = raft::encode_blob(membership::encode_change(change));
    appended.push_back(e);
    entries->push_back(std::move(e));
  }
  return appended;
}

}  // namespace quoin::server
