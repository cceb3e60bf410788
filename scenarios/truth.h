// What a cluster's store holds, revision by revision, learned from whichever member shows it first. Every other
// member, and every later life, must show the same.
//
//   Truth truth;
//   std::string problem = truth.learn(*view, &known);   // the new revisions of this view
//   problem = truth.verify(view);                        // all that it holds
//
// What a member applies is committed, so the first one to show a revision is as good as any. Nothing is compacted
// before it was learned: clients ask for no compaction beyond revision().
//
// Threads: confined to one.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "io/clock.h"
#include "mvcc/read_view.h"
#include "scenarios/history.h"

namespace quoin::scenarios {

struct TruthRecord {
  bool tombstone = false;
  std::string bytes;  // encoded KeyValue; of a tombstone the key alone means something
  std::string key;
};

class Truth {
 public:
  // Of revision 2 and so on.
  struct Step {
    std::vector<TruthRecord> records;  // by sub-revision
    io::MonotonicNs learned = 0;
  };

  int64_t revision() const { return static_cast<int64_t>(steps_.size()) + 1; }
  const Step& at(int64_t revision) const { return steps_[static_cast<size_t>(revision - 2)]; }
  // The effect of a revision.
  Effect effect(int64_t revision) const;

  // Compares the revisions from *known + 1 on with what is known, and learns the new ones. *known becomes the
  // view's revision. Returns a problem, or nothing. `now`: when.
  std::string learn(const mvcc::ReadView& view, int64_t* known, io::MonotonicNs now);
  // The records that are left below the compaction, all above it, and the state of now.
  std::string verify(const std::shared_ptr<const mvcc::ReadView>& view) const;
  // Whether a problem told by these is an error of reading, and nothing that was read is wrong.
  static bool could_not_read(std::string_view problem) { return problem.starts_with(kUnreadable); }

 private:
  static constexpr std::string_view kUnreadable = "can't read ";
  std::vector<Step> steps_;
  State newest_;
};

// A range as of one revision.
Result<State> read_range(const std::shared_ptr<const mvcc::ReadView>& view, int64_t revision,
                         std::string_view key, std::string_view end);

}  // namespace quoin::scenarios
