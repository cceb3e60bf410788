// The way to one endpoint: dials it, dials again, and holds the connection that calls go to.
//
//   kConnecting ──► kReady ──(lost)──► kConnecting
//        └──(failed)──► kFailed ──(after a pause)──► kConnecting, which counts as kFailed until it succeeds
//
// The pauses are gRPC's: one second, then 1.6 times as long each time, at most two minutes, a fifth by
// chance, counted from the attempt's beginning. A connection that was ready and is lost is dialled again at
// once.
//
// Threads: the loop. Lifetime: the listener outlives the link; the link may be dropped within none of its
// callbacks.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/prng.h"
#include "client/transport.h"

namespace quoin::client {

class Link final : private Transport::Owner {
 public:
  enum class State : uint8_t { kConnecting, kReady, kFailed };
  static constexpr int64_t kPauseMinNs = io::kSecond, kPauseMaxNs = 120 * io::kSecond;

  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void on_link_changed(Link&) = 0;
  };

  // Dials at once.
  Link(const Environment& environment, const ConnectionOptions& options, Endpoint endpoint,
       Listener& listener, uint64_t seed);
  ~Link() override;

  State state() const { return state_; }
  // Of kFailed: `connection error: desc = "transport: Error while dialing: dial tcp ..."`.
  const std::string& error() const { return error_; }
  const Endpoint& endpoint() const { return endpoint_; }
  // Where calls go; null unless kReady.
  Transport* transport() { return state_ == State::kReady ? transport_.get() : nullptr; }
  // Ends all calls of it with `text`.
  void close();

 private:
  void dial();
  void dialled(Result<std::unique_ptr<io::Stream>> result);
  void failed(std::string error);
  void change(State state);
  void on_ready(Transport&) override;
  void on_draining(Transport&) override;
  void on_lost(Transport&, const std::string& error) override;

  const Environment& env_;
  const ConnectionOptions& options_;
  const Endpoint endpoint_;
  const bool tls_;
  Listener& listener_;
  Prng prng_;
  State state_ = State::kConnecting;
  std::string error_;
  int64_t pause_ns_ = kPauseMinNs;
  io::MonotonicNs began_ = 0;  // the attempt
  std::unique_ptr<io::Connecting> connecting_;
  std::unique_ptr<io::Timer> timer_;  // of the pause, or of an attempt
  std::unique_ptr<Transport> transport_;
  std::vector<std::unique_ptr<Transport>> draining_;
};

}  // namespace quoin::client
