#include "peer/stream_codec.h"

#include <algorithm>

#include "base/check.h"
#include "base/coding.h"
#include "peer/msgapp_stream.h"
#include "peer/raft_bytes.h"
#include "raft/codec.h"

namespace quoin::peer {
namespace {

class MessageEncoder final : public StreamEncoder {
 public:
  void encode(const raft::Message& message, Pieces& out) override { append_framed(message, out); }
};

class MessageDecoder final : public StreamDecoder {
 public:
  Result<> feed(std::string_view bytes, Sink sink) override {
    while (!bytes.empty()) {
      ASSIGN_OR_RETURN(const size_t n, message_.feed(bytes));
      bytes.remove_prefix(n);
      if (!message_.done()) continue;
      ASSIGN_OR_RETURN(raft::Message m, message_.take());
      sink(std::move(m));
    }
    return {};
  }
  size_t held_bytes() const override { return message_.held_bytes(); }

 private:
  FramedMessage message_{kMessageBytesMax};
};

}  // namespace

std::string_view name_of(StreamKind kind) {
  return kind == StreamKind::kMsgApp ? "stream MsgApp v2" : "stream Message";
}
std::string_view endpoint_of(StreamKind kind) {
  return kind == StreamKind::kMsgApp ? "/raft/stream/msgapp" : "/raft/stream/message";
}

const raft::Message& link_heartbeat() {
  static const raft::Message heartbeat = [] {
    raft::Message m;
    m.type = raft::MessageType::kHeartbeat;
    return m;
  }();
  return heartbeat;
}
bool is_link_heartbeat(const raft::Message& m) {
  return m.type == raft::MessageType::kHeartbeat && !m.from && !m.to;
}

std::unique_ptr<StreamEncoder> make_encoder(StreamKind kind) {
  if (kind == StreamKind::kMsgApp) return std::make_unique<MsgAppEncoder>();
  return std::make_unique<MessageEncoder>();
}
std::unique_ptr<StreamDecoder> make_decoder(StreamKind kind, MemberId self, MemberId remote) {
  if (kind == StreamKind::kMsgApp) return std::make_unique<MsgAppDecoder>(self, remote);
  return std::make_unique<MessageDecoder>();
}

Result<size_t> FramedMessage::feed(std::string_view bytes) {
  size_t taken = 0;
  if (head_have_ < sizeof head_) {
    taken = std::min(bytes.size(), sizeof head_ - head_have_);
    std::copy_n(bytes.data(), taken, head_ + head_have_);
    head_have_ += taken;
    if (head_have_ < sizeof head_) return taken;
    const uint64_t size = load_be64(head_);
    if (size > bytes_max_) return Error(Code::kLimit, "rafthttp: error limit exceeded");
    body_.begin(size);
    bytes.remove_prefix(taken);
  }
  taken += body_.feed(bytes);
  done_ = body_.done();
  return taken;
}

Error FramedMessage::end_of_bytes() const {
  const bool edge = head_have_ == 0 || (head_have_ == sizeof head_ && body_.received() == 0);
  return Error(Code::kIo, edge ? "EOF" : "unexpected EOF");
}

Result<raft::Message> FramedMessage::take() {
  CHECK(done_);
  head_have_ = 0;
  done_ = false;
  return raft::decode_message(body_.take(), kPartsBytesMax);
}

void append_framed(const raft::Message& message, Pieces& out) {
  store_be64(out.grow(8), raft::encoded_size(message));
  append_message(message, out);
}

}  // namespace quoin::peer
