// raft's data: entries, hard state, configuration state, snapshots, messages. Plain values; the bytes on disk
// and on the wire are written and read by src/wire (raftpb) from these.
//
// Ownership: entry data, snapshot data and contexts are Blobs, shared and immutable.
// Source: spec raft-and-peers 1, 4.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/blob.h"
#include "base/ids.h"

namespace quoin::raft {

enum class EntryType : uint8_t { kNormal = 0, kConfChange = 1, kConfChangeV2 = 2 };

struct Entry {
  quoin::Term term;
  quoin::Index index;
  EntryType type = EntryType::kNormal;
  Blob data;
};

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
  kHup = 0, kBeat = 1, kProp = 2, kApp = 3, kAppResp = 4, kVote = 5, kVoteResp = 6, kSnap = 7, kHeartbeat = 8,
  kHeartbeatResp = 9, kUnreachable = 10, kSnapStatus = 11, kCheckQuorum = 12, kTransferLeader = 13,
  kTimeoutNow = 14, kReadIndex = 15, kReadIndexResp = 16, kPreVote = 17, kPreVoteResp = 18, kStorageAppend = 19,
  kStorageAppendResp = 20, kStorageApply = 21, kStorageApplyResp = 22, kForgetLeader = 23,
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

}  // namespace quoin::raft
