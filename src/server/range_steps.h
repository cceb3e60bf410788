// A Range, or the Ranges of a read-only transaction, read in steps, so that a long answer keeps no other call
// of its loop waiting. What one step finds becomes bytes of the answer before the next one, so that the
// records and the view they stand in need not be held: between steps a read may move on to a newer view, at
// the revision it began with.
//
// A read that is complete after its first step (every short one) is handed out as a message of views and
// nothing is copied for it; else as `parts`, the encoded bytes behind the response's header.
//
// Threads: confined to its loop. Lifetime: the request, and the bytes it points into, outlive the reading.
// Bound: as etcd, the answer is built whole; bytes_held() says how much of it there is. One that could not be
// sent any more (kMaxAnswerBytes) is measured to its end, for the error's text, and not kept.
// Errors: kCompacted, kFutureRev, kCorruption. Source: spec api-semantics 2.3, 2.6.
#pragma once
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/blob.h"
#include "base/result.h"
#include "mvcc/range.h"
#include "mvcc/read_view.h"
#include "server/compare.h"
#include "wire/rpc.h"

namespace quoin::server {

// What one step may look at: index entries or records, and bytes of records. A page of 1,000 keys is one
// step.
struct StepBudget {
  size_t keys = 2'000;
  size_t bytes = 1 << 20;
};

// One Range.
class RangeSteps {
 public:
  static constexpr size_t kMaxAnswerBytes = (size_t{1} << 31) - 1;

  static Result<RangeSteps> start(std::shared_ptr<const mvcc::ReadView> view,
                                  const wire::etcdserverpb::RangeRequest& request);
  // Takes what it used off the budget. True once complete.
  Result<bool> step(StepBudget* budget);
  // Encodes what was found and is still a view.
  void pack();
  // Goes on from a newer view if that can serve the revision; else stays on the old one.
  void renew(const std::shared_ptr<const mvcc::ReadView>& view);

  int64_t header_revision() const { return scan_.header_revision(); }
  // With what was found and is not packed: it will be, and nobody may wait for that to learn of it.
  size_t bytes_held() const;
  size_t kvs() const { return packed_kvs_ + response_.kvs.size(); }

  // ---- once complete ----
  // Without header. All of it if nothing was packed; else what the packed bytes end with (more, count).
  wire::etcdserverpb::RangeResponse& response() { return response_; }
  // Encoded length, without header.
  size_t encoded_size() const;
  // Moves the encoded answer, without header, to the end of `parts`.
  void take_parts(std::vector<Blob>* parts);

 private:
  RangeSteps(mvcc::RangeScan scan, std::shared_ptr<const mvcc::ReadView> view, bool keys_only)
      : scan_(std::move(scan)), view_(std::move(view)), keys_only_(keys_only) {}
  mvcc::RangeScan scan_;
  // What the views in response_ point into, together with stripped_.
  std::shared_ptr<const mvcc::ReadView> view_;
  bool keys_only_;
  wire::etcdserverpb::RangeResponse response_;
  std::deque<std::string> stripped_;
  size_t found_bytes_ = 0;  // in response_
  std::vector<Blob> parts_;
  size_t packed_bytes_ = 0;  // of all parts, kept or not
  size_t packed_kvs_ = 0;
};

// The whole of an answer behind its header, in order.
struct AnswerParts {
  std::vector<Blob> parts;
  size_t bytes = 0;  // greater than the parts' if the answer was too long to keep
};

// What a call waits for while it is read.
class SteppedRead {
 public:
  virtual ~SteppedRead() = default;
  virtual Result<bool> step(StepBudget budget) = 0;
  // Before every step but the first.
  virtual void go_on(const std::shared_ptr<const mvcc::ReadView>& newest) = 0;
  virtual int64_t header_revision() const = 0;
  virtual size_t bytes_held() const = 0;
  // Once complete and not complete after the first step.
  virtual AnswerParts take() = 0;
};

class SteppedRange final : public SteppedRead {
 public:
  explicit SteppedRange(RangeSteps range) : range_(std::move(range)) {}
  Result<bool> step(StepBudget budget) override { return range_.step(&budget); }
  void go_on(const std::shared_ptr<const mvcc::ReadView>& newest) override;
  int64_t header_revision() const override { return range_.header_revision(); }
  size_t bytes_held() const override { return range_.bytes_held(); }
  AnswerParts take() override;
  RangeSteps& range() { return range_; }

 private:
  RangeSteps range_;
};

// All Ranges begin on one view, so that all are read at its revision.
class SteppedTxn final : public SteppedRead {
 public:
  // What the request has views into outlives it. The first steps choose the branch: compares may look at
  // every key there is.
  SteppedTxn(std::shared_ptr<const mvcc::ReadView> view, wire::etcdserverpb::TxnRequest request);
  Result<bool> step(StepBudget budget) override;
  void go_on(const std::shared_ptr<const mvcc::ReadView>& newest) override;
  int64_t header_revision() const override { return header_revision_; }
  size_t bytes_held() const override;
  AnswerParts take() override;
  bool succeeded() const { return succeeded_; }
  // Ranges of the branch and compares looked at: what metrics count. 0 until the Ranges have begun.
  size_t ranges_and_compares() const { return ranges_.size() + compares_; }
  const std::vector<RangeSteps>& ranges() const { return ranges_; }
  // Once complete, and before it was handed out; without header.
  size_t encoded_size() const;
  // The complete answer without header, if that was one step; views into this object.
  wire::etcdserverpb::TxnResponse response();

 private:
  Result<> begin_ranges();

  const wire::etcdserverpb::TxnRequest request_;
  std::shared_ptr<const mvcc::ReadView> view_;  // until the Ranges have begun
  // Which branch; empty once the Ranges have begun.
  std::optional<ViewSource> source_;
  std::optional<BranchChoice> choice_;
  std::vector<RangeSteps> ranges_;
  size_t next_ = 0;  // the one being read
  int64_t header_revision_ = 0;
  bool succeeded_ = false;
  size_t compares_ = 0;
};

}  // namespace quoin::server
