// Who is in the cluster: a plain value that configuration changes are checked against and applied to. The
// database's membership is one such value (cluster.h keeps it); another may follow a replay from a snapshot.
//
// Determinism: what is applied depends on the value and the change alone, save for max_learners, a local flag
// that must be equal on all members (spec raft-and-peers 27). Source: spec raft-and-peers 26, 28;
// api-semantics 5.1.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "membership/member.h"
#include "membership/version.h"
#include "raft/types.h"

namespace quoin::membership {

enum class ChangeKind : uint8_t { kAdd, kAddLearner, kPromote, kUpdate, kRemove };
struct Change {
  ChangeKind kind = ChangeKind::kAdd;
  Member member;  // for kPromote and kRemove only the id means something
};
// The entry's words. kCorruption where etcd stops: a context that is no JSON, or one that names another
// member.
Result<Change> decode_change(const raft::ConfChange& cc);
// Without raft's change id.
raft::ConfChange encode_change(const Change& change);

// Why a change is refused when it is applied. A refused one still goes to raft, as node 0.
enum class Refusal : uint8_t {
  kNone,
  kIdRemoved,
  kIdExists,
  kIdNotFound,
  kPeerUrlExists,
  kNotLearner,
  kTooManyLearners,
};
std::string_view refusal_text(Refusal refusal);  // "membership: ID removed": logs
Error refusal_error(Refusal refusal);            // what the client sees; not for kNone

struct Membership {
  ClusterId cluster_id;
  MemberId local_id;
  std::map<MemberId, Member> members;
  std::set<MemberId> removed;  // for ever
  std::optional<Version> version;
  Downgrade downgrade;

  const Member* member(MemberId id) const;
  bool is_removed(MemberId id) const { return removed.contains(id); }
  std::vector<Member> list() const;  // ascending by id
  std::vector<MemberId> voters() const;
  std::vector<MemberId> learners() const;
  // The one that uses this peer URL; null if none.
  const Member* by_peer_url(std::string_view url) const;

  // In the order of spec 28.4.
  Refusal validate(const Change& change, int64_t max_learners) const;
  // Of a validated change.
  void apply(const Change& change);
  // What a member publishes of itself. False: there is no such member, nothing happens.
  bool set_attributes(MemberId id, std::string name, std::vector<std::string> client_urls);
};

// --strict-reconfig-check, made by the member that got the call, before it proposes. `connected`: itself, or
// active for 5 s at least. kMemberNotEnoughStarted, kUnhealthy.
struct Connected {
  MemberId self;
  std::function<bool(MemberId)> active;       // now; for removals
  std::function<bool(MemberId)> long_active;  // for 5 s or more
};
Result<> check_add(const Membership& m, bool learner, const Connected& connected);
Result<> check_remove(const Membership& m, MemberId id, const Connected& connected);
Result<> check_promote(const Membership& m, MemberId id);

}  // namespace quoin::membership
