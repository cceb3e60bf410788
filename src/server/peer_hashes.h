// The other members' HashKV at a revision, asked over HTTP (GET /members/hashkv), for the corruption checks.
//
// Threads: ask_peer_hashes() on apply, answered there; fetch_peer_hashes() blocks, at start only.
// Source: spec raft-and-peers 25, 34.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "membership/member.h"
#include "server/peers.h"

namespace quoin::server {

class Stages;

struct PeerHash {
  uint32_t hash = 0;
  int64_t compact_revision = 0;
  int64_t revision = 0;  // the member's newest
};
struct PeerHashAnswer {
  MemberId id;
  std::vector<std::string> urls;
  // kFutureRev, kCompacted, kInvalidArgument ("cluster ID mismatch"), or why the member could not be asked.
  Result<PeerHash> answer = Error(Code::kNotFound);
};

void ask_peer_hashes(Stages& stages, int64_t revision,
                     std::function<void(const std::vector<PeerHashAnswer>&)> done);
std::vector<PeerHashAnswer> fetch_peer_hashes(Stages& stages, int64_t revision);

// What a member's peer port said. For tests.
Result<PeerHash> parse_peer_hash(const PeerAnswer& answer);

}  // namespace quoin::server
