#include "raft/types.h"
#include "server/chores.h"
#include "server/member.h"
#include "server/stages.h"

namespace quoin::server {

// What one loop round gathered.
struct ClientPort::Batch {
  std::vector<Proposal> proposals;
  std::vector<RaftStage::Reader> readers;
  std::vector<LeaseRenewal> renewals;
  bool scheduled = false;
};

ClientPort::ClientPort(Member& member, io::Loop& loop)
    : member_(member), loop_(loop), batch_(std::make_shared<Batch>()) {}
ClientPort::~ClientPort() = default;

void ClientPort::propose(uint64_t id, Blob request, AnswerDone done) {
  Stages& s = *member_.stages_;
  if (member_.overloaded()) return done({.error = Error(Code::kTooManyRequests)});
  if (request.size() > s.config.max_request_bytes) return done({.error = Error(Code::kRequestTooLarge)});
  if (!s.raft.backlog().admit(request.size())) return done({.error = Error(Code::kTooManyRequests)});
  s.waiters.add(id, {&loop_, std::move(done), s.env.clock.monotonic()});
  batch_->proposals.push_back(
      {.id = id, .data = std::move(request), .only_in_term = {}, .admitted = true, .awaited = true});
  flush();
}

void ClientPort::give_up(uint64_t id) {
  Stages& s = *member_.stages_;
  if (s.waiters.give_up(id)) s.raft.count_failed();
}

void ClientPort::read_index(ReadDone done) {
  batch_->readers.push_back({&loop_, std::move(done)});
  flush();
}

void ClientPort::renew_lease(LeaseId id, RenewDone done) {
  batch_->renewals.push_back({id, std::move(done)});
  flush();
}

// At the end of the round everything leaves in one hand-over a kind.
void ClientPort::flush() {
  if (std::exchange(batch_->scheduled, true)) return;
  loop_.at_end_of_round([batch = batch_, &stages = *member_.stages_, &loop = loop_] {
    batch->scheduled = false;
    if (!batch->proposals.empty()) stages.raft.post_proposals(std::exchange(batch->proposals, {}));
    if (!batch->readers.empty()) stages.raft.post_readers(std::exchange(batch->readers, {}));
    if (!batch->renewals.empty()) stages.chores.renew(std::exchange(batch->renewals, {}), loop);
  });
}

}  // namespace quoin::server
