#include "cmd/etcd/config_log.h"

#include <cstdio>

#include "base/check.h"
#include "httpapi/gzip.h"

namespace quoin::cmd {
namespace {

// Logger::log takes its fields as an initializer list, which cannot be built at run time: one arm per count.
void log_notice(const Notice& n, log::Logger& logger) {
  if (!logger.enabled(n.level)) return;
  const auto field = [&n](size_t i) {
    return std::visit([&](const auto& v) { return log::Field(n.fields[i].first, v); }, n.fields[i].second);
  };
  const auto send = [&](std::initializer_list<log::Field> fields) {
    logger.log(log::Event{n.level, n.message, fields, __FILE__, __LINE__});
  };
  switch (n.fields.size()) {
    case 0:
      return send({});
    case 1:
      return send({field(0)});
    case 2:
      return send({field(0), field(1)});
    default:
      CHECK(n.fields.size() <= 2, "notice with {} fields", n.fields.size());
  }
}

}  // namespace

void emit(const std::vector<Notice>& notices, log::Logger& logger) {
  for (const Notice& n : notices) log_notice(n, logger);
}

posix::LogSinkOptions log_sink_options(const LogConfig& config) {
  posix::LogSinkOptions o;
  o.level = config.level;
  o.format = config.console ? posix::LogFormat::kConsole : posix::LogFormat::kJson;
  o.outputs = config.outputs;
  if (config.rotation) {
    o.rotation = posix::LogRotateOptions{.max_size_mib = config.rotation->max_size_mib,
                                         .max_age_days = config.rotation->max_age_days,
                                         .max_backups = config.rotation->max_backups,
                                         .local_time = config.rotation->local_time,
                                         .compress = config.rotation->compress,
                                         .gzip = [] {
                                           auto gzip = std::make_shared<httpapi::GzipStream>();
                                           return [gzip](std::string_view piece, bool last,
                                                         std::string& out) { gzip->add(piece, last, out); };
                                         }};
  }
  return o;
}

Logging start_logging(const Command& command) {
  std::fputs(command.out.c_str(), stdout);
  std::fflush(stdout);
  std::fputs(command.err.c_str(), stderr);
  std::fflush(stderr);
  Logging out;
  out.exit_code = command.exit_code;
  if (command.notices.empty() && command.action == Command::Action::kExit) return out;

  auto early = posix::LogSink::open({});
  CHECK(early.has_value(), "standard error cannot fail to open");
  auto configured = posix::LogSink::open(log_sink_options(command.config.log));
  if (!configured) {
    // etcd meets this while it verifies the flags, so the rest of the notices never comes.
    log::Logger& logger = **early;
    for (const Notice& n : command.notices) {
      if (n.early || n.message == "Running: ") log_notice(n, logger);
    }
    LOG(logger, kWarn, "failed to verify flags", {"error", configured.error().text()});
    out.exit_code = 1;
    return out;
  }
  // Two writers, one order: each is flushed before the other speaks.
  const Notice* before = nullptr;
  for (const Notice& n : command.notices) {
    if (before != nullptr && before->early != n.early) (before->early ? *early : *configured)->flush();
    log_notice(n, n.early ? **early : **configured);
    before = &n;
  }
  (*early)->flush();
  (*configured)->flush();
  if (command.action == Command::Action::kRun) out.sink = std::move(*configured);
  return out;
}

}  // namespace quoin::cmd
