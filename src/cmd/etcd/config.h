// What the etcd program was asked to do: command line, environment and configuration file turned into one
// plain struct, checked in etcd's order with etcd's texts (spec operations 1 and 2.1).
//
//   Command c = read_command_line(args, environment);
//   Logging logging = start_logging(c);              // config_log.h: writes c.out, c.err and c.notices
//   if (!logging.sink) return logging.exit_code;
//   ... look at the data directory, emit(c.start_notices, *logging.sink), start a member with c.config
//
// Reading touches no global state: arguments and environment are passed in, only the configuration file is
// read (and the routing table, for the default host). Threads: none; call before any is started.
//
// Options that Quoin does not serve yet (discovery but by DNS, auth tokens, tracing, ...) are known by name, read
// and validated; set to anything but their default they are refused by name, never ignored.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "base/version.h"
#include "server/config.h"
#include "tls/options.h"

namespace quoin::cmd {

// Durations are nanoseconds.
using DurationNs = int64_t;

// A URL as etcd accepts it: http and https with "host:port" and nothing behind, or a unix socket.
struct Url {
  std::string scheme;   // http, https, unix, unixs
  std::string host;     // http(s): "host:port"; unix: what stands before the first slash of the rest
  std::string path;     // unix only, with its leading slash
  std::string go_text;  // of one that was read: as Go prints it
  bool is_unix() const { return scheme == "unix" || scheme == "unixs"; }
  bool is_tls() const { return scheme == "https" || scheme == "unixs"; }
  // http(s): without the brackets of an IPv6 literal.
  std::string hostname() const;
  std::string port() const;
  void set_host(std::string host_port) {
    host = std::move(host_port);
    go_text.clear();
  }
  // 0 where there is none; nothing if it is over 65535.
  std::optional<uint16_t> port_number() const;
  std::string text() const { return go_text.empty() ? scheme + "://" + host + path : go_text; }
  friend bool operator==(const Url& a, const Url& b) { return a.text() == b.text(); }
};
using Urls = std::vector<Url>;
std::vector<std::string> texts(const Urls& urls);
std::string joined(const Urls& urls);

// lumberjack's settings (spec operations 6.2).
struct LogRotation {
  int64_t max_size_mib = 100;
  int64_t max_age_days = 0;  // 0: no limit
  int64_t max_backups = 0;   // 0: all
  bool local_time = false;
  bool compress = false;
};

struct LogConfig {
  log::Level level = log::Level::kInfo;
  bool console = false;  // else JSON
  std::vector<std::string> outputs = {
      "default"};  // sorted; default, stderr, stdout, systemd/journal or paths
  std::optional<LogRotation> rotation;
};

// Gates of 3.6 (spec operations 1.5), and one of Quoin's own.
struct FeatureGates {
  bool all_alpha = false;
  bool all_beta = false;
  bool compact_hash_check = false;
  bool initial_corrupt_check = false;
  bool lease_checkpoint = false;
  bool lease_checkpoint_persist = false;
  bool set_member_local_addr = false;
  bool stop_grpc_service_on_defrag = false;
  bool txn_mode_write_with_shared_buffer = true;
  bool learner_auto_promote = false;  // Quoin's own
};
struct FeatureGate {
  std::string_view name;
  std::string_view stage;  // ALPHA or BETA; QUOIN: not etcd's, and no AllAlpha switches it on
  bool enabled;
};
// etcd's nine, sorted by name, and behind them those of Quoin that are on: for the metric
// etcd_server_feature_enabled, which is etcd's own as long as none is.
std::vector<FeatureGate> list_gates(const FeatureGates& gates);

struct Config {
  // What the member itself is told; reading fills it. Beside it stands what only the program needs:
  // addresses, the log, what etcd prints of its flags.
  server::Config server;

  // Member.
  std::string wal_path() const {
    return server.wal_dir.empty() ? server.data_dir + "/member/wal" : server.wal_dir;
  }
  std::string snap_path() const { return server.data_dir + "/member/snap"; }
  Urls listen_peer_urls;
  Urls listen_client_urls;
  Urls listen_client_http_urls;  // not empty: client URLs speak gRPC alone
  Urls listen_metrics_urls;
  uint32_t max_concurrent_streams = 4294967295U;
  DurationNs grpc_keepalive_min_time = 5'000'000'000;     // <= 0: five minutes
  DurationNs grpc_keepalive_interval = 7200'000'000'000;  // <= 0: both back to 2 h, 20 s
  DurationNs grpc_keepalive_timeout = 20'000'000'000;
  bool socket_reuse_port = false;
  bool socket_reuse_address = false;
  DurationNs raft_read_timeout = 5'000'000'000;
  DurationNs raft_write_timeout = 5'000'000'000;

  // Clustering.
  Urls initial_advertise_peer_urls;
  Urls advertise_client_urls;
  std::string initial_cluster;  // empty: by discovery
  std::string discovery_srv;    // domain whose SRV records name the members; empty: none
  std::string discovery_srv_name;
  std::string auto_compaction_retention_text = "0";
  // The error of auto_compaction_retention_text, if it has one. The start fails with it after the listeners
  // are bound, as etcd's does.
  std::string auto_compaction_error;
  std::string v2_deprecation = "write-only";

  // The error with which a start on a directory without a log fails. Other starts do not look at it.
  std::string bootstrap_error;

  // TLS (tls_setup.h). The suites are looked at when the listeners are made, as etcd does.
  tls::Options client_tls, peer_tls;
  std::vector<std::string> cipher_suites;
  bool client_auto_tls = false, peer_auto_tls = false;
  uint64_t self_signed_years = 1;
  bool peer_skip_san_check = false;
  // ---- users (auth_setup.h) ----
  std::string auth_token = "simple";
  uint64_t auth_token_ttl_s = 300;
  uint64_t bcrypt_cost = 10;

  // Client HTTP.
  bool grpc_gateway = true;
  std::vector<std::string> cors = {"*"};
  std::vector<std::string> host_whitelist = {"*"};

  // Monitoring, logging.
  bool metrics_extensive = false;
  LogConfig log;

  bool memory_mlock = false;
  // Where connections to other members come from; empty: the system's choice. Of the gate SetMemberLocalAddr; the
  // program sets it when it starts (config_start.h).
  std::string local_address;
  FeatureGates gates;
  std::string feature_gates_text;  // those set, "A=true,B=false", for the start line

  // Members of initial_cluster: name -> URLs sorted. Errors: etcd's text ("error setting up initial cluster:
  // ...").
  Result<std::map<std::string, std::vector<std::string>>> initial_members() const;
};

// A log line that reading the configuration asks for. It owns its text.
struct Notice {
  log::Level level;
  bool early;  // goes to the default logger (JSON on standard error), whatever the configuration says
  std::string message;
  using Value = std::variant<std::string, std::vector<std::string>, bool, int64_t, uint64_t>;
  std::vector<std::pair<std::string, Value>> fields;
};

struct Command {
  enum class Action : uint8_t { kRun, kExit };
  Action action = Action::kExit;
  int exit_code = 0;
  std::string out;  // for standard output
  std::string err;  // for standard error, before the notices
  std::vector<Notice> notices;
  // Warnings that etcd gives again when the server starts, after its lines about the data directory.
  std::vector<Notice> start_notices;
  Config config;  // whole if action == kRun; `log` also when only a later check failed
};

// NAME=value entries, as the process got them.
using Environment = std::vector<std::string>;

struct ReadOptions {
  // Source address of the default route, or an error text. Used when a listener is on 0.0.0.0 and the
  // advertise URL was left alone. Empty function: the real one.
  std::function<std::pair<std::string, std::string>()> default_host;
};

// `args` is argv, program name first.
Command read_command_line(const std::vector<std::string>& args, const Environment& environment,
                          const ReadOptions& options = {});

// Hands every notice to the logger (start_notices; start_logging() of config_log.h writes the others).
void emit(const std::vector<Notice>& notices, log::Logger& logger);

// The four lines of etcd's --version and Quoin's fifth.
std::string version_text();
inline constexpr std::string_view kGitSha = "quoin";
// Scripts and dashboards expect a Go version where etcd shows one (--version, go_info,
// etcd_server_go_version): the one that the releases of etcd 3.6 are built with.
inline constexpr std::string_view kGoVersion = "go1.24";

}  // namespace quoin::cmd
