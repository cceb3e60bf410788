#include "cmd/etcdctl/client.h"

#include <climits>
#include <random>
#include <thread>

#include "base/result.h"
#include "cmd/etcdctl/api_version.h"
#include "cmd/etcdctl/client_log.h"
#include "cmd/etcdctl/methods.h"

namespace quoin::ctl {
namespace {

constexpr unsigned kAttemptsMax = 100;
constexpr int kSendBytesDefault = 2 * 1024 * 1024;
constexpr auto kPause = std::chrono::microseconds(25'000);
constexpr double kPauseJitter = 0.1;

}  // namespace

Client::Client(ClientConfig config) : config_(std::move(config)) {
  TransportConfig t;
  for (const std::string& e : config_.endpoints) t.endpoints.push_back(read_endpoint(e));
  t.tls = config_.tls;
  t.keepalive_time_ns = config_.keepalive_time_ns;
  t.keepalive_timeout_ns = config_.keepalive_timeout_ns;
  const auto bound = [](int64_t given, int standard) {
    return given > 0 ? static_cast<int>(std::min<int64_t>(given, INT_MAX)) : standard;
  };
  t.send_bytes_max = bound(config_.send_bytes_max, kSendBytesDefault);
  t.receive_bytes_max = bound(config_.receive_bytes_max, INT_MAX);
  transport_ = make_transport(std::move(t));
}

tl::expected<std::unique_ptr<Client>, std::string> Client::open(ClientConfig config) {
  if (config.endpoints.empty()) return tl::unexpected(std::string("etcdclient: no available endpoints"));
  if (config.receive_bytes_max > 0 && config.send_bytes_max > config.receive_bytes_max) {
    return tl::unexpected(
        fmt::format("gRPC message recv limit ({} bytes) must be greater than send limit ({} bytes)",
                    config.receive_bytes_max, config.send_bytes_max));
  }
  std::unique_ptr<Client> client(new Client(std::move(config)));
  const int64_t limit = client->config_.dial_timeout_ns;
  if (auto e = client->get_token(limit > 0 ? Deadline::after(limit) : Deadline::never())) {
    return tl::unexpected(e->text());
  }
  return client;
}

std::optional<RpcError> Client::get_token(Deadline deadline) {
  if (!has_credentials()) return std::nullopt;
  pb::AuthenticateRequest request;
  request.set_name(config_.user);
  request.set_password(config_.password);
  pb::AuthenticateResponse response;
  auto error = invoke(kAuthenticate.path, kAuthenticate.repeatable, request, response, deadline);
  if (error && !error->is(Code::kAuthNotEnabled)) return error;
  const std::lock_guard lock(mutex_);
  token_ = error ? "" : response.token();
  return std::nullopt;
}

Metadata Client::metadata(bool needs_leader) {
  Metadata m{{"client-api-version", std::string(kApiVersion)}};
  if (needs_leader) m.emplace_back("hasleader", "true");
  const std::lock_guard lock(mutex_);
  if (!token_.empty()) m.emplace_back("token", token_);
  return m;
}

bool Client::wants_new_token(const RpcError& e) const {
  if (e.is(Code::kUserEmpty)) return has_credentials();
  return e.is(Code::kInvalidAuthToken) || e.is(Code::kAuthOldRevision);
}

bool Client::may_repeat(const RpcError& e, bool repeatable) const {
  if (e.is(Code::kNotSupportedForLearner) && config_.endpoints.size() > 1) return true;
  return repeatable && e.status == GrpcStatus::kUnavailable;
}

// After each round over a quorum of the endpoints: a dead one must not be asked in a tight loop.
void Client::pause(unsigned attempt, Deadline deadline) const {
  const unsigned quorum = static_cast<unsigned>(config_.endpoints.size()) / 2 + 1;
  if (attempt == 0 || attempt % quorum != 0) return;
  thread_local std::minstd_rand random{std::random_device{}()};
  std::uniform_real_distribution<double> factor(1 - kPauseJitter, 1 + kPauseJitter);
  auto until = std::chrono::steady_clock::now() +
               std::chrono::duration_cast<std::chrono::nanoseconds>(kPause * factor(random));
  if (deadline.at) until = std::min(until, *deadline.at);
  std::this_thread::sleep_until(until);
}

std::string Client::target() const {
  return fmt::format("etcd-endpoints://{}/{}", static_cast<const void*>(this),
                     authority_of(config_.endpoints[0]));
}

void Client::log_failure(const char* path, unsigned attempt, const CallResult& result) const {
  const std::string auth = config_.tls.enabled ? "tls" : "insecure";
  const std::string peer =
      result.peer.empty()
          ? "Peer{Addr: <nil>, LocalAddr: <nil>, AuthInfo: <nil>}"
          : fmt::format("Peer{{Addr: '{}', LocalAddr: <nil>, AuthInfo: '{}'}}", result.peer, auth);
  log_line("warn", config_.logger, "retrying of unary invoker failed",
           {{"target", target()},
            {"peer", peer},
            {"method", path},
            {"attempt", static_cast<uint64_t>(attempt)},
            {"error", result.error->grpc_text()}});
}

std::optional<RpcError> Client::invoke(const char* path, bool repeatable, const MessageLite& request,
                                       MessageLite& response, Deadline deadline) {
  std::optional<RpcError> last;
  for (unsigned attempt = 0; attempt < kAttemptsMax; ++attempt) {
    pause(attempt, deadline);
    const CallResult result = transport_->call(path, request, response, deadline, metadata());
    if (!result.error) return std::nullopt;
    last = result.error;
    log_failure(path, attempt, result);
    if (last->status == GrpcStatus::kDeadlineExceeded || last->status == GrpcStatus::kCanceled) {
      if (last->by_deadline) return last;
      continue;  // not this call's deadline but one of the server
    }
    if (wants_new_token(*last)) {
      if (auto refused = get_token(deadline)) {
        log_line("warn", config_.logger, "retrying of unary invoker failed to fetch new auth token",
                 {{"target", target()}, {"error", refused->grpc_text()}});
        return refused;
      }
      continue;
    }
    if (!may_repeat(*last, repeatable)) return last;
  }
  return last;
}

Rpc<std::unique_ptr<RawStream>> Client::open_stream(const char* path, Deadline deadline, bool needs_leader) {
  // A token may have ended since the last call; a stream cannot be sent again when the server says so.
  if (auto refused = get_token(deadline)) {
    log_line("error", config_.logger, "clientv3/retry_interceptor: getToken failed",
             {{"error", refused->text()}});
    return tl::unexpected(std::move(*refused));
  }
  std::optional<RpcError> error;
  auto raw = transport_->stream(path, deadline, metadata(needs_leader), error);
  if (!raw) return tl::unexpected(std::move(*error));
  return raw;
}

}  // namespace quoin::ctl
