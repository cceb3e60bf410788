#include "peer/stream_reader.h"

#include <algorithm>

#include "base/coding.h"
#include "base/go_text.h"
#include "base/version.h"
#include "peer/call.h"
#include "peer/compatibility.h"
#include "peer/context.h"
#include "peer/raft_bytes.h"
#include "peer/status.h"
#include "raft/codec.h"
#include "raft/describe.h"

namespace quoin::peer {

StreamReader::StreamReader(Context& context, PeerStatus& status, UrlPicker& picker, MemberId peer,
                           StreamKind kind)
    : context_(context),
      status_(status),
      picker_(picker),
      peer_(peer),
      kind_(kind),
      budget_(std::make_shared<Budget>(context.loop, context.probe.received_bytes_held)),
      proposals_(std::make_shared<Budget>(context.loop, context.probe.received_bytes_held)) {}

StreamReader::~StreamReader() {
  budget_->stop();
  proposals_->stop();
  give_up_link();
}

void StreamReader::start() {
  LOG(context_.log, kInfo, "started stream reader with remote peer", {"stream-reader-type", name_of(kind_)},
      {"local-member-id", log::Hex{context_.self.v}}, {"remote-peer-id", log::Hex{peer_.v}});
  dial();
}

void StreamReader::stop() {
  stopped_ = true;
  timer_.reset();
  give_up_link();
  LOG(context_.log, kInfo, "stopped stream reader with remote peer", {"stream-reader-type", name_of(kind_)},
      {"local-member-id", log::Hex{context_.self.v}}, {"remote-peer-id", log::Hex{peer_.v}});
}

void StreamReader::give_up_link() {
  ClientLink::retire(std::move(link_));
  decoder_.reset();
  state_ = State::kIdle;
}

// ---- dialing ----

void StreamReader::dial() {
  timer_.reset();
  dialed_ = context_.clock.monotonic();
  url_ = picker_.pick();
  state_ = State::kDialing;
  http1::ClientRequest request;
  request.target = fmt::format("{}/{}", endpoint_of(kind_), hex(context_.self.v));
  if (context_.log.enabled(log::Level::kDebug)) {
    LOG(context_.log, kDebug, "dial stream reader", {"from", log::Hex{context_.self.v}},
        {"to", log::Hex{peer_.v}}, {"address", url_ + request.target});
  }
  Result<Url> url = dialable(context_, url_);
  if (!url) return dial_failed(url.error().text());
  request.host = url->host;
  request.fields = request_fields(context_);
  request.fields.emplace_back("X-Raft-To", hex(peer_.v));
  const Options& o = context_.options;
  link_ = std::make_unique<ClientLink>(
      context_, std::move(*url), ClientLink::Times{o.dial_timeout_ns, o.read_timeout_ns, o.write_timeout_ns},
      *this);
  link_->send(request, "");
}

void StreamReader::dial_failed(std::string_view why) {
  picker_.unreachable(url_);
  if (!why.empty()) status_.deactivate(name_of(kind_), "dial", why);
  give_up_link();
  redial();
}

void StreamReader::redial() {
  if (stopped_) return;
  const int64_t wait = std::max<int64_t>(dialed_ + kRedialNs - context_.clock.monotonic(), 0);
  timer_ = context_.timers.schedule(wait, context_.loop, [this] { dial(); });
}

void StreamReader::on_head(const http1::ResponseHead& head) {
  // Not one that has no streams: the member is there, and nothing is wrong with it.
  if (!has_streams(head.field("X-Server-Version"))) return dial_failed("");
  switch (head.status) {
    case 200:
      return established();
    case 410:
      // The handler may end this member; the reader stays until it is told to stop.
      dial_failed("the member has been permanently removed from the cluster");
      return context_.handler->found_removed();
    case 404:
      return dial_failed(
          fmt::format("peer {} failed to find local node {}", hex(peer_.v), hex(context_.self.v)));
    case 412:
      state_ = State::kRefused;
      refusal_.clear();
      refusal_cluster_ = head.field("X-Etcd-Cluster-Id").value_or("");
      return;
    default:
      return dial_failed(fmt::format("unhandled http status {}", head.status));
  }
}

void StreamReader::refused_412() {
  const std::string body = std::move(refusal_);
  const std::string_view reason = without_newline(body);
  if (reason == kIncompatibleVersion) {
    LOG(context_.log, kWarn, "request sent was ignored by remote peer due to server version incompatibility",
        {"local-member-id", log::Hex{context_.self.v}}, {"remote-peer-id", log::Hex{peer_.v}},
        {"error", reason});
    return dial_failed(reason);
  }
  if (reason == kClusterIdMismatch) {
    LOG(context_.log, kWarn, "request sent was ignored by remote peer due to cluster ID mismatch",
        {"remote-peer-id", log::Hex{peer_.v}}, {"remote-peer-cluster-id", refusal_cluster_},
        {"local-member-id", log::Hex{context_.self.v}},
        {"local-member-cluster-id", log::Hex{context_.cluster.v}}, {"error", reason});
    return dial_failed(reason);
  }
  dial_failed(fmt::format("unhandled error {} when precondition failed", go_quote(body)));
}

// ---- reading ----

void StreamReader::established() {
  state_ = State::kReading;
  decoder_ = make_decoder(kind_, context_.self, peer_);
  status_.activate();
  LOG(context_.log, kInfo, "established TCP streaming connection with remote peer",
      {"stream-reader-type", name_of(kind_)}, {"local-member-id", log::Hex{context_.self.v}},
      {"remote-peer-id", log::Hex{peer_.v}});
  pause_if_full();  // raft may still hold what came on the connection before
}

void StreamReader::on_body(std::string_view bytes) {
  if (state_ == State::kRefused) {
    if (refusal_.size() + bytes.size() <= kRefusalBytesMax) refusal_ += bytes;
    return;
  }
  if (state_ != State::kReading) return;
  Batch batch;
  const Result<> ok = decoder_->feed(bytes, [&](raft::Message message) { take(std::move(message), batch); });
  hand_on(std::move(batch));
  if (!ok) return lost(ok.error().text(), false);
  pause_if_full();
}

void StreamReader::take(raft::Message message, Batch& batch) {
  const size_t bytes = raft::encoded_size(message);
  context_.probe.received_bytes.of(message.from).inc(bytes);
  if (is_link_heartbeat(message)) return;
  const size_t memory = bytes + parts_size(message);
  if (message.type != raft::MessageType::kProp) {
    batch.bytes += memory;
    batch.messages.push_back(std::move(message));
    return;
  }
  const size_t waiting = proposals_->messages() + batch.proposals.size();
  const size_t waiting_bytes = proposals_->held() + batch.proposal_bytes;
  const Options& o = context_.options;
  if (waiting < o.received_proposals_max &&
      (waiting_bytes == 0 || waiting_bytes + memory <= o.received_bytes_max)) {
    batch.proposal_bytes += memory;
    batch.proposals.push_back(std::move(message));
    return;
  }
  LOG(context_.log, kWarn,
      status_.active() ? "dropped internal Raft message since receiving buffer is full (overloaded network)"
                       : "dropped Raft message since receiving buffer is full (overloaded network)",
      {"message-type", raft::name_of(message.type)}, {"local-member-id", log::Hex{context_.self.v}},
      {"from", log::Hex{message.from.v}}, {"remote-peer-id", log::Hex{message.to.v}},
      {"remote-peer-active", status_.active()});
  context_.probe.received_failures.of(message.from).inc();
  context_.probe.proposals_dropped.inc();
}

void StreamReader::hand_on(Batch batch) {
  if (!batch.messages.empty()) {
    server::Charge charge = budget_->charge(batch.bytes, batch.messages.size());
    context_.handler->received(std::move(batch.messages), std::move(charge));
  }
  if (!batch.proposals.empty()) {
    server::Charge charge = proposals_->charge(batch.proposal_bytes, batch.proposals.size());
    context_.handler->received(std::move(batch.proposals), std::move(charge));
  }
}

void StreamReader::pause_if_full() {
  const size_t bound = context_.options.received_bytes_max;
  if (paused_) {
    if (link_ != nullptr) link_->set_reading(false);
    return;
  }
  if (budget_->held() <= bound) return;
  paused_ = true;
  if (link_ != nullptr) link_->set_reading(false);
  budget_->when_below(bound / 2, [this] {
    paused_ = false;
    if (link_ != nullptr) link_->set_reading(true);
  });
}

// ---- the end ----

void StreamReader::on_complete() {
  if (state_ == State::kRefused) return refused_412();
  if (state_ == State::kReading) lost("EOF", true);
}

void StreamReader::on_error(Error error) {
  if (state_ == State::kReading)
    return lost(error.text(), error.text() == "use of closed network connection");
  if (state_ != State::kIdle) dial_failed(error.text());
}

// `ended`: by the other side, in an orderly way; that alone does not make it inactive.
void StreamReader::lost(std::string_view why, bool ended) {
  LOG(context_.log, kWarn, "lost TCP streaming connection with remote peer",
      {"stream-reader-type", name_of(kind_)}, {"local-member-id", log::Hex{context_.self.v}},
      {"remote-peer-id", log::Hex{peer_.v}}, {"error", why});
  if (!ended) status_.deactivate(name_of(kind_), "read", why);
  give_up_link();
  redial();
}

}  // namespace quoin::peer
