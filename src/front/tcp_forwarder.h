// Carries the bytes of TCP connections to backends and back, without looking at them: etcd's layer-4 gateway.
//
// A connection gets a backend by BackendChoice. One that cannot be connected to is inactive from then on, and the next
// is tried; inactive ones are dialled again every `retry_ns`. While none is active, clients are closed at once.
//
// The end of one direction, once what it carried is written, ends both: etcd's gateway does not keep a connection that
// is half closed. What the other direction has in its buffers then is lost, but for one last write.
//
// Threads: confined to the loop. Lifetime: everything given outlives it; connections end with it.
// Bounds: a direction holds kHeldBytesMax at most: beyond kHeldBytesPause its sender is not read until all is written.
// The number of connections is the listener's to bound; each takes two descriptors, and while it is dialled by name two
// more. A client is not read before its backend is connected. As in etcd, a dial has no time limit but the system's,
// and nothing counts in metrics, since the gateway serves none.
// Source: spec operations 1.10; etcd's server/proxy/tcpproxy.
#pragma once
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "front/backend_choice.h"
#include "io/clock.h"
#include "io/loop.h"
#include "io/stream.h"
#include "io/timer.h"

namespace quoin::front {

class TcpForwarder {
 public:
  static constexpr size_t kHeldBytesPause = 64 << 10;
  static constexpr size_t kReadBytesMax = 64 << 10;  // of one call of on_data()
  static constexpr size_t kHeldBytesMax = kHeldBytesPause + kReadBytesMax;
  // A shorter delay would do nothing but dial.
  static constexpr int64_t kRetryMinNs = 10 * io::kMillisecond;

  struct Options {
    std::vector<Backend> backends;
    int64_t retry_ns = 60 * io::kSecond;  // 0: five minutes
    uint64_t seed = 0;
  };
  TcpForwarder(Options options, io::Loop& loop, io::Network& network, io::TimerService& timers,
               log::Logger& log);
  ~TcpForwarder();

  // Says that it is ready, and begins to look after inactive backends.
  void start();
  void accepted(std::unique_ptr<io::Stream> client);
  size_t connections() const { return pairs_.size(); }
  // Of all connections and directions, now.
  size_t held_bytes() const;

 private:
  class Pair;
  void connect(Pair& pair);
  void deactivate(size_t backend, const Error& why);
  void retry_later();
  void retry_backends();
  void retried(size_t backend, const Result<std::unique_ptr<io::Stream>>& result);
  void remove(Pair& pair);

  const int64_t retry_ns_;
  io::Loop& loop_;
  io::Network& network_;
  io::TimerService& timers_;
  log::Logger& log_;
  BackendChoice choice_;
  std::unique_ptr<io::Timer> timer_;
  std::vector<std::unique_ptr<io::Connecting>> retries_;  // by backend; null: none runs
  std::list<std::unique_ptr<Pair>> pairs_;
  const std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace quoin::front
