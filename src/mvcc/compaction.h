// What a compaction is made of: the file strand's rule of what stays, and the store's list of what is under
// way.
//
// Source: spec storage-formats 7 (compaction hash), 8.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "mvcc/hash_kv.h"
#include "mvcc/store.h"

namespace quoin::mvcc {

// Keeps of each key the newest record with main <= `revision`, unless that is a tombstone from before it;
// computes the compaction hash on the way.
//
// Threads: made on apply, used on the file strand, read on apply after the backend said that it is done.
// It holds an index version, not a view: nothing of the file is pinned.
class KeepRule final : public backend::Compactor {
 public:
  KeepRule(std::shared_ptr<const IndexView> index, int64_t revision, int64_t previous_compact_revision);
  bool keep(std::string_view revision_key, Revision revision, bool tombstone,
            std::string_view value) override;
  // Empty if a record could not be read; such a record is kept.
  std::optional<uint32_t> hash() const;

 private:
  void start();
  const std::shared_ptr<const IndexView> index_;
  const int64_t revision_;
  const int64_t previous_compact_revision_;
  std::unique_ptr<KvHasher> hasher_;  // made with the first record: it may have to walk the index
  bool unreadable_ = false;
};

using Callbacks = std::vector<std::function<void()>>;

// Runs and empties the list; callbacks may add to it again.
void run_all(Callbacks* callbacks);

struct Store::Compaction {
  struct Job {
    int64_t revision = -1;
    int64_t previous_compact_revision = -1;
    bool hash_counts = false;  // false after an unfinished predecessor
    Callbacks finished;
  };
  std::optional<Job> running;  // handed to the backend
  std::shared_ptr<KeepRule> rule;
  std::optional<Job> waiting;  // the newest revision asked for since; stands for all before it
  bool waiting_durable = false;
  Callbacks scheduled;          // until the marks are durable
  int64_t index_revision = -1;  // of the index compaction under way
  int64_t index_done = -1;      // of the last one that ended
  std::string index_from;       // where its next step begins
  bool idle() const { return !running && !waiting; }
};

}  // namespace quoin::mvcc
