// The etcd program: from a command line to a running member, to a gateway or to a proxy.
#include "cmd/etcd/config.h"
#include "cmd/etcd/config_log.h"
#include "cmd/etcd/data_dir.h"
#include "cmd/etcd/descriptors.h"
#ifdef QUOIN_FAILPOINTS
#include "cmd/etcd/failpoints.h"
#endif
#include "cmd/etcd/grpc_proxy.h"
#include "cmd/etcd/process.h"
#include "cmd/etcd/signals.h"
#include "cmd/etcd/stop_guard.h"
#include "cmd/etcd/tcp_gateway.h"
#include "posix/file.h"
#include "posix/log_sink.h"

extern char** environ;

namespace quoin::cmd {
namespace {

int run(const std::vector<std::string>& args, const Environment& environment) {
  open_standard_descriptors();
  ignore_harmless_signals();
  EndingSignals signals;  // before any thread starts; the log's is the first
  raise_descriptor_limit();
#ifdef QUOIN_FAILPOINTS
  if (const auto refused = start_failpoints(environment)) {
    fmt::print("{}\n", *refused);
    return 1;
  }
#endif
  if (args.size() > 1 && args[1] == "gateway") return run_gateway(args, signals);
  if (args.size() > 1 && args[1] == "grpc-proxy") return run_grpc_proxy(args, signals);
  Command command = read_command_line(args, environment);
  signals.watch();
  Logging logging = start_logging(command);
  if (!logging.sink) return logging.exit_code;
  posix::LogSink& log = *logging.sink;
  posix::install_sigbus_report();

  {
    posix::DiskThread probe("probe");
    const auto fs = posix::make_file_system(probe);
    switch (identify_data_dir(command.config.server.data_dir, *fs, log)) {
      case DataDir::kEmpty:
      case DataDir::kMember:
        break;
      default:
        return 1;  // not reached: a fatal line was written
    }
  }

  Ending ending;
  StopGuard guard(log, [&log] { log.flush(); });
  const int code = Process(command.config, command.start_notices, args, log, guard).run(ending, signals);
  guard.waits_for("the log");
  log.flush();
  if (const int number = ending.signal_number()) {
    guard.forget_log();
    logging.sink.reset();
    EndingSignals::die_by(number);
  }
  return code;
}

}  // namespace
}  // namespace quoin::cmd

// jemalloc's. Without its thread, what a burst of connections left free stays with a member that has little to do:
// an arena is tidied up when it is used.
extern "C" {
extern const char* malloc_conf;
const char* malloc_conf = "background_thread:true";
}

int main(int argc, char** argv) {
  quoin::cmd::Environment environment;
  for (char** e = environ; *e != nullptr; ++e) environment.emplace_back(*e);
  return quoin::cmd::run({argv, argv + argc}, environment);
}
