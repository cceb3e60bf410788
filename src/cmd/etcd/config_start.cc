#include "cmd/etcd/config_start.h"

#include "cmd/etcd/config_url.h"

namespace quoin::cmd {
namespace {

constexpr std::string_view kArch =
#if defined(__aarch64__)
    "arm64";
#else
    "amd64";
#endif

std::string members_text(const Config& c) {
  std::string out;
  if (const auto members = c.initial_members()) {
    for (const auto& [name, urls] : *members) {
      for (const std::string& url : urls) out += (out.empty() ? "" : ",") + name + "=" + url;
    }
  }
  return out;
}

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kDefaultQuotaBytes = int64_t{2} << 30;

}  // namespace

void log_starting(const Config& c, bool member_initialized, int cpus, log::Logger& logger) {
  const std::string cluster = member_initialized ? std::string() : members_text(c);
  const std::string token = member_initialized ? std::string() : c.server.initial_cluster_token;
  const std::string member_dir = c.server.data_dir + "/member";
  const std::vector<std::string> advertise_peer = texts(c.initial_advertise_peer_urls);
  const std::vector<std::string> listen_peer = texts(c.listen_peer_urls);
  const std::vector<std::string> advertise_client = texts(c.advertise_client_urls);
  const std::vector<std::string> listen_client = texts(c.listen_client_urls);
  const std::vector<std::string> listen_metrics = texts(c.listen_metrics_urls);
  const log::Duration retention{c.server.auto_compaction_retention};
  // The discovery options show the defaults: anything else is refused.
  LOG(logger, kInfo, "starting an etcd server", {"etcd-version", kEtcdVersion}, {"git-sha", kGitSha},
      {"go-version", kGoVersion}, {"go-os", "linux"}, {"go-arch", kArch}, {"max-cpu-set", cpus},
      {"max-cpu-available", cpus}, {"member-initialized", member_initialized}, {"name", c.server.name},
      {"data-dir", c.server.data_dir}, {"wal-dir", c.server.wal_dir}, {"wal-dir-dedicated", c.server.wal_dir},
      {"member-dir", member_dir}, {"force-new-cluster", c.server.force_new_cluster},
      {"heartbeat-interval", log::Duration{c.server.heartbeat_ns}},
      {"election-timeout", log::Duration{c.server.election_ns}},
      {"initial-election-tick-advance", c.server.initial_election_tick_advance},
      {"snapshot-count", c.server.snapshot_count}, {"max-wals", c.server.max_wals},
      {"max-snapshots", c.server.max_snapshots},
      {"snapshot-catchup-entries", c.server.snapshot_catchup_entries},
      {"initial-advertise-peer-urls", advertise_peer}, {"listen-peer-urls", listen_peer},
      {"advertise-client-urls", advertise_client}, {"listen-client-urls", listen_client},
      {"listen-metrics-urls", listen_metrics}, {"experimental-local-address", c.local_address},
      {"cors", c.cors}, {"host-whitelist", c.host_whitelist}, {"initial-cluster", cluster},
      {"initial-cluster-state", c.server.new_cluster ? "new" : "existing"}, {"initial-cluster-token", token},
      {"quota-backend-bytes",
       c.server.quota_backend_bytes == 0 ? kDefaultQuotaBytes : c.server.quota_backend_bytes},
      {"max-request-bytes", c.server.max_request_bytes}, {"max-concurrent-streams", c.max_concurrent_streams},
      {"pre-vote", c.server.pre_vote}, {"feature-gates", c.feature_gates_text},
      {"initial-corrupt-check", false},
      {"corrupt-check-time-interval", log::Duration{c.server.corrupt_check_ns}},
      {"compact-check-time-interval", log::Duration{c.server.compact_hash_check_ns}},
      {"auto-compaction-mode",
       c.server.auto_compaction == server::Config::AutoCompaction::kRevision ? "revision" : "periodic"},
      {"auto-compaction-retention", retention}, {"auto-compaction-interval", retention},
      {"discovery-url", ""}, {"discovery-proxy", ""}, {"discovery-token", ""}, {"discovery-endpoints", ""},
      {"discovery-dial-timeout", log::Duration{2 * kSecond}},
      {"discovery-request-timeout", log::Duration{5 * kSecond}},
      {"discovery-keepalive-time", log::Duration{2 * kSecond}},
      {"discovery-keepalive-timeout", log::Duration{6 * kSecond}}, {"discovery-insecure-transport", true},
      {"discovery-insecure-skip-tls-verify", false}, {"discovery-cert", ""}, {"discovery-key", ""},
      {"discovery-cacert", ""}, {"discovery-user", ""},
      {"downgrade-check-interval", log::Duration{c.server.downgrade_check_ns}},
      {"max-learners", c.server.max_learners}, {"v2-deprecation", c.v2_deprecation});
}

std::string infer_local_address(const Config& c, log::Logger& logger) {
  if (!c.gates.set_member_local_addr) return {};
  const std::vector<std::string> advertised = texts(c.initial_advertise_peer_urls);
  LOG(logger, kInfo, "searching for a suitable member local address in AdvertisePeerURLs",
      {"advertise-peer-urls", advertised});
  for (const Url& url : c.initial_advertise_peer_urls) {
    const std::string host = url.hostname();
    if (!is_ip(host) || is_loopback_or_unspecified(host)) continue;
    LOG(logger, kInfo, "setting member local address", {"LocalAddr", host});
    return host;
  }
  LOG(logger, kWarn, "unable to set a member local address due to lack of suitable local addresses",
      {"advertise-peer-urls", advertised});
  return {};
}

void warn_of_unused_peer_tls(const Config& c, log::Logger& logger) {
  for (const Url& u : c.listen_peer_urls) {
    if (u.scheme != "http") continue;
    if (!c.peer_tls.empty()) {
      LOG(logger, kWarn, "scheme is HTTP while key and cert files are present; ignoring key and cert files",
          {"peer-url", u.text()});
    }
    if (c.peer_tls.client_cert_auth) {
      LOG(logger, kWarn,
          "scheme is HTTP while --peer-client-cert-auth is enabled; ignoring client cert auth for this URL",
          {"peer-url", u.text()});
    }
  }
}

void warn_of_unused_client_tls(const Config& c, log::Logger& logger) {
  Urls urls = c.listen_client_urls;
  urls.insert(urls.end(), c.listen_client_http_urls.begin(), c.listen_client_http_urls.end());
  for (const Url& u : urls) {
    if (u.is_tls()) continue;
    if (!c.client_tls.empty()) {
      LOG(logger, kWarn,
          "scheme is http or unix while key and cert files are present; ignoring key and cert files",
          {"client-url", u.text()});
    }
    if (c.client_tls.client_cert_auth) {
      LOG(logger, kWarn,
          "scheme is http or unix while --client-cert-auth is enabled; ignoring client cert auth for this "
          "URL",
          {"client-url", u.text()});
    }
  }
}

void warn_of_bcrypt_cost(const Config& c, log::Logger& logger) {
  constexpr uint64_t kMin = 4, kMax = 31, kDefault = 10;
  if (c.bcrypt_cost >= kMin && c.bcrypt_cost <= kMax) return;
  LOG(logger, kWarn, "use default bcrypt cost instead of the invalid given cost", {"min-cost", kMin},
      {"max-cost", kMax}, {"default-cost", kDefault}, {"given-cost", c.bcrypt_cost});
}

void log_request_limit(const Config& c, log::Logger& logger) {
  constexpr uint64_t kRecommendedBytes = 10 << 20;
  if (c.server.max_request_bytes <= kRecommendedBytes) return;
  LOG(logger, kWarn, "exceeded recommended request limit", {"max-request-bytes", c.server.max_request_bytes},
      {"max-request-size", log::Size{c.server.max_request_bytes}},
      {"recommended-request-bytes", kRecommendedBytes},
      {"recommended-request-size", log::Size{kRecommendedBytes}});
}

void log_quota(const Config& c, log::Logger& logger) {
  constexpr int64_t kMaxQuotaBytes = int64_t{8} << 30;
  const int64_t quota = c.server.quota_backend_bytes;
  const auto size = [](int64_t bytes) { return log::Size{static_cast<uint64_t>(bytes)}; };
  const log::Field name{"quota-name", "v3-applier"};
  if (quota < 0) {
    LOG(logger, kInfo, "disabled backend quota", name, {"quota-size-bytes", quota});
  } else if (quota == 0) {
    LOG(logger, kInfo, "enabled backend quota with default value", name,
        {"quota-size-bytes", kDefaultQuotaBytes}, {"quota-size", size(kDefaultQuotaBytes)});
  } else {
    if (quota > kMaxQuotaBytes) {
      LOG(logger, kWarn, "quota exceeds the maximum value", name, {"quota-size-bytes", quota},
          {"quota-size", size(quota)}, {"quota-maximum-size-bytes", kMaxQuotaBytes},
          {"quota-maximum-size", size(kMaxQuotaBytes)});
    }
    LOG(logger, kInfo, "enabled backend quota", name, {"quota-size-bytes", quota},
        {"quota-size", size(quota)});
  }
}

void log_running(const Config& c, MemberId self, size_t members, log::Logger& logger) {
  const int ahead = c.server.election_ticks() - 1;
  if (members == 1) {
    LOG(logger, kInfo, "started as single-node; fast-forwarding election ticks",
        {"local-member-id", log::Hex{self.v}}, {"forward-ticks", ahead},
        {"forward-duration", log::Duration{ahead * c.server.heartbeat_ns}},
        {"election-ticks", c.server.election_ticks()},
        {"election-timeout", log::Duration{c.server.election_ticks() * c.server.heartbeat_ns}});
  }
  const auto purges = [&](const std::string& dir, std::string_view suffix, uint32_t max) {
    LOG(logger, kInfo, "started to purge file", {"dir", dir}, {"suffix", suffix}, {"max", max},
        {"interval", log::Duration{30 * kSecond}});
  };
  if (c.server.max_snapshots > 0) {
    purges(c.snap_path(), "snap.db", c.server.max_snapshots);
    purges(c.snap_path(), "snap", c.server.max_snapshots);
  }
  if (c.server.max_wals > 0) purges(c.wal_path(), "wal", c.server.max_wals);
}

}  // namespace quoin::cmd
