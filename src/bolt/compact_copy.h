// Copies all buckets of a view into another, empty database, in key order and densely filled:
// defragmentation. Runs in steps, each one commit of the destination, so that other work can go between.
//
// Threads: the file thread. Lifetime: `to` outlives the copy; the ReadTx is kept.
// Sequences are not copied, as etcd's defragmentation does not.
// Errors: kCorruption of the source, or whatever the destination's commit says; the copy can only be dropped.
// Source: spec storage-formats 8 (Defrag).
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "bolt/db.h"
#include "bolt/read_tx.h"

namespace quoin::bolt {

struct CopyLimits {
  uint64_t items_max = 10'000;     // per commit
  uint64_t bytes_max = 16u << 20;  // of keys and values per commit
};

class CompactCopy {
 public:
  CompactCopy(std::shared_ptr<const ReadTx> from, Db& to, CopyLimits limits = {});

  // Copies some items and commits them; `done` runs as a task of the file executor, or at once if the source
  // is damaged. This object must live until then.
  void step(io::Completion done);
  Result<> step_blocking();
  // Whether everything is in a finished commit.
  bool finished() const { return finished_; }
  uint64_t items_copied() const { return items_; }

 private:
  // One bucket being copied.
  struct Level {
    std::string name;  // empty: the root
    BucketView bucket;
    Cursor cursor;
  };
  // A transaction with the next items in it.
  Result<std::unique_ptr<WriteTx>> fill();
  Result<Bucket*> open_target(WriteTx& tx) const;

  std::shared_ptr<const ReadTx> from_;
  Db& to_;
  CopyLimits limits_;
  std::vector<Level> stack_;
  uint64_t items_ = 0;
  bool started_ = false;
  bool all_filled_ = false;
  bool finished_ = false;
};

}  // namespace quoin::bolt
