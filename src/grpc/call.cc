#include "grpc/call.h"

#include "base/check.h"

namespace quoin::grpc {
namespace {
constexpr uint32_t kNone = UINT32_MAX;
GrpcStatus status_of(CancelReason reason) {
  return reason == CancelReason::kDeadline ? GrpcStatus::kDeadlineExceeded : GrpcStatus::kCanceled;
}
}  // namespace

std::string_view bound_name(Bound bound) {
  constexpr std::string_view kNames[kBounds] = {"output",  "work",  "headers", "requests", "answers",
                                                "streams", "flood", "silence", "drain"};
  return kNames[static_cast<size_t>(bound)];
}

bool Call::fits(size_t size) {
  if (ended_) return false;
  if (size <= kMaxSentMessageBytes) return true;
  finish(GrpcStatus::kResourceExhausted,
         fmt::format("trying to send message larger than max ({} vs. {})", size, kMaxSentMessageBytes));
  return false;
}

void CallTable::add(Call& call) {
  uint32_t slot = free_;
  if (slot == kNone) {
    slot = static_cast<uint32_t>(slots_.size());
    CHECK_LT(slot, kNone);
    slots_.emplace_back();
  } else {
    free_ = slots_[slot].next_free;
  }
  slots_[slot].call = &call;
  call.id_ = {static_cast<uint64_t>(slots_[slot].generation) << 32 | slot};
  call.table_ = this;
  ++size_;
}

void CallTable::remove(Call& call) {
  CHECK(find(call.id_) == &call);
  Slot& s = slots_[static_cast<uint32_t>(call.id_.v)];
  s.call = nullptr;
  // Generation 0 is skipped, so that no id is 0 after 2^32 rounds.
  if (++s.generation == 0) s.generation = 1;
  s.next_free = free_;
  free_ = static_cast<uint32_t>(call.id_.v);
  --size_;
}

GrpcStatus UnaryHandler::cancelled(Call&, std::string_view, CancelReason reason) {
  return status_of(reason);
}
GrpcStatus StreamListener::on_cancelled(CancelReason reason) {
  return status_of(reason);
}

}  // namespace quoin::grpc
