// Compression and decompression of messages, in steps: zlib takes milliseconds for each hundred kilobytes. A
// message that fits one step is done at once; answers take turns with each other,
// requests are decompressed one after the other.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "grpc/protocol.h"
#include "grpc/server_impl.h"

namespace quoin::grpc {

using Impl = ServerConnection::Impl;

// ---------------------------------------------------------------- the connection's turns

bool Impl::may_code_now(size_t bytes) {
  if (coded_bytes_ + bytes > Packer::kStepBytes) return false;
  coded_bytes_ += bytes + Packer::kMessageCostBytes;
  return true;
}

void Impl::coded_more(size_t bytes) {
  coded_bytes_ = std::min(coded_bytes_ + bytes, Packer::kStepBytes);
}

void Impl::code_later(ServerCall& call) {
  if (!std::exchange(call.coding, true)) coding_.push_back(&call);
}

void Impl::code_next(ServerCall& call) {
  if (!std::exchange(call.coding, true)) coding_.push_front(&call);
}

void Impl::coded(ServerCall& call) {
  if (!std::exchange(call.coding, false)) return;
  coding_.erase(std::find(coding_.begin(), coding_.end(), &call));
}

void Impl::code(io::MonotonicNs now) {
  if (coding_.empty()) return;
  Busy busy(busy_);
  now_ = now;
  coded_bytes_ = Packer::kStepBytes;  // whatever the step leads to waits for one of its own
  ServerCall& call = *coding_.front();
  coding_.pop_front();
  call.coding = false;
  call.code_step();
}

void ServerCall::code_step() {
  if (gunzip_ && !unzipped_all_) {
    if (unzip_step() && s_.input == Input::kOpen) read_on();
  } else if (packing()) {
    pack_step();
  }
  if (gunzip_ && !unzipped_all_) {
    owner_.code_next(*this);
  } else if (packing()) {
    owner_.code_later(*this);
  }
}

// ---------------------------------------------------------------- requests

// True: the message in reader_ is whole and may be delivered. Otherwise another step follows, or the call has
// ended.
bool ServerCall::unzip_step() {
  const size_t before = unzipped_.size();
  const Result<bool> whole = gunzip_->step(Packer::kStepBytes, unzipped_);
  if (!whole) {
    if (whole.error().code() == Code::kLimit) {
      bad_message(GrpcStatus::kResourceExhausted,
                  fmt::format("grpc: received message after decompression larger than max {}",
                              owner_.context().limits.max_received_message_bytes));
    } else {
      bad_message(GrpcStatus::kInternal, fmt::format("grpc: {}", whole.error().text()));
    }
    return false;
  }
  const size_t made = unzipped_.size() - before;
  hold_request(static_cast<int64_t>(made));
  owner_.session().add_work(made / kBytesPerWork);
  owner_.coded_more(made);
  if (!*whole) return false;
  reader_.message().swap(unzipped_);
  unzipped_all_ = true;
  return true;
}

// ---------------------------------------------------------------- answers

void ServerCall::pack(std::string head, std::span<const Blob> parts) {
  if (!packer_) packer_ = std::make_unique<Packer>();
  const bool first = packer_->idle();
  packer_->add(std::move(head), parts);
  if (first && owner_.may_code_now(packer_->waiting_bytes())) packer_->step(out_);
  if (packing()) owner_.code_later(*this);
  hold_packing();
}

void ServerCall::pack_step() {
  const size_t before = out_.size();
  packer_->step(out_);
  const size_t packed = out_.size() - before;
  hold_answer(static_cast<int64_t>(packed));
  hold_packing();
  if (s_.output == Output::kPacking) {
    if (!packing()) start_response();
  } else if (packed > 0) {
    wake_output();
  }
  tell_writable_if_low();
}

void ServerCall::hold_packing() {
  const int64_t held = packer_ ? static_cast<int64_t>(packer_->held_bytes()) : 0;
  hold_answer(held - std::exchange(s_.packing, held));
}

void ServerCall::drop_packing() {
  if (!packer_) return;
  packer_.reset();
  hold_packing();
}

}  // namespace quoin::grpc
