#include "cmd/etcd/tls_setup.h"

#include <gtest/gtest.h>

#include <future>

#include "posix/clock.h"
#include "posix/file.h"
#include "posix/timers.h"

namespace quoin::cmd {
namespace {

class Silent final : public log::Logger {
 public:
  bool enabled(log::Level) const override { return false; }
  void log(const log::Event&) override {}
};

// While the threads for clients' handshakes are busy, those for members' are not.
TEST(TlsSetup, ClientsDoNotHoldUpMembers) {
  posix::DiskThread files("files");
  const auto file_system = posix::make_file_system(files);
  posix::SystemClock clock;
  posix::ThreadTimers timers(clock);
  Silent log;
  metrics::Registry metrics;
  Config config;
  TlsSetup setup(config, *file_system, files, timers, clock, log, metrics);
  std::promise<void> over, accepted, dialled;
  const auto end = over.get_future().share();
  for (int i = 0; i < 1000; ++i) setup.clients().handshakes->post([end] { end.wait(); });
  setup.peers().handshakes->post([&accepted] { accepted.set_value(); });
  setup.to_peers().handshakes->post([&dialled] { dialled.set_value(); });
  EXPECT_EQ(accepted.get_future().wait_for(std::chrono::seconds(30)), std::future_status::ready);
  EXPECT_EQ(dialled.get_future().wait_for(std::chrono::seconds(30)), std::future_status::ready);
  over.set_value();
  setup.stop();
  files.stop();
}

}  // namespace
}  // namespace quoin::cmd
