#include "cmd/etcd/config.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

#include "cmd/etcd/config_check.h"
#include "cmd/etcd/config_options.h"
#include "cmd/etcd/config_url.h"
#include "cmd/etcd/config_yaml.h"
#include "cmd/etcd/flags.h"
#include "cmd/etcd/flags_text.h"
#include "cmd/etcd/help.h"

namespace quoin::cmd {
namespace {

ReadOptions no_route() {
  return {
      .default_host = [] { return std::pair<std::string, std::string>("", "could not find default route"); }};
}
ReadOptions host_is(std::string host) {
  return {.default_host = [host] { return std::pair<std::string, std::string>(host, ""); }};
}

Command read(std::vector<std::string> args, const Environment& env = {},
             const ReadOptions& options = no_route()) {
  args.insert(args.begin(), "etcd");
  return read_command_line(args, env, options);
}

// The error of the "failed to verify flags" line.
std::string verify_error(const Command& c) {
  for (const Notice& n : c.notices) {
    if (n.message == "failed to verify flags") return std::get<std::string>(n.fields[0].second);
  }
  return "";
}
bool noticed(const std::vector<Notice>& notices, std::string_view message) {
  for (const Notice& n : notices) {
    if (n.message == message) return true;
  }
  return false;
}
std::string first_line(const std::string& s) {
  return s.substr(0, s.find('\n'));
}

class TempFile {
 public:
  explicit TempFile(const std::string& text) {
    path_ = testing::TempDir() + fmt::format("quoin_config_{}_{}.yml", getpid(), ++count_);
    std::ofstream(path_) << text;
  }
  ~TempFile() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  static int count_;
  std::string path_;
};
int TempFile::count_ = 0;

TEST(FlagsText, Numbers) {
  struct Row {
    std::string_view text;
    std::string_view want;
  };
  for (const Row& r :
       {Row{"0", "0"}, Row{"12", "12"}, Row{"0x1F", "31"}, Row{"0o17", "15"}, Row{"017", "15"},
        Row{"0b101", "5"}, Row{"1_000", "1000"}, Row{"0x_1f", "31"}, Row{"0_7", "7"},
        Row{"18446744073709551615", "18446744073709551615"}, Row{"18446744073709551616", "range"},
        Row{"", "syntax"}, Row{"x", "syntax"}, Row{"1__0", "syntax"}, Row{"_1", "syntax"},
        Row{"1_", "syntax"}, Row{"0x", "syntax"}, Row{"08", "syntax"}, Row{"-1", "syntax"}}) {
    const auto v = parse_unsigned(r.text);
    const std::string got = v                                      ? std::to_string(*v)
                            : v.error().text() == "invalid syntax" ? "syntax"
                                                                   : "range";
    EXPECT_EQ(got, r.want) << r.text;
  }
  EXPECT_EQ(*parse_signed("-9223372036854775808"), INT64_MIN);
  EXPECT_FALSE(parse_signed("9223372036854775808"));
  EXPECT_EQ(*parse_signed("+5"), 5);
  EXPECT_FALSE(parse_unsigned("4294967296", 32));
}

TEST(FlagsText, Durations) {
  struct Row {
    std::string_view text;
    int64_t ns;
  };
  for (const Row& r :
       {Row{"0", 0}, Row{"5s", 5'000'000'000}, Row{"1h30m", 5'400'000'000'000}, Row{"1.5s", 1'500'000'000},
        Row{"-20us", -20'000}, Row{"300ms", 300'000'000}, Row{".5s", 500'000'000}, Row{"1µs", 1000},
        Row{"1h1m1s1ms1us1ns", 3'661'001'001'001}, Row{"2562047h47m16.854775807s", INT64_MAX}}) {
    const auto v = parse_duration(r.text);
    ASSERT_TRUE(v) << r.text;
    EXPECT_EQ(*v, r.ns) << r.text;
  }
  const auto error = [](std::string_view s) { return std::string(parse_duration(s).error().text()); };
  EXPECT_EQ(error("x"), "time: invalid duration \"x\"");
  EXPECT_EQ(error(""), "time: invalid duration \"\"");
  EXPECT_EQ(error("5"), "time: missing unit in duration \"5\"");
  EXPECT_EQ(error("5x"), "time: unknown unit \"x\" in duration \"5x\"");
  EXPECT_EQ(error("2562047h47m16.854775808s"), "time: invalid duration \"2562047h47m16.854775808s\"");
}

TEST(Flags, ParseErrorsEndWithTwoAndGosText) {
  struct Row {
    std::vector<std::string> args;
    std::string_view error;
  };
  for (const Row& r : std::vector<Row>{
           {{"--foo"}, "flag provided but not defined: -foo"},
           {{"-foo=1"}, "flag provided but not defined: -foo"},
           {{"--name"}, "flag needs an argument: -name"},
           {{"---name"}, "bad flag syntax: ---name"},
           {{"-=x"}, "bad flag syntax: -=x"},
           {{"--max-wals=x"}, "invalid value \"x\" for flag -max-wals: parse error"},
           {{"--max-wals", "-1"}, "invalid value \"-1\" for flag -max-wals: parse error"},
           {{"--max-wals=99999999999999999999"},
            "invalid value \"99999999999999999999\" for flag -max-wals: value out of range"},
           {{"--max-concurrent-streams=x"},
            "invalid value \"x\" for flag -max-concurrent-streams: strconv.ParseUint: parsing \"x\": invalid "
            "syntax"},
           {{"--pre-vote=x"}, "invalid boolean value \"x\" for -pre-vote: parse error"},
           {{"--initial-cluster-state=x"},
            "invalid value \"x\" for flag -initial-cluster-state: invalid value"},
           {{"--v2-deprecation=not-yet"},
            "invalid value \"not-yet\" for flag -v2-deprecation: invalid value \"not-yet\""},
           {{"--listen-peer-urls=http://a"},
            "invalid value \"http://a\" for flag -listen-peer-urls: URL address does not have the form "
            "\"host:port\": "
            "http://a"},
           {{"--listen-peer-urls=http://a:1/"},
            "invalid value \"http://a:1/\" for flag -listen-peer-urls: URL must not contain a path: "
            "http://a:1/"},
           {{"--cors="},
            "invalid value \"\" for flag -cors: URL scheme must be http, https, unix, or unixs: "},
           {{"--feature-gates=Foo=true"},
            "invalid value \"Foo=true\" for flag -feature-gates: unrecognized feature gate: Foo"},
           {{"--feature-gates=LeaseCheckpoint=x"},
            "invalid value \"LeaseCheckpoint=x\" for flag -feature-gates: invalid value of "
            "LeaseCheckpoint=x, err: "
            "strconv.ParseBool: parsing \"x\": invalid syntax"},
           {{"--enable-v2"}, "flag provided but not defined: -enable-v2"},
       }) {
    const Command c = read(r.args);
    EXPECT_EQ(c.exit_code, 2);
    EXPECT_EQ(first_line(c.err), r.error);
    EXPECT_NE(c.err.find("Usage:"), std::string::npos);
    EXPECT_TRUE(c.notices.empty());
  }
}

TEST(Flags, FormsOfAFlag) {
  for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{{"--name=x"},
                                                                                    {"-name=x"},
                                                                                    {"--name", "x"},
                                                                                    {"-name", "x"},
                                                                                    {"--name=y", "--name=x"},
                                                                                    {"--name=x", "--"},
                                                                                    {"--vv", "--name=x"}}) {
    const Command c = read(args);
    ASSERT_EQ(c.action, Command::Action::kRun) << args[0];
    EXPECT_EQ(c.config.server.name, "x");
  }
  EXPECT_FALSE(read({"--name=x", "--pre-vote=f"}).config.server.pre_vote);
  EXPECT_TRUE(read({"--name=x", "--unsafe-no-fsync"}).config.server.unsafe_no_fsync);
  EXPECT_TRUE(read({"--name=x", "--quoin-allow-wal-cut"}).config.server.allow_wal_cut);
  EXPECT_EQ(verify_error(read({"--pre-vote", "false"})), "\"false\" is not a valid flag");
  EXPECT_EQ(verify_error(read({"--name=x", "--", "foo"})), "\"foo\" is not a valid flag");
}

TEST(Config, Defaults) {
  const Command c = read({});
  ASSERT_EQ(c.action, Command::Action::kRun);
  EXPECT_EQ(c.config.server.name, "default");
  EXPECT_EQ(c.config.server.data_dir, "default.etcd");
  EXPECT_EQ(c.config.wal_path(), "default.etcd/member/wal");
  EXPECT_EQ(c.config.initial_cluster, "default=http://localhost:2380");
  EXPECT_EQ(joined(c.config.listen_client_urls), "http://localhost:2379");
  EXPECT_EQ(joined(c.config.advertise_client_urls), "http://localhost:2379");
  EXPECT_EQ(c.config.server.snapshot_count, 10000U);
  EXPECT_EQ(c.config.server.election_ticks(), 10);
  EXPECT_EQ(c.config.server.backend_batch_interval_ns, 100'000'000);
  EXPECT_EQ(c.config.server.backend_batch_limit, 10000);
  EXPECT_EQ(c.config.server.compaction_batch_limit, 1000);
  EXPECT_EQ(c.config.server.watch_progress_notify_ns, 600'000'000'000);
  EXPECT_EQ(c.config.server.warning_unary_request_ns, 300'000'000);
  EXPECT_EQ(c.config.server.request_timeout_ns(), 7'000'000'000);
  EXPECT_TRUE(c.config.gates.txn_mode_write_with_shared_buffer);
  EXPECT_TRUE(c.config.initial_members());
  EXPECT_TRUE(
      noticed(c.start_notices,
              "Running http and grpc server on single port. This is not recommended for production."));
}

TEST(Config, NameAloneRenamesTheCluster) {
  EXPECT_EQ(read({"--name=abc"}).config.initial_cluster, "abc=http://localhost:2380");
  EXPECT_EQ(
      read({"--name=abc", "--initial-advertise-peer-urls=http://b:2,http://a:1"}).config.initial_cluster,
      "abc=http://a:1,abc=http://b:2");
  EXPECT_EQ(read({"--name=abc", "--initial-cluster=x=http://a:1"}).config.initial_cluster, "x=http://a:1");
  EXPECT_EQ(read({"--name=abc"}).config.server.data_dir, "abc.etcd");
}

TEST(Config, DefaultHostStandsInForWildcard) {
  const Command c =
      read({"--name=n", "--listen-peer-urls=http://0.0.0.0:5", "--listen-client-urls=http://0.0.0.0:6",
            "--advertise-client-urls=http://localhost:2379"},
           {}, host_is("10.1.2.3"));
  EXPECT_EQ(joined(c.config.initial_advertise_peer_urls), "http://10.1.2.3:5");
  EXPECT_EQ(joined(c.config.advertise_client_urls), "http://10.1.2.3:6");
  EXPECT_EQ(c.config.initial_cluster, "n=http://10.1.2.3:5");
  EXPECT_TRUE(noticed(c.notices, "detected default host for advertise"));
  EXPECT_FALSE(noticed(read({}, {}, host_is("10.1.2.3")).notices, "detected default host for advertise"));
  EXPECT_TRUE(noticed(read({}).notices, "failed to detect default host"));
}

TEST(Config, ZeroesBecomeDefaults) {
  const Config c = read({"--snapshot-count=0", "--snapshot-catchup-entries=0", "--backend-batch-limit=0",
                         "--compaction-sleep-interval=0", "--watch-progress-notify-interval=1ms"})
                       .config;
  EXPECT_EQ(c.server.snapshot_count, 10000U);
  EXPECT_EQ(c.server.snapshot_catchup_entries, 5000U);
  EXPECT_EQ(c.server.backend_batch_limit, 10000);
  EXPECT_EQ(c.server.compaction_sleep_ns, 10'000'000);
  EXPECT_EQ(c.server.watch_progress_notify_ns, 100'000'000);
}

TEST(Config, VerificationErrors) {
  struct Row {
    std::vector<std::string> args;
    std::string_view error;
  };
  for (const Row& r : std::vector<Row>{
           {{"--listen-peer-urls=http://foo.bar:1"}, "expected IP in URL for binding (http://foo.bar:1)"},
           {{"--listen-peer-urls=http://:1"}, "expected IP in URL for binding (http://:1)"},
           {{"--initial-advertise-peer-urls=http://:1"},
            "--initial-advertise-peer-urls \"http://:1\" must be \"host:port\" (unexpected empty host "
            "(http://:1))"},
           {{"--initial-advertise-peer-urls=unix:///p"},
            "--initial-advertise-peer-urls \"unix:///p\" must be \"host:port\" (missing port in address)"},
           {{"--heartbeat-interval=0"}, "--heartbeat-interval must be >0 (set to 0ms)"},
           {{"--election-timeout=0"}, "--election-timeout must be >0 (set to 0ms)"},
           {{"--heartbeat-interval=300"},
            "--election-timeout[1000ms] should be at least as 5 times as --heartbeat-interval[300ms]"},
           {{"--election-timeout=60000"},
            "--election-timeout[60000ms] is too long, and should be set less than 50000ms"},
           {{"--listen-client-urls=http://127.0.0.1:1"},
            "--advertise-client-urls is required when --listen-client-urls is set explicitly"},
           {{"--auto-compaction-mode="}, "undefined auto-compaction-mode"},
           {{"--auto-compaction-mode=x"}, "unknown auto-compaction-mode \"x\""},
           {{"--compact-hash-check-time=0"}, "--compact-hash-check-time must be >0 (set to 0s)"},
           {{"--experimental-corrupt-check-time=1s", "--corrupt-check-time=1s"},
            "cannot set --experimental-corrupt-check-time and --corrupt-check-time at the same time, please "
            "use "
            "--corrupt-check-time only"},
           {{"--experimental-enable-lease-checkpoint", "--feature-gates=LeaseCheckpointPersist=true"},
            "cannot specify both flags: --experimental-enable-lease-checkpoint=true and "
            "--feature-gates=LeaseCheckpoint=false at the same time, please just use "
            "--feature-gates=LeaseCheckpoint=false"},
           {{"--feature-gates=LeaseCheckpointPersist=true"},
            "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint"},
           {{"--log-outputs=stdout,default"}, "multi logoutput for \"default\" is not supported yet"},
           {{"--log-format=foo"}, "unknown log format: foo, supported values json, console"},
           {{"--logger=capnslog"}, "--logger=capnslog is removed in v3.5"},
           {{"--enable-log-rotation"},
            "--log-outputs requires a single file path when --log-rotate-config-json is defined"},
           {{"--enable-log-rotation", "--log-outputs=x.log", "--log-rotation-config-json={"},
            "improperly formatted log rotation config: unexpected end of JSON input"},
           {{"--enable-log-rotation", "--log-outputs=x.log", R"(--log-rotation-config-json={"maxsize":"a"})"},
            "invalid log rotation config: json: cannot unmarshal string into Go struct field "
            "logRotationConfig.Logger.maxsize of type int"},
           {{"--discovery-fallback=proxy"},
            "v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\""},
           {{"--initial-cluster=a=http://a:1", "--discovery=x"},
            "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", "
            "\"discovery\", "
            "\"discovery-endpoints\" or \"discovery-srv\""},
           {{"--experimental-warning-unary-request-duration=1s", "--warning-unary-request-duration=2s"},
            "both --experimental-warning-unary-request-duration and --warning-unary-request-duration flags "
            "are set. "
            "Use only --warning-unary-request-duration"},
       }) {
    const Command c = read(r.args);
    EXPECT_EQ(c.action, Command::Action::kExit);
    EXPECT_EQ(c.exit_code, 1);
    EXPECT_EQ(verify_error(c), r.error);
  }
  const Command panic = read({"--log-level=foo"});
  EXPECT_EQ(panic.exit_code, 2);
  EXPECT_EQ(first_line(panic.err), "panic: unrecognized level: \"foo\"");
}

TEST(Config, WhatIsNotServedIsRefusedByName) {
  for (const std::string arg :
       {"--enable-distributed-tracing", "--experimental-enable-distributed-tracing"}) {
    const Command c = read({"--name=n", arg});
    EXPECT_EQ(c.exit_code, 1) << arg;
    EXPECT_NE(verify_error(c).find("is not served by this version of Quoin"), std::string::npos) << arg;
  }
  for (const std::string arg :
       {"--auth-token=simple", "--auto-tls=false", "--tls-min-version=TLS1.2", "--cert-file="}) {
    EXPECT_EQ(read({"--name=n", arg}).action, Command::Action::kRun) << arg;
  }
  EXPECT_EQ(read({"grpc-proxy", "start"}).exit_code, 1);
}

TEST(Config, OptionsOfTls) {
  const Command c = read({"--cert-file=c",
                          "--key-file=k",
                          "--client-cert-file=cc",
                          "--client-key-file=ck",
                          "--client-cert-auth",
                          "--client-crl-file=crl",
                          "--client-cert-allowed-hostname=h1,h2",
                          "--trusted-ca-file=ca",
                          "--auto-tls",
                          "--peer-cert-file=pc",
                          "--peer-key-file=pk",
                          "--peer-client-cert-file=pcc",
                          "--peer-client-key-file=pck",
                          "--peer-client-cert-auth",
                          "--peer-crl-file=pcrl",
                          "--peer-cert-allowed-cn=a,b",
                          "--peer-trusted-ca-file=pca",
                          "--peer-auto-tls",
                          "--peer-skip-client-san-verification",
                          "--self-signed-cert-validity=3",
                          "--tls-min-version=TLS1.2",
                          "--tls-max-version=TLS1.3",
                          "--cipher-suites=X,Y"});
  ASSERT_EQ(c.action, Command::Action::kRun) << verify_error(c);
  const tls::Options& client = c.config.client_tls;
  EXPECT_EQ(client.describe(),
            "cert = c, key = k, client-cert=cc, client-key=ck, trusted-ca = ca, client-cert-auth = true, "
            "crl-file = crl");
  EXPECT_EQ(client.allowed_hostnames, (std::vector<std::string>{"h1", "h2"}));
  EXPECT_EQ(client.min_version, tls::Version::kTls12);
  EXPECT_EQ(client.max_version, tls::Version::kTls13);
  const tls::Options& peer = c.config.peer_tls;
  EXPECT_EQ(peer.describe(),
            "cert = pc, key = pk, client-cert=pcc, client-key=pck, trusted-ca = pca, client-cert-auth = "
            "true, crl-file = pcrl");
  EXPECT_EQ(peer.allowed_cns, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(c.config.client_auto_tls && c.config.peer_auto_tls && c.config.peer_skip_san_check);
  EXPECT_EQ(c.config.self_signed_years, 3U);
  EXPECT_EQ(c.config.cipher_suites, (std::vector<std::string>{"X", "Y"}));
}

TEST(Config, OldNamesAndGates) {
  const Command c =
      read({"--name=n", "--experimental-compaction-batch-limit=7", "--experimental-corrupt-check-time=5s",
            "--experimental-enable-lease-checkpoint", "--experimental-enable-lease-checkpoint-persist"});
  ASSERT_EQ(c.action, Command::Action::kRun);
  EXPECT_EQ(c.config.server.compaction_batch_limit, 7);
  EXPECT_EQ(c.config.server.corrupt_check_ns, 5'000'000'000);
  EXPECT_TRUE(c.config.gates.lease_checkpoint);
  EXPECT_TRUE(c.config.gates.lease_checkpoint_persist);
  EXPECT_EQ(c.config.feature_gates_text, "LeaseCheckpoint=true,LeaseCheckpointPersist=true");
  EXPECT_TRUE(noticed(
      c.notices,
      "--experimental-compaction-batch-limit is deprecated in v3.6 and will be decommissioned in v3.7. "
      "Use '--compaction-batch-limit' instead."));
  const FeatureGates all = read({"--feature-gates=AllAlpha=true,CompactHashCheck=false"}).config.gates;
  EXPECT_TRUE(all.all_alpha);
  EXPECT_TRUE(all.lease_checkpoint);
  EXPECT_FALSE(all.compact_hash_check);
  EXPECT_EQ(list_gates(all).size(), 9U);
  EXPECT_FALSE(all.learner_auto_promote) << "not etcd's";
  const Command own = read({"--feature-gates=LearnerAutoPromote=true"});
  EXPECT_TRUE(own.config.server.promote_learners);
  EXPECT_EQ(list_gates(own.config.gates).size(), 10U);
  const FeatureGates twice =
      read({"--feature-gates=LeaseCheckpoint=true", "--feature-gates=CompactHashCheck=true"}).config.gates;
  EXPECT_TRUE(twice.lease_checkpoint && twice.compact_hash_check);
}

TEST(Config, Environment) {
  const Command used = read({}, {"ETCD_NAME=e", "ETCD_PRE_VOTE=false", "PATH=x"});
  EXPECT_EQ(used.config.server.name, "e");
  EXPECT_FALSE(used.config.server.pre_vote);
  EXPECT_TRUE(noticed(used.notices, "recognized and used environment variable"));

  const Command shadowed = read({"--name=f"}, {"ETCD_NAME="});
  EXPECT_EQ(shadowed.exit_code, 1);
  EXPECT_EQ(shadowed.notices.back().level, log::Level::kFatal);
  EXPECT_EQ(std::get<std::string>(shadowed.notices.back().fields[0].second), "ETCD_NAME");

  EXPECT_TRUE(noticed(read({}, {"ETCD_FOO=1"}).notices, "unrecognized environment variable"));
  EXPECT_EQ(verify_error(read({}, {"ETCD_MAX_WALS=x", "ETCD_PRE_VOTE=y"})),
            "invalid value \"y\" for ETCD_PRE_VOTE: parse error");
  EXPECT_EQ(read({}, {"ETCD_VERSION=9"}).action, Command::Action::kRun);
}

TEST(Config, FileAloneRules) {
  const TempFile file(
      "name: f\nlisten-client-urls: http://127.0.0.1:7\nmax-wals: 9\ngrpc-keepalive-min-time: 6000000000\n"
      "log-outputs: [stdout]\nsocket-options:\n  reuse-port: true\nunknown: 1\nSnapshot-Count: 7\n");
  const Command c =
      read({"--config-file=" + file.path(), "--name=flag", "--max-snapshots=1"}, {"ETCD_NAME=env"});
  ASSERT_EQ(c.action, Command::Action::kRun) << verify_error(c);
  EXPECT_EQ(c.config.server.name, "f");
  EXPECT_EQ(c.config.server.max_wals, 9U);
  EXPECT_EQ(c.config.server.max_snapshots, 5U);
  EXPECT_EQ(c.config.server.snapshot_count, 7U);
  EXPECT_EQ(c.config.grpc_keepalive_min_time, 6'000'000'000);
  EXPECT_TRUE(c.config.socket_reuse_port);
  EXPECT_EQ(c.config.log.outputs, std::vector<std::string>{"stdout"});
  // Unlike on a command line, the default stays advertised.
  EXPECT_EQ(joined(c.config.advertise_client_urls), "http://localhost:2379");
  EXPECT_FALSE(noticed(c.notices,
                       "conflicting environment variable is shadowed by corresponding command-line flag "
                       "(either unset environment variable or disable flag))"));
  EXPECT_EQ(read({}, {"ETCD_CONFIG_FILE=" + file.path()}).config.server.name, "f");
}

TEST(Config, FileErrors) {
  struct Row {
    std::string_view yaml, error;
  };
  const std::string head = "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal ";
  for (const Row& r : {
           Row{"name: 123", "number into Go struct field configYAML.Config.name of type string"},
           Row{"name: yes", "bool into Go struct field configYAML.Config.name of type string"},
           Row{"max-wals: -1", "number -1 into Go struct field configYAML.Config.max-wals of type uint"},
           Row{"grpc-keepalive-min-time: 6s",
               "string into Go struct field configYAML.Config.grpc-keepalive-min-time of type time.Duration"},
           Row{"log-outputs: a",
               "string into Go struct field configYAML.Config.log-outputs of type []string"},
           Row{"listen-peer-urls: 3",
               "number into Go struct field configYAML.configJSON.listen-peer-urls of type string"},
           Row{"peer-transport-security: 3",
               "number into Go struct field configYAML.configJSON.peer-transport-security of type "
               "embed.securityConfig"},
           Row{"foo", "string into Go value of type embed.configYAML"},
       }) {
    FlagSet flags = make_flags();
    const auto got = read_config_text(std::string(r.yaml), flags);
    ASSERT_FALSE(got) << r.yaml;
    EXPECT_EQ(got.error().text(), head + std::string(r.error));
  }
  FlagSet flags = make_flags();
  EXPECT_EQ(read_config_text("peer-transport-security:\n", flags).error().text(),
            "invalid peer-transport-security");
  EXPECT_EQ(verify_error(read({"--config-file=/nonexistent/c.yml"})),
            "open /nonexistent/c.yml: no such file or directory");
  const TempFile bad("advertise-client-urls: foo\n");
  const Command c = read({"--config-file=" + bad.path()});
  EXPECT_EQ(c.err,
            "unexpected error setting up advertise-peer-urls: URL scheme must be http, https, unix, or "
            "unixs: foo\n");
  EXPECT_EQ(c.exit_code, 1);
  EXPECT_TRUE(c.notices.empty());
}

TEST(Config, YamlMeansWhatItMeansToEtcd) {
  // Each of these was recorded from a real etcd 3.6.
  const auto name_of = [](const std::string& yaml) {
    const TempFile file(yaml);
    const Command c = read({"--config-file", file.path()});
    return c.action == Command::Action::kRun ? c.config.server.name : "error: " + verify_error(c);
  };
  const std::string bad = "error: error converting YAML to JSON: yaml: ";
  EXPECT_EQ(name_of("a: &a\n  name: zz\n<<: *a\n"), "zz");
  EXPECT_EQ(name_of("a: &a {name: zz}\n<<: *a\nname: own\n"), "own");
  EXPECT_EQ(name_of("a: &a {name: one}\nb: &b {name: two}\n<<: [*a, *b]\n"), "one");
  EXPECT_EQ(name_of("<<: 5\n"), bad + "map merge requires map or sequence of maps as the value");
  EXPECT_EQ(name_of("x: &v mm\nname: *v\n"), "mm");
  EXPECT_EQ(name_of("name: *v\n"), bad + "unknown anchor 'v' referenced");
  EXPECT_EQ(name_of("name: !!binary bW0=\n"), "mm");
  EXPECT_EQ(name_of("name: !foo mm\n"), "mm");
  EXPECT_EQ(name_of("name: !!null mm\n"), bad + "cannot decode !!str `mm` as a !!null");
  EXPECT_EQ(name_of("snapshot-count: !!int \"55\"\nname: mm\n"), "mm");
  EXPECT_EQ(name_of("snapshot-count: !!float 5\nname: mm\n"), "mm");
  EXPECT_EQ(name_of("pre-vote: !!bool \"true\"\nname: mm\n"), "mm");
  EXPECT_EQ(name_of("name: mm\n---\nname: second\n"), "mm");
  EXPECT_EQ(name_of("%YAML 1.2\n---\nname: mm\n"), bad + "found incompatible YAML document");
  EXPECT_EQ(name_of(std::string("name: n\0\n", 9)), bad + "control characters are not allowed");
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 9; ++i) {
    bomb += fmt::format("a{0}: &a{0} [*a{1},*a{1},*a{1},*a{1},*a{1},*a{1},*a{1},*a{1},*a{1}]\n", i, i - 1);
  }
  EXPECT_EQ(name_of(bomb), bad + "document contains excessive aliasing");
}

TEST(Config, AFileThatIsNone) {
  const auto error = [](const std::string& path) { return verify_error(read({"--config-file", path})); };
  const std::string dir = testing::TempDir();
  EXPECT_EQ(error(dir), fmt::format("read {}: is a directory", dir));
  EXPECT_EQ(error("/none"), "open /none: no such file or directory");
  const TempFile file("x");
  EXPECT_EQ(error(file.path() + "/x"), fmt::format("open {}/x: not a directory", file.path()));
  EXPECT_EQ(error("/dev/zero"), "read /dev/zero: more than 16777216 bytes");
  EXPECT_EQ(error("/dev/null"), "");  // as an empty file
}

TEST(Config, WhatEtcdDoesNotUseEitherIsAccepted) {
  for (const char* arg :
       {"--bcrypt-cost=4", "--auth-token-ttl=5", "--self-signed-cert-validity=5",
        "--peer-skip-client-san-verification", "--experimental-peer-skip-client-san-verification",
        "--distributed-tracing-sampling-rate=100", "--distributed-tracing-address=x:1", "--cert-file=/none",
        "--client-cert-auth", "--peer-auto-tls", "--tls-min-version=TLS1.3", "--memory-mlock"}) {
    const Command c = read({arg});
    EXPECT_EQ(c.action, Command::Action::kRun) << arg << ": " << verify_error(c);
    EXPECT_EQ(c.config.bootstrap_error, "");
  }
  EXPECT_TRUE(read({"--memory-mlock"}).config.memory_mlock);
  EXPECT_TRUE(read({"--experimental-memory-mlock"}).config.memory_mlock);
  // Where there is a log, discovery is not looked at.
  const Command discovers = read({"--discovery=http://x/y"});
  EXPECT_EQ(discovers.action, Command::Action::kRun);
  EXPECT_EQ(discovers.config.bootstrap_error,
            "--discovery is set, but discovery is not served by this version of Quoin");
}

// The options of the sample configuration that etcd ships, with its values.
TEST(Config, TheSampleConfigurationStarts) {
  const TempFile file(R"(
name: 'default'
data-dir:
wal-dir:
snapshot-count: 10000
heartbeat-interval: 100
election-timeout: 1000
quota-backend-bytes: 0
listen-peer-urls: http://localhost:2380
listen-client-urls: http://localhost:2379
max-snapshots: 5
max-wals: 5
cors:
initial-advertise-peer-urls: http://localhost:2380
advertise-client-urls: http://localhost:2379
discovery:
discovery-fallback: 'proxy'
discovery-proxy:
discovery-srv:
initial-cluster:
initial-cluster-token: 'etcd-cluster'
initial-cluster-state: 'new'
strict-reconfig-check: false
enable-pprof: true
client-transport-security:
  cert-file:
  key-file:
  client-cert-auth: false
  trusted-ca-file:
  auto-tls: false
peer-transport-security:
  cert-file:
  key-file:
  client-cert-auth: false
  trusted-ca-file:
  auto-tls: false
  allowed-cn:
  allowed-hostname:
self-signed-cert-validity: 1
log-level: debug
logger: zap
log-outputs: [stderr]
force-new-cluster: false
auto-compaction-mode: periodic
auto-compaction-retention: "1"
cipher-suites: [
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
]
tls-min-version: 'TLS1.2'
tls-max-version: 'TLS1.3'
)");
  const Command c = read({"--config-file", file.path()});
  EXPECT_EQ(c.action, Command::Action::kRun) << verify_error(c);
  EXPECT_TRUE(noticed(
      c.notices, "--enable-pprof is set, but profiling over HTTP is not served by this version of Quoin"));
  EXPECT_TRUE(c.config.initial_members());
}

TEST(ConfigUrl, Ports) {
  const auto error = [](std::string_view url) {
    const Result<> r = check_ports(*parse_urls(url));
    return r ? std::string() : std::string(r.error().text());
  };
  EXPECT_EQ(error("http://127.0.0.1:65535"), "");
  EXPECT_EQ(error("http://127.0.0.1:0080"), "");
  EXPECT_EQ(error("http://127.0.0.1:"), "");
  EXPECT_EQ(error("unix://x:99999"), "");
  EXPECT_EQ(error("http://127.0.0.1:65536"), "listen tcp: address 65536: invalid port");
  EXPECT_EQ(error("http://[::1]:18446744073709551617"),
            "listen tcp: address 18446744073709551617: invalid port");
}

TEST(Config, CompactionRetention) {
  const auto retention = [](const std::string& mode, const std::string& text) {
    return read({"--name=n", "--auto-compaction-mode=" + mode, "--auto-compaction-retention=" + text})
        .config.server.auto_compaction_retention;
  };
  EXPECT_EQ(retention("periodic", "0"), 0);
  EXPECT_EQ(retention("periodic", "2"), 7'200'000'000'000);
  EXPECT_EQ(retention("periodic", "010"), 36'000'000'000'000);
  EXPECT_EQ(retention("periodic", "5m"), 300'000'000'000);
  EXPECT_EQ(retention("revision", "1000"), 1000);
  EXPECT_EQ(retention("revision", "1us"), 1000);
  // Not a fault of the flags: etcd meets it behind its listeners.
  const Command c = read({"--name=n", "--auto-compaction-retention=x"});
  EXPECT_EQ(c.action, Command::Action::kRun);
  EXPECT_EQ(c.config.auto_compaction_error,
            "error parsing CompactionRetention: time: invalid duration \"x\"");
  EXPECT_EQ(read({"--name=n"}).config.auto_compaction_error, "");
}

TEST(Config, InitialCluster) {
  const Command c = read({"--initial-cluster=b"});
  EXPECT_EQ(c.config.initial_members().error().text(),
            "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: ");
}

TEST(Config, HelpAndVersion) {
  const Command help = read({"--help", "whatever", "--foo"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_EQ(first_line(help.err), "Usage:");
  for (const Option& o : options()) {
    if (o.section == Section::kHidden) continue;
    EXPECT_NE(help.out.find(fmt::format("  --{} '{}'\n    ", o.name, o.default_in_help())), std::string::npos)
        << o.name;
  }
  const Command version = read({"--version", "--name=x"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_EQ(first_line(version.out), "etcd Version: 3.6.16");
  EXPECT_EQ(std::count(version.out.begin(), version.out.end(), '\n'), 5);
}

TEST(ConfigUrl, HostAndPort) {
  const auto port_of = [](std::string_view s) {
    const auto r = split_host_port(s);
    return r ? r->first + "|" + r->second : std::string(r.error().text());
  };
  EXPECT_EQ(port_of("a:1"), "a|1");
  EXPECT_EQ(port_of("[::1]:2"), "::1|2");
  EXPECT_EQ(port_of(":3"), "|3");
  EXPECT_EQ(port_of("a"), "address a: missing port in address");
  EXPECT_EQ(port_of(""), "missing port in address");
  EXPECT_EQ(port_of("::1"), "address ::1: too many colons in address");
  EXPECT_EQ(port_of("[::1"), "address [::1: missing ']' in address");
  EXPECT_EQ((*parse_urls("http://[::1]:5"))[0].hostname(), "::1");
  const Urls unix_urls = *parse_urls("unix:///run/e.sock, unix://localhost:2379");
  EXPECT_EQ(joined(unix_urls), "unix:///run/e.sock,unix://localhost:2379");
  EXPECT_TRUE(is_ip("::ffff:1.2.3.4"));
  EXPECT_FALSE(is_ip("fe80::1%eth0"));
}

}  // namespace
}  // namespace quoin::cmd
