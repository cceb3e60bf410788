#include "peer/snapshot_receiver.h"

#include "base/coding.h"
#include "peer/context.h"
#include "peer/http_answers.h"
#include "peer/incoming_file.h"
#include "peer/stream_codec.h"
#include "raft/codec.h"
#include "raft/describe.h"
#include "snap/snapshotter.h"

namespace quoin::peer {

namespace {
double seconds(int64_t ns) {
  return static_cast<double>(ns) / static_cast<double>(io::kSecond);
}
}  // namespace

class SnapshotReceiver::Transfer final : public http1::BodyReader {
 public:
  Transfer(SnapshotReceiver& owner, std::unique_ptr<http1::Exchange> exchange, Fields fields)
      : owner_(owner),
        context_(owner.context_),
        exchange_(std::move(exchange)),
        fields_(std::move(fields)),
        began_(context_.clock.monotonic()) {}
  ~Transfer() override;
  void begin();

 private:
  // http1::BodyReader
  void on_body(std::string_view piece) override;
  void on_body_end() override;
  void on_body_failed(Error error) override;

  bool take_message(std::string_view& piece);
  void message_failed(const Error& error);
  void write_on();
  void written(size_t bytes, Result<> result);
  void save();
  void save_failed(const Error& error);
  void saved();
  void processed(Result<> result);
  void refuse(unsigned status, std::string_view text);

  SnapshotReceiver& owner_;
  Context& context_;
  std::unique_ptr<http1::Exchange> exchange_;
  Fields fields_;
  const io::MonotonicNs began_;
  FramedMessage framed_{kMessageMax};
  bool has_message_ = false;
  raft::Message message_;
  size_t message_bytes_ = 0;
  bool counted_ = false;
  std::string pending_;      // received and not written
  size_t pending_head_ = 0;  // bytes of the message that came with them
  bool busy_ = false;        // the file works
  bool body_ended_ = false;
  std::unique_ptr<IncomingFile> file_;
  std::string saved_path_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

SnapshotReceiver::SnapshotReceiver(Context& context) : context_(context) {}
SnapshotReceiver::~SnapshotReceiver() = default;

void SnapshotReceiver::stop() {
  transfers_.clear();
}

void SnapshotReceiver::take(std::unique_ptr<http1::Exchange> exchange, Fields fields) {
  if (transfers_.size() >= kTransfersMax) {
    context_.probe.snapshot_receive_failures.of("UNKNOWN_SNAPSHOT_SENDER").inc();
    return exchange->respond(error_answer(
        500, "failed to save KV snapshot (too many snapshots are being received)", std::move(fields)));
  }
  transfers_.push_back(std::make_unique<Transfer>(*this, std::move(exchange), std::move(fields)));
  transfers_.back()->begin();
}

void SnapshotReceiver::forget(Transfer& transfer) {
  std::erase_if(transfers_, [&](const auto& t) { return t.get() == &transfer; });
}

// ---- the message ----

void SnapshotReceiver::Transfer::begin() {
  exchange_->when_aborted([this] { owner_.forget(*this); });
  exchange_->read_body(*this, UINT64_MAX);
}

SnapshotReceiver::Transfer::~Transfer() {
  if (counted_) context_.probe.snapshots_receiving.of(message_.from).add(-1);
}

void SnapshotReceiver::Transfer::on_body(std::string_view piece) {
  const size_t bytes = piece.size();
  if (!has_message_ && !take_message(piece)) return;
  if (!has_message_) return exchange_->consumed(bytes);
  pending_ += piece;
  pending_head_ += bytes - piece.size();
  write_on();
}

// False: refused, and this object is gone.
bool SnapshotReceiver::Transfer::take_message(std::string_view& piece) {
  const Result<size_t> n = framed_.feed(piece);
  if (!n) {
    message_failed(n.error());
    return false;
  }
  piece.remove_prefix(*n);
  if (!framed_.done()) return true;
  Result<raft::Message> message = framed_.take();
  if (!message) {
    message_failed(message.error());
    return false;
  }
  message_ = std::move(*message);
  message_bytes_ = raft::encoded_size(message_);
  context_.probe.received_bytes.of(message_.from).inc(message_bytes_);
  if (message_.type != raft::MessageType::kSnap || message_.snapshot == nullptr) {
    LOG(context_.log, kWarn, "unexpected Raft message type", {"local-member-id", log::Hex{context_.self.v}},
        {"remote-snapshot-sender-id", log::Hex{message_.from.v}},
        {"message-type", raft::name_of(message_.type)});
    refuse(400, "wrong raft message type");
    return false;
  }
  has_message_ = true;
  counted_ = true;
  context_.probe.snapshots_receiving.of(message_.from).add(1);
  LOG(context_.log, kInfo, "receiving database snapshot", {"local-member-id", log::Hex{context_.self.v}},
      {"remote-snapshot-sender-id", log::Hex{message_.from.v}},
      {"incoming-snapshot-index", message_.snapshot->metadata.index.v},
      {"incoming-snapshot-message-size-bytes", message_bytes_},
      {"incoming-snapshot-message-size", log::Size{message_bytes_}});
  server::PeerHandler& h = *context_.handler;
  file_ = std::make_unique<IncomingFile>(h.snapshot_files(), h.snapshot_executor(), context_.loop,
                                         h.new_snapshot_path());
  busy_ = true;
  file_->open([this](Result<> result) { written(0, std::move(result)); });
  return true;
}

void SnapshotReceiver::Transfer::message_failed(const Error& error) {
  LOG(context_.log, kWarn, "failed to decode Raft message", {"local-member-id", log::Hex{context_.self.v}},
      {"remote-snapshot-sender-id", log::Hex{0}}, {"error", error.text()});
  context_.probe.received_failures.of(exchange_->peer_address()).inc();
  refuse(400, fmt::format("failed to decode raft message ({})", error.text()));
}

// ---- the file ----

void SnapshotReceiver::Transfer::write_on() {
  if (busy_) return;
  if (pending_.empty()) {
    if (body_ended_) return save();
    // Only the message's last bytes came so far.
    const size_t head = std::exchange(pending_head_, 0);
    if (head > 0) exchange_->consumed(head);
    return;
  }
  busy_ = true;
  const size_t bytes = pending_.size() + std::exchange(pending_head_, 0);
  file_->append(std::exchange(pending_, {}),
                [this, bytes](Result<> result) { written(bytes, std::move(result)); });
}

void SnapshotReceiver::Transfer::written(size_t bytes, Result<> result) {
  busy_ = false;
  if (!result) return save_failed(result.error());
  if (bytes > 0) exchange_->consumed(bytes);
  write_on();
}

void SnapshotReceiver::Transfer::on_body_end() {
  if (!has_message_) return message_failed(framed_.end_of_bytes());
  body_ended_ = true;
  write_on();
}

void SnapshotReceiver::Transfer::on_body_failed(Error error) {
  has_message_ ? save_failed(error) : message_failed(error);
}

void SnapshotReceiver::Transfer::save() {
  busy_ = true;
  const io::MonotonicNs syncing = context_.clock.monotonic();
  file_->sync([this, syncing](Result<> synced) {
    if (!synced) return save_failed(synced.error());
    const io::MonotonicNs now = context_.clock.monotonic();
    context_.probe.db_fsync_seconds.observe(seconds(now - syncing));
    const uint64_t size = file_->size();
    std::string path = file_->keep();
    saved_path_ = path.substr(0, path.rfind('/') + 1) + snap::snap_db_name(message_.snapshot->metadata.index);
    context_.handler->keep_snapshot(std::move(path), message_.snapshot->metadata.index, context_.loop,
                                    [this, size, alive = std::weak_ptr<int>(alive_)](Result<> kept) {
                                      if (alive.expired()) return;
                                      if (!kept) return save_failed(kept.error());
                                      context_.probe.received_bytes.of(message_.from).inc(size);
                                      saved();
                                    });
  });
}

void SnapshotReceiver::Transfer::save_failed(const Error& error) {
  LOG(context_.log, kWarn, "failed to save incoming database snapshot",
      {"local-member-id", log::Hex{context_.self.v}},
      {"remote-snapshot-sender-id", log::Hex{message_.from.v}},
      {"incoming-snapshot-index", message_.snapshot->metadata.index.v}, {"error", error.text()});
  refuse(500, fmt::format("failed to save KV snapshot ({})", error.text()));
}

void SnapshotReceiver::Transfer::saved() {
  LOG(context_.log, kInfo, "saved database snapshot to disk", {"path", saved_path_}, {"bytes", file_->size()},
      {"size", log::Size{file_->size()}});
  context_.probe.db_save_seconds.observe(seconds(context_.clock.monotonic() - began_));
  LOG(context_.log, kInfo, "received and saved database snapshot",
      {"local-member-id", log::Hex{context_.self.v}},
      {"remote-snapshot-sender-id", log::Hex{message_.from.v}},
      {"incoming-snapshot-index", message_.snapshot->metadata.index.v},
      {"incoming-snapshot-size-bytes", file_->size()}, {"incoming-snapshot-size", log::Size{file_->size()}},
      {"download-took", log::Duration{context_.clock.monotonic() - began_}});
  raft::Message message = message_;
  context_.handler->process(std::move(message), nullptr, context_.loop,
                            [this, alive = std::weak_ptr<int>(alive_)](Result<> result) {
                              if (!alive.expired()) processed(std::move(result));
                            });
}

// ---- the answer ----

void SnapshotReceiver::Transfer::processed(Result<> result) {
  if (!result) {
    LOG(context_.log, kWarn, "failed to process Raft message", {"local-member-id", log::Hex{context_.self.v}},
        {"remote-snapshot-sender-id", log::Hex{message_.from.v}}, {"error", result.error().text()});
    return refuse(500, fmt::format("failed to process raft message ({})", result.error().text()));
  }
  context_.probe.snapshot_received.of(message_.from).inc();
  context_.probe.snapshot_receive_seconds.of(message_.from)
      .observe(seconds(context_.clock.monotonic() - began_));
  exchange_->respond({204, std::move(fields_), ""});
  owner_.forget(*this);
}

// This object is gone afterwards.
void SnapshotReceiver::Transfer::refuse(unsigned status, std::string_view text) {
  context_.probe.snapshot_receive_failures.of(message_.from).inc();
  exchange_->respond(error_answer(status, text, std::move(fields_)));
  owner_.forget(*this);
}

}  // namespace quoin::peer
