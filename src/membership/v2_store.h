// The membership as JSON of etcd's old v2 store: the data of every .snap file and of every MsgSnap. 3.5 takes
// its members from there; 3.6 checks replayed changes against it; 3.7 only writes it.
//
// What is written is the tree with CurrentIndex and CurrentVersion; a Go reader decodes into a store that
// already has the rest. It must show the membership exactly as of the snapshot's raft index. Errors:
// kMalformed from what is no such JSON; kCorruption where etcd stops because a member's directory is not one.
// Source: spec storage-formats 4.2.
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"
#include "membership/membership.h"

namespace quoin::membership {

std::string v2_store_json(const Membership& membership);

struct V2Store {
  Membership membership;  // members, removed and version; no ids, no downgrade
  // Keys of the v2 API are in it: 3.6 and Quoin do not start on those.
  bool custom_content = false;
};
Result<V2Store> parse_v2_store(std::string_view json);

}  // namespace quoin::membership
