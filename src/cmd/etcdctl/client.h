// A client of an etcd cluster, with the ways of etcd's client library: it authenticates when it is made, sends reads
// again, renews its token, and logs each failed attempt.
//
// Threads: call() and stream() from any thread.
// Errors: RpcError, whose text() is what etcdctl prints.
// Source: etcd's client/v3 (client.go, retry_interceptor.go, retry.go).
#pragma once
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cmd/etcdctl/rpc.h"
#include "cmd/etcdctl/transport.h"

namespace quoin::ctl {

struct ClientConfig {
  std::vector<std::string> endpoints;
  int64_t dial_timeout_ns = 0;
  int64_t keepalive_time_ns = 0, keepalive_timeout_ns = 0;
  int64_t send_bytes_max = 0, receive_bytes_max = 0;  // 0: etcd's defaults
  TlsConfig tls;
  std::string user, password;  // either empty: no authentication
  std::string logger = "etcd-client";
};

// Messages in both directions; destroying it cancels the call.
template <class Request, class Response>
class Stream {
 public:
  explicit Stream(std::unique_ptr<RawStream> raw) : raw_(std::move(raw)) {}
  bool write(const Request& message) { return raw_->write(message); }
  void close_send() { raw_->close_send(); }
  // False: no more messages; finish() tells why.
  bool read(Response& message) { return raw_->read(message); }
  // Nothing: it ended well.
  std::optional<RpcError> finish() { return raw_->finish(); }
  // From any thread.
  void cancel() { raw_->cancel(); }

 private:
  std::unique_ptr<RawStream> raw_;
};

class Client {
 public:
  // Errors: the text that etcdctl prints; exit code 2.
  static tl::expected<std::unique_ptr<Client>, std::string> open(ClientConfig config);

  template <class Request, class Response>
  Rpc<Response> call(const Method<Request, Response>& method, const Request& request, Deadline deadline) {
    Response response;
    if (auto e = invoke(method.path, method.repeatable, request, response, deadline)) {
      return tl::unexpected(std::move(*e));
    }
    return response;
  }
  // `needs_leader`: a member without a leader ends the stream (metadata hasleader).
  template <class Request, class Response>
  Rpc<std::unique_ptr<Stream<Request, Response>>> stream(const Method<Request, Response>& method,
                                                         Deadline deadline, bool needs_leader = false) {
    auto raw = open_stream(method.path, deadline, needs_leader);
    if (!raw) return tl::unexpected(std::move(raw.error()));
    return std::make_unique<Stream<Request, Response>>(std::move(*raw));
  }
  const ClientConfig& config() const { return config_; }

 private:
  explicit Client(ClientConfig config);
  std::optional<RpcError> invoke(const char* path, bool repeatable, const MessageLite& request,
                                 MessageLite& response, Deadline deadline);
  Rpc<std::unique_ptr<RawStream>> open_stream(const char* path, Deadline deadline, bool needs_leader);
  // Nothing: there is a token, or none is needed.
  std::optional<RpcError> get_token(Deadline deadline);
  bool has_credentials() const { return !config_.user.empty() && !config_.password.empty(); }
  bool wants_new_token(const RpcError& error) const;
  bool may_repeat(const RpcError& error, bool repeatable) const;
  void pause(unsigned attempt, Deadline deadline) const;
  Metadata metadata(bool needs_leader = false);
  void log_failure(const char* path, unsigned attempt, const CallResult& result) const;
  std::string target() const;

  const ClientConfig config_;
  std::unique_ptr<Transport> transport_;
  std::mutex mutex_;
  std::string token_;  // guarded by mutex_
};

}  // namespace quoin::ctl
