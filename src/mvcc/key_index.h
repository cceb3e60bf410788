// The key index: every key the store knows, its revisions since the last compaction, and how many keys live.
//
// Shape (docs/decisions, key index): a B+tree whose nodes are copied on the first change after a publication,
// so that published roots never change. Only creations, deletions and index compaction change nodes; writing
// a key that lives pushes a revision in front of its entry, in place, where readers of older revisions step
// over it.
//
// Threads: confined to the apply strand. Readers use the IndexViews that publish() returns.
// Memory: a key with one revision costs its bytes, 40 for the entry, 12 for the slot (over the node's fill),
// and what the allocator rounds up.
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "mvcc/change_log.h"
#include "mvcc/index_view.h"

namespace quoin::mvcc {

// What index and views share; freed when the last of them goes, without a walk through the tree.
struct IndexStorage {
  IndexPool pool;
  Reclaimer reclaimer{pool};
  ChangeLog log{reclaimer};
  Node* root = nullptr;
  IndexStorage();
};

class KeyIndex {
 public:
  KeyIndex();
  KeyIndex(const KeyIndex&) = delete;
  KeyIndex& operator=(const KeyIndex&) = delete;

  // Finds the key's place. The answer (null: unknown key) holds until the next change, and that change may be
  // made by put_located or tombstone_located without searching again.
  const KeyEntry* locate(std::string_view key);
  // `node` may be a tombstone if the key is unknown or dead: so it is restored where its puts are compacted
  // away.
  void put_located(std::string_view key, const RevisionNode& node);
  void tombstone_located(Revision revision);  // the key must live

  // As of the working version; holds until the next change.
  IndexRef ref() const { return {storage_->root, storage_->log.ref()}; }
  std::shared_ptr<const IndexView> working_view() const;
  // Makes an immutable version of what is there. The same object as last time if neither nodes, log nor
  // `compact_revision` changed since. `revision` bounds the log.
  std::shared_ptr<const IndexView> publish(int64_t revision, int64_t compact_revision);

  int64_t live_keys() const { return live_keys_; }
  // Where entries for build() come from.
  IndexPool& pool() { return storage_->pool; }
  // Makes the tree of these entries, whose keys ascend; the index must be empty. Takes them over.
  void build(const std::vector<KeyEntry*>& entries);
  // Creations and deletions at or below `revision` are not in the log.
  void log_floor(int64_t revision) { storage_->log.set_floor(revision); }
  // Appends to the log alone; for what was restored.
  void log_restored(int64_t revision, std::string_view key, int delta) {
    storage_->log.append(revision, key, delta, version_);
  }

  // One step of compaction to `revision` over at most `entries_max` entries from `*from` on, which is moved
  // on. Cuts revisions that no read at >= revision needs, and removes keys whose last revision is a tombstone
  // below `revision`. True when the end was reached. No view below `revision` may be open.
  bool compact_step(int64_t revision, size_t entries_max, std::string* from);
  bool older_view_open(int64_t revision) const { return storage_->reclaimer.older_view_open(revision); }
  // Frees what closed views held, as Reclaimer::collect does; true if there is more.
  bool collect(size_t budget) { return storage_->reclaimer.collect(budget); }
  // The same, as much as the changes since the last call make necessary to keep up with them: twice what they
  // retired (each thing is moved or freed), and `more`; but no more than kCollectMax in one call. What one
  // change of very many keys retired beyond that is left to collect().
  bool collect_for_changes(size_t more) {
    return collect(std::min(more + 2 * storage_->reclaimer.take_retired(), kCollectMax));
  }
  static constexpr size_t kCollectMax = 10'000;
  // How many things wait to be freed.
  size_t garbage() const { return storage_->reclaimer.held(); }

  // Checks every invariant of the tree; for tests.
  void check(int64_t head) const;
  // Copies the nodes that lead to `key`, as an index does that also copies for a key that lives already; for
  // the benchmark behind the decision.
  void copy_path(std::string_view key);

 private:
  struct Path {
    Inner* nodes[kTreeDepthMax];
    int at[kTreeDepthMax];
    int depth = 0;
    Leaf* leaf = nullptr;
    int slot = 0;
    bool found = false;
  };
  struct Fences {
    const KeyEntry* lo = nullptr;
    const KeyEntry* hi = nullptr;
  };
  void find_path(std::string_view key);
  Fences fences(int depth) const;  // of the node at this depth; path_.depth is the leaf
  void own_inner();                // makes the inner nodes of the path this version's own
  void own_leaf();
  Node** link(int depth);  // where the node at this depth hangs
  void retire(Node* node);
  void add_live(int delta);
  void insert_entry(KeyEntry* entry);
  void split_leaf(KeyEntry* entry);
  void insert_child(int depth, KeyEntry* first, Node* child, int64_t live_left, int64_t live_right);
  void remove_located();
  void move_separator(KeyEntry* first);
  void merge_leaf();
  bool shrink_inner(int depth);
  Fences merged_fences(int depth) const;

  std::shared_ptr<IndexStorage> storage_;
  uint64_t version_ = 1;
  bool changed_ = true;
  int64_t live_keys_ = 0;
  Path path_;
  std::shared_ptr<const IndexView> published_;
  int64_t published_compact_revision_ = 0;
};

}  // namespace quoin::mvcc
