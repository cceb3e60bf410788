// raft's values as text, in the forms that etcd's log lines and traces use. The functions take no part in
// any decision; nothing on a hot path calls them.
//
// Ids are printed in hex where they name members of a message or a log line, in decimal within
// configurations (as 3.6 does).
// Source: spec raft-and-peers 18, 19.4.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "raft/rawnode.h"
#include "raft/tracker/tracker.h"
#include "raft/types.h"

namespace quoin::raft {

std::string_view name_of(MessageType type);          // "MsgApp"
std::string_view name_of(EntryType type);            // "EntryNormal"
std::string_view name_of(Role role);                 // "StateLeader"
std::string_view name_of(ConfChangeType type);       // "ConfChangeAddNode"
std::string_view name_of(ConfChangeTransition t);    // "ConfChangeTransitionAuto"
std::string_view name_of(tracker::ProgressState s);  // "StateProbe"

std::string describe(const tracker::Config& config);      // "voters=(1 2)&&(1) learners=(3) autoleave"
std::string describe(const tracker::Progress& progress);  // "StateProbe match=0 next=1 paused"
std::string describe(const HardState& hs);                // "Term:1 Vote:2 Commit:3"
std::string describe(const ConfState& cs);       // "Voters:[1] VotersOutgoing:[] ... AutoLeave:false"
std::string describe(const Snapshot& snapshot);  // "Index:1 Term:1 ConfState:..."
std::string describe(const std::vector<ConfChangeSingle>& changes);  // "v1 l2 r3 u4"
std::string describe(const Entry& entry);                            // 1/2 EntryNormal "data"
// Several lines where there are several entries, a snapshot or responses; each but the first starts with
// `indent`. No line break at the end.
std::string describe(const Message& m, std::string_view indent = "");
// Several lines, each with its line break, but "<empty Ready>" without one. In the asynchronous form the
// storage messages come last among the messages.
std::string describe(const Ready& ready, MemberId self, bool async);

// Go's %v of the change that an entry carries: "{ConfChangeTransitionAuto [{ConfChangeAddNode 3}] []}".
std::string go_value_of_change(const Entry& entry);

}  // namespace quoin::raft
