#include "v3rpc/long_reads.h"

#include <algorithm>

#include "grpc/server_connection.h"
#include "wire/coding.h"

namespace quoin::v3rpc {

LongReads::~LongReads() {
  tell_waiting(0);
}

void LongReads::add(grpc::Call& call, std::unique_ptr<server::SteppedRead> read, Done done) {
  call.hold_prepared(read->bytes_held());
  readings_.push_back({CallRef(call), next_age_++, std::move(read), std::move(done)});
  want_turn();
}

bool LongReads::reading(const grpc::Call& call) const {
  return std::any_of(readings_.begin(), readings_.end(), [&](const Reading& r) { return r.call.is(call); });
}

void LongReads::want_turn() {
  if (readings_.empty() || std::exchange(turn_wanted_, true)) return;
  loop_.turns->add([this] { take_turn(); });
}

void LongReads::take_turn() {
  turn_wanted_ = false;
  Reading reading = next();
  const CallRef ref = reading.call;
  ref.with([&](grpc::Call& call) { step(call, std::move(reading)); });
  want_turn();
}

LongReads::Reading LongReads::next() {
  auto at = readings_.begin();
  size_t waiting = 0;
  if (loop_.memory != nullptr && loop_.memory->exceeded()) {
    // What belongs to a call that has ended gives its bytes back first.
    const auto ended =
        std::find_if(readings_.begin(), readings_.end(), [](const Reading& r) { return r.call.ended(); });
    at = ended != readings_.end()
             ? ended
             : std::min_element(readings_.begin(), readings_.end(),
                                [](const Reading& a, const Reading& b) { return a.age < b.age; });
    waiting = readings_.size() - 1;
  }
  tell_waiting(waiting);
  Reading reading = std::move(*at);
  readings_.erase(at);
  return reading;
}

void LongReads::tell_waiting(size_t waiting) {
  if (waiting > 0 && waiting_ == 0) {
    LOG(loop_.log, kWarn, "long reads wait: answers exceed the memory budget", {"waiting", waiting},
        {"held-bytes", loop_.memory->used()});
  }
  if (waiting != waiting_) {
    loop_.metrics.reads_waiting.add(static_cast<double>(waiting) - static_cast<double>(waiting_));
  }
  waiting_ = waiting;
}

void LongReads::step(grpc::Call& call, Reading reading) {
  server::SteppedRead& read = *reading.read;
  read.go_on(loop_.member.view());
  const Result<bool> done = read.step({});
  if (done && !*done) {
    call.hold_prepared(read.bytes_held());
    readings_.push_back(std::move(reading));
    return;
  }
  reading.done(call, read, done ? nullptr : &done.error());
}

void LongReads::respond(grpc::Call& call, server::SteppedRead& read) {
  const server::AnswerParts answer = read.take();
  const auto h = header(loop_.member, read.header_revision());
  const size_t size = encoded_size(h);
  std::string head(wire::length_delimited_size(1, size), '\0');
  wire::encode(h, wire::put_length_delimited_head(head.data(), 1, size), size);
  call.respond(head, answer.parts, answer.bytes);
}

}  // namespace quoin::v3rpc
