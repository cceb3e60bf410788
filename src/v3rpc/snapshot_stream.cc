#include "v3rpc/snapshot_stream.h"

#include <openssl/evp.h>

namespace quoin::v3rpc {

namespace pb = wire::etcdserverpb;

namespace {
constexpr size_t kBlobBytes = 32 * 1024;
constexpr size_t kReadBytes = 8 * kBlobBytes;

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new()) { CHECK_EQ(EVP_DigestInit_ex(context_, EVP_sha256(), nullptr), 1); }
  ~Sha256() { EVP_MD_CTX_free(context_); }
  Sha256(const Sha256&) = delete;
  void add(std::string_view bytes) { CHECK_EQ(EVP_DigestUpdate(context_, bytes.data(), bytes.size()), 1); }
  std::string finish() {
    std::string digest(32, '\0');
    CHECK_EQ(EVP_DigestFinal_ex(context_, reinterpret_cast<unsigned char*>(digest.data()), nullptr), 1);
    return digest;
  }

 private:
  EVP_MD_CTX* const context_;
};
}  // namespace

class SnapshotStreamHandler::Listener final : public StreamBase<Listener> {
 public:
  Listener(Loop& loop, Gate& gate, grpc::Call& call) : StreamBase(call), loop_(loop), gate_(gate) {}

  void on_message(std::string_view bytes) override {
    if (auto r = wire::decode<pb::SnapshotRequest>(bytes); !r) return call_.fail_decode(r.error().text());
    if (!gate_.admit(call_, true)) return;
    gate_.callers().when_admitted(call_, auth::Need::kAdmin,
                                  [self = self()](grpc::Call&) { self.with(&Listener::admitted); });
  }
  void on_writable() override {
    if (source_ && !reading_) read_more();
  }

 private:
  void admitted() {
    version_ = loop_.member.status().storage_version;
    began_ = loop_.clock.monotonic();
    loop_.member.snapshot(loop_.port.loop(), self().then(&Listener::begin));
  }
  void begin(Result<std::shared_ptr<backend::SnapshotSource>> source) {
    if (!source) return call_.fail(source.error());
    source_ = std::move(*source);
    total_ = source_->size();
    db_size_at_start_ = loop_.member.status().db_size;
    LOG(loop_.log, kInfo, "sending database snapshot to client", {"total-bytes", total_},
        {"size", log::Size{total_}}, {"storage-version", version_});
    watch_pace();
    read_more();
  }
  void read_more() {
    if (call_.ended()) return;
    if (offset_ == total_) return finish();
    if (!call_.writable()) return;
    reading_ = true;
    const size_t n = std::min<uint64_t>(kReadBytes, total_ - offset_);
    loop_.member.file_executor().post([done = self().then(&Listener::read), &to = loop_.port.loop(),
                                       source = source_, offset = offset_, n]() mutable {
      std::string bytes(n, '\0');
      Result<> r = source->read(offset, bytes);
      to.post([done = std::move(done), bytes = std::move(bytes), r = std::move(r)]() mutable {
        done(std::move(bytes), std::move(r));
      });
    });
  }
  void read(std::string bytes, Result<> result) {
    reading_ = false;
    if (!result) return call_.fail(result.error());
    send(bytes);
  }

  void send(std::string_view bytes) {
    digest_.add(bytes);
    while (!bytes.empty() && !call_.ended()) {
      const std::string_view blob = bytes.substr(0, kBlobBytes);
      bytes.remove_prefix(blob.size());
      offset_ += blob.size();
      send_message(blob);
    }
    read_more();
  }
  void send_message(std::string_view blob) {
    pb::SnapshotResponse r;
    r.remaining_bytes = total_ - offset_;
    r.blob = blob;
    r.version = version_;
    const size_t size = encoded_size(r);
    call_.send_message(size, [&](char* out) { wire::encode(r, out, size); });
  }
  // The snapshot pins every page that was freed since it began, so its client must read at some pace.
  void watch_pace() {
    pace_ = loop_.timers.schedule(SnapshotStreamHandler::kPaceCheckNs, loop_.port.loop(),
                                  self().then(&Listener::check_pace));
  }
  void check_pace() {
    const uint64_t taken = offset_ - std::min<uint64_t>(offset_, call_.queued_bytes());
    const uint64_t db_size = loop_.member.status().db_size;
    const uint64_t pinned = db_size - std::min(db_size, db_size_at_start_);
    const bool much_pinned = pinned > loop_.limits.snapshot_pinned_bytes;
    if (taken - counted_ >=
        (much_pinned ? SnapshotStreamHandler::kPaceBytesPinned : SnapshotStreamHandler::kPaceBytes)) {
      counted_ = taken;
      slow_ns_ = 0;
    } else {
      slow_ns_ += SnapshotStreamHandler::kPaceCheckNs;
    }
    if (slow_ns_ == 0 || (!much_pinned && slow_ns_ < SnapshotStreamHandler::kSlowMaxNs)) return watch_pace();
    LOG(loop_.log, kWarn, "gave up sending database snapshot to client that reads too slowly",
        {"total-bytes", total_}, {"taken-bytes", taken}, {"pinned-bytes", pinned},
        {"slow-for", log::Duration{slow_ns_}});
    loop_.metrics.snapshots_given_up.inc();
    let_go();
    call_.fail(GrpcStatus::kResourceExhausted, "etcdserver: snapshot given up, the client reads too slowly");
  }
  void let_go() {
    source_.reset();
    pace_.reset();
  }

  void finish() {
    let_go();  // what is left to be sent may wait as long as the client likes
    const std::string digest = digest_.finish();
    LOG(loop_.log, kInfo, "sending database sha256 checksum to client", {"total-bytes", total_},
        {"checksum-size", digest.size()});
    send_message(digest);
    LOG(loop_.log, kInfo, "successfully sent database snapshot to client", {"total-bytes", total_},
        {"size", log::Size{total_}}, {"took", log::Duration{loop_.clock.monotonic() - began_}},
        {"storage-version", version_});
    if (!call_.ended()) call_.finish(GrpcStatus::kOk, {});
  }

  Loop& loop_;
  Gate& gate_;
  std::shared_ptr<backend::SnapshotSource> source_;
  std::string version_;
  io::MonotonicNs began_ = 0;
  uint64_t total_ = 0, offset_ = 0;
  bool reading_ = false;
  std::unique_ptr<io::Timer> pace_;
  uint64_t db_size_at_start_ = 0;
  uint64_t counted_ = 0;  // bytes the client had taken when it last read fast enough
  int64_t slow_ns_ = 0;   // for how long it has not since
  Sha256 digest_;
};

std::unique_ptr<grpc::StreamListener> SnapshotStreamHandler::open(grpc::Call& call) {
  return std::make_unique<Listener>(loop_, gate_, call);
}

}  // namespace quoin::v3rpc
