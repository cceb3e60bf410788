#include "raft/confchange/confchange.h"

#include <algorithm>

namespace quoin::raft::confchange {
namespace {

using tracker::Config;
using tracker::Progress;
using tracker::Tracker;

template <class... A>
Error refuse(fmt::format_string<A...> f, A&&... args) {
  return make_error(Code::kInvalidArgument, f, std::forward<A>(args)...);
}

Result<> check_invariants(const Changed& c) {
  const Config& cfg = c.config;
  const auto all_tracked = [&](const MemberSet& ids) -> Result<> {
    for (MemberId id : ids) {
      if (!c.progress.find(id)) return refuse("no progress for {}", id);
    }
    return {};
  };
  TRY(all_tracked(cfg.voters.all()));
  TRY(all_tracked(cfg.learners));
  TRY(all_tracked(cfg.learners_next));
  for (MemberId id : cfg.learners_next) {
    if (!cfg.voters.outgoing.contains(id)) return refuse("{} is in LearnersNext, but not Voters[1]", id);
    if (c.progress.find(id)->is_learner())
      return refuse("{} is in LearnersNext, but is already marked as learner", id);
  }
  for (MemberId id : cfg.learners) {
    if (cfg.voters.outgoing.contains(id)) return refuse("{} is in Learners and Voters[1]", id);
    if (cfg.voters.incoming.contains(id)) return refuse("{} is in Learners and Voters[0]", id);
    if (!c.progress.find(id)->is_learner())
      return refuse("{} is in Learners, but is not marked as learner", id);
  }
  if (!cfg.joint()) {
    if (!cfg.learners_next.empty()) return refuse("cfg.LearnersNext must be nil when not joint");
    if (cfg.auto_leave) return refuse("AutoLeave must be false when not joint");
  }
  return {};
}

// A copy of the tracker's state, and the single operations on it.
class Draft {
 public:
  Draft(const Tracker& from, Index last_index)
      : from_(from), last_index_(last_index), c_{from.config, from.progress} {}

  Config& config() { return c_.config; }
  Result<> check() const { return check_invariants(c_); }
  Result<Changed> finish() {
    TRY(check());
    return std::move(c_);
  }

  // Operations on the incoming half; the outgoing one is only changed by entering and leaving.
  Result<> apply(const std::vector<ConfChangeSingle>& changes) {
    for (const ConfChangeSingle& change : changes) {
      // A change that validation has refused is applied under the id 0: it does nothing.
      if (!change.node_id) continue;
      switch (change.type) {
        case ConfChangeType::kAddNode:
          add_voter(change.node_id);
          break;
        case ConfChangeType::kAddLearnerNode:
          add_learner(change.node_id);
          break;
        case ConfChangeType::kRemoveNode:
          remove(change.node_id);
          break;
        case ConfChangeType::kUpdateNode:
          break;
        default:
          return refuse("unexpected conf type {}", static_cast<int>(change.type));
      }
    }
    if (c_.config.voters.incoming.empty()) return refuse("removed all voters");
    return {};
  }

  void forget(MemberId id) { c_.progress.erase(id); }
  Progress* progress(MemberId id) { return c_.progress.find(id); }

 private:
  void track(MemberId id, bool learner) {
    // A newcomer counts as active: otherwise a check of the quorum right after its addition could depose the
    // leader before it had a chance to answer.
    c_.progress.insert(
        id, Progress(Index{0}, std::max(last_index_, Index{1}), from_.new_window(), learner, true));
  }

  void add_voter(MemberId id) {
    if (Progress* p = c_.progress.find(id)) {
      p->set_learner(false);
      c_.config.learners.erase(id);
      c_.config.learners_next.erase(id);
    } else {
      track(id, false);
    }
    c_.config.voters.incoming.insert(id);
  }

  void add_learner(MemberId id) {
    Progress* p = c_.progress.find(id);
    if (!p) {
      track(id, true);
      c_.config.learners.insert(id);
      return;
    }
    if (p->is_learner()) return;
    c_.config.voters.incoming.erase(id);
    // Who still votes in the outgoing half becomes a learner when that half goes.
    if (c_.config.voters.outgoing.contains(id)) {
      c_.config.learners_next.insert(id);
    } else {
      p->set_learner(true);
      c_.config.learners.insert(id);
    }
  }

  void remove(MemberId id) {
    c_.config.voters.incoming.erase(id);
    c_.config.learners.erase(id);
    c_.config.learners_next.erase(id);
    if (!c_.config.voters.outgoing.contains(id)) c_.progress.erase(id);
  }

  const Tracker& from_;
  Index last_index_;
  Changed c_;
};

size_t difference(const MemberSet& a, const MemberSet& b) {
  const auto missing = [](const MemberSet& x, const MemberSet& y) {
    return std::count_if(x.begin(), x.end(), [&](MemberId id) { return !y.contains(id); });
  };
  return static_cast<size_t>(missing(a, b) + missing(b, a));
}

std::vector<ConfChangeSingle> changes_of(ConfChangeType type, const std::vector<MemberId>& ids) {
  std::vector<ConfChangeSingle> out;
  for (MemberId id : ids) out.push_back({type, id});
  return out;
}

}  // namespace

Result<Changed> simple(const Tracker& from, Index last_index, const std::vector<ConfChangeSingle>& changes) {
  Draft draft(from, last_index);
  TRY(draft.check());
  if (from.config.joint()) return refuse("can't apply simple config change in joint config");
  TRY(draft.apply(changes));
  if (difference(from.config.voters.incoming, draft.config().voters.incoming) > 1) {
    return refuse("more than one voter changed without entering joint config");
  }
  return draft.finish();
}

Result<Changed> enter_joint(const Tracker& from, Index last_index, bool auto_leave,
                            const std::vector<ConfChangeSingle>& changes) {
  Draft draft(from, last_index);
  TRY(draft.check());
  if (from.config.joint()) return refuse("config is already joint");
  if (from.config.voters.incoming.empty()) return refuse("can't make a zero-voter config joint");
  draft.config().voters.outgoing = draft.config().voters.incoming;
  TRY(draft.apply(changes));
  draft.config().auto_leave = auto_leave;
  return draft.finish();
}

Result<Changed> leave_joint(const Tracker& from) {
  Draft draft(from, Index{0});
  TRY(draft.check());
  if (!from.config.joint()) return refuse("can't leave a non-joint config");
  Config& cfg = draft.config();
  for (MemberId id : cfg.learners_next) {
    cfg.learners.insert(id);
    draft.progress(id)->set_learner(true);
  }
  cfg.learners_next.clear();
  for (MemberId id : cfg.voters.outgoing) {
    if (!cfg.voters.incoming.contains(id) && !cfg.learners.contains(id)) draft.forget(id);
  }
  cfg.voters.outgoing.clear();
  cfg.auto_leave = false;
  return draft.finish();
}

bool leaves_joint(const ConfChangeV2& change) {
  return change.changes.empty() && change.transition == ConfChangeTransition::kAuto;
}

Result<Changed> apply(const Tracker& from, Index last_index, const ConfChangeV2& change) {
  if (leaves_joint(change)) return leave_joint(from);
  if (change.transition != ConfChangeTransition::kAuto || change.changes.size() > 1) {
    const bool auto_leave = change.transition != ConfChangeTransition::kJointExplicit;
    return enter_joint(from, last_index, auto_leave, change.changes);
  }
  return simple(from, last_index, change.changes);
}

Result<Changed> restore(const Tracker& empty, Index last_index, const ConfState& state) {
  Tracker t = empty;
  const auto one_by_one = [&](const std::vector<ConfChangeSingle>& changes) -> Result<> {
    for (const ConfChangeSingle& change : changes) {
      ASSIGN_OR_RETURN(Changed c, simple(t, last_index, {change}));
      t.config = std::move(c.config);
      t.progress = std::move(c.progress);
    }
    return {};
  };
  // The configuration before the joint one, if there is one, is all in voters_outgoing; what the other lists
  // say is what the step into it (or, without it, the plain history) has to add.
  std::vector<ConfChangeSingle> incoming;
  for (const auto& more : {changes_of(ConfChangeType::kRemoveNode, state.voters_outgoing),
                           changes_of(ConfChangeType::kAddNode, state.voters),
                           changes_of(ConfChangeType::kAddLearnerNode, state.learners),
                           changes_of(ConfChangeType::kAddLearnerNode, state.learners_next)}) {
    incoming.insert(incoming.end(), more.begin(), more.end());
  }
  if (state.voters_outgoing.empty()) {
    TRY(one_by_one(incoming));
  } else {
    TRY(one_by_one(changes_of(ConfChangeType::kAddNode, state.voters_outgoing)));
    ASSIGN_OR_RETURN(Changed c, enter_joint(t, last_index, state.auto_leave, incoming));
    t.config = std::move(c.config);
    t.progress = std::move(c.progress);
  }
  Changed done{std::move(t.config), std::move(t.progress)};
  if (!tracker::equivalent(done.config.conf_state(), state)) return refuse("ConfState cannot be restored");
  return done;
}

}  // namespace quoin::raft::confchange
