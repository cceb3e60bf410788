// The membership as the v2 store's JSON text, which a raft snapshot carries as its data.
//
// Go members of 3.5 and 3.6 read it (3.5 takes its members from here), so it must show the membership exactly
// as of the snapshot's index. The text is the smallest that every reader accepts: the tree below `/0` and
// `/1` without event history and statistics, indexes absent. Format: spec storage-formats 4.2,
// docs/formats/snap.md.
//
// Threads: free functions. Ownership: values. Errors: kMalformed names what is wrong and where.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace quoin::snap {

struct MemberState {
  MemberId id;
  std::vector<std::string> peer_urls;
  bool is_learner = false;
  // Published by the member itself; none until it has started once.
  struct Attributes {
    std::string name;
    std::vector<std::string> client_urls;
    friend bool operator==(const Attributes&, const Attributes&) = default;
  };
  std::optional<Attributes> attributes;
  friend bool operator==(const MemberState&, const MemberState&) = default;
};

struct MembershipState {
  std::vector<MemberState> members;  // any order; written in the order of their hexadecimal ids
  std::vector<MemberId> removed;
  std::string cluster_version;  // "3.6.0"; empty: not set yet
  friend bool operator==(const MembershipState&, const MembershipState&) = default;
};

// `current_index` is the store's own counter, which readers only display.
std::string write_membership_json(const MembershipState& state, uint64_t current_index);

struct MembershipText {
  MembershipState state;  // members and removed in ascending order of id
  // Top-level directories other than /0 that hold something (/2: only if a child of it does): what etcd 3.6
  // refuses with
  // "detected disallowed custom content in v2store for stage --v2-deprecation=write-only" (spec 4.2).
  std::vector<std::string> custom_content;
};
// Reads what any etcd from 3.4 on writes. A member without raftAttributes, or with a child that is neither of
// the two, is kMalformed (etcd panics).
Result<MembershipText> read_membership_json(std::string_view json);

}  // namespace quoin::snap
