#include "cmd/grpcproxy/lease.h"

#include <absl/container/flat_hash_map.h>

#include <map>

#include "client/methods.h"
#include "cmd/grpcproxy/forward.h"
#include "cmd/grpcproxy/key_prefix.h"
#include "wire/message.h"

namespace quoin::cmd::grpcproxy {

namespace pb = wire::etcdserverpb;

namespace {

class KeepAliveStream;

// Keepalives on their way to the members, with one token.
class Upstream final : private client::Call {
 public:
  Upstream(Context& context, client::Metadata token) : context_(context), token_(std::move(token)) {}
  void ask(int64_t lease, KeepAliveStream& from);
  void forget(KeepAliveStream& from);
  // No client's stream needs it.
  bool idle() const { return streams == 0 && questions_.empty(); }
  size_t streams = 0;  // of clients

 private:
  static constexpr int64_t kPauseNs = 500 * io::kMillisecond;
  // What is left of a lease that is not there: etcd's proxy answers with what TimeToLive says.
  struct Question final : client::Call {
    Upstream* owner;
    int64_t lease;
    std::string bytes;
    void on_message(std::string_view m) override { bytes = m; }
    void on_end(GrpcStatus status, std::string_view) override { owner->looked_up(*this, status); }
  };
  void on_message(std::string_view bytes) override;
  void on_end(GrpcStatus status, std::string_view text) override;
  void open();
  void send(int64_t lease);
  void look_up(int64_t lease);
  void looked_up(Question& question, GrpcStatus status);
  void answer(int64_t lease, const pb::LeaseKeepAliveResponse& response);

  Context& context_;
  const client::Metadata token_;
  std::map<int64_t, std::vector<KeepAliveStream*>> waiting_;  // by lease; each was asked for once
  std::map<int64_t, std::unique_ptr<Question>> questions_;
  std::unique_ptr<io::Timer> pause_;
};

// A client's stream.
class KeepAliveStream final : public grpc::StreamListener {
 public:
  KeepAliveStream(Upstream& upstream, grpc::Call& call) : upstream_(upstream), call_(call) {
    ++upstream_.streams;
  }
  ~KeepAliveStream() override {
    upstream_.forget(*this);
    --upstream_.streams;
  }
  void on_message(std::string_view bytes) override {
    const auto r = wire::decode<pb::LeaseKeepAliveRequest>(bytes);
    if (!r) return call_.fail_decode(r.error().text());
    if (++waiting_ >= LeaseProxy::kWaitingMax && !std::exchange(paused_, true)) call_.pause_reading();
    upstream_.ask(r->id, *this);
  }
  // etcd's proxy ends there, too, whatever waits.
  void on_half_close() override { call_.finish(GrpcStatus::kCanceled, "context canceled"); }
  void answer(const pb::LeaseKeepAliveResponse& response) {
    --waiting_;
    if (call_.ended()) return;
    if (paused_ && waiting_ <= LeaseProxy::kWaitingMax / 2 && call_.writable()) {
      paused_ = false;
      call_.resume_reading();
    }
    const size_t size = encoded_size(response);
    call_.send_message(size, [&](char* p) { wire::encode(response, p, size); });
  }
  void on_writable() override {
    if (!std::exchange(paused_, false)) return;
    call_.resume_reading();
  }
  void fail(GrpcStatus status, std::string_view text) {
    --waiting_;
    if (!call_.ended()) call_.finish(status, text);
  }

 private:
  Upstream& upstream_;
  grpc::Call& call_;
  size_t waiting_ = 0;
  bool paused_ = false;
};

void Upstream::ask(int64_t lease, KeepAliveStream& from) {
  auto& list = waiting_[lease];
  list.push_back(&from);
  if (list.size() > 1 || pause_) return;
  if (!Call::active()) open();
  send(lease);
}

void Upstream::open() {
  context_.client.open(*this, client::methods::kLeaseKeepAlive,
                       {.metadata = token_.empty() ? nullptr : &token_});
}

void Upstream::send(int64_t lease) {
  pb::LeaseKeepAliveRequest request;
  request.id = lease;
  context_.client.send(*this, wire::encode_string(request));
}

void Upstream::forget(KeepAliveStream& from) {
  // Those that wait for the lease with it go on waiting; an answer that nobody waits for is dropped.
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    std::erase(it->second, &from);
    it = it->second.empty() ? waiting_.erase(it) : std::next(it);
  }
}

void Upstream::on_message(std::string_view bytes) {
  const auto r = wire::decode<pb::LeaseKeepAliveResponse>(bytes);
  if (!r) return context_.client.cancel(*this);
  if (r->ttl > 0) return answer(r->id, *r);
  look_up(r->id);
}

void Upstream::look_up(int64_t lease) {
  auto& slot = questions_[lease];
  if (slot) return;
  slot = std::make_unique<Question>();
  slot->owner = this;
  slot->lease = lease;
  pb::LeaseTimeToLiveRequest request;
  request.id = lease;
  context_.client.unary(*slot, client::methods::kLeaseTimeToLive, wire::encode_string(request),
                        {.metadata = token_.empty() ? nullptr : &token_});
}

void Upstream::looked_up(Question& question, GrpcStatus status) {
  std::unique_ptr<Question> done = std::move(questions_[question.lease]);
  questions_.erase(question.lease);
  if (status == GrpcStatus::kOk) {
    const auto r = wire::decode<pb::LeaseTimeToLiveResponse>(question.bytes);
    pb::LeaseKeepAliveResponse response;
    if (r) response.header = r->header;
    response.id = question.lease;
    response.ttl = r ? r->ttl : -1;
    answer(question.lease, response);
  } else if (const auto it = waiting_.find(question.lease); it != waiting_.end()) {
    const auto list = std::move(it->second);
    waiting_.erase(it);
    for (KeepAliveStream* s : list) s->fail(GrpcStatus::kCanceled, "context canceled");
  }
}

void Upstream::answer(int64_t lease, const pb::LeaseKeepAliveResponse& response) {
  const auto it = waiting_.find(lease);
  if (it == waiting_.end()) return;
  const auto list = std::move(it->second);
  waiting_.erase(it);
  for (KeepAliveStream* s : list) s->answer(response);
}

// What waits is asked again, as etcd's client does every half second, unless no member would answer.
void Upstream::on_end(GrpcStatus status, std::string_view) {
  if (waiting_.empty() || pause_) return;
  if (status != GrpcStatus::kUnavailable && status != GrpcStatus::kInternal) {
    const auto all = std::move(waiting_);
    waiting_.clear();
    for (const auto& [lease, list] : all) {
      for (KeepAliveStream* s : list) s->fail(GrpcStatus::kCanceled, "context canceled");
    }
    return;
  }
  pause_ = context_.env.timers.schedule(kPauseNs, context_.env.loop, [this] {
    pause_.reset();
    if (waiting_.empty() || Call::active()) return;
    open();
    for (const auto& [lease, list] : waiting_) send(lease);
  });
}

class TimeToLive final : public UnaryForward {
 public:
  explicit TimeToLive(Context& context)
      : UnaryForward(context, "etcdserverpb.Lease", "LeaseTimeToLive", Way::kClient),
        prefix_(context.prefix) {}

 private:
  void answered(grpc::Call& call, std::string_view, std::string_view answer) override {
    auto r = wire::decode<pb::LeaseTimeToLiveResponse>(answer);
    if (prefix_.empty() || !r) return reply(call, answer);
    prefix_.strip(*r);
    reply(call, wire::encode_string(*r));
  }
  const KeyPrefix prefix_;
};

}  // namespace

struct LeaseProxy::Impl final : grpc::StreamHandler {
  explicit Impl(Context& c)
      : context(c),
        grant(c, "etcdserverpb.Lease", "LeaseGrant", UnaryForward::Way::kWaiting),
        revoke(c, "etcdserverpb.Lease", "LeaseRevoke", UnaryForward::Way::kClient),
        time_to_live(c),
        leases(c, "etcdserverpb.Lease", "LeaseLeases", UnaryForward::Way::kClient) {}
  std::unique_ptr<grpc::StreamListener> open(grpc::Call& call) override {
    client::Metadata token = token_of(call);
    if (upstreams.size() >= sweep_at) {
      std::erase_if(upstreams, [](const auto& u) { return u.second->idle(); });
      sweep_at = 2 * upstreams.size() + 16;
    }
    auto& slot = upstreams[token.empty() ? "" : token[0].second];
    if (!slot) slot = std::make_unique<Upstream>(context, std::move(token));
    return std::make_unique<KeepAliveStream>(*slot, call);
  }
  Context& context;
  UnaryForward grant, revoke;
  TimeToLive time_to_live;
  UnaryForward leases;
  std::map<std::string, std::unique_ptr<Upstream>> upstreams;  // by token
  size_t sweep_at = 16;  // tokens that nobody uses any more go when there are so many
};

LeaseProxy::LeaseProxy(Context& context, grpc::MethodTable& methods)
    : impl_(std::make_unique<Impl>(context)) {
  constexpr std::string_view kService = "etcdserverpb.Lease";
  methods.add_unary(kService, "LeaseGrant", impl_->grant);
  methods.add_unary(kService, "LeaseRevoke", impl_->revoke);
  methods.add_stream(kService, "LeaseKeepAlive", grpc::MethodKind::kBidiStream, *impl_);
  methods.add_unary(kService, "LeaseTimeToLive", impl_->time_to_live);
  methods.add_unary(kService, "LeaseLeases", impl_->leases);
}
LeaseProxy::~LeaseProxy() = default;

}  // namespace quoin::cmd::grpcproxy
