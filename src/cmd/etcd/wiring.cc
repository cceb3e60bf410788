#include "cmd/etcd/wiring.h"

#include <algorithm>
#include <climits>

#include "cmd/etcd/descriptors.h"
#include "posix/loop.h"

namespace quoin::cmd {

server::Config server_config(const Config& c) {
  server::Config s;
  s.name = c.name;
  s.data_dir = c.data_dir;
  s.wal_dir = c.wal_dir;
  s.initial_advertise_peer_urls = texts(c.initial_advertise_peer_urls);
  s.advertise_client_urls = texts(c.advertise_client_urls);
  if (auto members = c.initial_members()) s.initial_cluster.assign(members->begin(), members->end());
  s.initial_cluster_token = c.initial_cluster_token;
  s.new_cluster = !c.initial_cluster_existing;
  s.force_new_cluster = c.force_new_cluster;
  s.strict_reconfig_check = c.strict_reconfig_check;
  s.unsafe_no_fsync = c.unsafe_no_fsync;
  s.allow_wal_cut = c.allow_wal_cut;
  s.pre_vote = c.pre_vote;
  s.max_learners = static_cast<int>(std::min<int64_t>(c.max_learners, INT_MAX));
  s.snapshot_count = c.snapshot_count;
  s.snapshot_catchup_entries = c.snapshot_catchup_entries;
  s.max_snapshots = c.max_snapshots;
  s.max_wals = c.max_wals;
  s.heartbeat_ns = c.heartbeat_ms * io::kMillisecond;
  s.election_ns = c.election_ms * io::kMillisecond;
  s.quota_backend_bytes = c.quota_backend_bytes;
  if (c.backend_batch_interval > 0) s.backend_batch_interval_ns = c.backend_batch_interval;
  if (c.backend_batch_limit > 0) s.backend_batch_limit = static_cast<uint64_t>(c.backend_batch_limit);
  if (c.compaction_batch_limit > 0)
    s.compaction_batch_limit = static_cast<uint64_t>(c.compaction_batch_limit);
  s.compaction_sleep_ns = c.compaction_sleep_interval;
  if (c.auto_compaction_retention > 0) {
    s.auto_compaction = c.auto_compaction_mode == CompactionMode::kPeriodic
                            ? server::Config::AutoCompaction::kPeriodic
                            : server::Config::AutoCompaction::kRevision;
    s.auto_compaction_retention = c.auto_compaction_retention;
  }
  s.max_request_bytes = c.max_request_bytes;
  s.max_txn_ops = c.max_txn_ops;
  s.warning_apply_ns = c.warning_apply_duration;
  s.warning_unary_request_ns = c.warning_unary_request_duration;
  s.watch_progress_notify_ns = c.watch_progress_notify_interval;
  s.downgrade_check_ns = c.downgrade_check_time;
  s.initial_corrupt_check = c.gates.initial_corrupt_check;
  s.corrupt_check_ns = c.corrupt_check_time;
  s.compact_hash_check = c.gates.compact_hash_check;
  s.compact_hash_check_ns = c.compact_hash_check_time;
  s.bootstrap_defrag_mib = c.bootstrap_defrag_threshold_mib;
  s.lease_checkpoint = c.gates.lease_checkpoint;
  s.lease_checkpoint_persist = c.gates.lease_checkpoint_persist;
  return s;
}

namespace {

io::ListenAddress listen_address(const Url& url, const Config& c) {
  io::ListenAddress a;
  a.reuse_port = c.socket_reuse_port;
  if (url.is_unix()) {
    a.unix_socket = true;
    a.host = url.host + url.path;
    return a;
  }
  a.host = url.hostname();
  a.port = url.port_number().value_or(0);
  return a;
}

// etcd takes a file's name from the host part alone here.
io::ListenAddress inner_address(const Url& url, const Config& c) {
  io::ListenAddress a = listen_address(url, c);
  if (url.is_unix()) a.host = url.host;
  return a;
}

}  // namespace

front::Options front_options(const Config& c) {
  front::Options o;
  for (const Url& u : c.listen_peer_urls) o.peer.push_back(inner_address(u, c));
  for (const Url& u : c.listen_client_urls) o.client.push_back(listen_address(u, c));
  for (const Url& u : c.listen_client_http_urls) o.client_http.push_back(listen_address(u, c));
  for (const Url& u : c.listen_metrics_urls) o.metrics.push_back(inner_address(u, c));
  o.peer_silence_ns = c.raft_read_timeout;
  o.peer_answer_ns = c.raft_write_timeout;
  constexpr uint64_t kGrpcOverheadBytes = 512 << 10;
  o.limits.max_received_message_bytes = c.max_request_bytes + kGrpcOverheadBytes;
  if (c.max_concurrent_streams > 0) o.limits.max_concurrent_streams = c.max_concurrent_streams;
  o.limits.request_bytes = std::max<size_t>(o.limits.request_bytes, 2 * o.limits.max_received_message_bytes);
  o.limits.keepalive_min_time_ns = c.grpc_keepalive_min_time;
  if (c.grpc_keepalive_interval > 0 && c.grpc_keepalive_timeout > 0) {
    o.limits.keepalive_interval_ns = c.grpc_keepalive_interval;
    o.limits.keepalive_timeout_ns = c.grpc_keepalive_timeout;
  }
  o.call_seconds = c.metrics_extensive;
  o.http.cors = c.cors;
  o.http.host_whitelist = c.host_whitelist;
  o.http.etcd_version = kEtcdVersion;
  o.http.quoin_version = kQuoinVersion;
  return o;
}

httpapi::ConstantMetrics constant_metrics(const Config& c) {
  httpapi::ConstantMetrics m;
  m.etcd_version = kEtcdVersion;
  m.go_version = kGoVersion;
  m.quoin_version = kQuoinVersion;
  for (const FeatureGate& g : list_gates(c.gates))
    m.gates.push_back({std::string(g.name), std::string(g.stage), g.enabled});
  m.output_queued_bytes = [] { return static_cast<double>(posix::queued_output_bytes()); };
  m.open_fds = [] { return static_cast<double>(count_descriptors()); };
  m.max_fds = [] { return static_cast<double>(descriptor_limit().open_max); };
  return m;
}

}  // namespace quoin::cmd
