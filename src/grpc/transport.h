// A gRPC server connection on an io::Stream: reads, writes, timers, and the connection's end.
//
// Output is coalesced: whatever one loop round produced leaves in one write at its end. No more than
// kOutputHigh bytes are handed to the stream; what a slow client does not read stays in the calls' queues,
// where services see it. Nothing is read while the stream is full (a client that does not read its answers
// can't make new calls), while the connection is blocked(), unfed() or coding_full(), and after kInputHigh
// bytes in one round. Input that feed() leaves for later and each further step of compression go on in a turn
// of the loop (turns.h), so that a connection that sends as fast as it can holds up the others for one turn.
//
// States, in this order, some of them skipped:
//   open      the usual one
//   draining  shutdown() was called: a GOAWAY went out, calls in progress go on; at most kDrainNs
//   parting   no call is left. The last bytes leave, then the sending side is shut down. Input is read and
//             dropped until the client closes, because closing a socket with unread input makes the kernel
//             send a reset, and a reset destroys a GOAWAY that the client has not read. At most kPartingNs
//   closed    the stream is closed, `closed` follows
// close() leads from every state to closed at once. So do the client's end and an unanswered keepalive ping.
//
// Threads: confined to the stream's loop. Lifetime: context, clock and timers outlive it; the stream is
// owned. The owner destroys it after `closed` was called, from a task of its own.
#pragma once
#include <memory>
#include <string_view>

#include "base/task.h"
#include "grpc/server_connection.h"
#include "grpc/turns.h"
#include "io/clock.h"
#include "io/stream.h"
#include "io/timer.h"

namespace quoin::grpc {

class ServerTransport final : public io::StreamHandler, private ServerConnection::Notify {
 public:
  static constexpr size_t kOutputHigh = 512 << 10;
  static constexpr size_t kInputHigh = 64 << 10;
  // How often a blocked() connection is asked whether it still is.
  static constexpr int64_t kBlockedNs = 10 * io::kMillisecond;
  static constexpr int64_t kDrainNs = 30 * io::kSecond;
  static constexpr int64_t kPartingNs = io::kSecond;

  // Takes the stream over. `received` is what was already read from it (by whoever told HTTP/2 from HTTP/1).
  // `closed` is called once, as the last thing, from a callback of the stream.
  ServerTransport(ServerContext& context, std::unique_ptr<io::Stream> stream, PeerInfo peer, io::Clock& clock,
                  io::TimerService& timers, std::string_view received, Task closed);
  ~ServerTransport() override;

  // Graceful stop: GOAWAY; the stream closes once all calls are over, or after kDrainNs.
  void shutdown();
  // Cancels all calls (kServerStopped) and closes at once, whatever the state.
  void close();
  size_t calls_in_progress() const;

 private:
  enum class State : uint8_t { kOpen, kDraining, kParting, kClosed };

  void on_data(std::string_view bytes) override;
  void on_eof() override;
  void on_drained() override;
  void on_closed(Result<> error) override;
  void output_ready() override;
  bool serving() const { return state_ == State::kOpen || state_ == State::kDraining; }
  void schedule_flush();
  void flush();
  void write_out();
  void regulate_input();
  void arm_timer();
  void arm_limit(int64_t ns);
  void look_again();
  void feed(std::string_view bytes);
  void want_turn();
  void take_turn();
  void part();
  void cut(CancelReason reason);

  std::unique_ptr<io::Stream> stream_;
  io::Clock& clock_;
  io::TimerService& timers_;
  Turns& turns_;
  ServerConnection connection_;
  http2::ByteQueue out_;
  std::unique_ptr<io::Timer> timer_;  // the connection's: deadlines, keepalive
  io::MonotonicNs armed_for_ = kNoDeadline;
  std::unique_ptr<io::Timer> limit_;    // of draining or parting
  std::unique_ptr<io::Timer> blocked_;  // the connection was blocked()
  Task closed_;
  std::shared_ptr<ServerTransport*> alive_;  // tasks of the loop may outlive the transport
  State state_ = State::kOpen;
  size_t fed_bytes_ = 0;  // since the last flush
  bool flush_scheduled_ = false;
  bool turn_wanted_ = false;
  bool input_paused_ = false;
};

}  // namespace quoin::grpc
