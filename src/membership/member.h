// A member, and its JSON in the backend, in entries and on the peers' /members page. Go's encoder: declared
// order, no spaces, the escapes of Go's strings.
//
// Errors: kMalformed from text that is not such JSON. Unknown keys, any order and any case of keys are
// accepted, as Go does. Source: spec storage-formats 0, 2.1; raft-and-peers 26.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "membership/version.h"
#include "raft/types.h"

namespace quoin::membership {

struct Member {
  MemberId id;
  std::vector<std::string> peer_urls;
  bool is_learner = false;
  std::string name;
  std::vector<std::string> client_urls;
  // A name is published once the member runs.
  bool started() const { return !name.empty(); }
  friend bool operator==(const Member&, const Member&) = default;
};

// {"id":1,"peerURLs":["http://a:1"],"isLearner":true,"name":"m1","clientURLs":[..]}; without peers null.
std::string member_json(const Member& member);
Result<Member> parse_member(std::string_view json);
// The context of a configuration change: the same with {...,"isPromote":true} where it promotes.
std::string change_context_json(const Member& member, bool promote);
Result<Member> parse_change_context(std::string_view json, bool* promote);
// [member,...] of GET /members.
std::string members_json(const std::vector<Member>& members);
Result<std::vector<Member>> parse_members(std::string_view json);

// {"peerURLs":[..],"isLearner":true} and {"name":"..","clientURLs":[..]}: the two halves, as the v2 store and
// v2 entries have them.
std::string raft_attributes_json(const Member& member);
std::string attributes_json(const Member& member);
// Set the half that the text holds.
Result<> parse_raft_attributes(std::string_view json, Member* member);
Result<> parse_attributes(std::string_view json, Member* member);

// What GET /version says: {"etcdserver":"3.6.16","etcdcluster":"3.6.0"}; more keys may follow.
struct Versions {
  std::string server, cluster;
};
Result<Versions> parse_versions(std::string_view json);

// {"target-version":"3.5.0","enabled":true}
std::string downgrade_json(const Downgrade& downgrade);
Result<Downgrade> parse_downgrade(std::string_view json);

// {"voters":[1,2],"learners":[3],...,"auto_leave":false}: empty lists left out.
std::string conf_state_json(const raft::ConfState& state);
Result<raft::ConfState> parse_conf_state(std::string_view json);

}  // namespace quoin::membership
