#include "raft/quorum/quorum.h"

namespace quoin::raft::quorum {

MemberSet JointVoters::all() const {
  MemberSet both = incoming;
  for (MemberId id : outgoing) both.insert(id);
  return both;
}

}  // namespace quoin::raft::quorum
