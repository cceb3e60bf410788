// Which version each member's server is, asked over HTTP (GET /version). Also other questions to all members.
//
// Threads: apply strand, answered there. Source: spec raft-and-peers 30, 34.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "base/ids.h"
#include "membership/member.h"
#include "membership/version.h"
#include "server/peers.h"

namespace quoin::server {

class Stages;

// Asks the member at its peer URLs, one after the other, until `accept` takes an answer; then, or when none did,
// `done`. A refused answer counts as if the URL had not answered.
void ask_member(Stages& stages, const membership::Member& member, PeerRequest request,
                std::function<bool(const std::string& url, const Result<PeerAnswer>&)> accept,
                std::function<void()> done);

// None for a member that does not tell. This member's own is among them.
using MemberVersions = std::map<MemberId, std::optional<membership::Version>>;
void ask_member_versions(Stages& stages, std::function<void(const MemberVersions&)> done);

}  // namespace quoin::server
