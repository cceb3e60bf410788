// The failpoints of this process to the outside, as gofail has them: what the environment sets at the start, and an HTTP
// port. Linked into a program of a build with QUOIN_FAILPOINTS alone; built and tested in every one.
//
//   GOFAIL_FAILPOINTS=name=terms[;name=terms]*   set before anything else runs
//   GOFAIL_HTTP=host:port                        served from then on (failpoint/control.h)
//
// Threads: start_failpoints() by main, before other threads but with their signals blocked. The port has a thread of its
// own, which does nothing else and waits in poll().
// Bounds: kConnectionsMax connections (more wait to be accepted), 64 KiB of a request's head and of its body.
// Source: spec failpoints.md sections 1 and 2; gofail 0.2.0.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cmd/etcd/config.h"
#include "failpoint/registry.h"

namespace quoin::cmd {

class FailpointPort {
 public:
  static constexpr size_t kConnectionsMax = 64;

  // Listens on "host:port"; an empty host is every address. The error is worded as Go's.
  static Result<std::unique_ptr<FailpointPort>> open(std::string_view address, failpoint::Registry& registry);
  // Ends the thread and its connections.
  ~FailpointPort();

  uint16_t port() const { return port_; }

 private:
  class Thread;
  FailpointPort(std::unique_ptr<Thread> thread, uint16_t port);

  std::unique_ptr<Thread> thread_;
  const uint16_t port_;
};

// Does what the environment asks for. The text is why the process must end with 1; it is for standard output.
std::optional<std::string> start_failpoints(const Environment& environment);

}  // namespace quoin::cmd
