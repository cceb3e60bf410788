#include "mvcc/key_entry.h"

namespace quoin::mvcc {

namespace {

bool linked(const RevisionNode& node) {
  return node.version_and_flags & RevisionNode::kLinkedFlag;
}
uint32_t depth(const RevisionNode& node) {
  return linked(node) ? node.size_or_depth : 0;
}
// How far the jump leads; 0 where there is none.
uint32_t jump_length(const RevisionNode& node) {
  const RevisionNode* jump = node.jump();
  return jump ? depth(node) - depth(*jump) : 0;
}
// The chain behind `node`, which was just cut off, as far as it consists of linked nodes.
LinkedNode* linked_chain(const RevisionNode& node, RevisionNode* older) {
  return node.version_and_flags & RevisionNode::kAboveFirstFlag ? nullptr : static_cast<LinkedNode*>(older);
}

}  // namespace

LinkedNode* free_chain(IndexPool& pool, LinkedNode* chain, size_t* budget) {
  while (chain && *budget > 0) {
    --*budget;
    LinkedNode* const older = linked_chain(*chain, chain->older_node.load(std::memory_order_relaxed));
    pool.destroy(chain);
    chain = older;
  }
  return chain;
}

void KeyEntry::push(IndexPool& pool, const RevisionNode& node) {
  RevisionNode* const last = newest_.load(std::memory_order_relaxed);
  auto* fresh = pool.make<LinkedNode>(node);
  fresh->version_and_flags |= RevisionNode::kLinkedFlag;
  if (last == &first_) fresh->version_and_flags |= RevisionNode::kAboveFirstFlag;
  fresh->size_or_depth = depth(*last) + 1;
  RevisionNode* jump = last;
  if (const uint32_t length = jump_length(*last); length > 0 && length == jump_length(*last->jump())) {
    jump = const_cast<RevisionNode*>(last->jump()->jump());
  }
  fresh->older_node.store(last, std::memory_order_relaxed);
  fresh->jump_node.store(jump, std::memory_order_relaxed);
  newest_.store(fresh, std::memory_order_release);
}

LinkedNode* KeyEntry::cut_below(int64_t revision) {
  // Found in two passes along the same path: the first finds the node that stays, the second turns jumps
  // that pass it towards it.
  auto* const kept = const_cast<RevisionNode*>(at(revision));
  if (!kept || !linked(*kept)) return nullptr;
  auto* const cut = static_cast<LinkedNode*>(kept);
  if (!cut->older()) return nullptr;
  RevisionNode* node = newest_.load(std::memory_order_relaxed);
  while (node != cut) {
    auto* const newer = static_cast<LinkedNode*>(node);
    RevisionNode* const jump = newer->jump_node.load(std::memory_order_relaxed);
    if (jump->main > revision) {
      node = jump;
      continue;
    }
    newer->jump_node.store(cut, std::memory_order_release);
    node = newer->older_node.load(std::memory_order_relaxed);
  }
  cut->jump_node.store(nullptr, std::memory_order_release);
  return linked_chain(*cut, cut->older_node.exchange(nullptr, std::memory_order_acq_rel));
}

LinkedNode* KeyEntry::detach_all() {
  RevisionNode* const newest = newest_.exchange(&first_, std::memory_order_relaxed);
  return linked(*newest) ? static_cast<LinkedNode*>(newest) : nullptr;
}

}  // namespace quoin::mvcc
