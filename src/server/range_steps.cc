#include "server/range_steps.h"

#include "server/compare.h"
#include "server/range.h"
#include "server/txn.h"
#include "wire/coding.h"
#include "wire/message.h"

namespace quoin::server {

namespace pb = wire::etcdserverpb;

Result<RangeSteps> RangeSteps::start(std::shared_ptr<const mvcc::ReadView> view,
                                     const pb::RangeRequest& request) {
  ASSIGN_OR_RETURN(mvcc::RangeScan scan, mvcc::RangeScan::start(view, to_mvcc(request)));
  return RangeSteps(std::move(scan), std::move(view), request.keys_only);
}

Result<bool> RangeSteps::step(StepBudget* budget) {
  Result<> added;
  ASSIGN_OR_RETURN(const bool done, scan_.step(&budget->keys, [&](std::string_view encoded) {
    added = add_kv(encoded, keys_only_, &response_, &stripped_);
    if (!added) return false;
    found_bytes_ += keys_only_ ? stripped_.back().size() : encoded.size();
    budget->bytes -= std::min(budget->bytes, encoded.size());
    return budget->bytes > 0;
  }));
  TRY(std::move(added));
  if (!done) return false;
  response_.count = scan_.count();
  response_.more = scan_.more();
  return true;
}

void RangeSteps::pack() {
  found_bytes_ = 0;
  if (response_.kvs.empty()) return;
  packed_kvs_ += response_.kvs.size();
  pb::RangeResponse found;
  found.kvs.swap(response_.kvs);
  Blob part = wire::encode_blob(found);
  found.kvs.clear();
  response_.kvs.swap(found.kvs);
  stripped_.clear();
  packed_bytes_ += part.size();
  if (packed_bytes_ > kMaxAnswerBytes) {
    parts_.clear();
    return;
  }
  parts_.push_back(std::move(part));
}

void RangeSteps::renew(const std::shared_ptr<const mvcc::ReadView>& view) {
  DCHECK(response_.kvs.empty());
  // Refused where compaction has passed the revision. The scan goes on where it is: it ends after a number of
  // steps that does not depend on how fast anybody reads.
  if (scan_.renew(view)) view_.reset();
}

size_t RangeSteps::bytes_held() const {
  return scan_.bytes_held() + found_bytes_ + (packed_bytes_ > kMaxAnswerBytes ? 0 : packed_bytes_);
}

size_t RangeSteps::encoded_size() const {
  return packed_bytes_ + wire::etcdserverpb::encoded_size(response_);
}

void RangeSteps::take_parts(std::vector<Blob>* parts) {
  for (Blob& b : parts_) parts->push_back(std::move(b));
  parts_.clear();
  if (Blob rest = wire::encode_blob(response_); !rest.empty()) parts->push_back(std::move(rest));
}

// ---- one Range ----

void SteppedRange::go_on(const std::shared_ptr<const mvcc::ReadView>& newest) {
  range_.pack();
  range_.renew(newest);
}

AnswerParts SteppedRange::take() {
  AnswerParts out;
  out.bytes = range_.encoded_size();
  range_.take_parts(&out.parts);
  return out;
}

// ---- a read-only transaction ----

SteppedTxn::SteppedTxn(std::shared_ptr<const mvcc::ReadView> view, pb::TxnRequest request)
    : request_(std::move(request)),
      view_(std::move(view)),
      source_(std::in_place, view_),
      choice_(std::in_place, request_, *source_),
      header_revision_(view_->revision()) {}

Result<> SteppedTxn::begin_ranges() {
  ASSIGN_OR_RETURN(const std::vector<const pb::RangeRequest*> ranges,
                   ranges_of_branch(*view_, request_, choice_->branches(), &succeeded_));
  std::vector<RangeSteps> begun;
  begun.reserve(ranges.size());
  for (const pb::RangeRequest* range : ranges) {
    auto started = RangeSteps::start(view_, *range);
    if (!started) return started.error().prefixed("applyTxn: failed Range");
    begun.push_back(std::move(*started));
  }
  ranges_ = std::move(begun);
  compares_ = source_->evaluated;
  choice_.reset();
  source_.reset();
  view_.reset();
  return {};
}

Result<bool> SteppedTxn::step(StepBudget budget) {
  if (choice_) {
    ASSIGN_OR_RETURN(const bool chosen, choice_->step(&budget.keys));
    if (!chosen) return false;
    TRY(begin_ranges());
  }
  while (next_ < ranges_.size()) {
    if (budget.keys == 0 || budget.bytes == 0) return false;
    auto done = ranges_[next_].step(&budget);
    if (!done) return done.error().prefixed("applyTxn: failed Range");
    if (!*done) return false;
    ++next_;
  }
  return true;
}

void SteppedTxn::go_on(const std::shared_ptr<const mvcc::ReadView>& newest) {
  // Those that are complete as well: their views are given up.
  for (RangeSteps& r : ranges_) {
    r.pack();
    r.renew(newest);
  }
}

size_t SteppedTxn::bytes_held() const {
  size_t n = 0;
  for (const RangeSteps& r : ranges_) n += r.bytes_held();
  return n;
}

size_t SteppedTxn::encoded_size() const {
  pb::ResponseHeader header;
  header.revision = header_revision_;
  const size_t header_bytes =
      wire::length_delimited_size(pb::RangeResponse::kHeaderField, wire::etcdserverpb::encoded_size(header));
  pb::TxnResponse head;
  head.succeeded = succeeded_;
  size_t size = wire::etcdserverpb::encoded_size(head);
  for (const RangeSteps& r : ranges_) {
    const size_t op_bytes =
        wire::length_delimited_size(pb::ResponseOp::kResponseRangeField, header_bytes + r.encoded_size());
    size += wire::length_delimited_size(pb::TxnResponse::kResponsesField, op_bytes);
  }
  return size;
}

pb::TxnResponse SteppedTxn::response() {
  pb::TxnResponse response;
  response.succeeded = succeeded_;
  response.responses.reserve(ranges_.size());
  for (RangeSteps& r : ranges_) {
    pb::RangeResponse& out = response.responses.emplace_back().set_response_range();
    out = std::move(r.response());
    out.header.emplace().revision = header_revision_;
  }
  return response;
}

AnswerParts SteppedTxn::take() {
  AnswerParts out;
  pb::TxnResponse head;
  head.succeeded = succeeded_;
  pb::ResponseHeader header;
  header.revision = header_revision_;
  std::string text = wire::encode_string(head);
  for (RangeSteps& r : ranges_) {
    // ResponseOp{response_range: RangeResponse{header, ...}}.
    const size_t header_bytes = wire::etcdserverpb::encoded_size(header), rest_bytes = r.encoded_size();
    const size_t range_bytes =
        wire::length_delimited_size(pb::RangeResponse::kHeaderField, header_bytes) + rest_bytes;
    const size_t op_bytes = wire::length_delimited_size(pb::ResponseOp::kResponseRangeField, range_bytes);
    const size_t at = text.size();
    text.resize(at + wire::length_delimited_size(pb::TxnResponse::kResponsesField, op_bytes) - rest_bytes);
    char* p = text.data() + at;
    p = wire::put_length_delimited_head(p, pb::TxnResponse::kResponsesField, op_bytes);
    p = wire::put_length_delimited_head(p, pb::ResponseOp::kResponseRangeField, range_bytes);
    p = wire::put_length_delimited_head(p, pb::RangeResponse::kHeaderField, header_bytes);
    wire::encode(header, p, header_bytes);
    out.bytes += text.size() + rest_bytes;
    out.parts.push_back(Blob::copy(text));
    text.clear();
    r.take_parts(&out.parts);
  }
  if (!text.empty()) {
    out.bytes += text.size();
    out.parts.push_back(Blob::copy(text));
  }
  return out;
}

}  // namespace quoin::server
