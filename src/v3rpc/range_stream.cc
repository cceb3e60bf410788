#include "v3rpc/range_stream.h"

#include <algorithm>

#include "mvcc/key_value.h"
#include "server/range_steps.h"
#include "v3rpc/checks.h"
#include "wire/coding.h"

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
  Listener(Loop& loop, Gate& gate, LongReads& long_reads, grpc::Call& call)
      : StreamBase(call), loop_(loop), gate_(gate), long_reads_(long_reads) {}

  void on_message(std::string_view message) override {
    bytes_ = message;
    auto decoded = wire::decode<pb::RangeRequest>(bytes_);
    if (!decoded) return call_.fail_decode(decoded.error().text());
    if (!gate_.admit(call_, false)) return;
    request_ = std::move(*decoded);
    if (Result<> ok = check_stream_range(request_); !ok) return call_.fail(ok.error());
    request_.sort_order = pb::RangeRequest::SortOrder::kNone;
    request_.sort_target = pb::RangeRequest::SortTarget::kKey;
    if (request_.serializable) return confirmed({});
    loop_.port.read_index(self().then(&Listener::confirmed));
  }
  void on_writable() override { want_turn(); }

 private:
  void confirmed(Result<> read_index) {
    if (!read_index) return call_.fail(read_index.error());
    loop_.callers->with_access(call_, [self = self()](grpc::Call&, Result<AccessRef> access) {
      self.then(&Listener::begin, std::move(access))();
    });
  }
  void begin(const Result<AccessRef>& access) {
    if (!access) return call_.fail(access.error());
    access_ = *access;
    if (Result<> ok = access_->read(request_.key, request_.range_end); !ok) return call_.fail(ok.error());
    const auto view = loop_.member.view();
    header_revision_ = view->revision();
    if (request_.revision <= 0) request_.revision = header_revision_;
    negative_limit_ = request_.limit < 0;
    left_ = request_.limit > 0 ? request_.limit : INT64_MAX;
    started_ = true;
    next_chunk();
  }

  // Each chunk in a turn of its own.
  void want_turn() {
    if (!std::exchange(turn_wanted_, true)) loop_.turns->add(self().then(&Listener::turn));
  }
  void turn() {
    turn_wanted_ = false;
    next_chunk();
  }

  void next_chunk() {
    if (!started_ || reading_ || !call_.writable()) return;
    request_.limit = unlimited() ? 0 : std::min(chunk_keys_, left_);
    auto range = server::RangeSteps::start(loop_.member.view(), request_);
    if (!range) return call_.fail(range.error());
    auto read = std::make_unique<server::SteppedRange>(std::move(*range));
    const Result<bool> done = read->step({});
    if (!done) return call_.fail(done.error());
    if (*done) return send_chunk(*read);
    reading_ = true;
    long_reads_.add(call_, std::move(read), self().then(&Listener::chunk_read));
  }
  void chunk_read(grpc::Call&, server::SteppedRead& read, const Error* error) {
    reading_ = false;
    if (error != nullptr) return call_.fail(*error);
    send_chunk(static_cast<server::SteppedRange&>(read));
  }

  void send_chunk(server::SteppedRange& read) {
    if (Result<> ok = loop_.callers->still_current(*access_); !ok) return call_.fail(ok.error());
    loop_.member.count_ranges(1);
    pb::RangeResponse& r = read.range().response();
    if (total_ < 0) total_ = r.count;
    const auto kvs = static_cast<int64_t>(read.range().kvs());
    sent_ += kvs;
    left_ -= kvs;
    const bool last = !r.more || left_ == 0;
    r.count = last ? total_ : 0;
    r.more = last && !request_.count_only && total_ > sent_;
    const std::string head = last ? header_field() : std::string();
    const server::AnswerParts answer = read.take();
    // RangeStreamResponse{range_response}.
    const size_t inner = head.size() + answer.bytes;
    const size_t size = wire::length_delimited_size(1, inner);
    if (size > grpc::kMaxSentMessageBytes) {
      return call_.fail(GrpcStatus::kResourceExhausted,
                        fmt::format("trying to send message larger than max ({} vs. {})", size,
                                    grpc::kMaxSentMessageBytes));
    }
    std::string prefix(size - inner, '\0');
    wire::put_length_delimited_head(prefix.data(), 1, inner);
    call_.send(prefix + head, answer.parts);
    if (last) return call_.finish(GrpcStatus::kOk, {});
    if (Result<> ok = go_behind(answer.parts.back()); !ok) return call_.fail(ok.error());
    const uint64_t target = loop_.member.config().max_request_bytes;
    if (size < target / 2) chunk_keys_ *= 2;
    if (size > target * 2) chunk_keys_ = std::max<int64_t>(1, chunk_keys_ / 2);
    want_turn();
  }
  std::string header_field() const {
    const pb::ResponseHeader h = header(loop_.member, header_revision_);
    const size_t n = encoded_size(h);
    std::string out(wire::length_delimited_size(pb::RangeResponse::kHeaderField, n), '\0');
    wire::encode(h, wire::put_length_delimited_head(out.data(), pb::RangeResponse::kHeaderField, n), n);
    return out;
  }
  // The next chunk begins at the smallest key behind the last one sent.
  Result<> go_behind(const Blob& last_part) {
    ASSIGN_OR_RETURN(const auto found, wire::decode<pb::RangeResponse>(last_part.view()));
    CHECK(!found.kvs.empty(), "a chunk that is not the last one has keys");
    ASSIGN_OR_RETURN(const std::string_view key, mvcc::decode_key(found.kvs.back().bytes));
    next_key_.assign(key).push_back('\0');
    request_.key = next_key_;
    return {};
  }
  bool unlimited() const { return negative_limit_ || request_.count_only; }

  Loop& loop_;
  Gate& gate_;
  LongReads& long_reads_;
  std::string bytes_;  // what request_ points into
  pb::RangeRequest request_;
  std::string next_key_;
  AccessRef access_;
  bool started_ = false;
  bool turn_wanted_ = false;
  bool reading_ = false;  // a chunk is read in steps
  bool negative_limit_ = false;
  int64_t header_revision_ = 0;
  int64_t chunk_keys_ = kFirstChunkKeys;
  int64_t left_ = INT64_MAX;
  int64_t total_ = -1, sent_ = 0;
};

std::unique_ptr<grpc::StreamListener> RangeStreamHandler::open(grpc::Call& call) {
  return std::make_unique<Listener>(loop_, gate_, long_reads_, call);
}

}  // namespace quoin::v3rpc
