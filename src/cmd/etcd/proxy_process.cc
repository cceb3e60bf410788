#include "cmd/etcd/proxy_process.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <future>
#include <thread>

#include "cmd/etcd/descriptors.h"
#include "cmd/etcd/signals.h"

namespace quoin::cmd {

int finish(const GatewayEnd& end) {
  std::fputs(end.out.c_str(), stdout);
  std::fflush(stdout);
  std::fputs(end.err.c_str(), stderr);
  return end.exit_code;
}

void die_with_log(int number, posix::LogSink& log) {
  std::promise<void> written;
  std::thread([&] {
    log.flush();
    written.set_value();
  }).detach();
  written.get_future().wait_for(std::chrono::seconds(1));
  EndingSignals::die_by(number, EndingSignals::kKilled);
}

size_t connections_within_limit(uint64_t descriptors_each) {
  const uint64_t open_max = descriptor_limit().open_max;
  const uint64_t left = open_max > DescriptorLimit::kReserved ? open_max - DescriptorLimit::kReserved : 0;
  return static_cast<size_t>(std::max<uint64_t>(1, left / descriptors_each));
}

}  // namespace quoin::cmd
