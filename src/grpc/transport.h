// A gRPC server connection on an io::Stream: reads, writes, one timer.
//
// Output is coalesced: whatever one loop round produced leaves in one write at its end. No more than
// kOutputHigh bytes are handed to the stream; what a slow client does not read stays in the calls' queues,
// where services see it.
//
// Threads: confined to the stream's loop. Lifetime: context, clock and timers outlive it; the stream is
// owned. The owner destroys it after `closed` was called, from a task of its own.
#pragma once
#include <memory>
#include <string_view>

#include "base/task.h"
#include "grpc/server_connection.h"
#include "io/clock.h"
#include "io/stream.h"
#include "io/timer.h"

namespace quoin::grpc {

class ServerTransport final : public io::StreamHandler, private ServerConnection::Notify {
 public:
  static constexpr size_t kOutputHigh = 512 << 10;

  // Takes the stream over. `received` is what was already read from it (by whoever told HTTP/2 from HTTP/1).
  // `closed` is called once, as the last thing, from a callback of the stream.
  ServerTransport(ServerContext& context, std::unique_ptr<io::Stream> stream, PeerInfo peer, io::Clock& clock,
                  io::TimerService& timers, std::string_view received, Task closed);
  ~ServerTransport() override;

  // Graceful stop: GOAWAY; the stream closes once all calls are over.
  void shutdown();
  // Cancels all calls (kServerStopped) and closes.
  void close();
  size_t calls_in_progress() const;

 private:
  void on_data(std::string_view bytes) override;
  void on_eof() override;
  void on_drained() override;
  void on_closed(Result<> error) override;
  void output_ready() override;
  void schedule_flush();
  void flush();
  void arm_timer();
  void fail();

  std::unique_ptr<io::Stream> stream_;
  io::Clock& clock_;
  io::TimerService& timers_;
  ServerConnection connection_;
  http2::ByteQueue out_;
  std::unique_ptr<io::Timer> timer_;
  io::MonotonicNs armed_for_ = kNoDeadline;
  Task closed_;
  std::shared_ptr<ServerTransport*> alive_;  // tasks of the loop may outlive the transport
  bool flush_scheduled_ = false;
  bool closing_ = false;
};

}  // namespace quoin::grpc
