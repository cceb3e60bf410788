#include "v3rpc/leader_monitor.h"

#include <algorithm>
#include <utility>

#include "v3rpc/gate.h"

namespace quoin::v3rpc {

void LeaderMonitor::add(const grpc::Call& call, GrpcStatus status, std::string_view text) {
  if (call.metadata("hasleader") != "true") return;
  if (streams_.size() >= tidy_at_) {
    std::erase_if(streams_, [](const Stream& s) { return s.ended(); });
    tidy_at_ = std::max<size_t>(64, 2 * streams_.size());
  }
  streams_.push_back({&call.table(), call.id(), status, text});
  if (!timer_) schedule();
}

void LeaderMonitor::schedule() {
  timer_ = loop_.timers.schedule(loop_.member.config().election_ns, loop_.port.loop(), [this] { sample(); });
}

void LeaderMonitor::sample() {
  // The timer holds this task.
  const auto timer = std::exchange(timer_, nullptr);
  without_leader_ = loop_.member.leader() ? 0 : without_leader_ + 1;
  if (without_leader_ >= kSamples) end_some(std::exchange(streams_, {}));
  if (streams_.empty()) {
    without_leader_ = 0;  // the next one is let in by a leader
    return;
  }
  schedule();
}

void LeaderMonitor::end_some(std::vector<Stream> streams) {
  for (size_t n = 0; n < kEndedPerTurn && !streams.empty(); ++n) {
    const Stream s = streams.back();
    streams.pop_back();
    if (grpc::Call* call = s.table->find(s.id)) call->fail(s.status, s.text);
  }
  if (streams.empty()) return;
  loop_.turns->add([this, streams = std::move(streams)]() mutable { end_some(std::move(streams)); });
}

}  // namespace quoin::v3rpc
