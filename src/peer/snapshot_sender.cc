#include "peer/snapshot_sender.h"

#include <algorithm>

#include "peer/answers.h"
#include "peer/call.h"
#include "peer/compatibility.h"
#include "peer/context.h"
#include "peer/status.h"
#include "peer/stream_codec.h"
#include "raft/codec.h"

namespace quoin::peer {

SnapshotSender::SnapshotSender(Context& context, PeerStatus& status, UrlPicker& picker, MemberId peer)
    : context_(context), status_(status), picker_(picker), peer_(peer) {}

SnapshotSender::~SnapshotSender() {
  ClientLink::retire(std::move(link_));
}

void SnapshotSender::stop() {
  if (source_ != nullptr) end(Error(Code::kStopped));
}

void SnapshotSender::send(raft::Message message, std::shared_ptr<backend::SnapshotSource> source) {
  if (source_ != nullptr) {
    // raft asks for the next one when it has heard of the end of this one.
    LOG(context_.log, kWarn, "failed to send database snapshot",
        {"snapshot-index", message.snapshot->metadata.index.v}, {"remote-peer-id", log::Hex{peer_.v}},
        {"error", "another database snapshot is being sent"});
    return context_.handler->snapshot_sent(peer_, true);
  }
  source_ = std::move(source);
  alive_ = std::make_shared<int>(0);
  index_ = message.snapshot->metadata.index;
  total_bytes_ = raft::encoded_size(message) + source_->size();
  url_ = picker_.pick();
  began_ = context_.clock.monotonic();
  read_ = 0;
  reading_ = finished_ = false;
  answer_ = {};
  LOG(context_.log, kInfo, "sending database snapshot", {"snapshot-index", index_.v},
      {"remote-peer-id", log::Hex{peer_.v}}, {"bytes", total_bytes_}, {"size", log::Size{total_bytes_}});
  LOG(context_.log, kInfo, "sending merged snapshot", {"from", log::Hex{context_.self.v}},
      {"to", log::Hex{peer_.v}}, {"bytes", total_bytes_}, {"size", log::Size{total_bytes_}});
  context_.probe.snapshots_sending.of(peer_).add(1);

  Result<Url> url = dialable(context_, url_);
  if (!url) return end(std::move(url).error());
  http1::ClientRequest request;
  request.method = "POST";
  request.target = "/raft/snapshot";
  request.host = url->host;
  request.fields = request_fields(context_);
  request.fields.emplace_back("Content-Type", "application/octet-stream");
  Pieces head;
  append_framed(message, head);
  link_ = std::make_unique<ClientLink>(
      context_, std::move(*url), ClientLink::Times{context_.options.dial_timeout_ns, 0, kStallNs}, *this);
  link_->start(request);
  link_->write_chunk(head.joined());
  read_next();
}

// ---- the file ----

int64_t SnapshotSender::pause_ns() const {
  const uint64_t rate = context_.options.snapshot_bytes_per_second;
  if (rate == 0) return 0;
  const double due =
      static_cast<double>(read_) / static_cast<double>(rate) * static_cast<double>(io::kSecond);
  return static_cast<int64_t>(due) - (context_.clock.monotonic() - began_);
}

void SnapshotSender::read_next() {
  if (reading_ || finished_ || !piece_.empty()) return;
  const uint64_t left = source_->size() - read_;
  if (left == 0) {
    finished_ = true;
    link_->finish();
    LOG(context_.log, kInfo, "sent database snapshot to writer", {"bytes", read_},
        {"size", log::Size{read_}});
    answer_timer_ = context_.timers.schedule(kAnswerNs, context_.loop,
                                             [this] { end(Error(Code::kContextDeadlineExceeded)); });
    return;
  }
  if (const int64_t pause = pause_ns(); pause > 0) {
    if (pause_timer_ != nullptr) return;
    pause_timer_ = context_.timers.schedule(pause, context_.loop, [this] {
      pause_timer_.reset();
      read_next();
    });
    return;
  }
  reading_ = true;
  const size_t n = std::min<uint64_t>(left, kPieceBytes);
  context_.files.post([this, source = source_, offset = read_, n, &loop = context_.loop,
                       alive = std::weak_ptr<int>(alive_)]() mutable {
    std::string bytes(n, '\0');
    Result<> ok = source->read(offset, std::span<char>(bytes.data(), n));
    Result<std::string> piece = ok ? Result<std::string>(std::move(bytes)) : Result<std::string>(ok.error());
    // The last holder of the source may be this task: it is dropped on the loop, as it would be without a read.
    loop.post(
        [this, alive = std::move(alive), source = std::move(source), piece = std::move(piece)]() mutable {
          if (!alive.expired()) piece_read(std::move(piece));
        });
  });
}

void SnapshotSender::piece_read(Result<std::string> piece) {
  reading_ = false;
  if (!piece) return end(std::move(piece).error());
  read_ += piece->size();
  piece_ = std::move(*piece);
  write_on();
}

void SnapshotSender::write_on() {
  if (piece_.empty() || link_->queued_bytes() >= kWindowBytes) return;
  link_->write_chunk(std::exchange(piece_, {}));
  read_next();
}

void SnapshotSender::on_writable() {
  if (source_ != nullptr) write_on();
}

// ---- the answer ----

void SnapshotSender::on_head(const http1::ResponseHead& head) {
  finished_ = true;  // also where it comes before the body is sent: the member does not want the rest
  piece_.clear();
  pause_timer_.reset();
  answer_.status = head.status;
  for (const auto& [name, value] : head.fields) answer_.fields.emplace_back(name, value);
  answer_timer_ = context_.timers.schedule(kAnswerBodyNs, context_.loop,
                                           [this] { end(Error(Code::kContextDeadlineExceeded)); });
}

void SnapshotSender::on_body(std::string_view bytes) {
  if (answer_.body.size() + bytes.size() <= kAnswerBytesMax) answer_.body += bytes;
}

void SnapshotSender::on_complete() {
  if (source_ != nullptr) end(check_answer(context_, peer_, url_ + "/raft/snapshot", answer_));
}

void SnapshotSender::on_error(Error error) {
  if (source_ != nullptr) end(std::move(error));
}

void SnapshotSender::end(Result<> result) {
  alive_.reset();
  source_.reset();
  piece_.clear();
  pause_timer_.reset();
  answer_timer_.reset();
  ClientLink::retire(std::move(link_));
  context_.probe.snapshots_sending.of(peer_).add(-1);
  if (!result) {
    LOG(context_.log, kWarn, "failed to send database snapshot", {"snapshot-index", index_.v},
        {"remote-peer-id", log::Hex{peer_.v}}, {"bytes", total_bytes_}, {"size", log::Size{total_bytes_}},
        {"error", result.error().text()});
    picker_.unreachable(url_);
    status_.deactivate("sendMsgSnap", "post", result.error().text());
    context_.handler->unreachable(peer_);
    context_.probe.sent_failures.of(peer_).inc();
    context_.probe.snapshot_send_failures.of(peer_).inc();
    return context_.handler->snapshot_sent(peer_, true);
  }
  status_.activate();
  LOG(context_.log, kInfo, "sent database snapshot", {"snapshot-index", index_.v},
      {"remote-peer-id", log::Hex{peer_.v}}, {"bytes", total_bytes_}, {"size", log::Size{total_bytes_}});
  LOG(context_.log, kInfo, "sent merged snapshot", {"from", log::Hex{context_.self.v}},
      {"to", log::Hex{peer_.v}}, {"bytes", total_bytes_}, {"size", log::Size{total_bytes_}},
      {"took", log::Duration{context_.clock.monotonic() - began_}});
  context_.probe.sent_bytes.of(peer_).inc(total_bytes_);
  context_.probe.snapshot_sent.of(peer_).inc();
  context_.probe.snapshot_send_seconds.of(peer_).observe(
      static_cast<double>(context_.clock.monotonic() - began_) / static_cast<double>(io::kSecond));
  context_.handler->snapshot_sent(peer_, false);
}

}  // namespace quoin::peer
