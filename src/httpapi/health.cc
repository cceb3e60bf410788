#include "httpapi/health.h"

#include <algorithm>
#include <optional>
#include <set>
#include <tuple>

#include "base/go_text.h"

namespace quoin::httpapi {
namespace {

std::string_view alarm_name(AlarmType type) {
  switch (type) {
    case AlarmType::kNospace:
      return "NOSPACE";
    case AlarmType::kCorrupt:
      return "CORRUPT";
    case AlarmType::kUnknown:
      return "UNKNOWN";
  }
  return "UNKNOWN";
}

}  // namespace

// Results of the checks of one call, in the order of their lines. Reads may complete on any thread.
struct Health::Run {
  std::string type, path;
  bool verbose = false;
  Reply reply;
  struct Outcome {
    Check check;
    std::optional<std::string> error;  // nothing: passed
  };
  std::vector<Outcome> outcomes;
  std::mutex mutex;
  size_t pending = 0;
};

Health::Health(HealthSource& source, metrics::Registry& registry, log::Logger& logger)
    : source_(source),
      registry_(registry),
      logger_(logger),
      success_(registry.counter("etcd_server_health_success", "Health checks that succeeded.")),
      failures_(registry.counter("etcd_server_health_failures", "Health checks that failed.")) {}

std::string_view Health::name_of(Check check) {
  switch (check) {
    case Check::kDataCorruption:
      return "data_corruption";
    case Check::kSerializableRead:
      return "serializable_read";
    case Check::kLinearizableRead:
      return "linearizable_read";
    case Check::kNonLearner:
      return "non_learner";
  }
  return "";
}

bool Health::serve(const Request& request, Reply& reply) {
  const std::string_view path = request.path;
  if (path == "/health") {
    serve_health(request, std::move(reply));
    return true;
  }
  for (const bool ready : {false, true}) {
    const std::string type = ready ? "readyz" : "livez";
    const std::vector<Check> checks = ready ? std::vector{Check::kDataCorruption, Check::kSerializableRead,
                                                          Check::kLinearizableRead, Check::kNonLearner}
                                            : std::vector{Check::kSerializableRead};
    const std::string root = "/" + type;
    if (path == root) {
      serve_checks(type, root, checks, request, std::move(reply));
      return true;
    }
    for (const Check c : checks) {
      const std::string own = fmt::format("{}/{}", root, name_of(c));
      if (path != own) continue;
      serve_checks(type, own, {c}, request, std::move(reply));
      return true;
    }
  }
  return false;
}

void Health::serve_health(const Request& request, Reply reply) {
  if (request.method != "GET") {
    LOG(logger_, kWarn, "/health error", {"status-code", 405});
    return reply(method_not_allowed());
  }
  const Query query(request.query);
  const auto excluded = query.all("exclude");
  for (const Alarm& alarm : source_.alarms()) {
    const std::string_view name = alarm_name(alarm.type);
    if (std::find(excluded.begin(), excluded.end(), name) != excluded.end()) continue;
    LOG(logger_, kWarn, "serving /health false due to an alarm",
        {"alarm", fmt::format("memberID:{} alarm:{} ", alarm.member_id, name)});
    return finish_health(fmt::format("ALARM {}", name), std::move(reply));
  }
  const bool serializable = query.get("serializable") == "true";
  if (!serializable && !source_.has_leader()) {
    LOG(logger_, kWarn, "serving /health false; no leader");
    return finish_health("RAFT NO LEADER", std::move(reply));
  }
  source_.probe_read(serializable, [this, reply = std::move(reply)](Result<> read) mutable {
    std::string reason;
    if (!read) {
      LOG(logger_, kWarn, "serving /health false; Range fails", {"error", read.error().text()});
      reason = fmt::format("RANGE ERROR:{}", read.error().text());
    }
    finish_health(reason, std::move(reply));
  });
}

void Health::finish_health(const std::string& reason, Reply reply) {
  const std::string body = fmt::format("{{\"health\":\"{}\",\"reason\":{}}}",
                                       reason.empty() ? "true" : "false", go_json_string(reason));
  if (reason.empty()) {
    success_.inc();
    LOG(logger_, kDebug, "/health OK", {"status-code", 200});
    return reply({200, {{"Content-Type", "text/plain; charset=utf-8"}}, body});
  }
  failures_.inc();
  LOG(logger_, kWarn, "/health error", {"output", body}, {"status-code", 503});
  reply(error_response(503, body));
}

void Health::serve_checks(std::string type, std::string path, std::vector<Check> checks,
                          const Request& request, Reply reply) {
  if (request.method != "GET") {
    LOG(logger_, kWarn, "Health request error", {"path", path}, {"status-code", 405});
    return reply(method_not_allowed());
  }
  const Query query(request.query);
  if (path == "/" + type) {  // only the root paths know exclude
    std::set<std::string> unknown;
    for (const std::string_view name : query.all("exclude")) {
      if (name.empty()) continue;
      const auto at =
          std::find_if(checks.begin(), checks.end(), [name](Check c) { return name_of(c) == name; });
      if (at != checks.end())
        checks.erase(at);
      else
        unknown.insert(std::string(name));
    }
    // A name given twice was known the first time.
    for (const Check c :
         {Check::kDataCorruption, Check::kSerializableRead, Check::kLinearizableRead, Check::kNonLearner}) {
      const bool served = type == "readyz" || c == Check::kSerializableRead;
      if (served) unknown.erase(std::string(name_of(c)));
    }
    if (!unknown.empty()) {
      std::string names;
      for (const std::string& name : unknown) names += (names.empty() ? "" : ",") + go_quote(name);
      LOG(logger_, kWarn, "some health checks cannot be excluded", {"missing-health-checks", names});
    }
  }
  auto run = std::make_shared<Run>();
  run->type = std::move(type);
  run->path = std::move(path);
  run->verbose = query.has("verbose");
  run->reply = std::move(reply);
  for (const Check c : checks) run->outcomes.push_back({c, std::nullopt});
  run->pending = checks.size() + 1;  // one for this function, so that the last read finds all started

  const auto settle = [this, run](size_t i, std::optional<std::string> error) {
    {
      std::lock_guard lock(run->mutex);
      if (i < run->outcomes.size()) run->outcomes[i].error = std::move(error);
      if (--run->pending > 0) return;
    }
    finish_checks(*run);
  };
  for (size_t i = 0; i < checks.size(); ++i) {
    switch (checks[i]) {
      case Check::kDataCorruption: {
        const auto alarms = source_.alarms();
        const bool corrupt = std::any_of(alarms.begin(), alarms.end(),
                                         [](const Alarm& a) { return a.type == AlarmType::kCorrupt; });
        settle(i, corrupt ? std::optional<std::string>("alarm activated: CORRUPT") : std::nullopt);
        break;
      }
      case Check::kNonLearner:
        settle(i,
               source_.is_learner() ? std::optional<std::string>("not supported for learner") : std::nullopt);
        break;
      case Check::kSerializableRead:
      case Check::kLinearizableRead:
        source_.probe_read(checks[i] == Check::kSerializableRead, [settle, i](Result<> read) {
          settle(i, read ? std::nullopt : std::optional<std::string>(read.error().text()));
        });
        break;
    }
  }
  settle(checks.size(), std::nullopt);
}

void Health::finish_checks(Run& run) {
  std::string lines;
  bool ok = true;
  for (const Run::Outcome& o : run.outcomes) {
    if (o.error)
      lines += fmt::format("[-]{} failed: {}\n", name_of(o.check), *o.error);
    else
      lines += fmt::format("[+]{} ok\n", name_of(o.check));
    ok = ok && !o.error;
    count(run.type, name_of(o.check), !o.error);
  }
  if (!ok) {
    LOG(logger_, kError, "Health check error", {"path", run.path}, {"reason", lines}, {"status-code", 503});
    return run.reply(error_response(503, lines));
  }
  LOG(logger_, kDebug, "Health check OK", {"path", run.path}, {"reason", lines}, {"status-code", 200});
  Response r = error_response(200, "ok");
  if (run.verbose) r.body.insert(0, lines);
  run.reply(std::move(r));
}

void Health::count(const std::string& type, std::string_view name, bool ok) {
  const std::string status = ok ? "success" : "error";
  const std::string check(name);
  std::lock_guard lock(mutex_);
  metrics::Gauge*& last = last_[{type, check}];
  if (last == nullptr) {
    last = &registry_.gauge("etcd_server_healthcheck", "Last result of each health check.",
                            {{"type", type}, {"name", check}});
  }
  last->set(ok ? 1 : 0);
  metrics::Counter*& runs = runs_[{type, check, status}];
  if (runs == nullptr) {
    runs = &registry_.counter("etcd_server_healthchecks_total", "Runs of each health check.",
                              {{"type", type}, {"name", check}, {"status", status}});
  }
  runs->inc();
}

}  // namespace quoin::httpapi
