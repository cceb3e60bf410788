#include "raft/rawnode.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "raft/codec.h"
#include "raft/confchange/confchange.h"

namespace quoin::raft {
namespace {

Message message_of(MessageType type, MemberId from) {
  Message m;
  m.type = type;
  m.from = from;
  return m;
}

std::vector<Entry> one_entry(EntryType type, Blob data) {
  std::vector<Entry> entries(1);
  entries[0].type = type;
  entries[0].data = std::move(data);
  return entries;
}

// An append's entries follow its index one by one; raft's log rests on that.
bool consecutive(const Message& m) {
  Index expected = m.index;
  return std::all_of(m.entries.begin(), m.entries.end(),
                     [&](const Entry& e) { return e.index == ++expected; });
}

// A configuration that can be reached; a member that took over another one would be lost.
bool valid(const ConfState& state, const Config& config) {
  const tracker::Tracker empty(config.inflight_messages_max, config.inflight_bytes_max);
  return confchange::restore(empty, Index{0}, state).has_value();
}

}  // namespace

RawNode::RawNode(const Config& config, const Storage& storage, Prng& prng, Observer& observer)
    : raft_(config, storage, prng, observer),
      soft_state_(raft_.soft_state()),
      hard_state_(raft_.hard_state()) {}

Result<> RawNode::bootstrap(std::span<const Peer> peers) {
  if (peers.empty()) return make_error(Code::kInvalidArgument, "must provide at least one peer to Bootstrap");
  if (raft_.log().last_index())
    return make_error(Code::kInvalidArgument, "can't bootstrap a nonempty Storage");
  std::vector<Entry> entries;
  std::vector<ConfChange> changes;
  for (const Peer& peer : peers) {
    ConfChange& change = changes.emplace_back();
    change.node_id = peer.id;
    change.context = peer.context;
    entries.push_back({Term{1}, Index{entries.size() + 1}, EntryType::kConfChange, encode_blob(change)});
  }
  // Nothing of this is on disk, so the first Ready has to carry all of it, the hard state included.
  hard_state_ = {};
  raft_.bootstrap(std::move(entries));
  // Applied right away, so that the node can campaign before it has applied the first Ready; that applies
  // them again, which changes nothing.
  for (const ConfChange& change : changes) apply_conf_change(change);
  return {};
}

// ---- in ----

Result<> RawNode::step(Message&& m) {
  const bool from_storage = is_storage_thread(m.from);
  if (is_local(m.type) && !from_storage) {
    return make_error(Code::kInvalidArgument, "raft: cannot step raft local message");
  }
  if (is_response(m.type) && !from_storage && !raft_.tracker().progress.find(m.from)) {
    return make_error(Code::kNotFound, "raft: cannot step as peer not found");
  }
  TRY(check_form(m));
  return raft_.step(std::move(m));
}

Result<> RawNode::check_form(const Message& m) const {
  switch (m.type) {
    case MessageType::kApp:
      if (consecutive(m)) return {};
      return make_error(Code::kMalformed, "raft: entries of an append are not consecutive");
    case MessageType::kVote:
    case MessageType::kPreVote:
      if (m.term) return {};
      return make_error(Code::kMalformed, "raft: vote request without a term");
    case MessageType::kAppResp:
      // Of this term, about this member's log: nobody can have more of it than there is.
      if (m.term < raft_.term() || raft_.role() != Role::kLeader || m.index <= raft_.log().last_index())
        return {};
      return make_error(Code::kMalformed, "raft: acknowledgement of index {} beyond the last index {}",
                        m.index, raft_.log().last_index());
    case MessageType::kSnap:
      if (!m.snapshot || m.snapshot->empty() || valid(m.snapshot->metadata.conf_state, raft_.config()))
        return {};
      return make_error(Code::kMalformed, "raft: snapshot {} with an impossible configuration",
                        m.snapshot->metadata.index);
    default:
      return {};
  }
}

Result<> RawNode::propose(std::vector<Entry>&& entries) {
  return raft_.propose(std::move(entries));
}

Result<> RawNode::propose(Blob data) {
  return raft_.propose(one_entry(EntryType::kNormal, std::move(data)));
}

Result<> RawNode::propose_guarded(Term term, std::vector<Entry>&& entries) {
  CHECK(term);
  return raft_.propose(std::move(entries), term);
}

Result<> RawNode::propose_conf_change(const ConfChange& change) {
  return raft_.propose(one_entry(EntryType::kConfChange, encode_blob(change)));
}

Result<> RawNode::propose_conf_change(const ConfChangeV2& change) {
  return raft_.propose(one_entry(EntryType::kConfChangeV2, encode_blob(change)));
}

Result<> RawNode::campaign() {
  return raft_.step(message_of(MessageType::kHup, kNoMember));
}

void RawNode::read_index(Blob context) {
  Message m = message_of(MessageType::kReadIndex, kNoMember);
  m.entries = one_entry(EntryType::kNormal, std::move(context));
  // Dropped where no leader is known; the caller asks again in any case.
  (void)raft_.step(std::move(m)).has_value();
}

void RawNode::transfer_leadership(MemberId transferee) {
  (void)raft_.step(message_of(MessageType::kTransferLeader, transferee)).has_value();
}

void RawNode::forget_leader() {
  (void)raft_.step(message_of(MessageType::kForgetLeader, kNoMember)).has_value();
}

void RawNode::report_unreachable(MemberId peer) {
  (void)raft_.step(message_of(MessageType::kUnreachable, peer)).has_value();
}

void RawNode::report_snapshot(MemberId peer, bool failed) {
  Message m = message_of(MessageType::kSnapStatus, peer);
  m.reject = failed;
  (void)raft_.step(std::move(m)).has_value();
}

// ---- out ----

bool RawNode::responses_held() const {
  // A leader's only after-append messages are those to itself, about entries that others may count on
  // already.
  return raft_.config().hold_responses_for_conf_change && raft_.role() != Role::kLeader &&
         raft_.log().has_unapplied_conf_change();
}

bool RawNode::has_ready() const {
  if (raft_.soft_state() != soft_state_) return true;
  if (const HardState hard = raft_.hard_state(); hard != hard_state_ && !hard.empty()) return true;
  if (!raft_.messages().empty() || !raft_.read_states().empty()) return true;
  if (!raft_.after_append().empty() && !responses_held()) return true;
  const RaftLog& log = raft_.log();
  return log.has_next_unstable_snapshot() || log.has_next_unstable_entries() ||
         log.has_next_committed(!async());
}

Ready RawNode::ready() {
  CHECK(!outstanding_, "the last Ready has not been advanced");
  Ready rd;
  RaftLog& log = raft_.log();
  if (const SoftState soft = raft_.soft_state(); soft != soft_state_) {
    rd.soft_state = soft_state_ = soft;
  }
  const auto fresh = log.unstable().next_entries();
  rd.entries.assign(fresh.begin(), fresh.end());
  const HardState hard = raft_.hard_state();
  // A commit index that is lost in a crash is learned again, so it alone needs no sync.
  rd.must_sync = !rd.entries.empty() || hard.term != hard_state_.term || hard.vote != hard_state_.vote;
  if (hard != hard_state_) {
    rd.hard_state = hard;
    if (!hard.empty()) hard_state_ = hard;
  }
  rd.snapshot = log.unstable().next_snapshot();
  rd.committed_entries = log.next_committed(!async());
  rd.read_states = raft_.take_read_states();
  rd.messages = raft_.take_messages();

  log.accept_unstable();
  if (rd.needs_apply()) {
    log.accept_applying(rd.committed_entries.back().index, encoded_size(rd.committed_entries), !async());
  }
  release_responses(rd);
  return rd;
}

// Storage will have confirmed, with this Ready, the newest entry there is now: even where this Ready brings
// no entries, one before it may have, and its own confirmation can come too late to count (spec 15).
bool RawNode::append_ack_due(const Ready& rd) const {
  return raft_.log().unstable().has_entries() || rd.snapshot != nullptr;
}

Message RawNode::append_ack(const Ready& rd) const {
  Message m = message_of(MessageType::kStorageAppendResp, kAppendThread);
  m.to = raft_.id();
  // The term of now: should a newer leader have rewritten the log by the time it arrives, it does not count.
  m.term = raft_.term();
  if (raft_.log().unstable().has_entries()) {
    const EntryId last = raft_.log().last_id();
    m.index = last.index;
    m.log_term = last.term;
  }
  m.snapshot = rd.snapshot;
  return m;
}

void RawNode::release_responses(Ready& rd) {
  std::vector<Message> responses;
  if (!responses_held()) responses = raft_.take_after_append();
  if (async()) {
    rd.append_responses = std::move(responses);
    if (rd.needs_append() && append_ack_due(rd)) rd.append_responses.push_back(append_ack(rd));
    return;
  }
  OutstandingReady& out = outstanding_.emplace();
  for (Message& m : responses) {
    (m.to == raft_.id() ? out.steps : rd.messages).push_back(std::move(m));
  }
  if (append_ack_due(rd)) out.steps.push_back(append_ack(rd));
  if (rd.needs_apply()) {
    out.applied = rd.committed_entries.back().index;
    out.applied_bytes = encoded_size(rd.committed_entries);
    out.applied_payload = payload_size(rd.committed_entries);
  }
}

void RawNode::advance() {
  CHECK(!async(), "advance() belongs to the synchronous form");
  CHECK(outstanding_.has_value(), "no Ready is out");
  OutstandingReady out = std::move(*outstanding_);
  outstanding_.reset();
  for (Message& m : out.steps) {
    // These only report what was done; none of them can be refused.
    (void)raft_.step(std::move(m)).has_value();
  }
  if (out.applied) raft_.entries_applied(out.applied, out.applied_bytes, out.applied_payload);
}

void RawNode::applied(Index last, uint64_t encoded_bytes, uint64_t payload_bytes) {
  CHECK(async(), "applied() belongs to the asynchronous form");
  raft_.entries_applied(last, encoded_bytes, payload_bytes);
}

ConfState RawNode::apply_conf_change(const ConfChange& change, Index at) {
  return apply_conf_change(to_v2(change), at);
}

ConfState RawNode::apply_conf_change(const ConfChangeV2& change, Index at) {
  return raft_.apply_conf_change(change, at);
}

Status RawNode::status() const {
  Status s;
  s.id = raft_.id();
  s.hard_state = raft_.hard_state();
  s.soft_state = raft_.soft_state();
  s.applied = raft_.log().applied();
  s.transferee = raft_.transferee();
  s.config = &raft_.tracker().config;
  if (raft_.role() == Role::kLeader) s.progress = &raft_.tracker().progress;
  return s;
}

// ---- storage messages ----

Message take_storage_append(Ready& ready, MemberId self) {
  Message m = message_of(MessageType::kStorageAppend, self);
  m.to = kAppendThread;
  m.entries = std::exchange(ready.entries, {});
  m.term = ready.hard_state.term;
  m.vote = ready.hard_state.vote;
  m.commit = ready.hard_state.commit;
  m.snapshot = std::exchange(ready.snapshot, nullptr);
  m.responses = std::exchange(ready.append_responses, {});
  return m;
}

Message take_storage_apply(Ready& ready, MemberId self) {
  Message m = message_of(MessageType::kStorageApply, self);
  m.to = kApplyThread;
  m.entries = std::exchange(ready.committed_entries, {});
  Message done = message_of(MessageType::kStorageApplyResp, kApplyThread);
  done.to = self;
  done.entries = m.entries;
  m.responses.push_back(std::move(done));
  return m;
}

bool LeaderWatch::turn(const RawNode& node, Observer& observer) {
  const MemberId lead = node.raft().lead();
  if (lead == lead_) return false;
  const MemberId self = node.raft().id();
  const Term term = node.raft().term();
  if (!lead) {
    observer.leader_lost(self, lead_, term);
  } else if (!lead_) {
    observer.leader_elected(self, lead, term);
  } else {
    observer.leader_changed(self, lead_, lead, term);
  }
  lead_ = lead;
  return true;
}

}  // namespace quoin::raft
