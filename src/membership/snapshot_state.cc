#include "membership/snapshot_state.h"

#include <utility>

namespace quoin::membership {

snap::MembershipState snapshot_state(const Membership& membership) {
  snap::MembershipState out;
  for (const auto& [id, m] : membership.members) {
    snap::MemberState& s = out.members.emplace_back();
    s.id = id;
    s.peer_urls = m.peer_urls;
    s.is_learner = m.is_learner;
    if (!m.client_urls.empty()) s.attributes = {m.name, m.client_urls};
  }
  out.removed.assign(membership.removed.begin(), membership.removed.end());
  if (membership.version) out.cluster_version = membership.version->text();
  return out;
}

Result<Membership> from_snapshot_state(const snap::MembershipState& state) {
  Membership out;
  for (const snap::MemberState& s : state.members) {
    Member m;
    m.id = s.id;
    m.peer_urls = s.peer_urls;
    m.is_learner = s.is_learner;
    if (s.attributes) {
      m.name = s.attributes->name;
      m.client_urls = s.attributes->client_urls;
    }
    out.members.emplace(m.id, std::move(m));
  }
  out.removed.insert(state.removed.begin(), state.removed.end());
  if (!state.cluster_version.empty()) {
    out.version = parse_version(state.cluster_version);
    if (!out.version) return make_error(Code::kMalformed, "cluster version \"{}\"", state.cluster_version);
  }
  return out;
}

}  // namespace quoin::membership
