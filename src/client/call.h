// One call of a client, as its user sees it. The user derives from it, owns it and may use it again for the
// next call: its buffers stay, and nothing is allocated for a call that fits them.
//
// Threads: the client's loop. Lifetime: from Client::unary() or open() until on_end() the call must live;
// dropping an active one cancels it without a word.
// Re-entrance: within its methods everything of the client may be called but close() and the destructor, also
// a new call with the same object within on_end().
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error_table.h"
#include "client/retry.h"
#include "grpc/client_connection.h"
#include "grpc/deadline_heap.h"
#include "io/clock.h"

namespace quoin::client {

class Client;
class Transport;

struct Method {
  std::string_view path;  // "/etcdserverpb.KV/Range", a constant
  Retry retry = Retry::kNever;
};

using Metadata = std::vector<std::pair<std::string, std::string>>;

struct CallOptions {
  io::MonotonicNs deadline = INT64_MAX;  // INT64_MAX: none
  // While no endpoint can be reached the call waits, until its deadline. Otherwise it fails as soon as that
  // is known.
  bool wait_for_ready = true;
  const Metadata* metadata = nullptr;  // lives until the call ends; names in lower case
};

class Call : private grpc::ClientListener {
 public:
  Call() = default;
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  ~Call() override;

  // An answer of a unary call comes before its end, and only if it ends well.
  virtual void on_message(std::string_view message) = 0;
  // The last event: the server's status, or
  //   kDeadlineExceeded  "context deadline exceeded", or how the wait for a connection failed
  //   kCanceled          "context canceled": cancel() was called; "grpc: the client connection is closing"
  //   kUnavailable       no connection, or it was lost: grpc-go's text
  //   kResourceExhausted a message is too long, or too much waits in the client
  virtual void on_end(GrpcStatus status, std::string_view text) = 0;
  // Of a stream: everything that was sent is in the connection's hands.
  virtual void on_all_sent() {}

  bool active() const { return phase_ != Phase::kIdle; }

  // For the heap of deadlines.
  io::MonotonicNs heap_key() const { return options_.deadline; }
  uint32_t heap_place = grpc::DeadlineHeap<Call>::kNoPlace;

 private:
  friend class Client;
  enum class Phase : uint8_t {
    kIdle,
    kWaiting,  // for a connection or a token
    kPausing,  // between two attempts
    kRunning,
    kEnding,  // on_end() follows at the end of the round
  };
  void on_message(http2::StreamId, std::string_view message) override;
  void on_end(http2::StreamId, GrpcStatus status, std::string_view text) override;
  void on_refused(http2::StreamId, std::string_view text) override;
  void on_sent(http2::StreamId) override;

  Client* client_ = nullptr;
  Transport* transport_ = nullptr;  // while kRunning
  http2::StreamId stream_ = 0;
  Method method_;
  CallOptions options_;
  std::string request_;               // of a unary call
  std::vector<std::string> backlog_;  // of a stream, while it waits
  std::string answer_;                // of a unary call that may fail yet
  size_t charged_bytes_ = 0;          // in the client's bound
  unsigned attempt_ = 0;
  uint64_t token_version_ = 0;
  Phase phase_ = Phase::kIdle;
  bool unary_ = false, half_closed_ = false, held_ = false, answered_ = false, refused_once_ = false;
  GrpcStatus end_status_ = GrpcStatus::kOk;
  std::string end_text_;
};

}  // namespace quoin::client
