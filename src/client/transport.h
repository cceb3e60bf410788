// One connection to a server: a gRPC client connection on an io::Stream.
//
// Output is coalesced: what one round of the loop produced leaves in one write at its end. No more than
// kOutputHigh bytes are handed to the stream; the rest waits in the calls
// (grpc::ClientConnection::queued_bytes()).
//
// Threads: the loop. Lifetime: the owner drops it by retire(), which may be called from within its callbacks;
// no callback of the owner follows. The environment outlives it. The end: a connection that is lost ends its
// calls with kUnavailable and grpc-go's text.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "client/endpoint.h"
#include "client/environment.h"
#include "grpc/client_connection.h"

namespace quoin::client {

class Transport final : private io::StreamHandler {
 public:
  static constexpr size_t kOutputHigh = 512 << 10;

  class Owner {
   public:
    virtual ~Owner() = default;
    // The server's first frame came: calls may be made.
    virtual void on_ready(Transport&) = 0;
    // It takes no new calls; those open go on.
    virtual void on_draining(Transport&) = 0;
    // Its calls have ended. `error`: grpc-go's text of a connection that never was ready, otherwise of no
    // use.
    virtual void on_lost(Transport&, const std::string& error) = 0;
  };

  // Takes over what was dialled. `tls` none: plain.
  Transport(const Environment& environment, const ConnectionOptions& options, const Endpoint& endpoint,
            bool tls, std::unique_ptr<io::Stream> stream, Owner& owner);
  ~Transport() override;
  static void retire(std::unique_ptr<Transport> transport);

  bool ready() const { return ready_ && !lost_ && !draining_; }
  // Calls are made here; output_ready() follows each of them, and whatever else gives output.
  grpc::ClientConnection& calls() { return calls_; }
  void output_ready();
  std::string_view peer_address() const { return peer_address_; }

 private:
  void on_data(std::string_view bytes) override;
  void on_eof() override;
  void on_drained() override;
  void on_closed(Result<> error) override;
  void flush();
  void lose(std::string_view why);
  void look_after();
  void arm();

  const Environment& env_;
  const ConnectionOptions& options_;
  Owner* owner_;  // null once retired
  grpc::ClientConnection calls_;
  std::unique_ptr<io::Stream> stream_;
  std::string peer_address_;
  http2::ByteQueue out_;
  std::unique_ptr<io::Timer> timer_;  // keepalive
  io::MonotonicNs heard_ = 0, pinged_ = 0;
  bool ready_ = false, draining_ = false, lost_ = false;
  bool flush_scheduled_ = false, handshake_failed_ = false;
  std::string handshake_error_;
  std::shared_ptr<Transport*> alive_;
};

}  // namespace quoin::client
