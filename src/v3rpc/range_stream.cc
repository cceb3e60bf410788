#include "v3rpc/range_stream.h"

#include <algorithm>

#include "mvcc/key_value.h"
#include "server/range.h"
#include "v3rpc/checks.h"

namespace quoin::v3rpc {

namespace pb = wire::etcdserverpb;

namespace {
constexpr int64_t kFirstChunkKeys = 10;

Result<> check_stream_range(const pb::RangeRequest& r) {
  TRY(check_range(r));
  using Order = pb::RangeRequest::SortOrder;
  if (r.sort_order == Order::kDescend ||
      (r.sort_order == Order::kAscend && r.sort_target != pb::RangeRequest::SortTarget::kKey)) {
    return Error(Code::kUnsupported, "RangeStream does not support custom sort orders");
  }
  if (r.min_mod_revision != 0 || r.max_mod_revision != 0 || r.min_create_revision != 0 ||
      r.max_create_revision != 0) {
    return Error(Code::kUnsupported, "RangeStream does not support revision filters");
  }
  return {};
}
}  // namespace

class RangeStreamHandler::Listener final : public StreamBase<Listener> {
 public:
  Listener(Loop& loop, Gate& gate, grpc::Call& call) : StreamBase(call), loop_(loop), gate_(gate) {}

  void on_message(std::string_view message) override {
    bytes_ = message;
    auto decoded = wire::decode<pb::RangeRequest>(bytes_);
    if (!decoded) return call_.fail_decode(decoded.error().text());
    if (!gate_.admit(call_, false)) return;
    request_ = std::move(*decoded);
    if (Result<> ok = check_stream_range(request_); !ok) return call_.fail(ok.error());
    request_.sort_order = pb::RangeRequest::SortOrder::kNone;
    request_.sort_target = pb::RangeRequest::SortTarget::kKey;
    if (request_.serializable) return begin();
    loop_.port.read_index(self().then(&Listener::confirmed));
  }
  void on_writable() override { run(); }

 private:
  void confirmed(Result<> read_index) {
    if (!read_index) return call_.fail(read_index.error());
    begin();
  }
  void begin() {
    const auto view = loop_.member.view();
    header_revision_ = view->revision();
    if (request_.revision <= 0) request_.revision = header_revision_;
    negative_limit_ = request_.limit < 0;
    left_ = request_.limit > 0 ? request_.limit : INT64_MAX;
    started_ = true;
    run();
  }

  void run() {
    while (started_ && !call_.ended() && call_.writable()) {
      if (!send_chunk()) return;
    }
  }

  // False once the stream has ended.
  bool send_chunk() {
    request_.limit = unlimited() ? 0 : std::min(chunk_keys_, left_);
    auto reply = server::read_range(loop_.member.view(), request_);
    if (!reply) {
      call_.fail(reply.error());
      return false;
    }
    pb::RangeResponse& r = reply->response;
    if (total_ < 0) total_ = r.count;
    sent_ += static_cast<int64_t>(r.kvs.size());
    left_ -= static_cast<int64_t>(r.kvs.size());
    const bool last = !r.more || left_ == 0;
    if (last) {
      r.header = header(loop_.member, header_revision_);
      r.count = total_;
      r.more = !request_.count_only && total_ > sent_;
    } else {
      auto key = mvcc::decode_key(r.kvs.back().bytes);
      if (!key) {
        call_.fail(key.error());
        return false;
      }
      // The smallest key behind the last one sent.
      next_key_.assign(*key).push_back('\0');
      r.count = 0;
      r.more = false;
    }
    pb::RangeStreamResponse message;
    message.range_response = std::move(r);
    const size_t size = encoded_size(message);
    if (!call_.send_message(size, [&](char* out) { wire::encode(message, out, size); })) return false;
    if (last) {
      call_.finish(GrpcStatus::kOk, {});
      return false;
    }
    request_.key = next_key_;
    const uint64_t target = loop_.member.config().max_request_bytes;
    if (size < target / 2) chunk_keys_ *= 2;
    if (size > target * 2) chunk_keys_ = std::max<int64_t>(1, chunk_keys_ / 2);
    return true;
  }
  bool unlimited() const { return negative_limit_ || request_.count_only; }

  Loop& loop_;
  Gate& gate_;
  std::string bytes_;  // what request_ points into
  pb::RangeRequest request_;
  std::string next_key_;
  bool started_ = false;
  bool negative_limit_ = false;
  int64_t header_revision_ = 0;
  int64_t chunk_keys_ = kFirstChunkKeys;
  int64_t left_ = INT64_MAX;
  int64_t total_ = -1, sent_ = 0;
};

std::unique_ptr<grpc::StreamListener> RangeStreamHandler::open(grpc::Call& call) {
  return std::make_unique<Listener>(loop_, gate_, call);
}

}  // namespace quoin::v3rpc
