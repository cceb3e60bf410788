// TLS as a filter between two io::Stream: what is written goes out encrypted over an inner stream, what comes
// in over it reaches the handler in clear. Both roles.
//
// Order of things: the handshake begins at once (or when the limit lets it); `done` tells its end, once;
// plaintext is delivered from then on, as soon as a handler is set. What is written before waits for the
// handshake.
//   on_eof      the other side said close_notify, or ended its stream between two records (as Go takes it)
//   shutdown()  sends what is queued, then close_notify, then ends our side of the inner stream
//   close()     drops everything at once; `done` does not run any more
//   on_closed   with Go's text if TLS failed: "remote error: tls: bad certificate", "unexpected EOF"
// A handshake fails as Go's: the alert is sent, `done` has the error, the stream closes, on_closed follows.
// Dropping the stream within `done` may lose the alert.
//
// Threads: confined to the inner stream's loop. Steps of the handshake run on StreamOptions::handshakes, one
// at a time of a stream; its tasks end before the loop does. Callbacks may do anything with the stream,
// dropping it included.
// Costs on the loop: encrypting and decrypting, in turns of at most kTurnBytes (about 0.1 ms); a handshake's
// arithmetic only if no executor is given for it.
// Bounds, per connection: encrypted output up to kInnerQueueMax waits in the inner stream, the rest in clear
// in this one, where queued_bytes() counts it; the writer bounds the sum by queued_bytes() and on_drained, as
// with any stream. Input: while reading is paused, a step runs, or the other side does not take our answers,
// at most what the inner stream gave with its last on_data.
// Source: io/stream.h; etcd's client/pkg/transport/listener_tls.go (10 s, checks after the handshake).
#pragma once
#include <absl/functional/any_invocable.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "io/stream.h"
#include "io/timer.h"
#include "tls/handshake_limit.h"
#include "tls/session.h"
#include "tls/verify.h"

namespace quoin::tls {

struct StreamOptions {
  std::shared_ptr<const Credentials> credentials;
  SessionOptions session;
  std::string received;  // of the wire, read already by whoever found out that this is TLS
  // Threads that compute. Null: the loop does, for tests and tools.
  io::Executor* handshakes = nullptr;
  io::TimerService* timers = nullptr;
  int64_t handshake_timeout_ns = 10 * io::kSecond;
  HandshakeLimit* limit = nullptr;
  // The server role: names in a client's certificate are checked against its address (peer and metrics
  // listeners).
  NameLookup* san_lookup = nullptr;
  // Time for that check, beside the handshake's.
  int64_t san_timeout_ns = 30 * io::kSecond;
};

struct HandshakeOutcome {
  Result<> result;
  // Also of a failed handshake, as far as it came.
  Identity identity;
  // The connection ended before the handshake did: etcd logs that for debugging only.
  bool eof = false;
};

class Stream final : public io::Stream, private io::StreamHandler {
 public:
  static constexpr size_t kTurnBytes = 128 << 10;
  static constexpr size_t kInnerQueueMax = 256 << 10;
  using Done = absl::AnyInvocable<void(HandshakeOutcome)>;

  // On the inner stream's loop. `done` runs as a task or callback of it, not within the constructor.
  Stream(std::unique_ptr<io::Stream> inner, StreamOptions options, Done done);
  ~Stream() override;

  void set_handler(io::StreamHandler* handler) override;
  void pause_reading() override;
  void resume_reading() override;
  void write(std::string bytes) override;
  void write(Blob bytes) override;
  size_t queued_bytes() const override;
  void shutdown() override;
  void close() override;
  void set_unacknowledged_timeout(int64_t ns) override { inner_->set_unacknowledged_timeout(ns); }
  const std::string& peer_address() const override { return inner_->peer_address(); }
  const std::string& local_address() const override { return inner_->local_address(); }
  io::Loop& loop() override { return loop_; }

 private:
  enum class Phase : uint8_t { kWaiting, kHandshake, kCheck, kOpen, kClosing };
  struct Piece {
    std::variant<std::string, Blob> bytes;
    size_t sent = 0;
    std::string_view rest() const;
  };
  using Alive = std::weak_ptr<int>;

  // io::StreamHandler of the inner stream.
  void on_data(std::string_view bytes) override;
  void on_eof() override;
  void on_drained() override;
  void on_closed(Result<> error) override;

  void begin(HandshakeLimit::Place place);
  void run_step();
  void after_step();
  void check_names();
  void finish_handshake();
  // Ends the connection with this error: sends what the session has to say first.
  void fail(Error error, bool eof);
  // Tells `done`; false if this object is gone afterwards.
  bool tell(HandshakeOutcome outcome);
  Error io_error(std::string_view why) const;

  void deliver();
  void schedule_deliver();
  void encrypt();
  void schedule_encrypt();
  // As much as fits in one turn. Returns whether the turn is over with work left.
  bool encrypt_turn();
  void flush();
  void close_when_drained();
  void update_reading();

  const std::unique_ptr<io::Stream> inner_;
  StreamOptions options_;
  io::Loop& loop_;
  Done done_;
  io::StreamHandler* handler_ = nullptr;
  std::shared_ptr<Session> session_;  // a running step holds it too
  std::shared_ptr<void> waiter_;
  HandshakeLimit::Place place_;
  std::unique_ptr<io::Timer> timer_;
  std::unique_ptr<SanCheck> san_check_;
  std::string held_;  // came while a step ran
  std::deque<Piece> out_;
  size_t out_bytes_ = 0;
  Result<> close_error_;
  Phase phase_ = Phase::kWaiting;
  bool step_running_ = false, inner_eof_ = false, inner_reading_ = false, paused_ = false;
  bool eof_told_ = false, shutdown_wanted_ = false, shutdown_done_ = false;
  bool deliver_scheduled_ = false, encrypt_scheduled_ = false;
  const std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace quoin::tls
