#include "v3rpc/long_reads.h"

#include "wire/coding.h"

namespace quoin::v3rpc {

void LongReads::add(grpc::Call& call, std::unique_ptr<server::SteppedRead> read, Done done) {
  readings_.push_back({call.id(), std::move(read), std::move(done)});
  schedule();
}

void LongReads::schedule() {
  if (readings_.empty() || std::exchange(scheduled_, true)) return;
  loop_.port.loop().in_next_round([this] {
    scheduled_ = false;
    step();
    schedule();
  });
}

void LongReads::step() {
  Reading reading = std::move(readings_.front());
  readings_.pop_front();
  grpc::Call* call = loop_.calls.find(reading.call);
  if (call == nullptr) return;
  server::SteppedRead& read = *reading.read;
  read.go_on(loop_.member.view());
  const Result<bool> done = read.step({});
  if (done && !*done) {
    call->hold_prepared(read.bytes_held());
    readings_.push_back(std::move(reading));
    return;
  }
  if (!done) {
    reading.done(*call, &done.error());
    return call->fail(done.error());
  }
  reading.done(*call, nullptr);
  const server::AnswerParts answer = read.take();
  const auto h = header(loop_.member, read.header_revision());
  const size_t size = encoded_size(h);
  std::string head(wire::length_delimited_size(1, size), '\0');
  wire::encode(h, wire::put_length_delimited_head(head.data(), 1, size), size);
  call->respond(head, answer.parts, answer.bytes);
}

}  // namespace quoin::v3rpc
