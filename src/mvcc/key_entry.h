// One key and its revisions, newest first.
//
// The newest revision that a key had when its entry was made lies inside the entry, so that a key with one
// revision is one allocation: 40 bytes and the key. Later revisions are nodes of their own in front of it,
// 48 bytes each. Such a node points to the next older one and, by its jump, to one further back, so that
// at() finds its revision in a number of steps that grows with the logarithm of the number of revisions.
//
// Jumps. A new node's jump covers the jumps of its two predecessors if those are of equal length, else it
// leads to the next older node. No two jumps cross: of two, either one lies within the other or they share
// no more than an end. So a search that follows only jumps that do not pass its target comes by every node
// whose jump passes it. (Known as a skew-binary random access list.)
//
// Threads: only apply writes. Readers on any thread may walk the revisions of an entry that they found
// through an IndexView. What makes that safe:
//  1. A node never changes after it was linked, except by cut_below(), and that keeps every node newer than
//     what it cuts off reachable.
//  2. `newest` and the pointers between nodes are stored with release and loaded with acquire, so a reader
//     sees complete nodes; a node newer than the reader's revision is stepped over.
//  3. cut_below(c) detaches only nodes older than the newest one with main <= c. A reader at a revision >= c
//     does not need them, but may still look at one of them, at the end of a jump. So the caller frees them
//     no earlier than the last view ends that was open at the cut (Reclaimer). That no reader below c is
//     left is the caller's business as well.
#pragma once
#include <atomic>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>

#include "base/check.h"
#include "base/ids.h"
#include "mvcc/index_pool.h"
#include "mvcc/read_view.h"

namespace quoin::mvcc {

struct RevisionNode {
  static constexpr uint64_t kLeaseFlag = 1ull << 63;
  static constexpr uint64_t kLinkedFlag = 1ull << 62;      // a LinkedNode
  static constexpr uint64_t kAboveFirstFlag = 1ull << 61;  // the next older node is the one in the entry
  static constexpr uint64_t kFlags = kLeaseFlag | kLinkedFlag | kAboveFirstFlag;
  static constexpr int64_t kVersionMax = (int64_t{1} << 61) - 1;

  int64_t main = 0;
  int64_t create_revision = 0;
  uint64_t version_and_flags = 0;  // version 0: a tombstone
  uint32_t sub = 0;
  // Of the node inside an entry: the size of its key. Of a LinkedNode: how many nodes were linked before it.
  uint32_t size_or_depth = 0;

  static RevisionNode put(Revision revision, int64_t create_revision, int64_t version, bool has_lease) {
    CHECK(revision.sub >= 0 && revision.sub <= UINT32_MAX, "sub revision {}", revision.sub);
    DCHECK(version >= 0 && version <= kVersionMax);
    return {revision.main, create_revision, static_cast<uint64_t>(version) | (has_lease ? kLeaseFlag : 0),
            static_cast<uint32_t>(revision.sub)};
  }
  static RevisionNode tombstone(Revision revision) { return put(revision, 0, 0, false); }

  int64_t version() const { return static_cast<int64_t>(version_and_flags & ~kFlags); }
  bool is_tombstone() const { return version() == 0; }
  bool has_lease() const { return version_and_flags & kLeaseFlag; }
  Revision revision() const { return {main, sub}; }
  KeyMeta meta() const { return {revision(), create_revision, version(), has_lease()}; }
  // Null for the oldest node.
  inline const RevisionNode* older() const;
  inline const RevisionNode* jump() const;
};
static_assert(sizeof(RevisionNode) == 32);

struct LinkedNode : RevisionNode {
  std::atomic<RevisionNode*> older_node{nullptr};
  std::atomic<RevisionNode*> jump_node{nullptr};  // null exactly where older_node is
};
static_assert(sizeof(LinkedNode) == 48);

inline const RevisionNode* RevisionNode::older() const {
  if (!(version_and_flags & kLinkedFlag)) return nullptr;
  return static_cast<const LinkedNode*>(this)->older_node.load(std::memory_order_acquire);
}
inline const RevisionNode* RevisionNode::jump() const {
  if (!(version_and_flags & kLinkedFlag)) return nullptr;
  return static_cast<const LinkedNode*>(this)->jump_node.load(std::memory_order_acquire);
}

// Frees a detached chain, at most `budget` nodes of it, which it counts down. Returns what is left of it.
LinkedNode* free_chain(IndexPool& pool, LinkedNode* chain, size_t* budget);

class KeyEntry {
 public:
  static KeyEntry* create(IndexPool& pool, std::string_view key, RevisionNode node) {
    void* p = pool.allocate(sizeof(KeyEntry) + key.size());
    node.size_or_depth = static_cast<uint32_t>(key.size());
    node.version_and_flags &=
        ~(RevisionNode::kLinkedFlag | RevisionNode::kAboveFirstFlag);  // of a copied node
    auto* entry = new (p) KeyEntry(node);
    if (!key.empty()) std::memcpy(reinterpret_cast<char*>(entry + 1), key.data(), key.size());
    return entry;
  }
  // Frees the entry; nobody may be reading it. Its linked nodes, if it has any, are freed with it.
  static void destroy(IndexPool& pool, KeyEntry* entry) {
    size_t all = SIZE_MAX;
    free_chain(pool, entry->detach_all(), &all);
    pool.free(entry, sizeof(KeyEntry) + entry->key().size());
  }

  std::string_view key() const { return {reinterpret_cast<const char*>(this + 1), first_.size_or_depth}; }
  const RevisionNode* newest() const { return newest_.load(std::memory_order_acquire); }
  // The newest node with main <= revision; null if there is none. `steps` counts the nodes looked at.
  const RevisionNode* at(int64_t revision, uint64_t* steps = nullptr) const {
    const RevisionNode* node = newest();
    if (steps) ++*steps;
    while (node && node->main > revision) {
      const RevisionNode* jump = node->jump();
      node = jump && jump->main > revision ? jump : node->older();
      if (steps) *steps += 2;
    }
    return node;
  }
  bool live() const { return !newest()->is_tombstone(); }
  bool live_at(int64_t revision) const {
    const RevisionNode* node = at(revision);
    return node && !node->is_tombstone();
  }

  // ---- apply strand ----
  void push(IndexPool& pool, const RevisionNode& node);
  // Detaches the nodes older than the newest one with main <= revision; the one inside the entry stays where
  // it is. Null if there are none. The caller frees the chain (free_chain).
  LinkedNode* cut_below(int64_t revision);
  // Detaches every linked node. Nobody may be reading the entry, and nobody may read it afterwards.
  LinkedNode* detach_all();

 private:
  explicit KeyEntry(const RevisionNode& node) : newest_(&first_), first_(node) {}

  std::atomic<RevisionNode*> newest_;
  RevisionNode first_;
  // The key's bytes follow.
};
static_assert(sizeof(KeyEntry) == 40);

}  // namespace quoin::mvcc
