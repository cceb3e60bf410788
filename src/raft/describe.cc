#include "raft/describe.h"

#include <iterator>

#include "base/coding.h"
#include "base/go_text.h"
#include "raft/codec.h"

namespace quoin::raft {
namespace {

using Out = std::string;

template <class... A>
void add(Out& out, fmt::format_string<A...> f, A&&... args) {
  fmt::format_to(std::back_inserter(out), f, std::forward<A>(args)...);
}

// "1 2 3"
template <class Ids>
std::string joined(const Ids& ids) {
  Out out;
  for (MemberId id : ids) add(out, "{}{}", out.empty() ? "" : " ", id);
  return out;
}

// Go's %v of a byte slice: "[1 2]".
std::string bytes_value(std::string_view bytes) {
  Out out = "[";
  for (unsigned char c : bytes) add(out, "{}{}", out.size() == 1 ? "" : " ", static_cast<int>(c));
  return out + "]";
}

std::string target(MemberId id) {
  if (!id) return "None";
  if (id == kAppendThread) return "AppendThread";
  if (id == kApplyThread) return "ApplyThread";
  return hex(id.v);
}

void add_entries(Out& out, const std::vector<Entry>& entries, std::string_view indent) {
  if (entries.empty()) return;
  if (entries.size() == 1) {
    add(out, " Entries:[{}]", describe(entries[0]));
    return;
  }
  out += " Entries:[";
  for (const Entry& e : entries) add(out, "\n{}  {}", indent, describe(e));
  add(out, "\n{}]", indent);
}

}  // namespace

// ---- names ----

std::string_view name_of(MessageType type) {
  static constexpr std::string_view kNames[] = {"MsgHup",
                                                "MsgBeat",
                                                "MsgProp",
                                                "MsgApp",
                                                "MsgAppResp",
                                                "MsgVote",
                                                "MsgVoteResp",
                                                "MsgSnap",
                                                "MsgHeartbeat",
                                                "MsgHeartbeatResp",
                                                "MsgUnreachable",
                                                "MsgSnapStatus",
                                                "MsgCheckQuorum",
                                                "MsgTransferLeader",
                                                "MsgTimeoutNow",
                                                "MsgReadIndex",
                                                "MsgReadIndexResp",
                                                "MsgPreVote",
                                                "MsgPreVoteResp",
                                                "MsgStorageAppend",
                                                "MsgStorageAppendResp",
                                                "MsgStorageApply",
                                                "MsgStorageApplyResp",
                                                "MsgForgetLeader"};
  return kNames[static_cast<size_t>(type)];
}

std::string_view name_of(EntryType type) {
  static constexpr std::string_view kNames[] = {"EntryNormal", "EntryConfChange", "EntryConfChangeV2"};
  return kNames[static_cast<size_t>(type)];
}

std::string_view name_of(Role role) {
  static constexpr std::string_view kNames[] = {"StateFollower", "StateCandidate", "StateLeader",
                                                "StatePreCandidate"};
  return kNames[static_cast<size_t>(role)];
}

std::string_view name_of(ConfChangeType type) {
  static constexpr std::string_view kNames[] = {"ConfChangeAddNode", "ConfChangeRemoveNode",
                                                "ConfChangeUpdateNode", "ConfChangeAddLearnerNode"};
  return kNames[static_cast<size_t>(type)];
}

std::string_view name_of(ConfChangeTransition t) {
  static constexpr std::string_view kNames[] = {
      "ConfChangeTransitionAuto", "ConfChangeTransitionJointImplicit", "ConfChangeTransitionJointExplicit"};
  return kNames[static_cast<size_t>(t)];
}

std::string_view name_of(tracker::ProgressState s) {
  static constexpr std::string_view kNames[] = {"StateProbe", "StateReplicate", "StateSnapshot"};
  return kNames[static_cast<size_t>(s)];
}

// ---- values ----

std::string describe(const tracker::Config& c) {
  Out out = fmt::format("voters=({})", joined(c.voters.incoming));
  if (c.joint()) add(out, "&&({})", joined(c.voters.outgoing));
  if (!c.learners.empty()) add(out, " learners=({})", joined(c.learners));
  if (!c.learners_next.empty()) add(out, " learners_next=({})", joined(c.learners_next));
  if (c.auto_leave) out += " autoleave";
  return out;
}

std::string describe(const tracker::Progress& p) {
  Out out = fmt::format("{} match={} next={}", name_of(p.state()), p.match(), p.next());
  if (p.is_learner()) out += " learner";
  if (p.paused()) out += " paused";
  if (p.pending_snapshot()) add(out, " pendingSnap={}", p.pending_snapshot());
  if (!p.recent_active()) out += " inactive";
  if (const size_t n = p.inflights().count()) {
    add(out, " inflight={}", n);
    if (p.inflights().full()) out += "[full]";
  }
  return out;
}

std::string describe(const HardState& hs) {
  Out out = fmt::format("Term:{}", hs.term);
  if (hs.vote) add(out, " Vote:{}", hs.vote);
  add(out, " Commit:{}", hs.commit);
  return out;
}

std::string describe(const ConfState& cs) {
  return fmt::format("Voters:[{}] VotersOutgoing:[{}] Learners:[{}] LearnersNext:[{}] AutoLeave:{}",
                     joined(cs.voters), joined(cs.voters_outgoing), joined(cs.learners),
                     joined(cs.learners_next), cs.auto_leave);
}

std::string describe(const Snapshot& s) {
  return fmt::format("Index:{} Term:{} ConfState:{}", s.metadata.index, s.metadata.term,
                     describe(s.metadata.conf_state));
}

std::string describe(const std::vector<ConfChangeSingle>& changes) {
  Out out;
  for (const ConfChangeSingle& c : changes) {
    const char letter = "vrul"[static_cast<size_t>(c.type)];
    add(out, "{}{}{}", out.empty() ? "" : " ", letter, c.node_id);
  }
  return out;
}

std::string describe(const Entry& e) {
  Out out = fmt::format("{}/{} {}", e.term, e.index, name_of(e.type));
  std::string text;
  if (e.type == EntryType::kNormal) {
    text = go_quote(e.data.view());
  } else {
    const auto change = conf_change_of(e);
    text = change ? describe(change->changes) : std::string(change.error().text());
  }
  if (!text.empty()) add(out, " {}", text);
  return out;
}

std::string describe(const Message& m, std::string_view indent) {
  Out out = fmt::format("{}->{} {} Term:{} Log:{}/{}", target(m.from), target(m.to), name_of(m.type), m.term,
                        m.log_term, m.index);
  if (m.reject) add(out, " Rejected (Hint: {})", m.reject_hint);
  if (m.commit) add(out, " Commit:{}", m.commit);
  if (m.vote) add(out, " Vote:{}", m.vote);
  add_entries(out, m.entries, indent);
  if (m.snapshot && !m.snapshot->empty()) add(out, "\n{}  Snapshot: {}", indent, describe(*m.snapshot));
  if (!m.responses.empty()) {
    const std::string deeper = std::string(indent) + "  ";
    out += " Responses:[";
    for (const Message& r : m.responses) add(out, "\n{}{}", deeper, describe(r, deeper));
    add(out, "\n{}]", indent);
  }
  return out;
}

std::string describe(const Ready& rd, MemberId self, bool async) {
  Out out;
  const auto lines = [&](std::string_view title, const std::vector<Entry>& entries) {
    if (entries.empty()) return;
    add(out, "{}:\n", title);
    for (const Entry& e : entries) add(out, "{}\n", describe(e));
  };
  if (rd.soft_state) add(out, "Lead:{} State:{}\n", rd.soft_state->lead, name_of(rd.soft_state->role));
  if (!rd.hard_state.empty()) add(out, "HardState {}\n", describe(rd.hard_state));
  if (!rd.read_states.empty()) {
    out += "ReadStates [";
    for (size_t i = 0; i < rd.read_states.size(); ++i) {
      const ReadState& r = rd.read_states[i];
      add(out, "{}{{{} {}}}", i ? " " : "", r.index, bytes_value(r.context.view()));
    }
    out += "]\n";
  }
  lines("Entries", rd.entries);
  if (rd.snapshot) add(out, "Snapshot {}\n", describe(*rd.snapshot));
  lines("CommittedEntries", rd.committed_entries);
  std::vector<Message> messages = rd.messages;
  Ready storage = rd;  // its messages are made by taking a Ready apart
  if (async && rd.needs_append()) messages.push_back(take_storage_append(storage, self));
  if (async && rd.needs_apply()) messages.push_back(take_storage_apply(storage, self));
  if (!messages.empty()) out += "Messages:\n";
  for (const Message& m : messages) add(out, "{}\n", describe(m));
  if (out.empty()) return "<empty Ready>";
  return fmt::format("Ready MustSync={}:\n{}", rd.must_sync, out);
}

std::string go_value_of_change(const Entry& e) {
  if (e.type == EntryType::kConfChange) {
    const auto v1 = decode_conf_change(e.data);
    if (!v1) return std::string(v1.error().text());
    return fmt::format("{{{} {} {} {}}}", name_of(v1->type), v1->node_id, bytes_value(v1->context.view()),
                       v1->id);
  }
  const auto v2 = decode_conf_change_v2(e.data);
  if (!v2) return std::string(v2.error().text());
  Out changes;
  for (const ConfChangeSingle& c : v2->changes) {
    add(changes, "{}{{{} {}}}", changes.empty() ? "" : " ", name_of(c.type), c.node_id);
  }
  return fmt::format("{{{} [{}] {}}}", name_of(v2->transition), changes, bytes_value(v2->context.view()));
}

}  // namespace quoin::raft
