#include "server/received_message.h"

#include <algorithm>

#include "base/coding.h"
#include "raft/codec.h"
#include "server/old_request.h"

namespace quoin::server {

namespace {

using raft::MessageType;

template <class... A>
Error malformed(fmt::format_string<A...> f, A&&... args) {
  return make_error(Code::kMalformed, f, std::forward<A>(args)...);
}

Result<> check_sender(const raft::Message& m, MemberId self) {
  if (raft::is_local(m.type) || m.type == MessageType::kForgetLeader) {
    return Error(Code::kInvalidArgument, "raft: cannot step raft local message");
  }
  if (!m.from || m.from == self || raft::is_storage_thread(m.from)) {
    return make_error(Code::kInvalidArgument, "a message from another member claims to be from {}",
                      hex(m.from.v));
  }
  return {};
}

Result<> check_numbers(const raft::Message& m, Term own_term) {
  if (m.term.v > own_term.v + kTermAheadMax) {
    return malformed("term {} is impossibly far ahead of term {}", m.term, own_term);
  }
  const uint64_t largest = std::max({m.term.v, m.log_term.v, m.index.v, m.commit.v, m.reject_hint.v});
  if (largest > kNumberMax) return malformed("the number {} is impossibly large", largest);
  if (!m.term && m.type != MessageType::kProp && m.type != MessageType::kReadIndex) {
    return malformed("a message of this type has a term");
  }
  return {};
}

Result<> check_append(const raft::Message& m) {
  Term before = m.log_term;
  for (const raft::Entry& e : m.entries) {
    if (!e.term || e.term < before || e.term > m.term) {
      return malformed("entry {} of term {} cannot be, in an append of term {} behind an entry of term {}",
                       e.index, e.term, m.term, before);
    }
    before = e.term;
  }
  if (before > m.term) return malformed("an append of term {} behind an entry of term {}", m.term, before);
  return {};
}

Result<> check_conf_change(const raft::Entry& entry, const membership::Membership& members) {
  ASSIGN_OR_RETURN(const raft::ConfChange cc, raft::decode_conf_change(entry.data));
  ASSIGN_OR_RETURN(const membership::Change change, membership::decode_change(cc));
  if (membership::encode_change(change).type != cc.type) {
    return malformed("a configuration change of {} is not what its context says", hex(cc.node_id.v));
  }
  if (change.kind == membership::ChangeKind::kRemove &&
      members.voters() == std::vector<MemberId>{cc.node_id}) {
    return malformed("a configuration change that removes the only voter {}", hex(cc.node_id.v));
  }
  return {};
}

Result<> check_proposal(const raft::Message& m, const membership::Membership& members) {
  if (m.entries.empty()) return malformed("a proposal without entries");
  for (const raft::Entry& e : m.entries) {
    switch (e.type) {
      case raft::EntryType::kNormal:
        // An empty one is applied as what a leader begins its term with: nothing.
        if (!e.data.empty()) TRY(check_request(e.data.view()));
        break;
      case raft::EntryType::kConfChange:
        TRY(check_conf_change(e, members));
        break;
      case raft::EntryType::kConfChangeV2:
        return malformed("a proposal of an entry type that members cannot apply");
    }
  }
  return {};
}

Result<> check_read_index(const raft::Message& m) {
  const size_t bytes = m.entries.size() == 1 ? m.entries.front().data.size() : 0;
  if (bytes == 0 || bytes > kContextMax) {
    return malformed("a read index request of {} contexts, the first of {} bytes", m.entries.size(),
                     m.entries.empty() ? 0 : m.entries.front().data.size());
  }
  return {};
}

Result<> check_snapshot(const raft::Message& m) {
  if (m.snapshot == nullptr || m.snapshot->empty()) return malformed("a snapshot message without a snapshot");
  const raft::SnapshotMetadata& meta = m.snapshot->metadata;
  if (meta.index.v > kNumberMax) return malformed("the snapshot's index {} is impossibly large", meta.index);
  if (!meta.term || meta.term > m.term) {
    return malformed("a snapshot of term {} in a message of term {}", meta.term, m.term);
  }
  const raft::ConfState& cs = meta.conf_state;
  const size_t members =
      cs.voters.size() + cs.learners.size() + cs.voters_outgoing.size() + cs.learners_next.size();
  if (cs.voters.empty() || members > kSnapshotMembersMax) {
    return malformed("a snapshot of a cluster of {} voters and {} members in all", cs.voters.size(), members);
  }
  return {};
}

}  // namespace

Result<> check_received(const raft::Message& m, MemberId self, Term own_term,
                        const membership::Membership& members) {
  TRY(check_sender(m, self));
  if (!m.responses.empty()) return malformed("a message with responses, which storage alone sends");
  TRY(check_numbers(m, own_term));
  switch (m.type) {
    case MessageType::kApp:
      return check_append(m);
    case MessageType::kProp:
      return check_proposal(m, members);
    case MessageType::kReadIndex:
      return check_read_index(m);
    case MessageType::kSnap:
      return check_snapshot(m);
    case MessageType::kHeartbeat:
    case MessageType::kHeartbeatResp:
      if (m.context.size() <= kContextMax) return {};
      return malformed("a heartbeat with a context of {} bytes", m.context.size());
    default:
      return {};
  }
}

}  // namespace quoin::server
