// A client or peer loop: one thread, one libuv loop, its sockets, and tasks posted to it.
//
// One round: look at the sockets, run what was posted before, run what at_end_of_round() collected. A task
// that is posted from within the round, by whatever thread, waits for the next one, so a chain of tasks never
// keeps the sockets waiting. Neither do many tasks: after a millisecond of posted tasks, and again after one of
// ends of the round, the rest goes on in the next round, in its order.
//
// Posting from another thread wakes the loop by an eventfd, once however many tasks wait; posting from the
// loop's own thread costs no system call, and the loop then looks at its sockets without waiting.
#pragma once
#include <memory>
#include <string>

#include "io/loop.h"
#include "io/stream.h"
#include "posix/dns.h"
#include "posix/executors.h"

struct uv_loop_s;

namespace quoin::posix {

class UvLoop final : public io::Loop {
 public:
  explicit UvLoop(std::string name);
  ~UvLoop() override;  // stops
  void post(Task task) override;
  bool running_here() const override;
  void at_end_of_round(Task task) override;
  // Ends the loop once queued tasks have run and closes every handle. Called from another thread.
  void stop();
  // Posted tasks, ends of rounds, and what arrives from sockets.
  const TaskMeter& meter() const;
  // For the network code of this module.
  TaskMeter& own_meter();
  uv_loop_s* uv();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// What all streams of this process hold of output that their peers do not take. Any thread.
size_t queued_output_bytes();

class UvNetwork final : public io::Network {
 public:
  explicit UvNetwork(DnsOptions dns = {}) : dns_(std::move(dns)) {}
  Result<std::unique_ptr<io::Listener>> listen(
      const io::ListenAddress& address, std::vector<io::Loop*> loops,
      absl::AnyInvocable<void(std::unique_ptr<io::Stream>)> accept) override;
  std::unique_ptr<io::Connecting> connect(
      const io::ListenAddress& address, const io::ConnectOptions& options, io::Loop& loop,
      absl::AnyInvocable<void(Result<std::unique_ptr<io::Stream>>)> done) override;

 private:
  const DnsOptions dns_;
};

}  // namespace quoin::posix
