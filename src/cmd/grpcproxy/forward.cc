#include "cmd/grpcproxy/forward.h"

#include "v3rpc/grpc_metrics.h"

namespace quoin::cmd::grpcproxy {

std::string go_error_text(GrpcStatus status, std::string_view text) {
  if (client::is_etcd_error(text)) return std::string(text);
  if (status == GrpcStatus::kDeadlineExceeded) return "context deadline exceeded";
  return fmt::format("rpc error: code = {} desc = {}", v3rpc::code_name(status), text);
}

// ---- one answer ----

class UnaryForward::Passage final : public client::Call {
 public:
  explicit Passage(UnaryForward& owner) : owner_(owner) {}
  grpc::CallId id;
  std::string_view request;
  client::Metadata metadata;

  void on_message(std::string_view message) override {
    if (grpc::Call* call = owner_.context_.calls.find(id)) owner_.answered(*call, request, message);
  }
  void on_end(GrpcStatus status, std::string_view text) override {
    owner_.idle_.push_back(this);
    grpc::Call* call = owner_.context_.calls.find(id);
    if (call == nullptr || status == GrpcStatus::kOk) return;
    if (owner_.way_ == Way::kClient ||
        (owner_.way_ == Way::kWaiting && status == GrpcStatus::kDeadlineExceeded))
      std::tie(status, text) = as_of_client(status, text);
    call->fail(status, text);
  }

 private:
  UnaryForward& owner_;
};

UnaryForward::UnaryForward(Context& context, std::string_view service, std::string_view name, Way way)
    : context_(context), path_(fmt::format("/{}/{}", service, name)), way_(way) {}
UnaryForward::~UnaryForward() = default;

void UnaryForward::pass(grpc::Call& call, std::string_view request, std::string_view asked) {
  if (idle_.empty()) {
    all_.push_back(std::make_unique<Passage>(*this));
    idle_.push_back(all_.back().get());
  }
  Passage& p = *idle_.back();
  idle_.pop_back();
  p.id = call.id();
  p.request = request;
  p.metadata = token_of(call);
  call.context = reinterpret_cast<uint64_t>(&p);
  context_.client.unary(p, {path_}, asked,
                        {.deadline = call.deadline(),
                         .wait_for_ready = way_ != Way::kStub,
                         .metadata = p.metadata.empty() ? nullptr : &p.metadata});
}

GrpcStatus UnaryForward::cancelled(grpc::Call& call, std::string_view request, grpc::CancelReason reason) {
  if (call.context != 0) context_.client.cancel(*reinterpret_cast<Passage*>(call.context));
  return UnaryHandler::cancelled(call, request, reason);
}

void UnaryForward::reply(grpc::Call& call, std::string_view bytes) {
  call.respond(bytes.size(), [&](char* p) { bytes.copy(p, bytes.size()); });
}

// ---- many answers ----

class StreamForward::Stream final : public grpc::StreamListener {
 public:
  Stream(StreamForward& owner, grpc::Call& call)
      : owner_(owner), client_(owner.context_.client), call_(call), metadata_(token_of(call)) {}

  void on_message(std::string_view request) override {
    client_.open(answers_, {owner_.path_},
                 {.deadline = call_.deadline(),
                  .wait_for_ready = false,
                  .metadata = metadata_.empty() ? nullptr : &metadata_});
    client_.send(answers_, request);
    client_.half_close(answers_);
  }
  void on_writable() override { client_.hold(answers_, false); }
  GrpcStatus on_cancelled(grpc::CancelReason reason) override {
    client_.cancel(answers_);
    return StreamListener::on_cancelled(reason);
  }

 private:
  struct Answers final : client::Call {
    explicit Answers(Stream& s) : stream(s) {}
    Stream& stream;
    void on_message(std::string_view answer) override { stream.take(answer); }
    void on_end(GrpcStatus status, std::string_view text) override { stream.end(status, text); }
  };
  void take(std::string_view answer) {
    if (call_.ended()) return;
    call_.send({}, Blob::copy(answer));
    if (!call_.ended() && !call_.writable()) client_.hold(answers_, true);
  }
  void end(GrpcStatus status, std::string_view text) {
    if (call_.ended()) return;
    if (status != GrpcStatus::kOk || owner_.polite_) return call_.finish(status, text);
    call_.finish(GrpcStatus::kUnknown, "EOF");
  }

  StreamForward& owner_;
  client::Client& client_;
  grpc::Call& call_;
  const client::Metadata metadata_;
  Answers answers_{*this};
};

std::unique_ptr<grpc::StreamListener> StreamForward::open(grpc::Call& call) {
  return std::make_unique<Stream>(*this, call);
}

// ---- which methods ----

Forwards::Forwards(Context& context, grpc::MethodTable& methods) {
  const auto unary = [&](std::string_view service, std::initializer_list<std::string_view> names) {
    for (const std::string_view name : names) {
      unary_.push_back(std::make_unique<UnaryForward>(context, service, name, UnaryForward::Way::kStub));
      methods.add_unary(service, name, *unary_.back());
    }
  };
  const auto stream = [&](std::string_view service, std::string_view name, bool polite) {
    streams_.push_back(std::make_unique<StreamForward>(context, service, name, polite));
    methods.add_stream(service, name, grpc::MethodKind::kServerStream, *streams_.back());
  };
  unary("etcdserverpb.Cluster", {"MemberAdd", "MemberRemove", "MemberUpdate"});
  unary("etcdserverpb.Maintenance",
        {"Alarm", "Status", "Defragment", "Hash", "HashKV", "MoveLeader", "Downgrade"});
  stream("etcdserverpb.Maintenance", "Snapshot", true);
  unary("etcdserverpb.Auth",
        {"AuthEnable", "AuthDisable", "AuthStatus", "Authenticate", "UserAdd", "UserGet", "UserList",
         "UserDelete", "UserChangePassword", "UserGrantRole", "UserRevokeRole", "RoleAdd", "RoleGet",
         "RoleList", "RoleDelete", "RoleGrantPermission", "RoleRevokePermission"});
  unary("v3electionpb.Election", {"Campaign", "Proclaim", "Leader", "Resign"});
  stream("v3electionpb.Election", "Observe", false);
  unary("v3lockpb.Lock", {"Lock", "Unlock"});
}

}  // namespace quoin::cmd::grpcproxy
