// A leader promotes learners that have caught up, where the feature gate LearnerAutoPromote asks for it. Beyond etcd,
// and off by default: somebody who adds a learner may mean it to stay one.
//
// A learner counts as caught up once it holds everything that the leader held a second before, and can be reached.
// etcd's own test for a promotion asks for 90 % of the leader's index alone, which a learner of a large log meets while
// it is still far behind. One learner is promoted at a time, by the way that a client's promotion takes, with all its
// checks; what is refused is tried again after half a minute.
//
// Threads: the apply strand. Lives inside of Chores, whose timer calls look().
#pragma once
#include <map>
#include <optional>

#include "base/ids.h"
#include "io/clock.h"
#include "server/raft_stage.h"

namespace quoin::server {

class Stages;

class LearnerPromotion {
 public:
  explicit LearnerPromotion(Stages& stages) : s_(stages) {}
  // Every second, at any member. One that does not lead forgets what it saw.
  void look();

 private:
  void judge(const std::vector<RaftStage::Follower>& followers);

  Stages& s_;
  bool asking_ = false;
  // The promotion under way. It may never have an outcome, if the lead is lost meanwhile.
  struct Promotion {
    uint64_t id = 0;  // of who waits
    io::MonotonicNs began = 0;
  };
  std::optional<Promotion> promotion_;
  io::MonotonicNs not_before_ = 0;  // the next promotion
  // What a learner must hold at the next look: what the leader held at this one.
  std::map<MemberId, Index> goals_;
};

}  // namespace quoin::server
