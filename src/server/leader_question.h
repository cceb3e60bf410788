// Something only the leader can answer, asked over HTTP at its peer URLs, whoever leads meanwhile.
//
// Threads: apply strand. Lifetime: ends by itself at the deadline; a stopped member answers no more.
// Source: spec raft-and-peers 28.3, 33.
#pragma once
#include <functional>
#include <memory>

#include "io/timer.h"
#include "server/peers.h"

namespace quoin::server {

class Stages;

class LeaderQuestion : public std::enable_shared_from_this<LeaderQuestion> {
 public:
  // True: that was the answer, and the question is done. False: the next URL is asked.
  using Answered = std::function<bool(const PeerAnswer&)>;
  // kNoLeader, kTimeout, kServerStopped.
  using Failed = std::function<void(Error)>;
  // `pause_ns`: between two rounds over the leader's URLs. Ends after `timeout_ns`.
  static void ask(Stages& stages, PeerRequest request, int64_t timeout_ns, int64_t pause_ns,
                  Answered answered, Failed failed);

  LeaderQuestion(Stages& stages, PeerRequest request, int64_t deadline, int64_t pause_ns, Answered answered,
                 Failed failed);

 private:
  void round();
  void next();
  void again(int64_t pause_ns);
  void fail(Code code);

  Stages& s_;
  PeerRequest request_;
  const int64_t deadline_, pause_ns_;
  const Answered answered_;
  const Failed failed_;
  std::vector<std::string> urls_;  // of the leader, yet to be asked in this round
  std::unique_ptr<io::Timer> timer_;
};

}  // namespace quoin::server
