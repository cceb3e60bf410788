#include "peer/pipeline.h"

#include "peer/answers.h"
#include "peer/compatibility.h"
#include "peer/context.h"
#include "peer/raft_bytes.h"
#include "peer/status.h"

namespace quoin::peer {

Pipeline::Pipeline(Context& context, PeerStatus& status, UrlPicker& picker, IdleLinks& links, MemberId peer)
    : context_(context), status_(status), picker_(picker), links_(links), peer_(peer) {
  LOG(context_.log, kInfo, "started HTTP pipelining with remote peer",
      {"local-member-id", log::Hex{context_.self.v}}, {"remote-peer-id", log::Hex{peer_.v}});
}

Pipeline::~Pipeline() {
  context_.probe.send_bytes.add(-static_cast<double>(bytes_));
}

void Pipeline::stop() {
  queue_.clear();
  in_flight_.clear();
  context_.probe.send_bytes.add(-static_cast<double>(std::exchange(bytes_, 0)));
  LOG(context_.log, kInfo, "stopped HTTP pipelining with remote peer",
      {"local-member-id", log::Hex{context_.self.v}}, {"remote-peer-id", log::Hex{peer_.v}});
}

bool Pipeline::push(raft::Message& message, size_t bytes) {
  if (queue_.size() >= context_.options.pipeline_messages_max) return false;
  if (bytes_ > 0 && bytes_ + bytes > context_.options.pipeline_bytes_max) return false;
  bytes_ += bytes;
  context_.probe.send_bytes.add(static_cast<double>(bytes));
  queue_.push_back({std::move(message), bytes});
  begin_next();
  return true;
}

void Pipeline::begin_next() {
  while (!queue_.empty() && in_flight_.size() < kInFlightMax) {
    const Queued next = std::move(queue_.front());
    queue_.pop_front();
    http1::ClientRequest request;
    request.method = "POST";
    request.target = "/raft";
    request.fields = request_fields(context_);
    request.fields.emplace_back("Content-Type", "application/protobuf");
    Pieces body;
    append_message(next.message, body);
    const auto post = in_flight_.insert(in_flight_.end(), Post{next.bytes, picker_.pick(), nullptr});
    const CallLimits limits{
        .dial_ns = context_.options.dial_timeout_ns, .silence_ns = kSilenceNs, .links = &links_};
    post->call = std::make_unique<Call>(
        context_, post->url, std::move(request), body.joined(), limits,
        [this, post](Result<server::PeerAnswer> answer) { answered(post, std::move(answer)); });
  }
}

void Pipeline::answered(std::list<Post>::iterator post, Result<server::PeerAnswer> answer) {
  const std::string url = std::move(post->url);
  const size_t bytes = post->bytes;
  in_flight_.erase(post);
  bytes_ -= bytes;
  context_.probe.send_bytes.add(-static_cast<double>(bytes));
  const Result<> ok =
      answer ? check_answer(context_, peer_, url + "/raft", *answer) : Result<>(std::move(answer).error());
  if (ok) {
    status_.activate();
    context_.probe.sent_bytes.of(peer_).inc(bytes);
  } else {
    picker_.unreachable(url);
    status_.deactivate("pipeline", "write", ok.error().text());
    context_.handler->unreachable(peer_);
    context_.probe.sent_failures.of(peer_).inc();
  }
  begin_next();
}

}  // namespace quoin::peer
