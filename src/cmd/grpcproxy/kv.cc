#include "cmd/grpcproxy/kv.h"

#include "cmd/grpcproxy/forward.h"
#include "cmd/grpcproxy/key_prefix.h"
#include "cmd/grpcproxy/range_cache.h"
#include "wire/message.h"

namespace quoin::cmd::grpcproxy {

namespace pb = wire::etcdserverpb;

namespace {

struct Shared {
  Shared(Context& c) : context(c), prefix(c.prefix) {}
  Context& context;
  const KeyPrefix prefix;
  RangeCache cache;

  void measure() {
    context.metrics.cache_keys.set(static_cast<double>(cache.size()));
    context.metrics.cache_bytes.set(static_cast<double>(cache.bytes()));
  }
  // Under what an answer is kept: the request, always as a serializable one, and whose it is.
  static std::string name(pb::RangeRequest request, const grpc::Call& call) {
    request.serializable = true;
    std::string out = wire::encode_string(request);
    out += '\0';
    return out += call.metadata("token").value_or("");
  }
  void keep(const pb::RangeRequest& request, const grpc::Call& call, std::string_view answer) {
    cache.add(name(request, call), request.key, request.range_end, request.revision, answer);
  }
};

template <class Request>
class Method : public UnaryForward {
 public:
  Method(Shared& shared, std::string_view name)
      : UnaryForward(shared.context, "etcdserverpb.KV", name, Way::kClient), shared_(shared) {}
  void call(grpc::Call& call, std::string_view bytes) final {
    auto request = wire::decode<Request>(bytes);
    if (!request) return call.fail_decode(request.error().text());
    if (begin(call, *request)) go_on(call, bytes, *request);
  }

 protected:
  // False: the call has ended.
  virtual bool begin(grpc::Call& call, const Request& request) = 0;
  template <class R>
  static bool lacks_key(grpc::Call& call, const R& r, const KeyPrefix& prefix) {
    // The client's namespace looks for itself; without one the member does.
    if (prefix.empty() || !r.key.empty()) return false;
    call.fail(GrpcStatus::kUnknown, error_info(Code::kEmptyKey).text);
    return true;
  }
  Shared& shared_;

 private:
  void go_on(grpc::Call& call, std::string_view bytes, Request& request) {
    if constexpr (std::is_same_v<Request, pb::CompactionRequest>) {
      pass(call, bytes, bytes);
    } else {
      if (shared_.prefix.empty()) return pass(call, bytes, bytes);
      Store store;
      shared_.prefix.add(request, store);
      pass(call, bytes, wire::encode_string(request));
    }
  }
};

// Gives `use` the answer without the prefix, as bytes and decoded.
template <class Response, class Use>
void without_prefix(const KeyPrefix& prefix, std::string_view answer, Use&& use) {
  auto response = wire::decode<Response>(answer);
  if (!response) return use(answer, Response());
  if (prefix.empty()) return use(answer, *response);
  Store store;
  prefix.strip(*response, store);
  const std::string bytes = wire::encode_string(*response);
  use(bytes, *response);
}

class Range final : public Method<pb::RangeRequest> {
 public:
  explicit Range(Shared& s) : Method(s, "Range") {}

 private:
  bool begin(grpc::Call& call, const pb::RangeRequest& request) override {
    if (request.serializable) {
      Metrics& metrics = shared_.context.metrics;
      const std::string name = Shared::name(request, call);
      if (shared_.cache.compacted(name, request.revision)) {
        metrics.cache_hits.add(1);
        call.fail(make_error(Code::kCompacted, "{}", error_info(Code::kCompacted).text));
        return false;
      }
      if (const std::string* answer = shared_.cache.find(name)) {
        metrics.cache_hits.add(1);
        reply(call, *answer);
        return false;
      }
      metrics.cache_misses.add(1);
    }
    return !lacks_key(call, request, shared_.prefix);
  }
  void answered(grpc::Call& call, std::string_view request, std::string_view answer) override {
    without_prefix<pb::RangeResponse>(shared_.prefix, answer, [&](std::string_view bytes, const auto&) {
      if (const auto r = wire::decode<pb::RangeRequest>(request)) shared_.keep(*r, call, bytes);
      shared_.measure();
      reply(call, bytes);
    });
  }
};

class Put final : public Method<pb::PutRequest> {
 public:
  explicit Put(Shared& s) : Method(s, "Put") {}

 private:
  bool begin(grpc::Call& call, const pb::PutRequest& request) override {
    shared_.cache.invalidate(request.key, "");
    shared_.measure();
    return !lacks_key(call, request, shared_.prefix);
  }
  void answered(grpc::Call& call, std::string_view request, std::string_view answer) override {
    // A read that was on its way meanwhile may have brought the old value.
    if (const auto r = wire::decode<pb::PutRequest>(request)) shared_.cache.invalidate(r->key, "");
    if (shared_.prefix.empty()) return reply(call, answer);
    without_prefix<pb::PutResponse>(shared_.prefix, answer,
                                    [&](std::string_view bytes, const auto&) { reply(call, bytes); });
  }
};

class DeleteRange final : public Method<pb::DeleteRangeRequest> {
 public:
  explicit DeleteRange(Shared& s) : Method(s, "DeleteRange") {}

 private:
  bool begin(grpc::Call& call, const pb::DeleteRangeRequest& request) override {
    shared_.cache.invalidate(request.key, request.range_end);
    shared_.measure();
    return !lacks_key(call, request, shared_.prefix);
  }
  void answered(grpc::Call& call, std::string_view request, std::string_view answer) override {
    if (const auto r = wire::decode<pb::DeleteRangeRequest>(request)) {
      shared_.cache.invalidate(r->key, r->range_end);
    }
    if (shared_.prefix.empty()) return reply(call, answer);
    without_prefix<pb::DeleteRangeResponse>(shared_.prefix, answer,
                                            [&](std::string_view bytes, const auto&) { reply(call, bytes); });
  }
};

class Txn final : public Method<pb::TxnRequest> {
 public:
  explicit Txn(Shared& s) : Method(s, "Txn") {}

 private:
  bool begin(grpc::Call&, const pb::TxnRequest&) override { return true; }
  void answered(grpc::Call& call, std::string_view request, std::string_view answer) override {
    without_prefix<pb::TxnResponse>(shared_.prefix, answer,
                                    [&](std::string_view bytes, const pb::TxnResponse& response) {
                                      if (const auto r = wire::decode<pb::TxnRequest>(request))
                                        learn(call, *r, response);
                                      shared_.measure();
                                      reply(call, bytes);
                                    });
  }
  // A transaction says something of its compared keys, which may be newer than what is kept.
  void learn(const grpc::Call& call, const pb::TxnRequest& request, const pb::TxnResponse& response) {
    for (const pb::Compare& c : request.compare) shared_.cache.invalidate(c.key, c.range_end);
    const auto& ops = response.succeeded ? request.success : request.failure;
    for (size_t i = 0; i < response.responses.size() && i < ops.size(); ++i) {
      const pb::ResponseOp& done = response.responses[i];
      if (const auto* put = ops[i].request_put()) shared_.cache.invalidate(put->key, "");
      if (const auto* del = ops[i].request_delete_range()) {
        shared_.cache.invalidate(del->key, del->range_end);
      }
      if (const auto* txn = ops[i].request_txn(); txn && done.response_txn()) {
        learn(call, *txn, *done.response_txn());
      }
      const auto* range = ops[i].request_range();
      if (range && done.response_range()) {
        shared_.keep(*range, call, wire::encode_string(*done.response_range()));
      }
    }
  }
};

class Compact final : public Method<pb::CompactionRequest> {
 public:
  explicit Compact(Shared& s) : Method(s, "Compact") {}

 private:
  bool begin(grpc::Call&, const pb::CompactionRequest&) override { return true; }
  void answered(grpc::Call& call, std::string_view request, std::string_view answer) override {
    if (const auto r = wire::decode<pb::CompactionRequest>(request)) shared_.cache.compact(r->revision);
    shared_.measure();
    reply(call, answer);
  }
};

}  // namespace

struct Kv::Impl {
  explicit Impl(Context& context)
      : shared(context), range(shared), put(shared), delete_range(shared), txn(shared), compact(shared) {}
  Shared shared;
  Range range;
  Put put;
  DeleteRange delete_range;
  Txn txn;
  Compact compact;
};

Kv::Kv(Context& context, grpc::MethodTable& methods) : impl_(std::make_unique<Impl>(context)) {
  methods.add_unary("etcdserverpb.KV", "Range", impl_->range);
  methods.add_unary("etcdserverpb.KV", "Put", impl_->put);
  methods.add_unary("etcdserverpb.KV", "DeleteRange", impl_->delete_range);
  methods.add_unary("etcdserverpb.KV", "Txn", impl_->txn);
  methods.add_unary("etcdserverpb.KV", "Compact", impl_->compact);
}
Kv::~Kv() = default;

}  // namespace quoin::cmd::grpcproxy
