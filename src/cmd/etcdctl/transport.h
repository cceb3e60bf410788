// Calls over grpc++, without its headers: they cost seconds to compile, so one file includes them (transport.cc).
//
// A transport has a channel to each endpoint and sends each call over the next one that is connected, as grpc-go's
// round_robin does; a call waits until one is. Nothing is connected before the first call.
//
// Threads: all functions from any thread. A stream: one thread writes while another reads.
// Lifetime: streams do not outlive their transport.
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cmd/etcdctl/endpoint.h"
#include "cmd/etcdctl/rpc.h"

namespace google::protobuf {
class MessageLite;
}

namespace quoin::ctl {

using MessageLite = google::protobuf::MessageLite;
using Metadata = std::vector<std::pair<std::string, std::string>>;

struct TlsConfig {
  bool enabled = false;  // for endpoints without http or https
  bool skip_verify = false;
  std::string ca, certificate, key;  // PEM; ca empty: the system's roots
  std::string server_name;           // instead of the endpoint's; empty: that one
};

struct TransportConfig {
  std::vector<Endpoint> endpoints;
  TlsConfig tls;
  int64_t keepalive_time_ns = 0, keepalive_timeout_ns = 0;
  int send_bytes_max = 0, receive_bytes_max = 0;
};

struct CallResult {
  std::optional<RpcError> error;
  // The other side and our own; empty: the call never reached a connection.
  std::string peer;
};

// A call with a stream in one or both directions. Destroying it cancels the call.
class RawStream {
 public:
  virtual ~RawStream() = default;
  // False: the stream is dead; read() and finish() tell why.
  virtual bool write(const MessageLite& message) = 0;
  virtual void close_send() = 0;
  // Waits for a message. False: there is none any more.
  virtual bool read(MessageLite& message) = 0;
  // How it ended; after read() returned false.
  virtual std::optional<RpcError> finish() = 0;
  // From any thread: read() and write() return at once.
  virtual void cancel() = 0;
};

class Transport {
 public:
  virtual ~Transport() = default;
  virtual CallResult call(const char* path, const MessageLite& request, MessageLite& response,
                          Deadline deadline, const Metadata& metadata) = 0;
  // Null, with the reason in `error`, if no connection came in time.
  virtual std::unique_ptr<RawStream> stream(const char* path, Deadline deadline, const Metadata& metadata,
                                            std::optional<RpcError>& error) = 0;
};

std::unique_ptr<Transport> make_transport(TransportConfig config);

// Shows grpc++'s own log on standard error, for --debug. Without it grpc++ is silent.
void show_transport_log();

}  // namespace quoin::ctl
