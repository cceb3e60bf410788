#include "membership/membership.h"

#include <algorithm>

#include "base/check.h"
#include "base/coding.h"

namespace quoin::membership {

Result<Change> decode_change(const raft::ConfChange& cc) {
  Change change;
  if (cc.type == raft::ConfChangeType::kRemoveNode) {
    change.kind = ChangeKind::kRemove;
    change.member.id = cc.node_id;
    return change;
  }
  bool promote = false;
  auto member = parse_change_context(cc.context.view(), &promote);
  if (!member) {
    return make_error(Code::kCorruption, "context of a configuration change of {}: {}", hex(cc.node_id.v),
                      member.error().text());
  }
  if (member->id != cc.node_id) {
    return make_error(Code::kCorruption, "a configuration change of {} names member {}", hex(cc.node_id.v),
                      hex(member->id.v));
  }
  change.member = std::move(*member);
  if (cc.type == raft::ConfChangeType::kUpdateNode) {
    change.kind = ChangeKind::kUpdate;
  } else if (promote) {
    change.kind = ChangeKind::kPromote;
  } else {
    change.kind = change.member.is_learner ? ChangeKind::kAddLearner : ChangeKind::kAdd;
  }
  return change;
}

raft::ConfChange encode_change(const Change& change) {
  raft::ConfChange cc;
  cc.node_id = change.member.id;
  Member m = change.member;
  switch (change.kind) {
    case ChangeKind::kRemove:
      cc.type = raft::ConfChangeType::kRemoveNode;
      return cc;
    case ChangeKind::kUpdate:
      cc.type = raft::ConfChangeType::kUpdateNode;
      break;
    case ChangeKind::kAddLearner:
      cc.type = raft::ConfChangeType::kAddLearnerNode;
      m.is_learner = true;
      break;
    case ChangeKind::kAdd:
      m.is_learner = false;
      [[fallthrough]];
    case ChangeKind::kPromote:
      cc.type = raft::ConfChangeType::kAddNode;
      break;
  }
  cc.context = Blob::copy(change_context_json(m, change.kind == ChangeKind::kPromote));
  return cc;
}

std::string_view refusal_text(Refusal refusal) {
  switch (refusal) {
    case Refusal::kNone:
      return "";
    case Refusal::kIdRemoved:
      return "membership: ID removed";
    case Refusal::kIdExists:
      return "membership: ID exists";
    case Refusal::kIdNotFound:
      return "membership: ID not found";
    case Refusal::kPeerUrlExists:
      return "membership: peerURL exists";
    case Refusal::kNotLearner:
      return "membership: can only promote a learner member";
    case Refusal::kTooManyLearners:
      return "membership: too many learner members in cluster";
  }
  CHECK(false, "refusal {}", static_cast<int>(refusal));
}

Error refusal_error(Refusal refusal) {
  switch (refusal) {
    case Refusal::kNone:
      break;
    case Refusal::kIdRemoved:
    case Refusal::kIdNotFound:
      return Error(Code::kMemberNotFound);
    case Refusal::kIdExists:
      return Error(Code::kMemberExist);
    case Refusal::kPeerUrlExists:
      return Error(Code::kPeerUrlExist);
    case Refusal::kNotLearner:
      return Error(Code::kMemberNotLearner);
    case Refusal::kTooManyLearners:
      return Error(Code::kTooManyLearners);
  }
  CHECK(false, "refusal {}", static_cast<int>(refusal));
}

const Member* Membership::member(MemberId id) const {
  auto it = members.find(id);
  return it == members.end() ? nullptr : &it->second;
}

std::vector<Member> Membership::list() const {
  std::vector<Member> out;
  for (const auto& [id, m] : members) out.push_back(m);
  return out;
}

std::vector<MemberId> Membership::voters() const {
  std::vector<MemberId> out;
  for (const auto& [id, m] : members) {
    if (!m.is_learner) out.push_back(id);
  }
  return out;
}

std::vector<MemberId> Membership::learners() const {
  std::vector<MemberId> out;
  for (const auto& [id, m] : members) {
    if (m.is_learner) out.push_back(id);
  }
  return out;
}

const Member* Membership::by_peer_url(std::string_view url) const {
  for (const auto& [id, m] : members) {
    if (std::find(m.peer_urls.begin(), m.peer_urls.end(), url) != m.peer_urls.end()) return &m;
  }
  return nullptr;
}

Refusal Membership::validate(const Change& change, int64_t max_learners) const {
  const MemberId id = change.member.id;
  if (is_removed(id)) return Refusal::kIdRemoved;
  const Member* known = member(id);
  const auto url_taken = [&] {
    return std::any_of(change.member.peer_urls.begin(), change.member.peer_urls.end(),
                       [&](const std::string& url) {
                         return std::any_of(members.begin(), members.end(), [&](const auto& other) {
                           const auto& urls = other.second.peer_urls;
                           return other.first != id && std::find(urls.begin(), urls.end(), url) != urls.end();
                         });
                       });
  };
  switch (change.kind) {
    case ChangeKind::kPromote:
      if (known == nullptr) return Refusal::kIdNotFound;
      return known->is_learner ? Refusal::kNone : Refusal::kNotLearner;
    case ChangeKind::kAdd:
    case ChangeKind::kAddLearner:
      if (known != nullptr) return Refusal::kIdExists;
      if (url_taken()) return Refusal::kPeerUrlExists;
      if (change.kind == ChangeKind::kAddLearner &&
          static_cast<int64_t>(learners().size()) + 1 > max_learners) {
        return Refusal::kTooManyLearners;
      }
      return Refusal::kNone;
    case ChangeKind::kRemove:
      return known == nullptr ? Refusal::kIdNotFound : Refusal::kNone;
    case ChangeKind::kUpdate:
      if (known == nullptr) return Refusal::kIdNotFound;
      return url_taken() ? Refusal::kPeerUrlExists : Refusal::kNone;
  }
  CHECK(false, "change {}", static_cast<int>(change.kind));
}

void Membership::apply(const Change& change) {
  const MemberId id = change.member.id;
  switch (change.kind) {
    case ChangeKind::kAdd:
    case ChangeKind::kAddLearner:
      members[id] = change.member;
      return;
    case ChangeKind::kPromote:
      members.at(id).is_learner = false;
      return;
    case ChangeKind::kUpdate:
      members.at(id).peer_urls = change.member.peer_urls;
      return;
    case ChangeKind::kRemove:
      members.erase(id);
      removed.insert(id);
      return;
  }
}

bool Membership::set_attributes(MemberId id, std::string name, std::vector<std::string> client_urls) {
  auto it = members.find(id);
  if (it == members.end()) return false;
  it->second.name = std::move(name);
  it->second.client_urls = std::move(client_urls);
  return true;
}

namespace {
size_t quorum(size_t n) {
  return n / 2 + 1;
}

size_t started_among(const Membership& m, const std::vector<MemberId>& ids) {
  return static_cast<size_t>(
      std::count_if(ids.begin(), ids.end(), [&](MemberId id) { return m.member(id)->started(); }));
}

size_t long_connected(const std::vector<MemberId>& ids, const Connected& connected) {
  return static_cast<size_t>(std::count_if(ids.begin(), ids.end(), [&](MemberId id) {
    return id == connected.self || connected.long_active(id);
  }));
}
}  // namespace

Result<> check_add(const Membership& m, bool learner, const Connected& connected) {
  const auto voters = m.voters();
  const size_t n = voters.size() + 1;
  if (!learner) {
    const size_t started = started_among(m, voters);
    const bool second = started == 1 && n == 2;
    if (!second && started < quorum(n)) return Code::kMemberNotEnoughStarted;
  }
  if (voters.size() == 1) return {};
  if (long_connected(voters, connected) < quorum(n)) return Code::kUnhealthy;
  return {};
}

Result<> check_remove(const Membership& m, MemberId id, const Connected& connected) {
  const Member* target = m.member(id);
  if (target != nullptr && target->is_learner) return {};
  const auto voters = m.voters();
  auto others = voters;
  std::erase(others, id);
  if (started_among(m, others) < quorum(others.size())) return Code::kMemberNotEnoughStarted;
  if (id != connected.self && !connected.active(id)) return {};
  if (long_connected(voters, connected) < 2 + (voters.size() - 1) / 2) return Code::kUnhealthy;
  return {};
}

Result<> check_promote(const Membership& m, MemberId) {
  const auto voters = m.voters();
  if (started_among(m, voters) + 1 < quorum(voters.size() + 1)) return Code::kMemberNotEnoughStarted;
  return {};
}

}  // namespace quoin::membership
