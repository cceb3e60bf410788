#include "cmd/etcd/config.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "base/check.h"
#include "cmd/etcd/config_check.h"
#include "cmd/etcd/config_options.h"
#include "cmd/etcd/config_url.h"
#include "cmd/etcd/config_yaml.h"
#include "cmd/etcd/flags.h"
#include "cmd/etcd/flags_text.h"
#include "cmd/etcd/help.h"

namespace quoin::cmd {
namespace {

using AutoCompaction = server::Config::AutoCompaction;

constexpr std::string_view kDefaultInitialCluster = "default=http://localhost:2380";
constexpr std::string_view kDefaultPeerUrl = "http://localhost:2380";
constexpr std::string_view kDefaultClientUrl = "http://localhost:2379";

// Source address of the default route: connecting a datagram socket only looks the route up.
std::pair<std::string, std::string> route_source_address() {
  const std::pair<std::string, std::string> none = {"", "could not find default route"};
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return none;
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(9);
  to.sin_addr.s_addr = htonl(0xC0000201);  // 192.0.2.1, reserved for documentation: no route of its own
  sockaddr_in from{};
  socklen_t length = sizeof from;
  const bool ok = connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0 &&
                  getsockname(fd, reinterpret_cast<sockaddr*>(&from), &length) == 0;
  close(fd);
  char text[INET_ADDRSTRLEN];
  if (!ok || inet_ntop(AF_INET, &from.sin_addr, text, sizeof text) == nullptr) return none;
  return {text, ""};
}

// The state of one reading; finish() turns it into the answer.
class Reader {
 public:
  Reader(const std::vector<std::string>& args, const Environment& environment, const ReadOptions& options)
      : args_(args), environment_(environment), options_(options), flags_(make_flags()) {}

  Command run();

 private:
  std::string variable(std::string_view name) const {
    std::string value;
    for (const std::string& entry : environment_) {
      if (entry.size() > name.size() && entry[name.size()] == '=' &&
          entry.compare(0, name.size(), name) == 0) {
        value = entry.substr(name.size() + 1);
      }
    }
    return value;
  }
  void notice(log::Level level, bool early, std::string message,
              std::vector<std::pair<std::string, Notice::Value>> fields = {}) {
    command_.notices.push_back({level, early, std::move(message), std::move(fields)});
  }
  Command exit_with(int code) {
    command_.action = Command::Action::kExit;
    command_.exit_code = code;
    return std::move(command_);
  }

  Result<> read_environment();
  Result<> check_and_collect();
  Result<> from_command_line();
  Result<> from_file(const std::string& path);
  Result<> configure();
  Command finish(Result<> outcome);
  void resolve_addresses();
  void fill_config();
  void fill_gates();
  void fill_tls();
  void parse_retention();

  const std::vector<std::string>& args_;
  const Environment& environment_;
  const ReadOptions& options_;
  FlagSet flags_;
  CheckState state_;
  Command command_;
  bool fatal_ = false;  // a fatal line was noted: nothing follows it
};

// Variables of flags that were not given; then what stands in the environment besides (spec operations 1.2).
Result<> Reader::read_environment() {
  std::set<std::string> used, shadowed;
  for (const auto& [name, flag] : flags_.flags()) {
    if (flag->given) shadowed.insert(env_name(name));
  }
  Result<> outcome;
  for (const auto& [name, flag] : flags_.flags()) {
    if (flag->given) continue;
    const std::string key = env_name(name);
    const std::string value = variable(key);
    // ETCD_VERSION was reported and counts as unset.
    if (value.empty() || key == "ETCD_VERSION") continue;
    used.insert(key);
    if (auto set = flags_.find(name)->set(value); !set) {
      outcome = make_error(Code::kInvalidArgument, "invalid value {} for {}: {}", go_quote(value), key,
                           set.error().text());
      continue;
    }
    flags_.find(name)->given = true;
    notice(log::Level::kInfo, true, "recognized and used environment variable",
           {{"variable-name", key}, {"variable-value", value}});
  }
  for (const std::string& entry : environment_) {
    const std::string key = entry.substr(0, entry.find('='));
    if (used.count(key) != 0 || key == "ETCD_VERSION") continue;
    if (shadowed.count(key) != 0) {
      notice(log::Level::kFatal, true,
             "conflicting environment variable is shadowed by corresponding command-line flag (either unset "
             "environment "
             "variable or disable flag))",
             {{"environment-variable", key}});
      fatal_ = true;
      return make_error(Code::kInvalidArgument, "{} is shadowed", key);
    }
    if (entry.compare(0, 5, "ETCD_") == 0) {
      notice(log::Level::kWarn, true, "unrecognized environment variable", {{"environment-variable", entry}});
    }
  }
  return outcome;
}

Result<> Reader::check_and_collect() {
  Result<> checked = check_options(flags_, state_);
  command_.notices.insert(command_.notices.end(), state_.warnings.begin(), state_.warnings.end());
  command_.start_notices = state_.warnings;
  command_.config.log = state_.log;
  return checked;
}

Result<> Reader::from_command_line() {
  if (const std::string version = variable("ETCD_VERSION"); !version.empty()) {
    notice(log::Level::kWarn, true, "cannot set special environment variable",
           {{"key", std::string("ETCD_VERSION")}, {"value", version}});
  }
  TRY(read_environment());
  for (const std::string_view name : {"raft-read-timeout", "raft-write-timeout"}) {
    constexpr int64_t kMin = 5'000'000'000;
    int64_t& value = flags_.find(name)->value.integer;
    if (value >= kMin) continue;
    value = kMin;
    notice(log::Level::kInfo, true, fmt::format("{} increased to minimum value: 5s", name));
  }
  if (flags_.given("listen-client-urls") && !flags_.given("advertise-client-urls")) {
    flags_.find("advertise-client-urls")->value.list.clear();
  }
  const bool discovers = !flags_.at("discovery").value.text.empty() ||
                         !flags_.at("discovery-srv").value.text.empty() ||
                         !flags_.at("discovery-srv-name").value.text.empty() ||
                         !flags_.at("discovery-endpoints").value.list.empty();
  if (discovers && !flags_.given("initial-cluster")) flags_.find("initial-cluster")->value.text.clear();
  for (const auto& [name, flag] : flags_.flags()) {
    if (flag->given) state_.explicitly_set.insert(name);
  }
  std::vector<std::string> gates;
  for (const auto& [gate, on] : flags_.at("feature-gates").value.gates)
    gates.push_back(fmt::format("{}={}", gate, on));
  TRY(merge_gate_flags(flags_, state_.explicitly_set, join(gates, ",")));
  if (flags_.at("discovery-fallback").value.text == "proxy") {
    return make_error(Code::kInvalidArgument,
                      "v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\"");
  }
  return check_and_collect();
}

Result<> Reader::from_file(const std::string& path) {
  flags_ = make_flags();
  ASSIGN_OR_RETURN(ConfigFile file, read_config_file(path, flags_));
  state_.explicitly_set = file.keys;
  if (!file.panic.empty()) {
    state_.panic = file.panic;
    return Error(Code::kInvalidArgument);
  }
  TRY(merge_gate_flags(flags_, state_.explicitly_set, flags_.at("feature-gates").value.text));
  flags_.find("feature-gates")->value.text.clear();
  if (!file.abort_line.empty()) {
    command_.err = file.abort_line;
    fatal_ = true;
    return Error(Code::kInvalidArgument, file.abort_line);
  }
  std::string& cluster = flags_.find("initial-cluster")->value.text;
  const bool discovers = !flags_.at("discovery").value.text.empty() ||
                         !flags_.at("discovery-srv").value.text.empty() ||
                         !flags_.at("discovery-endpoints").value.list.empty();
  if (discovers && cluster == kDefaultInitialCluster) cluster.clear();
  uint64_t& validity = flags_.find("self-signed-cert-validity")->value.number;
  if (validity == 0) validity = 1;
  auto checked = check_and_collect();
  if (!checked) {
    // etcd has given up its configured logger and the keys at this point.
    state_.log_ready = false;
    state_.explicitly_set.clear();
    return checked;
  }
  notice(log::Level::kInfo, false,
         "loaded server configuration, other configuration command line flags and environment variables will "
         "be ignored "
         "if provided",
         {{"path", path}});
  return {};
}

Result<> Reader::configure() {
  std::string path = flags_.at("config-file").value.text;
  if (path.empty()) path = variable("ETCD_CONFIG_FILE");
  Result<> outcome = path.empty() ? from_command_line() : from_file(path);
  if (fatal_ || !state_.panic.empty()) return outcome;
  TRY(apply_renames(flags_, state_, command_.notices));
  return outcome;
}

void Reader::resolve_addresses() {
  const auto [host, error] = options_.default_host ? options_.default_host() : route_source_address();
  Config& c = command_.config;
  bool used = false;
  const auto substitute = [&, &host = host](Urls& advertise, const Urls& listen, std::string_view untouched) {
    if (host.empty() || advertise.size() != 1 || advertise[0].text() != untouched || listen.empty() ||
        listen[0].hostname() != "0.0.0.0") {
      return;
    }
    advertise[0].set_host(fmt::format("{}:{}", host, listen[0].port()));
    used = true;
  };
  substitute(c.initial_advertise_peer_urls, c.listen_peer_urls, kDefaultPeerUrl);
  if (c.server.name != "default" && c.initial_cluster == kDefaultInitialCluster) {
    std::vector<std::string> members;
    for (const Url& u : c.initial_advertise_peer_urls) members.push_back(c.server.name + "=" + u.text());
    if (c.server.name.empty()) {
      for (std::string& m : members) m = "default" + m;
    }
    c.initial_cluster = join(members, ",");
  }
  substitute(c.advertise_client_urls, c.listen_client_urls, kDefaultClientUrl);
  if (used) notice(log::Level::kInfo, false, "detected default host for advertise", {{"host", host}});
  if (!error.empty()) notice(log::Level::kInfo, false, "failed to detect default host", {{"error", error}});
}

void Reader::fill_gates() {
  const auto& gates = flags_.at("feature-gates").value.gates;
  FeatureGates& g = command_.config.gates;
  server::Config& s = command_.config.server;
  const auto on = [&gates](std::string_view name) { return gate_enabled(gates, name); };
  g.all_alpha = on("AllAlpha");
  g.all_beta = on("AllBeta");
  g.compact_hash_check = s.compact_hash_check = on("CompactHashCheck");
  g.initial_corrupt_check = s.initial_corrupt_check = on("InitialCorruptCheck");
  g.lease_checkpoint = s.lease_checkpoint = on("LeaseCheckpoint");
  g.lease_checkpoint_persist = s.lease_checkpoint_persist = on("LeaseCheckpointPersist");
  g.set_member_local_addr = on("SetMemberLocalAddr");
  g.stop_grpc_service_on_defrag = on("StopGRPCServiceOnDefrag");
  g.txn_mode_write_with_shared_buffer = on("TxnModeWriteWithSharedBuffer");
  g.learner_auto_promote = s.promote_learners = on("LearnerAutoPromote");
  std::vector<std::string> pairs;
  for (const auto& [name, value] : gates) pairs.push_back(fmt::format("{}={}", name, value));
  command_.config.feature_gates_text = join(pairs, ",");
}

// Flags into the struct; zeroes that mean a default become it.
void Reader::fill_config() {
  const auto text = [this](std::string_view n) -> const std::string& { return flags_.at(n).value.text; };
  const auto number = [this](std::string_view n) { return flags_.at(n).value.number; };
  const auto integer = [this](std::string_view n) { return flags_.at(n).value.integer; };
  const auto boolean = [this](std::string_view n) { return flags_.at(n).value.boolean; };
  const auto or_default = [](auto v, auto otherwise) {
    return v == 0 ? static_cast<decltype(v)>(otherwise) : v;
  };
  // Else the default stays.
  const auto set_if_positive = [](auto* out, int64_t value) {
    if (value > 0) *out = static_cast<std::remove_pointer_t<decltype(out)>>(value);
  };
  Config& c = command_.config;
  c.server.name = text("name");
  c.server.data_dir = text("data-dir");
  c.server.wal_dir = text("wal-dir");
  c.server.snapshot_count = or_default(number("snapshot-count"), 10000);
  c.server.snapshot_catchup_entries = or_default(number("snapshot-catchup-entries"), 5000);
  c.server.heartbeat_ns = static_cast<uint32_t>(number("heartbeat-interval")) * io::kMillisecond;
  c.server.election_ns = static_cast<uint32_t>(number("election-timeout")) * io::kMillisecond;
  c.server.initial_election_tick_advance = boolean("initial-election-tick-advance");
  c.listen_peer_urls = urls_of(flags_, "listen-peer-urls");
  c.listen_client_urls = urls_of(flags_, "listen-client-urls");
  c.listen_client_http_urls = urls_of(flags_, "listen-client-http-urls");
  c.listen_metrics_urls = urls_of(flags_, "listen-metrics-urls");
  c.server.max_snapshots = static_cast<uint32_t>(std::min<uint64_t>(number("max-snapshots"), UINT32_MAX));
  c.server.max_wals = static_cast<uint32_t>(std::min<uint64_t>(number("max-wals"), UINT32_MAX));
  c.server.quota_backend_bytes = integer("quota-backend-bytes");
  set_if_positive(&c.server.backend_batch_interval_ns, integer("backend-batch-interval"));
  set_if_positive(&c.server.backend_batch_limit, integer("backend-batch-limit"));
  c.server.max_txn_ops = number("max-txn-ops");
  c.server.max_request_bytes = number("max-request-bytes");
  c.max_concurrent_streams = static_cast<uint32_t>(number("max-concurrent-streams"));
  c.grpc_keepalive_min_time = integer("grpc-keepalive-min-time");
  c.grpc_keepalive_interval = integer("grpc-keepalive-interval");
  c.grpc_keepalive_timeout = integer("grpc-keepalive-timeout");
  c.socket_reuse_port = boolean("socket-reuse-port");
  c.socket_reuse_address = boolean("socket-reuse-address");
  c.raft_read_timeout = integer("raft-read-timeout");
  c.raft_write_timeout = integer("raft-write-timeout");
  c.server.max_learners = integer("max-learners");
  c.initial_advertise_peer_urls = urls_of(flags_, "initial-advertise-peer-urls");
  c.advertise_client_urls = urls_of(flags_, "advertise-client-urls");
  c.initial_cluster = text("initial-cluster");
  c.discovery_srv = text("discovery-srv");
  c.discovery_srv_name = text("discovery-srv-name");
  c.server.new_cluster = text("initial-cluster-state") != "existing";
  c.server.initial_cluster_token = text("initial-cluster-token");
  c.server.strict_reconfig_check = boolean("strict-reconfig-check");
  c.server.pre_vote = boolean("pre-vote");
  c.server.auto_compaction =
      text("auto-compaction-mode") == "revision" ? AutoCompaction::kRevision : AutoCompaction::kPeriodic;
  c.auto_compaction_retention_text = text("auto-compaction-retention");
  const auto& stages = flags_.at("v2-deprecation").value.list;
  c.v2_deprecation =
      stages == std::vector<std::string>{"write-only-skip-check"} ? "write-only-skip-check" : "write-only";
  c.grpc_gateway = boolean("enable-grpc-gateway");
  c.cors = flags_.at("cors").value.list;
  c.host_whitelist = flags_.at("host-whitelist").value.list;
  c.metrics_extensive = text("metrics") == "extensive";
  c.server.warning_unary_request_ns = or_default(integer("warning-unary-request-duration"), 300'000'000);
  c.server.warning_apply_ns = integer("warning-apply-duration");
  c.server.corrupt_check_ns = integer("corrupt-check-time");
  c.server.compact_hash_check_ns = integer("compact-hash-check-time");
  set_if_positive(&c.server.compaction_batch_limit, integer("compaction-batch-limit"));
  c.server.compaction_sleep_ns = or_default(integer("compaction-sleep-interval"), 10'000'000);
  c.server.watch_progress_notify_ns = integer("watch-progress-notify-interval");
  c.server.downgrade_check_ns = integer("downgrade-check-time");
  c.server.bootstrap_defrag_mib = number("bootstrap-defrag-threshold-megabytes");
  c.memory_mlock = boolean("memory-mlock");
  fill_tls();
  c.auth_token = text("auth-token");
  c.auth_token_ttl_s = number("auth-token-ttl");
  c.bcrypt_cost = number("bcrypt-cost");
  c.server.force_new_cluster = boolean("force-new-cluster");
  c.server.unsafe_no_fsync = boolean("unsafe-no-fsync");
  c.server.allow_wal_cut = boolean("quoin-allow-wal-cut");
  fill_gates();
}

void Reader::fill_tls() {
  Config& c = command_.config;
  const auto text = [this](std::string_view name) { return flags_.at(name).value.text; };
  const auto boolean = [this](std::string_view name) { return flags_.at(name).value.boolean; };
  const auto list = [this](std::string_view name) { return flags_.at(name).value.list; };
  const auto fill = [&](tls::Options& o, const std::string& prefix) {
    o.cert_file = text(prefix + "cert-file");
    o.key_file = text(prefix + "key-file");
    o.client_cert_file = text(prefix + "client-cert-file");
    o.client_key_file = text(prefix + "client-key-file");
    o.client_cert_auth = boolean(prefix + "client-cert-auth");
    o.trusted_ca_file = text(prefix + "trusted-ca-file");
    // Their values were checked (config_check.h).
    o.min_version = tls::parse_version(text("tls-min-version")).value_or(tls::Version::kDefault);
    o.max_version = tls::parse_version(text("tls-max-version")).value_or(tls::Version::kDefault);
  };
  fill(c.client_tls, "");
  c.client_tls.crl_file = text("client-crl-file");
  c.client_tls.allowed_hostnames = list("client-cert-allowed-hostname");
  c.client_auto_tls = boolean("auto-tls");
  fill(c.peer_tls, "peer-");
  c.peer_tls.crl_file = text("peer-crl-file");
  c.peer_tls.allowed_cns = list("peer-cert-allowed-cn");
  c.peer_tls.allowed_hostnames = list("peer-cert-allowed-hostname");
  c.peer_auto_tls = boolean("peer-auto-tls");
  c.peer_skip_san_check = boolean("peer-skip-client-san-verification") ||
                          boolean("experimental-peer-skip-client-san-verification");
  c.self_signed_years = flags_.at("self-signed-cert-validity").value.number;
  c.cipher_suites = list("cipher-suites");
}

// A retention that cannot be read is a start failure, not one of the flags (spec operations 8.1).
void Reader::parse_retention() {
  Config& c = command_.config;
  const std::string& s = c.auto_compaction_retention_text;
  const bool digits =
      !s.empty() && s.find_first_not_of("0123456789", s[0] == '+' ? 1 : 0) == std::string::npos;
  // Decimal here, unlike other numbers: "010" is ten.
  const size_t first = s.find_first_not_of("+0");
  const auto plain = digits ? parse_signed(first == std::string::npos ? "0" : s.substr(first))
                            : Result<int64_t>(Error(Code::kInvalidArgument));
  if (plain) {
    constexpr uint64_t kHourNs = 3'600'000'000'000;
    c.server.auto_compaction_retention = c.server.auto_compaction == AutoCompaction::kRevision
                                             ? *plain
                                             : static_cast<int64_t>(static_cast<uint64_t>(*plain) * kHourNs);
    return;
  }
  const auto duration = parse_duration(s);
  if (duration) {
    c.server.auto_compaction_retention = *duration;
  } else {
    c.auto_compaction_error = fmt::format("error parsing CompactionRetention: {}", duration.error().text());
  }
}

Command Reader::finish(Result<> outcome) {
  if (!state_.panic.empty()) {
    command_.err += state_.panic;
    return exit_with(2);
  }
  if (fatal_) return exit_with(1);
  if (outcome) outcome = refuse_unserved(flags_, &command_.config.bootstrap_error);
  const bool early = !state_.log_ready;
  notice(log::Level::kInfo, early, "Running: ", {{"args", args_}});
  if (!outcome) {
    const std::string error(outcome.error().text());
    notice(log::Level::kWarn, early, "failed to verify flags", {{"error", error}});
    if (error.find("--advertise-client-urls is required") == 0) {
      notice(log::Level::kWarn, early, "advertise client URLs are not set", {{"error", error}});
    }
    return exit_with(1);
  }
  fill_config();
  resolve_addresses();
  Config& c = command_.config;
  if (c.server.data_dir.empty()) {
    c.server.data_dir = c.server.name + ".etcd";
    notice(log::Level::kWarn, false, "'data-dir' was empty; using default",
           {{"data-dir", c.server.data_dir}});
  }
  if (flags_.at("enable-pprof").value.boolean) {
    notice(log::Level::kWarn, false,
           "--enable-pprof is set, but profiling over HTTP is not served by this version of Quoin");
  }
  parse_retention();
  constexpr DurationNs kProgressMin = 100'000'000;
  if (c.server.watch_progress_notify_ns == 0) {
    c.server.watch_progress_notify_ns = 600'000'000'000;
  } else if (c.server.watch_progress_notify_ns > 0 && c.server.watch_progress_notify_ns < kProgressMin) {
    c.server.watch_progress_notify_ns = kProgressMin;
    command_.start_notices.push_back({log::Level::kWarn,
                                      false,
                                      "adjusting watch progress notify interval to minimum period",
                                      {{"min-watch-progress-notify-interval", std::string("100ms")}}});
  }
  c.server.initial_advertise_peer_urls = texts(c.initial_advertise_peer_urls);
  c.server.advertise_client_urls = texts(c.advertise_client_urls);
  if (auto members = c.initial_members()) {
    c.server.initial_cluster.assign(members->begin(), members->end());
  }
  command_.action = Command::Action::kRun;
  return std::move(command_);
}

Command Reader::run() {
  std::vector<std::string> words(args_.begin() + (args_.empty() ? 0 : 1), args_.end());
  switch (flags_.parse(words)) {
    case FlagSet::Outcome::kHelp:
      command_.err = usage_text();
      command_.out = options_text();
      return exit_with(0);
    case FlagSet::Outcome::kError:
      command_.err = flags_.error() + "\n" + usage_text();
      return exit_with(2);
    case FlagSet::Outcome::kOk:
      break;
  }
  if (!flags_.rest().empty()) {
    return finish(make_error(Code::kInvalidArgument, "{} is not a valid flag", go_quote(flags_.rest()[0])));
  }
  if (flags_.at("version").value.boolean) {
    command_.out = version_text();
    return exit_with(0);
  }
  return finish(configure());
}

}  // namespace

Command read_command_line(const std::vector<std::string>& args, const Environment& environment,
                          const ReadOptions& options) {
  return Reader(args, environment, options).run();
}

std::vector<FeatureGate> list_gates(const FeatureGates& g) {
  const bool enabled[] = {g.all_alpha,
                          g.all_beta,
                          g.compact_hash_check,
                          g.initial_corrupt_check,
                          g.lease_checkpoint,
                          g.lease_checkpoint_persist,
                          g.set_member_local_addr,
                          g.stop_grpc_service_on_defrag,
                          g.txn_mode_write_with_shared_buffer,
                          g.learner_auto_promote};
  std::vector<FeatureGate> out;
  size_t i = 0;
  for (const GateSpec& spec : known_gates()) {
    const bool on = enabled[i++];
    if (on || spec.stage != "QUOIN") out.push_back({spec.name, spec.stage, on});
  }
  return out;
}

std::string version_text() {
  return fmt::format(
      "etcd Version: {}\nGit SHA: {}\nGo Version: {}\nGo OS/Arch: linux/{}\nQuoin Version: {}\n",
      kEtcdVersion, kGitSha, kGoVersion,
#if defined(__aarch64__)
      "arm64",
#else
      "amd64",
#endif
      kQuoinVersion);
}

}  // namespace quoin::cmd
