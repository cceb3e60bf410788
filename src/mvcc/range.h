// One Range, read from a view in as many steps as the caller likes.
//
// Threads: a RangeScan is confined to whoever made it; the view it reads may be read by others at the same
// time. Lifetime: the bytes of request.key and request.range_end must outlive the scan. A record handed to
// the visitor lives as long as the view that the scan holds at that moment. Errors: kCompacted, kFutureRev
// the revision asked for; kCorruption, kIo  from the backend. Source: spec api-semantics 2.3.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace quoin::mvcc {

class ReadView;
struct Snapshot;

enum class SortOrder : uint8_t { kNone, kAscend, kDescend };
enum class SortTarget : uint8_t { kKey, kVersion, kCreate, kMod, kValue };

struct RangeRequest {
  std::string_view key;
  std::string_view range_end;  // empty: the key alone; one zero byte: everything from `key` on
  int64_t limit = 0;           // <= 0: none
  int64_t revision = 0;        // <= 0: the newest
  SortOrder sort_order = SortOrder::kNone;
  SortTarget sort_target = SortTarget::kKey;
  bool count_only = false;
  int64_t min_mod_revision = 0, max_mod_revision = 0;  // each active when not zero, bounds included
  int64_t min_create_revision = 0, max_create_revision = 0;
};

// Called with the encoded KeyValue of one result, in answer order; false: stop this step after it.
using KvVisitor = std::function<bool(std::string_view encoded)>;

class RangeScan {
 public:
  static Result<RangeScan> start(std::shared_ptr<const ReadView> view, const RangeRequest& request);

  RangeScan(RangeScan&&) noexcept;
  RangeScan& operator=(RangeScan&&) noexcept;
  ~RangeScan();

  // Looks at no more than about `*keys_left` keys (index entries or records), which it takes off, and visits
  // the results found among them. True when the answer is complete. With a sort order or a sort target other
  // than KEY, and for counts deep in the past, the first steps may visit nothing.
  Result<bool> step(size_t* keys_left, const KvVisitor& visit);
  Result<bool> step(size_t keys_max, const KvVisitor& visit) { return step(&keys_max, visit); }
  // Runs all steps.
  Result<> run(const KvVisitor& visit);

  // Goes on from a newer view, so that no old one is pinned. kCompacted if that view can no longer serve the
  // scan's revision; the scan is then as before, and who may hold its view can complete the answer. A scan
  // that sorts by value stays on its view, which what it has collected points into.
  Result<> renew(std::shared_ptr<const ReadView> view);
  // Memory held for results that wait for their place in a sorted answer.
  size_t bytes_held() const;

  // Number of keys in the whole range at the revision, whatever limit and filters say; final when step() said
  // so.
  int64_t count() const;
  // True if the limit cut the answer; final when step() said so.
  bool more() const;
  // For the response header: the store's revision at the start, not the one asked for.
  int64_t header_revision() const;

 private:
  friend class WriteTxn;
  struct State;
  explicit RangeScan(std::unique_ptr<State> state);
  static Result<RangeScan> start_on(const Snapshot& snapshot, std::shared_ptr<const ReadView> owner,
                                    const RangeRequest& request);
  std::unique_ptr<State> state_;
};

}  // namespace quoin::mvcc
