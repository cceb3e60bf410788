// One key and its revisions, newest first.
//
// The newest revision that a key had when its entry was made lies inside the entry, so that a key with one
// revision is one allocation: 40 bytes and the key. Later revisions are nodes of their own in front of it.
//
// Threads: only apply writes. Readers on any thread may walk the revisions of an entry that they found
// through an IndexView. What makes that safe:
//  1. A RevisionNode never changes after it was linked, except that a LinkedNode's `older` may become null.
//  2. `newest` is stored with release and loaded with acquire, so a reader sees complete nodes; a node newer
//  than
//     the reader's revision is stepped over.
//  3. cut_below(c) frees only nodes older than the newest one with main <= c. A reader at a revision >= c
//  stops at
//     that one and never looks beyond; that no reader below c is left is the caller's business (Reclaimer).
#pragma once
#include <atomic>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>

#include "base/check.h"
#include "base/ids.h"
#include "mvcc/read_view.h"

namespace quoin::mvcc {

struct RevisionNode {
  static constexpr uint64_t kLeaseFlag = 1ull << 63;
  static constexpr uint64_t kLinkedFlag = 1ull << 62;

  int64_t main = 0;
  int64_t create_revision = 0;
  uint64_t version_and_flags = 0;  // version 0: a tombstone
  uint32_t sub = 0;
  uint32_t key_size = 0;  // used by the node inside an entry

  static RevisionNode put(Revision revision, int64_t create_revision, int64_t version, bool has_lease) {
    CHECK(revision.sub >= 0 && revision.sub <= UINT32_MAX, "sub revision {}", revision.sub);
    return {revision.main, create_revision, static_cast<uint64_t>(version) | (has_lease ? kLeaseFlag : 0),
            static_cast<uint32_t>(revision.sub)};
  }
  static RevisionNode tombstone(Revision revision) { return put(revision, 0, 0, false); }

  int64_t version() const { return static_cast<int64_t>(version_and_flags & ~(kLeaseFlag | kLinkedFlag)); }
  bool is_tombstone() const { return version() == 0; }
  bool has_lease() const { return version_and_flags & kLeaseFlag; }
  Revision revision() const { return {main, sub}; }
  KeyMeta meta() const { return {revision(), create_revision, version(), has_lease()}; }
  inline const RevisionNode* older() const;
};
static_assert(sizeof(RevisionNode) == 32);

struct LinkedNode : RevisionNode {
  std::atomic<RevisionNode*> older_node{nullptr};
};

inline const RevisionNode* RevisionNode::older() const {
  if (!(version_and_flags & kLinkedFlag)) return nullptr;
  return static_cast<const LinkedNode*>(this)->older_node.load(std::memory_order_acquire);
}

class KeyEntry {
 public:
  static KeyEntry* create(std::string_view key, RevisionNode node) {
    void* p = ::operator new(sizeof(KeyEntry) + key.size());
    node.key_size = static_cast<uint32_t>(key.size());
    auto* entry = new (p) KeyEntry(node);
    if (!key.empty()) std::memcpy(reinterpret_cast<char*>(entry + 1), key.data(), key.size());
    return entry;
  }
  // Frees the entry and its revisions; nobody may be reading it.
  static void destroy(KeyEntry* entry) {
    entry->free_from(entry->newest_.load(std::memory_order_relaxed));
    ::operator delete(entry);
  }

  std::string_view key() const { return {reinterpret_cast<const char*>(this + 1), first_.key_size}; }
  const RevisionNode* newest() const { return newest_.load(std::memory_order_acquire); }
  // The newest node with main <= revision; null if there is none.
  const RevisionNode* at(int64_t revision) const {
    const RevisionNode* node = newest();
    while (node && node->main > revision) node = node->older();
    return node;
  }
  bool live() const { return !newest()->is_tombstone(); }
  bool live_at(int64_t revision) const {
    const RevisionNode* node = at(revision);
    return node && !node->is_tombstone();
  }

  // ---- apply strand ----
  void push(const RevisionNode& node) {
    auto* linked = new LinkedNode{node};
    linked->version_and_flags |= RevisionNode::kLinkedFlag;
    linked->older_node.store(newest_.load(std::memory_order_relaxed), std::memory_order_relaxed);
    newest_.store(linked, std::memory_order_release);
  }
  // Frees every node older than the newest one with main <= revision.
  void cut_below(int64_t revision) {
    RevisionNode* node = newest_.load(std::memory_order_relaxed);
    while (node && node->main > revision) node = older_of(node);
    if (!node || !(node->version_and_flags & RevisionNode::kLinkedFlag)) return;
    free_from(static_cast<LinkedNode*>(node)->older_node.exchange(nullptr, std::memory_order_acq_rel));
  }

 private:
  explicit KeyEntry(const RevisionNode& node) : newest_(&first_), first_(node) {}
  static RevisionNode* older_of(RevisionNode* node) { return const_cast<RevisionNode*>(node->older()); }
  void free_from(RevisionNode* node) {
    while (node && node != &first_) {
      RevisionNode* older = older_of(node);
      delete static_cast<LinkedNode*>(node);
      node = older;
    }
  }

  std::atomic<RevisionNode*> newest_;
  RevisionNode first_;
  // The key's bytes follow.
};
static_assert(sizeof(KeyEntry) == 40);

}  // namespace quoin::mvcc
