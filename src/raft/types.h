// raft's data: entries, hard state, configuration state, snapshots, messages. Plain values; their bytes on
// disk and on the wire are written and read by raft/codec.h.
//
// Ownership: entry data, snapshot data and contexts are Blobs, shared and immutable.
// Source: spec raft-and-peers 1, 4.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/blob.h"
#include "base/ids.h"

namespace quoin::raft {

// The two storage threads of the asynchronous mode are addressed like members (spec 15); a peer transport
// must refuse messages that claim to come from them.
constexpr MemberId kNoMember{0};
constexpr MemberId kAppendThread{UINT64_MAX};
constexpr MemberId kApplyThread{UINT64_MAX - 1};

enum class EntryType : uint8_t { kNormal = 0, kConfChange = 1, kConfChangeV2 = 2 };

struct Entry {
  quoin::Term term;
  quoin::Index index;
  EntryType type = EntryType::kNormal;
  Blob data;
};

// Names an entry: two logs that hold the same (term, index) agree up to it.
struct EntryId {
  quoin::Term term;
  quoin::Index index;
  friend bool operator==(const EntryId&, const EntryId&) = default;
};
inline EntryId id_of(const Entry& e) {
  return {e.term, e.index};
}

struct HardState {
  quoin::Term term;
  MemberId vote;
  quoin::Index commit;
  bool empty() const { return !term && !vote && !commit; }
  friend bool operator==(const HardState&, const HardState&) = default;
};

struct ConfState {
  std::vector<MemberId> voters, learners, voters_outgoing, learners_next;
  bool auto_leave = false;
  friend bool operator==(const ConfState&, const ConfState&) = default;
};

struct SnapshotMetadata {
  ConfState conf_state;
  quoin::Index index;
  quoin::Term term;
};

struct Snapshot {
  Blob data;
  SnapshotMetadata metadata;
  bool empty() const { return !metadata.index; }
};

enum class ConfChangeType : uint8_t { kAddNode = 0, kRemoveNode = 1, kUpdateNode = 2, kAddLearnerNode = 3 };
enum class ConfChangeTransition : uint8_t { kAuto = 0, kJointImplicit = 1, kJointExplicit = 2 };

struct ConfChange {  // v1, the only form etcd writes
  uint64_t id = 0;
  ConfChangeType type = ConfChangeType::kAddNode;
  MemberId node_id;
  Blob context;
};
struct ConfChangeSingle {
  ConfChangeType type = ConfChangeType::kAddNode;
  MemberId node_id;
  friend bool operator==(const ConfChangeSingle&, const ConfChangeSingle&) = default;
};
struct ConfChangeV2 {
  ConfChangeTransition transition = ConfChangeTransition::kAuto;
  std::vector<ConfChangeSingle> changes;
  Blob context;
};

enum class MessageType : uint8_t {
  kHup = 0,
  kBeat = 1,
  kProp = 2,
  kApp = 3,
  kAppResp = 4,
  kVote = 5,
  kVoteResp = 6,
  kSnap = 7,
  kHeartbeat = 8,
  kHeartbeatResp = 9,
  kUnreachable = 10,
  kSnapStatus = 11,
  kCheckQuorum = 12,
  kTransferLeader = 13,
  kTimeoutNow = 14,
  kReadIndex = 15,
  kReadIndexResp = 16,
  kPreVote = 17,
  kPreVoteResp = 18,
  kStorageAppend = 19,
  kStorageAppendResp = 20,
  kStorageApply = 21,
  kStorageApplyResp = 22,
  kForgetLeader = 23,
};

struct Message {
  MessageType type = MessageType::kHup;
  MemberId to, from;
  quoin::Term term, log_term;
  quoin::Index index;
  std::vector<Entry> entries;
  quoin::Index commit;
  MemberId vote;
  std::shared_ptr<const Snapshot> snapshot;  // null: none
  bool reject = false;
  quoin::Index reject_hint;
  Blob context;
  std::vector<Message> responses;
};

// What a member does in its term. The numbers are etcd's (status answers and metrics show them).
enum class Role : uint8_t { kFollower = 0, kCandidate = 1, kLeader = 2, kPreCandidate = 3 };

// The volatile part of a member's state that others want to know.
struct SoftState {
  MemberId lead;  // 0: none known
  Role role = Role::kFollower;
  friend bool operator==(const SoftState&, const SoftState&) = default;
};

// The answer to a read index request: once the state machine has applied `index`, a read for the request
// named by `context` is linearizable.
struct ReadState {
  quoin::Index index;
  Blob context;
};

// Never accepted from the network (spec 4, column L).
bool is_local(MessageType type);
// Accepted only from members that have a Progress (spec 4, column R).
bool is_response(MessageType type);
inline bool is_storage_thread(MemberId id) {
  return id == kAppendThread || id == kApplyThread;
}

// Length of the entry's protobuf encoding in the 3.6 style; the unit of message and apply limits (spec 7.5).
size_t encoded_size(const Entry& entry);
size_t encoded_size(const std::vector<Entry>& entries);
// The longest prefix of at most `bytes_max` encoded bytes, but at least one entry. Adds its size to `bytes`.
std::span<const Entry> limit_size(std::span<const Entry> entries, uint64_t bytes_max,
                                  uint64_t* bytes = nullptr);
// Length of the data; the unit of the uncommitted quota and of inflight bytes.
size_t payload_size(const std::vector<Entry>& entries);

}  // namespace quoin::raft
