#include "peer/stream_writer.h"

#include "base/check.h"
#include "http1/chunk.h"
#include "peer/context.h"
#include "peer/status.h"
#include "raft/codec.h"

namespace quoin::peer {

StreamWriter::StreamWriter(Context& context, PeerStatus& status, MemberId peer, StreamKind kind)
    : context_(context), status_(status), peer_(peer), kind_(kind) {
  LOG(context_.log, kInfo, "started stream writer with remote peer",
      {"local-member-id", log::Hex{context_.self.v}}, {"remote-peer-id", log::Hex{peer_.v}});
}

StreamWriter::~StreamWriter() {
  detach();
}

void StreamWriter::stop() {
  if (detach()) {
    LOG(context_.log, kWarn, "closed TCP streaming connection with remote peer",
        {"stream-writer-type", name_of(kind_)}, {"remote-peer-id", log::Hex{peer_.v}});
  }
  LOG(context_.log, kInfo, "stopped TCP streaming connection with remote peer",
      {"stream-writer-type", name_of(kind_)}, {"remote-peer-id", log::Hex{peer_.v}});
}

void StreamWriter::attach(std::unique_ptr<io::Stream> stream, bool chunked) {
  const bool queued = !queue_.empty();
  const bool replaced = detach();
  if (queued) context_.handler->unreachable(peer_);
  chunked_ = chunked;
  encoder_ = make_encoder(kind_);
  LOG(context_.log, kInfo, "set message encoder", {"from", log::Hex{context_.self.v}},
      {"to", log::Hex{peer_.v}}, {"stream-type", name_of(kind_)});
  status_.activate();
  if (replaced) {
    LOG(context_.log, kWarn, "closed TCP streaming connection with remote peer",
        {"stream-writer-type", name_of(kind_)}, {"local-member-id", log::Hex{context_.self.v}},
        {"remote-peer-id", log::Hex{peer_.v}});
  }
  LOG(context_.log, kInfo, "established TCP streaming connection with remote peer",
      {"stream-writer-type", name_of(kind_)}, {"local-member-id", log::Hex{context_.self.v}},
      {"remote-peer-id", log::Hex{peer_.v}});
  outlet_ = std::make_unique<Outlet>();
  outlet_->owner = this;
  outlet_->stream = std::move(stream);
  outlet_->stream->set_handler(outlet_.get());
  outlet_->stream->resume_reading();  // to hear of its end
  heartbeat_timer_ =
      context_.timers.schedule(context_.options.read_timeout_ns / 3, context_.loop, [this] { heartbeat(); });
}

// Whether there was a stream. What is queued is dropped.
bool StreamWriter::detach() {
  heartbeat_timer_.reset();
  stall_timer_.reset();
  queue_.clear();
  context_.probe.send_bytes.add(-static_cast<double>(queued_bytes_));
  queued_bytes_ = 0;
  written_ = 0;
  stall_ = {};
  if (outlet_ == nullptr) return false;
  outlet_->owner = nullptr;
  outlet_->stream->close();
  context_.loop.post([outlet = std::move(outlet_)]() mutable { outlet.reset(); });
  return true;
}

bool StreamWriter::push(raft::Message& message, size_t bytes) {
  const size_t waiting = queued_bytes_ + outlet_->stream->queued_bytes();
  if (queue_.size() >= context_.options.stream_messages_max) return false;
  if (waiting > 0 && waiting + bytes > context_.options.stream_bytes_max) return false;
  queue_.push_back({std::move(message), bytes});
  queued_bytes_ += bytes;
  context_.probe.send_bytes.add(static_cast<double>(bytes));
  want_flush();
  return true;
}

void StreamWriter::want_flush() {
  if (flush_wanted_) return;
  flush_wanted_ = true;
  context_.loop.at_end_of_round([this, alive = std::weak_ptr<int>(alive_)] {
    if (alive.expired()) return;
    flush_wanted_ = false;
    flush();
  });
}

// One step: what is left waits until the others of the loop had their turn.
void StreamWriter::flush() {
  if (outlet_ == nullptr || queue_.empty() || outlet_->stream->queued_bytes() >= kWindowBytes) return;
  Pieces pieces;
  size_t sent = 0;
  while (!queue_.empty() && pieces.size() < kStepBytes) {
    Queued& next = queue_.front();
    encoder_->encode(next.message, pieces);
    sent += next.bytes;
    queue_.pop_front();
  }
  queued_bytes_ -= sent;
  context_.probe.send_bytes.add(-static_cast<double>(sent));
  context_.probe.sent_bytes.of(peer_).inc(sent);
  heartbeat_last_ = false;
  write(std::move(pieces));
  if (!queue_.empty() && outlet_->stream->queued_bytes() < kWindowBytes) {
    context_.loop.post([this, alive = std::weak_ptr<int>(alive_)] {
      if (!alive.expired()) flush();
    });
  }
}

void StreamWriter::write(Pieces pieces) {
  const size_t size = pieces.size();
  written_ += size;
  const auto put = [&](std::string bytes) {
    written_ += bytes.size();
    outlet_->stream->write(std::move(bytes));
  };
  if (chunked_) put(http1::chunk_head(size));
  for (Pieces::Piece& piece : pieces.take()) {
    std::visit([&](auto& bytes) { outlet_->stream->write(std::move(bytes)); }, piece);
  }
  if (chunked_) put(std::string(http1::kChunkEnd));
  watch();
}

void StreamWriter::heartbeat() {
  heartbeat_timer_ =
      context_.timers.schedule(context_.options.read_timeout_ns / 3, context_.loop, [this] { heartbeat(); });
  // Where bytes wait, the other side hears of us as soon as it reads.
  if (!queue_.empty() || outlet_->stream->queued_bytes() > 0) return;
  Pieces pieces;
  encoder_->encode(link_heartbeat(), pieces);
  context_.probe.sent_bytes.of(peer_).inc(raft::encoded_size(link_heartbeat()));
  heartbeat_last_ = true;
  write(std::move(pieces));
}

void StreamWriter::watch() {
  if (stall_timer_ != nullptr || outlet_->stream->queued_bytes() == 0) return;
  stall_timer_ =
      context_.timers.schedule(context_.options.write_timeout_ns / 2, context_.loop, [this] { look(); });
}

void StreamWriter::look() {
  stall_timer_.reset();
  const size_t queued = outlet_->stream->queued_bytes();
  if (stall_.stalled(context_.clock.monotonic(), written_ - queued, queued > 0,
                     context_.options.write_timeout_ns)) {
    return lost(heartbeat_last_ ? "heartbeat" : "write",
                fmt::format("write tcp {}->{}: i/o timeout", outlet_->stream->local_address(),
                            outlet_->stream->peer_address()));
  }
  watch();
}

// `action` empty: the other side ended it, as it does before it opens another one; the member may well be alive.
void StreamWriter::lost(std::string_view action, std::string_view why) {
  if (!action.empty()) status_.deactivate(name_of(kind_), action, why);
  if (!action.empty() || !queue_.empty()) context_.probe.sent_failures.of(peer_).inc();
  detach();
  LOG(context_.log, kWarn, "lost TCP streaming connection with remote peer",
      {"stream-writer-type", name_of(kind_)}, {"local-member-id", log::Hex{context_.self.v}},
      {"remote-peer-id", log::Hex{peer_.v}});
  context_.handler->unreachable(peer_);
}

void StreamWriter::Outlet::on_eof() {
  if (owner != nullptr) owner->lost("", "");
}

void StreamWriter::Outlet::on_drained() {
  if (owner != nullptr) owner->flush();
}

void StreamWriter::Outlet::on_closed(Result<> error) {
  if (owner == nullptr) return;
  owner->lost(owner->heartbeat_last_ ? "heartbeat" : "write", error ? "closed" : error.error().text());
}

}  // namespace quoin::peer
