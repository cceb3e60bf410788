#include "cmd/etcdctl/transport.h"

#include <grpc/support/log.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/impl/client_unary_call.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/impl/rpc_method.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <grpcpp/support/channel_arguments.h>
#include <grpcpp/support/sync_stream.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <sstream>

#include "base/check.h"
#include "base/result.h"
#include "cmd/etcdctl/dial_error.h"
#include "cmd/etcdctl/tls_check.h"

namespace quoin::ctl {
namespace {

using grpc::internal::RpcMethod;

// Of the whole process, as grpc++'s log is; set before the first transport is made.
bool log_shown = false;

std::string system_roots() {
  for (const char* path : {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"}) {
    std::ifstream in(path);
    if (!in) continue;
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  return "";
}

std::shared_ptr<grpc::ChannelCredentials> tls_credentials(const TlsConfig& tls) {
  if (!tls.skip_verify) {
    return grpc::SslCredentials({.pem_root_certs = tls.ca.empty() ? system_roots() : tls.ca,
                                 .pem_private_key = tls.key,
                                 .pem_cert_chain = tls.certificate});
  }
  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_verify_server_certs(false);
  options.set_check_call_host(false);
  if (!tls.certificate.empty()) {
    std::vector<grpc::experimental::IdentityKeyCertPair> pairs{{tls.key, tls.certificate}};
    options.set_certificate_provider(
        std::make_shared<grpc::experimental::StaticDataCertificateProvider>(pairs));
    options.watch_identity_key_cert_pairs();
  }
  return grpc::experimental::TlsCredentials(options);
}

// grpc++ names the other side "ipv4:127.0.0.1:2379".
std::string peer_address(const std::string& peer) {
  for (const std::string_view scheme : {"ipv4:", "ipv6:", "unix:"}) {
    if (peer.starts_with(scheme)) return peer.substr(scheme.size());
  }
  return peer;
}

class GrpcTransport;

class GrpcStream final : public RawStream {
 public:
  GrpcStream(const std::shared_ptr<grpc::Channel>& channel, const char* path)
      : method_(path, RpcMethod::BIDI_STREAMING) {
    channel_ = channel;
  }
  ~GrpcStream() override {
    context.TryCancel();
    if (call_ && !finished_) call_->Finish();
  }
  void start() {
    call_.reset(grpc::internal::ClientReaderWriterFactory<MessageLite, MessageLite>::Create(
        channel_.get(), method_, &context));
  }
  bool write(const MessageLite& message) override { return call_->Write(message); }
  void close_send() override { call_->WritesDone(); }
  bool read(MessageLite& message) override { return call_->Read(&message); }
  std::optional<RpcError> finish() override;
  void cancel() override { context.TryCancel(); }

  grpc::ClientContext context;
  Deadline deadline;

 private:
  std::shared_ptr<grpc::Channel> channel_;
  RpcMethod method_;
  std::unique_ptr<grpc::ClientReaderWriter<MessageLite, MessageLite>> call_;
  bool finished_ = false;
};

RpcError read_status(const grpc::Status& status, const Deadline& deadline) {
  RpcError e{static_cast<GrpcStatus>(status.error_code()), status.error_message(), false};
  const bool cut_short = e.status == GrpcStatus::kDeadlineExceeded || e.status == GrpcStatus::kCanceled;
  // grpc++'s timer and this clock may differ by a little.
  constexpr auto kSlack = std::chrono::milliseconds(2);
  e.by_deadline = cut_short && deadline.at && std::chrono::steady_clock::now() + kSlack >= *deadline.at;
  return e;
}

std::optional<RpcError> GrpcStream::finish() {
  finished_ = true;
  const grpc::Status status = call_->Finish();
  if (status.ok()) return std::nullopt;
  return read_status(status, deadline);
}

class GrpcTransport final : public Transport {
 public:
  explicit GrpcTransport(TransportConfig config) : config_(std::move(config)) {}

  CallResult call(const char* path, const MessageLite& request, MessageLite& response, Deadline deadline,
                  const Metadata& metadata) override {
    const size_t size = request.ByteSizeLong();
    if (size > static_cast<size_t>(config_.send_bytes_max)) {
      return {RpcError{GrpcStatus::kResourceExhausted,
                       fmt::format("trying to send message larger than max ({} vs. {})", size,
                                   config_.send_bytes_max)},
              ""};
    }
    if (deadline.passed()) return {too_late(), ""};
    const std::shared_ptr<grpc::Channel> channel = pick(deadline);
    if (!channel) return {not_connected(), ""};
    grpc::ClientContext context;
    prepare(context, deadline, metadata);
    const RpcMethod method(path, RpcMethod::NORMAL_RPC);
    const grpc::Status status = grpc::internal::BlockingUnaryCall<MessageLite, MessageLite>(
        channel.get(), method, &context, request, &response);
    if (status.ok()) return {std::nullopt, ""};
    RpcError error = read_status(status, deadline);
    // Without a connection grpc++ names the target as the peer.
    const bool reached = channel->GetState(false) == GRPC_CHANNEL_READY || !error.by_deadline;
    if (!reached) return {not_connected(), ""};
    if (error.by_deadline) error.message = "context deadline exceeded";
    // The one text of grpc++ that differs from grpc-go's and that a user's own flag brings about.
    if (error.status == GrpcStatus::kResourceExhausted &&
        error.message.starts_with("Received message larger")) {
      error.message = "grpc: r" + error.message.substr(1);
    }
    return {error, peer_address(context.peer())};
  }

  std::unique_ptr<RawStream> stream(const char* path, Deadline deadline, const Metadata& metadata,
                                    std::optional<RpcError>& error) override {
    const std::shared_ptr<grpc::Channel> channel = pick(deadline);
    if (!channel) {
      error = not_connected();
      return nullptr;
    }
    auto s = std::make_unique<GrpcStream>(channel, path);
    s->deadline = deadline;
    prepare(s->context, deadline, metadata);
    s->start();
    return s;
  }

 private:
  static void prepare(grpc::ClientContext& context, const Deadline& deadline, const Metadata& metadata) {
    for (const auto& [key, value] : metadata) context.AddMetadata(key, value);
    context.set_wait_for_ready(true);
    if (deadline.at) {
      const auto left = *deadline.at - std::chrono::steady_clock::now();
      context.set_deadline(std::chrono::system_clock::now() + left);
    }
  }

  void open() {
    if (!channels_.empty()) return;
    grpc::ChannelArguments args;
    constexpr int64_t kMs = 1'000'000, kKeepaliveMsMin = 10'000;
    if (config_.keepalive_time_ns > 0) {
      args.SetInt(
          GRPC_ARG_KEEPALIVE_TIME_MS,
          static_cast<int>(std::clamp<int64_t>(config_.keepalive_time_ns / kMs, kKeepaliveMsMin, INT_MAX)));
      args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                  static_cast<int>(std::clamp<int64_t>(config_.keepalive_timeout_ns / kMs, 1, INT_MAX)));
    }
    args.SetMaxReceiveMessageSize(config_.receive_bytes_max);
    args.SetMaxSendMessageSize(-1);
    // Each transport has connections of its own: etcd's client has, and endpoints are asked one by one.
    args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    args.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
    const auto credentials = secure() ? tls_credentials(config_.tls) : grpc::InsecureChannelCredentials();
    for (const Endpoint& e : config_.endpoints) {
      grpc::ChannelArguments own = args;
      if (secure()) own.SetSslTargetNameOverride(server_name(e));
      if (e.is_unix && !secure()) own.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
      channels_.push_back(grpc::CreateCustomChannel(e.target, credentials, own));
    }
    waiting_.resize(channels_.size());
  }

  // The next connected channel; null if none was until the deadline. A single channel is not looked at: its calls wait.
  std::shared_ptr<grpc::Channel> pick(const Deadline& deadline) {
    const std::lock_guard lock(mutex_);
    open();
    if (deadline.passed()) return nullptr;
    if (channels_.size() == 1) return channels_[0];
    for (;;) {
      for (size_t i = 0; i < channels_.size(); ++i) {
        const size_t at = (next_ + i) % channels_.size();
        if (channels_[at]->GetState(true) != GRPC_CHANNEL_READY) continue;
        next_ = at + 1;
        return channels_[at];
      }
      if (!wait_for_change(deadline)) return nullptr;
    }
  }

  bool wait_for_change(const Deadline& deadline) {
    for (size_t i = 0; i < channels_.size(); ++i) {
      if (waiting_[i]) continue;
      waiting_[i] = true;
      channels_[i]->NotifyOnStateChange(channels_[i]->GetState(true),
                                        std::chrono::system_clock::now() + std::chrono::hours(24 * 365),
                                        changes_, reinterpret_cast<void*>(i));
    }
    void* tag = nullptr;
    bool ok = false;
    if (!deadline.at) {
      if (!changes_->Next(&tag, &ok)) return false;
    } else {
      const auto until = std::chrono::system_clock::now() + (*deadline.at - std::chrono::steady_clock::now());
      if (changes_->AsyncNext(&tag, &ok, until) != grpc::CompletionQueue::GOT_EVENT) return false;
    }
    waiting_[reinterpret_cast<size_t>(tag)] = false;
    return true;
  }

  static RpcError too_late() { return {GrpcStatus::kDeadlineExceeded, "context deadline exceeded", true}; }

  bool secure() const {
    const Endpoint::Tls first = config_.endpoints[0].tls;
    return first == Endpoint::Tls::kAlways || (first == Endpoint::Tls::kIfConfigured && config_.tls.enabled);
  }

  const std::string& server_name(const Endpoint& e) const {
    return config_.tls.server_name.empty() ? e.server_name : config_.tls.server_name;
  }

  RpcError not_connected() const {
    std::string why;
    for (const Endpoint& e : config_.endpoints) {
      const auto handshake = [&](int fd) {
        const std::string said = handshake_error(fd, config_.tls, system_roots(), server_name(e));
        return said.empty() ? said : "transport: authentication handshake failed: " + said;
      };
      why = secure() ? dial_error(e, handshake) : dial_error(e);
      if (!why.empty()) break;
    }
    if (why.empty()) {
      why = "context deadline exceeded while waiting for connections to become ready";
    } else {
      why = fmt::format("latest balancer error: connection error: desc = \"{}\"", why);
    }
    return {GrpcStatus::kDeadlineExceeded, why, true};
  }

  const TransportConfig config_;
  std::mutex mutex_;
  // Guarded by mutex_.
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  size_t next_ = 0;
  std::vector<char> waiting_;  // those that will say to changes_ when their state changes
  // Never freed: what waits in it would have to be waited for, and a program has few transports.
  grpc::CompletionQueue* const changes_ = new grpc::CompletionQueue;
};

}  // namespace

std::unique_ptr<Transport> make_transport(TransportConfig config) {
  CHECK(!config.endpoints.empty(), "a transport without endpoints");
  // Before grpc++ starts. The machine's resolver knows what c-ares does not, and costs nothing without names.
  setenv("GRPC_DNS_RESOLVER", "native", 0);
  if (!log_shown) gpr_set_log_function([](gpr_log_func_args*) {});
  return std::make_unique<GrpcTransport>(std::move(config));
}

void show_transport_log() {
  log_shown = true;
  gpr_set_log_verbosity(GPR_LOG_SEVERITY_INFO);
}

}  // namespace quoin::ctl
