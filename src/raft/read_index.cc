// Linearizable reads. Source: spec raft-and-peers 9; Ongaro's thesis 6.4.
#include "raft/raft.h"

namespace quoin::raft {

namespace {
constexpr size_t kEarlyOfOthersMax = 1024;  // as in read_only.cc
}  // namespace

bool Raft::committed_in_term() const {
  return log_.term_or_zero(log_.committed()) == term_;
}

// At the leader.
void Raft::on_read_index(Message&& m) {
  if (m.entries.empty()) return;
  // A new leader does not know yet how far its predecessor had committed; its first own commit tells. That is so for
  // a single voter too, where the other one was removed. etcd does not wait there.
  if (!committed_in_term()) {
    if (!m.from || m.from == id_ || early_reads_.size() < kEarlyOfOthersMax)
      early_reads_.push_back(std::move(m));
    return;
  }
  serve_read_index(std::move(m));
}

void Raft::serve_read_index(Message&& m) {
  // A single voter need ask nobody. A leader that was removed must: the one voter left may have elected itself.
  if (tracker_.singleton() && tracker_.config.voters.contains(id_)) {
    answer_read_index(m, log_.committed());
    return;
  }
  if (config_.read_only == ReadOnlyOption::kLeaseBased) {
    answer_read_index(m, log_.committed());
    return;
  }
  const Blob context = m.entries.front().data;
  reads_.add(log_.committed(), std::move(m));
  reads_.acknowledge(id_, context.view());
  broadcast_heartbeat(context);
}

void Raft::answer_read_index(const Message& request, Index index) {
  if (!request.from || request.from == id_) {
    read_states_.push_back({index, request.entries.front().data});
    return;
  }
  Message m;
  m.to = request.from;
  m.type = MessageType::kReadIndexResp;
  m.index = index;
  m.entries = request.entries;
  send(std::move(m));
}

void Raft::release_pending_reads() {
  if (early_reads_.empty()) return;
  if (!committed_in_term()) {
    observer_.read_index_released_too_early();
    return;
  }
  std::vector<Message> reads;
  reads.swap(early_reads_);
  for (Message& m : reads) serve_read_index(std::move(m));
}

void Raft::on_read_index_response(Message&& m) {
  if (m.entries.size() != 1) {
    observer_.invalid_read_index_response(id_, m.from, m.entries.size());
    return;
  }
  read_states_.push_back({m.index, std::move(m.entries.front().data)});
}

}  // namespace quoin::raft
