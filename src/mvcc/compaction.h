// The parts of a compaction: the rule by which the file strand keeps records, and the store's list of jobs
// under way.
//
// Source: spec storage-formats 7 (compaction hash), 8.
#pragma once
#include <deque>
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
  const std::shared_ptr<const IndexView> index_;
  const int64_t revision_;
  KvHasher hasher_;
  bool unreadable_ = false;
};

using Callbacks = std::vector<std::function<void()>>;

// Runs and empties the list; callbacks may add to it again.
void run_all(Callbacks* callbacks);

// Jobs run one after the other. At most this many wait; a further one takes the place of the last, which it
// covers.
constexpr size_t kCompactionJobsMax = 16;

struct Store::Compaction {
  struct Job {
    int64_t revision = -1;
    int64_t previous_compact_revision = -1;
    bool hash_counts = false;  // false if its predecessor had not ended when it was asked for
    bool durable = false;      // its mark is
    Callbacks scheduled;       // until then
    Callbacks finished;
  };
  std::deque<Job> jobs;            // revisions ascend
  std::shared_ptr<KeepRule> rule;  // of the front job, while the backend has it
  int64_t index_revision = -1;     // of the index compaction under way
  int64_t index_done = -1;         // of the last one that ended
  std::string index_from;          // where its next step begins
};

}  // namespace quoin::mvcc
