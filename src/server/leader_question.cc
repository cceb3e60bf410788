#include "server/leader_question.h"

#include <algorithm>

#include "server/stages.h"

namespace quoin::server {

void LeaderQuestion::ask(Stages& stages, PeerRequest request, int64_t timeout_ns, int64_t pause_ns,
                         Answered answered, Failed failed) {
  std::make_shared<LeaderQuestion>(stages, std::move(request), stages.env.clock.monotonic() + timeout_ns,
                                   pause_ns, std::move(answered), std::move(failed))
      ->round();
}

LeaderQuestion::LeaderQuestion(Stages& stages, PeerRequest request, int64_t deadline, int64_t pause_ns,
                               Answered answered, Failed failed)
    : s_(stages),
      request_(std::move(request)),
      deadline_(deadline),
      pause_ns_(pause_ns),
      answered_(std::move(answered)),
      failed_(std::move(failed)) {}

void LeaderQuestion::round() {
  if (s_.apply.stopped()) return failed_(Error(Code::kServerStopped));
  const MemberId leader(s_.raft.progress().lead.load(std::memory_order_relaxed));
  const auto members = s_.apply.members();
  const membership::Member* m = members->member(leader);
  if (m == nullptr) {
    if (s_.env.clock.monotonic() >= deadline_) return fail(Code::kNoLeader);
    return again(s_.config.election_ns);  // until there may have been an election
  }
  if (m->peer_urls.empty()) return fail(Code::kNoLeader);
  urls_ = m->peer_urls;
  next();
}

void LeaderQuestion::next() {
  if (s_.apply.stopped()) return failed_(Error(Code::kServerStopped));
  const int64_t left = deadline_ - s_.env.clock.monotonic();
  if (left <= 0) return fail(Code::kTimeout);
  if (urls_.empty()) return again(pause_ns_);
  std::string url = std::move(urls_.front());
  urls_.erase(urls_.begin());
  PeerRequest request = request_;
  request.timeout_ns = left;
  s_.peers.fetch(std::move(url), std::move(request), s_.env.apply,
                 [self = shared_from_this()](Result<PeerAnswer> answer) {
                   if (answer && self->answered_(*answer)) return;
                   self->next();
                 });
}

void LeaderQuestion::again(int64_t pause_ns) {
  const int64_t left = std::max<int64_t>(deadline_ - s_.env.clock.monotonic(), 0);
  timer_ =
      s_.env.timers.schedule(std::min(pause_ns, left), s_.env.apply, [self = shared_from_this()]() mutable {
        // The timer holds this task, and with it the question.
        const auto timer = std::move(self->timer_);
        self->round();
      });
}

void LeaderQuestion::fail(Code code) {
  failed_(Error(code));
}

}  // namespace quoin::server
