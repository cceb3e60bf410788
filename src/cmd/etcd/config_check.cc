#include "cmd/etcd/config_check.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "cmd/etcd/config_options.h"
#include "cmd/etcd/config_url.h"
#include "cmd/etcd/flags_text.h"
#include "posix/log_duration.h"

namespace quoin::cmd {
namespace {

template <class... A>
Error invalid(fmt::format_string<A...> f, A&&... args) {
  return make_error(Code::kInvalidArgument, f, std::forward<A>(args)...);
}

std::string quoted_list(const std::vector<std::string>& list) {
  std::vector<std::string> quoted;
  for (const std::string& s : list) quoted.push_back(go_quote(s));
  return "[" + join(quoted, " ") + "]";
}

bool is_console_output(std::string_view output) {
  return output == "default" || output == "stderr" || output == "stdout";
}

// zap's level names, in any case.
std::optional<log::Level> parse_level(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  if (text == "debug") return log::Level::kDebug;
  if (text == "info" || text.empty()) return log::Level::kInfo;
  if (text == "warn") return log::Level::kWarn;
  if (text == "error") return log::Level::kError;
  if (text == "dpanic") return static_cast<log::Level>(3);
  if (text == "panic") return log::Level::kPanic;
  if (text == "fatal") return log::Level::kFatal;
  return std::nullopt;
}

std::string_view json_kind(const nlohmann::ordered_json& v) {
  if (v.is_string()) return "string";
  if (v.is_boolean()) return "bool";
  if (v.is_array()) return "array";
  if (v.is_object()) return "object";
  return "number";
}

Result<LogRotation> parse_rotation(const std::string& text) {
  const auto json = nlohmann::ordered_json::parse(text, nullptr, false);
  if (json.is_discarded()) {
    std::string detail = "unexpected end of JSON input";
    try {  // once more for the place of the fault
      const auto unreached = nlohmann::ordered_json::parse(text);
    } catch (const nlohmann::json::parse_error& e) {
      if (e.byte <= text.size() && e.byte > 0) {
        detail = fmt::format("invalid character '{}' at offset {}", text[e.byte - 1], e.byte);
      }
    }
    return invalid("improperly formatted log rotation config: {}", detail);
  }
  if (json.is_null()) return LogRotation{};
  if (!json.is_object()) {
    return invalid(
        "invalid log rotation config: json: cannot unmarshal {} into Go value of type "
        "embed.logRotationConfig",
        json_kind(json));
  }
  LogRotation out;
  out.max_size_mib = 0;
  for (const auto& [key, value] : json.items()) {
    std::string name = key;
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    const auto mismatch = [&name, &value = value](std::string_view type) {
      return invalid(
          "invalid log rotation config: json: cannot unmarshal {} into Go struct field "
          "logRotationConfig.Logger.{} of "
          "type {}",
          value.is_number() && type == "int" ? "number " + value.dump() : std::string(json_kind(value)), name,
          type);
    };
    if (value.is_null()) continue;
    int64_t* number = name == "maxsize"      ? &out.max_size_mib
                      : name == "maxage"     ? &out.max_age_days
                      : name == "maxbackups" ? &out.max_backups
                                             : nullptr;
    bool* flag = name == "localtime" ? &out.local_time : name == "compress" ? &out.compress : nullptr;
    if (number != nullptr) {
      if (!value.is_number_integer()) return mismatch("int");
      *number = value.get<int64_t>();
    } else if (flag != nullptr) {
      if (!value.is_boolean()) return mismatch("bool");
      *flag = value.get<bool>();
    }
  }
  if (out.max_size_mib == 0) out.max_size_mib = 100;
  return out;
}

Result<> check_logging(const FlagSet& flags, CheckState& state) {
  const std::string& logger = flags.at("logger").value.text;
  if (logger == "capnslog") return invalid("--logger=capnslog is removed in v3.5");
  if (logger != "zap") return invalid("unknown logger option {}", go_quote(logger));
  LogConfig log;
  log.outputs = flags.at("log-outputs").value.list;
  if (log.outputs.empty()) log.outputs = {"default"};
  const auto has = [&log](std::string_view o) {
    return std::find(log.outputs.begin(), log.outputs.end(), o) != log.outputs.end();
  };
  if (log.outputs.size() > 1 && has("default"))
    return invalid("multi logoutput for \"default\" is not supported yet");
  if (flags.at("enable-log-rotation").value.boolean) {
    const auto files = std::count_if(log.outputs.begin(), log.outputs.end(),
                                     [](const std::string& o) { return !is_console_output(o); });
    if (files > 1 || (files == 0 && log.outputs.size() == 1)) {
      return invalid("--log-outputs requires a single file path when --log-rotate-config-json is defined");
    }
    ASSIGN_OR_RETURN(log.rotation, parse_rotation(flags.at("log-rotation-config-json").value.text));
    if (files == 0) log.rotation.reset();
  }
  if (has("systemd/journal") && log.outputs.size() > 1) {
    return invalid(
        "running with systemd/journal but other '--log-outputs' values ({}) are configured with 'default'; "
        "override "
        "'default' value with something else",
        quoted_list(log.outputs));
  }
  const std::string& level = flags.at("log-level").value.text;
  const auto parsed = parse_level(level);
  if (!parsed) {
    state.panic = fmt::format("panic: unrecognized level: {}\n", go_quote(level));
    return invalid("unrecognized level: {}", go_quote(level));
  }
  log.level = *parsed;
  const std::string& format = flags.at("log-format").value.text;
  if (format != "json" && format != "console") {
    return invalid("unknown log format: {}, supported values json, console", format);
  }
  log.console = format == "console";
  state.log = std::move(log);
  state.log_ready = true;
  return {};
}

Result<> check_bind(const Urls& urls) {
  for (const Url& u : urls) {
    if (u.is_unix()) continue;
    ASSIGN_OR_RETURN(const auto host_port, split_host_port(u.host));
    if (host_port.first != "localhost" && !is_ip(host_port.first)) {
      return invalid("expected IP in URL for binding ({})", u.text());
    }
  }
  return {};
}

Result<> check_advertise(const FlagSet& flags, std::string_view name) {
  const Urls urls = urls_of(flags, name);
  for (const Url& u : urls) {
    auto host_port = split_host_port(u.host);
    if (host_port && !host_port->first.empty()) continue;
    const std::string reason = host_port ? fmt::format("unexpected empty host ({})", u.text())
                                         : std::string(host_port.error().text());
    return invalid("--{} {} must be \"host:port\" ({})", name, go_quote(joined(urls)), reason);
  }
  return {};
}

Result<> check_urls(const FlagSet& flags, CheckState& state) {
  TRY(check_bind(urls_of(flags, "listen-peer-urls")));
  TRY(check_bind(urls_of(flags, "listen-client-urls")));
  TRY(check_bind(urls_of(flags, "listen-client-http-urls")));
  if (flags.at("listen-client-http-urls").value.list.empty()) {
    state.warnings.push_back(
        {log::Level::kWarn,
         false,
         "Running http and grpc server on single port. This is not recommended for production.",
         {}});
  }
  TRY(check_bind(urls_of(flags, "listen-metrics-urls")));
  TRY(check_advertise(flags, "initial-advertise-peer-urls"));
  return check_advertise(flags, "advertise-client-urls");
}

Result<> check_bootstrap_options(const FlagSet& flags) {
  const auto text = [&flags](std::string_view name) -> const std::string& {
    return flags.at(name).value.text;
  };
  const auto& endpoints = flags.at("discovery-endpoints").value.list;
  const std::string& state = text("initial-cluster-state");
  if (!state.empty() && state != "new" && state != "existing") {
    return invalid("unexpected clusterState {}", go_quote(state));
  }
  const int given = (text("discovery").empty() ? 0 : 1) + (text("initial-cluster").empty() ? 0 : 1) +
                    (text("discovery-srv").empty() ? 0 : 1) + (endpoints.empty() ? 0 : 1);
  if (given > 1) {
    return invalid(
        "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery\", "
        "\"discovery-endpoints\" or \"discovery-srv\"");
  }
  bool v3 = !endpoints.empty();
  for (const std::string_view name : {"discovery-token", "discovery-cert", "discovery-key",
                                      "discovery-cacert", "discovery-user", "discovery-password"}) {
    v3 = v3 || !text(name).empty();
  }
  if (!text("discovery-proxy").empty() && v3) {
    return invalid(
        "both v2 discovery settings (discovery, discovery-proxy) and v3 discovery settings (discovery-token, "
        "discovery-endpoints, discovery-cert, discovery-key, discovery-cacert, discovery-user, "
        "discovery-password) are "
        "set");
  }
  if (text("discovery-token").empty() != endpoints.empty()) {
    return invalid("both --discovery-token and --discovery-endpoints must be set");
  }
  for (const std::string& e : endpoints) {
    if (trim_space(e).empty()) return invalid("--discovery-endpoints must not contain empty endpoints");
  }
  return {};
}

Result<> check_timing(const FlagSet& flags) {
  constexpr uint64_t kElectionMsMax = 50000;
  const uint64_t tick = flags.at("heartbeat-interval").value.number;
  const uint64_t election = flags.at("election-timeout").value.number;
  if (tick == 0) return invalid("--heartbeat-interval must be >0 (set to {}ms)", tick);
  if (election == 0) return invalid("--election-timeout must be >0 (set to {}ms)", election);
  // As etcd multiplies: a huge interval wraps round and is then caught by the limit of the other.
  if (5 * tick > election) {
    return invalid("--election-timeout[{}ms] should be at least as 5 times as --heartbeat-interval[{}ms]",
                   election, tick);
  }
  if (election > kElectionMsMax) {
    return invalid("--election-timeout[{}ms] is too long, and should be set less than {}ms", election,
                   kElectionMsMax);
  }
  if (tick > election) return invalid("--heartbeat-interval[{}ms] is longer than --election-timeout", tick);
  return {};
}

Result<> check_tracing(const FlagSet& flags) {
  if (!flags.at("enable-distributed-tracing").value.boolean) return {};
  const int64_t rate = flags.at("distributed-tracing-sampling-rate").value.integer;
  if (rate < 0) {
    return invalid(
        "distributed tracing configurition is not valid: (tracing sampling rate must be positive)");
  }
  if (rate > 1000000) {
    return invalid(
        "distributed tracing configurition is not valid: (tracing sampling rate must be less than 1000000)");
  }
  return {};
}

Result<> check_tls_versions(const FlagSet& flags) {
  const auto rank = [](const std::string& v) -> Result<int> {
    if (v.empty()) return 0;
    if (v == "TLS1.2") return 2;
    if (v == "TLS1.3") return 3;
    return invalid("unexpected TLS version {} (must be one of: TLS1.2, TLS1.3)", go_quote(v));
  };
  const std::string& low = flags.at("tls-min-version").value.text;
  const std::string& high = flags.at("tls-max-version").value.text;
  ASSIGN_OR_RETURN(const int min, rank(low));
  ASSIGN_OR_RETURN(const int max, rank(high));
  if (max != 0 && min > max) return invalid("min version ({}) is greater than max version ({})", low, high);
  if (min == 3 && !flags.at("cipher-suites").value.list.empty()) {
    return invalid("cipher suites cannot be configured when only TLS1.3 is enabled");
  }
  return {};
}

bool same_value(const FlagValue& a, const FlagValue& b) {
  return a.text == b.text && a.boolean == b.boolean && a.number == b.number && a.integer == b.integer &&
         a.list == b.list && a.gates == b.gates;
}

}  // namespace

Urls urls_of(const FlagSet& flags, std::string_view name) {
  Urls out;
  for (const std::string& text : flags.at(name).value.list) {
    auto parsed = parse_urls(text);
    CHECK(parsed.has_value() && parsed->size() == 1, "--{} holds {}", name, text);
    out.push_back(std::move(parsed->front()));
  }
  return out;
}

Result<> merge_gate_flags(FlagSet& flags, const std::set<std::string>& explicitly_set,
                          std::string_view gates_text) {
  auto& gates = flags.find("feature-gates")->value.gates;
  std::string settings;
  for (const Option& o : options()) {
    constexpr std::string_view kPrefix = "feature-gates=";
    if (o.successor.substr(0, kPrefix.size()) != kPrefix || explicitly_set.count(std::string(o.name)) == 0)
      continue;
    const std::string_view gate = o.successor.substr(kPrefix.size());
    const bool value = flags.at(o.name).value.boolean;
    if (gates_text.find(gate) != std::string_view::npos) {
      return invalid(
          "cannot specify both flags: --{0}={1} and --feature-gates={2}={3} at the same time, please just "
          "use "
          "--feature-gates={2}={3}",
          o.name, value, gate, gate_enabled(gates, gate));
    }
    settings += fmt::format("{}={},", gate, value);
  }
  return set_gates(settings, gates);
}

Result<> check_options(const FlagSet& flags, CheckState& state) {
  for (const Option& o : options()) {
    if (o.successor.empty() || o.successor.find('=') != std::string_view::npos) continue;
    if (state.explicitly_set.count(std::string(o.name)) != 0 &&
        state.explicitly_set.count(std::string(o.successor)) != 0) {
      return invalid("cannot set --{0} and --{1} at the same time, please use --{1} only", o.name,
                     o.successor);
    }
  }
  TRY(check_logging(flags, state));
  TRY(check_urls(flags, state));
  TRY(check_bootstrap_options(flags));
  TRY(check_timing(flags));
  if (flags.at("advertise-client-urls").value.list.empty() &&
      !flags.at("listen-client-urls").value.list.empty()) {
    return invalid("--advertise-client-urls is required when --listen-client-urls is set explicitly");
  }
  const std::string& mode = flags.at("auto-compaction-mode").value.text;
  if (mode.empty()) return invalid("undefined auto-compaction-mode");
  if (mode != "periodic" && mode != "revision")
    return invalid("unknown auto-compaction-mode {}", go_quote(mode));
  TRY(check_tracing(flags));
  const auto& gates = flags.at("feature-gates").value.gates;
  const bool checkpoint = gate_enabled(gates, "LeaseCheckpoint");
  const bool persist = gate_enabled(gates, "LeaseCheckpointPersist");
  if (checkpoint && !persist) {
    state.warnings.push_back(
        {log::Level::kWarn,
         false,
         "Detected that checkpointing is enabled without persistence. Consider enabling feature "
         "gate LeaseCheckpointPersist",
         {}});
  }
  if (persist && !checkpoint) {
    return invalid(
        "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint");
  }
  for (const std::string_view name : {"experimental-compact-hash-check-time", "compact-hash-check-time"}) {
    const int64_t ns = flags.at(name).value.integer;
    if (ns <= 0) return invalid("--{} must be >0 (set to {})", name, posix::duration_text(ns));
  }
  const std::string& name = flags.at("name").value.text;
  if (name == "default") {
    state.warnings.push_back(
        {log::Level::kWarn,
         false,
         "it isn't recommended to use default name, please set a value for --name. Note that etcd "
         "might run into issue when multiple members have the same default name",
         {{"name", name}}});
  }
  return check_tls_versions(flags);
}

Result<> apply_renames(FlagSet& flags, const CheckState& state, std::vector<Notice>& warnings) {
  for (const Option& o : options()) {
    if (o.successor.empty() || o.successor.find('=') != std::string_view::npos) continue;
    if (state.explicitly_set.count(std::string(o.name)) != 0) {
      flags.find(o.successor)->value = flags.at(o.name).value;
    }
  }
  FlagValue& unary = flags.find("warning-unary-request-duration")->value;
  const int64_t old_unary = flags.at("experimental-warning-unary-request-duration").value.integer;
  if (old_unary != 0 && unary.integer != 0) {
    return invalid(
        "both --experimental-warning-unary-request-duration and --warning-unary-request-duration flags are "
        "set. Use "
        "only --warning-unary-request-duration");
  }
  if (unary.integer == 0 && old_unary != 0) {
    unary.integer = old_unary;
    warnings.push_back(
        {log::Level::kWarn,
         false,
         "--experimental-warning-unary-request-duration is deprecated, and will be decommissioned in "
         "v3.7. Use --warning-unary-request-duration instead.",
         {}});
  }
  if (!state.log_ready) return {};
  for (const std::string& name : state.explicitly_set) {
    for (const Option& o : options()) {
      if (o.name == name && !o.deprecation.empty()) {
        warnings.push_back({log::Level::kWarn, false, std::string(o.deprecation), {}});
      }
    }
  }
  return {};
}

// What changes nothing by itself, in etcd too: the details of tracing while it is off.
static bool unused_alone(const Option& o) {
  // Takes nothing away from a member: /debug/pprof answers 404. config.cc warns.
  if (o.name == "enable-pprof") return true;
  return o.name != "enable-distributed-tracing" && o.name != "experimental-enable-distributed-tracing" &&
         o.later == "distributed tracing";
}

static Error unserved(const Option& o) {
  return make_error(Code::kUnsupported, "--{} is set, but {} is not served by this version of Quoin", o.name,
                    o.later);
}

Result<> refuse_unserved(const FlagSet& flags, std::string* bootstrap_error) {
  const FlagSet defaults = make_flags();
  for (const Option& o : options()) {
    if (o.later.empty() || unused_alone(o)) continue;
    if (same_value(flags.at(o.name).value, defaults.at(o.name).value)) continue;
    if (o.later != "discovery") return unserved(o);
    // Not looked at where there is a log.
    if (bootstrap_error->empty()) *bootstrap_error = unserved(o).text();
  }
  return {};
}

}  // namespace quoin::cmd
