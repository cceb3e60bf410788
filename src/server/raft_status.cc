// What raft knows of itself and, as the leader, of the others, as JSON.
#include "raft/describe.h"
#include "server/raft_stage.h"

namespace quoin::server {

void RaftStage::post_status(io::Executor& executor, absl::AnyInvocable<void(std::string)> done) {
  strand_.post([this, &executor, done = std::move(done)]() mutable {
    const raft::Status s = node_->status();
    std::string progress;
    if (s.progress != nullptr) {
      for (const auto& [id, p] : *s.progress) {
        if (!progress.empty()) progress += ',';
        progress += fmt::format("\"{:x}\":{{\"match\":{},\"next\":{},\"state\":\"{}\"}}", id.v, p.match().v,
                                p.next().v, raft::name_of(p.state()));
      }
    }
    std::string text = fmt::format(
        "{{\"id\":\"{:x}\",\"term\":{},\"vote\":\"{:x}\",\"commit\":{},\"lead\":\"{:x}\",\"raftState\":\"{}"
        "\","
        "\"applied\":{},\"progress\":{{{}}},\"leadtransferee\":\"{:x}\"}}",
        s.id.v, s.hard_state.term.v, s.hard_state.vote.v, s.hard_state.commit.v, s.soft_state.lead.v,
        raft::name_of(s.soft_state.role), s.applied.v, progress, s.transferee.v);
    executor.post([done = std::move(done), text = std::move(text)]() mutable { done(std::move(text)); });
  });
}

}  // namespace quoin::server
