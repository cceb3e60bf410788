#include "v3rpc/long_reads.h"

#include "wire/coding.h"

namespace quoin::v3rpc {

void LongReads::add(grpc::Call& call, std::unique_ptr<server::SteppedRead> read, Done done) {
  take_turn({CallRef(call), std::move(read), std::move(done)});
}

void LongReads::take_turn(Reading reading) {
  loop_.turns->add([this, reading = std::move(reading)]() mutable {
    const CallRef ref = reading.call;
    ref.with([&](grpc::Call& call) { step(call, std::move(reading)); });
  });
}

void LongReads::step(grpc::Call& call, Reading reading) {
  server::SteppedRead& read = *reading.read;
  read.go_on(loop_.member.view());
  const Result<bool> done = read.step({});
  if (done && !*done) {
    call.hold_prepared(read.bytes_held());
    return take_turn(std::move(reading));
  }
  if (!done) {
    reading.done(call, &done.error());
    return call.fail(done.error());
  }
  reading.done(call, nullptr);
  const server::AnswerParts answer = read.take();
  const auto h = header(loop_.member, read.header_revision());
  const size_t size = encoded_size(h);
  std::string head(wire::length_delimited_size(1, size), '\0');
  wire::encode(h, wire::put_length_delimited_head(head.data(), 1, size), size);
  call.respond(head, answer.parts, answer.bytes);
}

}  // namespace quoin::v3rpc
