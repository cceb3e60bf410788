// The queue of linearizable reads that wait for a quorum to confirm the leader.
//
// Reads are confirmed in order: the acknowledgement of one context confirms all queued before it, because
// the heartbeat that carried it left after they arrived.
// Source: spec raft-and-peers 9; Ongaro's thesis, section 6.4.
#pragma once
#include <deque>
#include <string_view>
#include <vector>

#include "base/blob.h"
#include "base/ids.h"
#include "raft/member_set.h"
#include "raft/types.h"

namespace quoin::raft {

class ReadOnly {
 public:
  struct Read {
    Message request;
    Index index;  // commit index when the read arrived
    MemberSet acks;
    const Blob& context() const { return request.entries.front().data; }
  };

  // A context that is queued already is ignored.
  void add(Index index, Message&& request);
  // Null if no such read is queued.
  const MemberSet* acknowledge(MemberId from, std::string_view context);
  // Takes out the read named by `context` and all before it.
  std::vector<Read> advance(std::string_view context);
  // Of the newest read; empty if there is none.
  Blob last_context() const { return queue_.empty() ? Blob() : queue_.back().context(); }
  void clear() { queue_.clear(); }

 private:
  std::deque<Read>::iterator find(std::string_view context);

  std::deque<Read> queue_;
};

}  // namespace quoin::raft
