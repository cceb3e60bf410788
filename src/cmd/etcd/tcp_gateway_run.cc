// The gateway on the real machine.
#include <cstdio>
#include <cstdlib>
#include <future>
#include <random>

#include "base/check.h"
#include "cmd/etcd/notify.h"
#include "cmd/etcd/proxy_process.h"
#include "cmd/etcd/tcp_gateway.h"
#include "front/tcp_forwarder.h"
#include "posix/clock.h"
#include "posix/executors.h"
#include "posix/file.h"
#include "posix/log_sink.h"
#include "posix/loop.h"
#include "posix/resolver.h"
#include "posix/timers.h"
#include "tls/credentials.h"

namespace quoin::cmd {
namespace {

// Two of an open connection; the third is the share of those that are dialled by name, which try two addresses at a
// time.
constexpr uint64_t kDescriptorsEach = 3;

Result<> dial_once(io::Network& network, io::Loop& loop, const std::string& host, uint16_t port) {
  constexpr int64_t kDialNs = 5 * io::kSecond;  // etcd's
  std::promise<Result<>> done;
  std::unique_ptr<io::Connecting> attempt =
      network.connect({false, host, port}, {kDialNs, ""}, loop, [&](Result<std::unique_ptr<io::Stream>> r) {
        if (r) {
          r->reset();
          done.set_value({});
        } else {
          done.set_value(r.error());
        }
      });
  const Result<> outcome = done.get_future().get();
  std::promise<void> dropped;
  loop.post([&] {
    attempt.reset();
    dropped.set_value();
  });
  dropped.get_future().wait();
  return outcome;
}

Result<> check_trusted(const std::string& path) {
  posix::SystemClock clock;
  posix::DiskThread files("files");
  const auto fs = posix::make_file_system(files);
  tls::Options options;
  options.trusted_ca_file = path;
  TRY(tls::Credentials::load(options, tls::Role::kClient, *fs, clock, nullptr));
  return {};
}

// Everything lives until a signal ends the process.
int serve(GatewayPlan plan, int64_t retry_ns, posix::UvNetwork& network, posix::UvLoop& loop,
          posix::LogSink& log, EndingSignals& signals) {
  posix::SystemClock clock;
  posix::ThreadTimers timers(clock);
  std::random_device random;
  front::TcpForwarder forwarder({std::move(plan.backends), retry_ns, (uint64_t{random()} << 32) | random()},
                                loop, network, timers, log);
  plan.listen.wait = true;
  plan.listen.connections_max = connections_within_limit(kDescriptorsEach);
  auto listener = network.listen(plan.listen, {&loop}, [&](std::unique_ptr<io::Stream> client) {
    forwarder.accepted(std::move(client));
  });
  if (!listener) {
    const int code = finish({"", fmt::format("{}\n", listener.error().text()), 1});
    loop.stop();
    return code;
  }
  signals.handle([&log](int number) { die_with_log(number, log); });
  const char* socket = std::getenv("NOTIFY_SOCKET");
  notify_init(socket == nullptr ? "" : socket, log);
  loop.post([&] {
    forwarder.start();
    (*listener)->start();
  });
  std::promise<void>().get_future().wait();
  return 0;  // not reached
}

}  // namespace

int run_gateway(const std::vector<std::string>& args, EndingSignals& signals) {
  GatewayCommand command = read_gateway_command(args);
  signals.watch();
  if (!command.options) return finish(command.end);
  auto log = posix::LogSink::open({});
  CHECK(log.has_value(), "standard error cannot fail to open");
  LOG(**log, kInfo, "Running: ", {"args", args});
  posix::UvNetwork network;
  posix::UvLoop loop("gateway");
  loop.post([] { posix::LogSink::forbid_waiting(); });
  posix::DnsResolver resolver;
  const auto planned = plan_gateway(
      *command.options,
      {resolver, [&](const std::string& host, uint16_t port) { return dial_once(network, loop, host, port); },
       check_trusted, **log});
  (*log)->flush();
  if (!planned.plan) return finish(planned.end);
  return serve(*planned.plan, command.options->retry_delay_ns, network, loop, **log, signals);
}

}  // namespace quoin::cmd
