// A client or peer loop: one thread, one libuv loop, its sockets, and tasks posted to it.
//
// Posting from another thread wakes the loop by an eventfd, once however many tasks wait; posting from the
// loop's own thread costs no system call.
#pragma once
#include <memory>
#include <string>

#include "io/loop.h"
#include "io/stream.h"

struct uv_loop_s;

namespace quoin::posix {

class UvLoop final : public io::Loop {
 public:
  explicit UvLoop(std::string name);
  ~UvLoop() override;  // stops
  void post(Task task) override;
  bool running_here() const override;
  void at_end_of_round(Task task) override;
  void in_next_round(Task task) override;
  // Ends the loop once queued tasks have run and closes every handle. Called from another thread.
  void stop();
  // For the network code of this module.
  uv_loop_s* uv();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class UvNetwork final : public io::Network {
 public:
  Result<std::unique_ptr<io::Listener>> listen(
      const io::ListenAddress& address, std::vector<io::Loop*> loops,
      absl::AnyInvocable<void(std::unique_ptr<io::Stream>)> accept) override;
  void connect(const io::ListenAddress& address, io::Loop& loop,
               absl::AnyInvocable<void(Result<std::unique_ptr<io::Stream>>)> done) override;
};

}  // namespace quoin::posix
