#include "cmd/grpcproxy/cluster.h"

#include <map>
#include <nlohmann/json.hpp>

#include "base/go_text.h"
#include "client/methods.h"
#include "client/watches.h"
#include "cmd/grpcproxy/forward.h"
#include "cmd/grpcproxy/key_prefix.h"
#include "cmd/grpcproxy/registration.h"
#include "wire/message.h"

namespace quoin::cmd::grpcproxy {

namespace pb = wire::etcdserverpb;

std::string registration_json(const std::string& address, const std::string& host_name) {
  const std::string metadata = fmt::format("{{\"name\":{}}}", go_json_string(host_name));
  return fmt::format("{{\"Op\":0,\"Addr\":{},\"Metadata\":{}}}", go_json_string(address),
                     go_json_string(metadata));
}

std::optional<Registered> parse_registration(std::string_view json) {
  using Json = nlohmann::json;
  const Json outer = Json::parse(json, nullptr, false);
  if (!outer.is_object()) return std::nullopt;
  const auto text = [](const Json& object, const char* name) {
    const auto it = object.find(name);
    return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
  };
  const Json inner = Json::parse(text(outer, "Metadata"), nullptr, false);
  if (!inner.is_object()) return std::nullopt;
  return Registered{text(outer, "Addr"), text(inner, "name")};
}

namespace {

// What is registered below the prefix, kept up to date.
class Others {
 public:
  static constexpr size_t kMax = 10'000;
  Others(Context& context, const std::string& resolver_prefix)
      : context_(context),
        prefix_(context.prefix),
        key_(prefix_.key(resolver_prefix + "/")),
        end_(after(key_)),
        resolver_prefix_(resolver_prefix),
        watches_(context.client, context.env, {}) {}
  const std::map<std::string, Registered>& all() const { return all_; }

  void start() {
    timer_.reset();
    pb::RangeRequest request;
    request.key = key_;
    request.range_end = end_;
    request.limit = kMax;
    request.serializable = true;
    context_.client.unary(question_, client::methods::kRange, wire::encode_string(request), {});
  }

 private:
  struct Question final : client::Call {
    explicit Question(Others& o) : owner(o) {}
    Others& owner;
    std::string answer;
    void on_message(std::string_view m) override { answer = m; }
    void on_end(GrpcStatus status, std::string_view text) override { owner.read(status, text); }
  };
  struct Changes final : client::Watch {
    explicit Changes(Others& o) : owner(o) {}
    Others& owner;
    void on_response(const pb::WatchResponse& r, std::string_view) override { owner.changed(r); }
    void on_lost(GrpcStatus, std::string_view) override { owner.later(); }
  };

  // The end of the range of all keys with this beginning, which is not empty and ends with '/'.
  static std::string after(std::string key) {
    ++key.back();
    return key;
  }
  void later() {
    timer_ = context_.env.timers.schedule(io::kSecond, context_.env.loop, [this] { start(); });
  }
  void read(GrpcStatus status, std::string_view text) {
    const auto r = wire::decode<pb::RangeResponse>(question_.answer);
    if (status != GrpcStatus::kOk || !r) {
      LOG(context_.log, kWarn, "failed to establish endpoint watch", {"prefix", resolver_prefix_},
          {"error", go_error_text(status, text)});
      return later();
    }
    for (const auto& raw : r->kvs) {
      if (const auto kv = wire::decode(raw)) add(kv->key, kv->value);
    }
    watches_.start(changes_, {.key = key_, .range_end = end_, .start_revision = r->header->revision + 1});
  }
  void add(std::string_view key, std::string_view value) {
    auto parsed = parse_registration(value);
    if (parsed && (all_.size() < kMax || all_.contains(std::string(key)))) {
      all_.insert_or_assign(std::string(key), std::move(*parsed));
    } else {
      LOG(context_.log, kWarn, "unmarshal endpoint update failed", {"key", key});
    }
  }
  void changed(const pb::WatchResponse& r) {
    for (const auto& e : r.events) {
      const auto kv = e.kv ? wire::decode(*e.kv) : Result<wire::mvccpb::KeyValue>();
      if (!kv) continue;
      if (e.type == wire::mvccpb::Event::EventType::kPut) {
        add(kv->key, kv->value);
      } else {
        all_.erase(std::string(kv->key));
      }
    }
    if (r.canceled) later();
  }

  Context& context_;
  const KeyPrefix prefix_;
  const std::string key_, end_, resolver_prefix_;
  std::map<std::string, Registered> all_;  // by key
  client::Watches watches_;
  Question question_{*this};
  Changes changes_{*this};
  std::unique_ptr<io::Timer> timer_;
};

// etcd's proxy does not pass it on either; these are its words.
struct Promote final : grpc::UnaryHandler {
  void call(grpc::Call& call, std::string_view) override {
    call.fail(GrpcStatus::kUnknown, "not implemented");
  }
};

}  // namespace

struct Cluster::Impl final : grpc::UnaryHandler {
  Impl(Context& c, const ClusterOptions& o)
      : options(o),
        forward(c, "etcdserverpb.Cluster", "MemberList", UnaryForward::Way::kStub),
        registration(c, o),
        others(c, o.resolver_prefix) {}

  void call(grpc::Call& call, std::string_view) override {
    pb::MemberListResponse r;
    for (const auto& [key, other] : others.all()) {
      pb::Member& m = r.members.emplace_back();
      m.name = other.name;
      m.client_urls.push_back(other.address);
    }
    if (r.members.empty()) {
      pb::Member& m = r.members.emplace_back();
      m.name = options.host_name;
      m.client_urls.push_back(options.advertise_client_url);
    }
    const size_t size = encoded_size(r);
    call.respond(size, [&](char* p) { wire::encode(r, p, size); });
  }

  const ClusterOptions options;
  UnaryForward forward;
  Promote promote;
  Registration registration;
  Others others;
};

Cluster::Cluster(Context& context, const ClusterOptions& options, grpc::MethodTable& methods)
    : impl_(std::make_unique<Impl>(context, options)) {
  grpc::UnaryHandler* list = impl_.get();
  if (options.advertise_client_url.empty()) list = &impl_->forward;
  methods.add_unary("etcdserverpb.Cluster", "MemberList", *list);
  methods.add_unary("etcdserverpb.Cluster", "MemberPromote", impl_->promote);
}
Cluster::~Cluster() = default;

void Cluster::start() {
  if (impl_->options.resolver_prefix.empty()) return;
  impl_->registration.start();
  if (!impl_->options.advertise_client_url.empty()) impl_->others.start();
}

}  // namespace quoin::cmd::grpcproxy
