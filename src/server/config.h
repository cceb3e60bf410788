// What a member is told at start, as plain values. cmd reads flags and files into it.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "auth/password.h"
#include "auth/token_options.h"
#include "io/clock.h"

namespace quoin::auth {
class Jwt;
}

namespace quoin::server {

struct Config {
  std::string name = "default";
  std::string data_dir;  // contains member/; never empty
  std::string wal_dir;   // empty: <data_dir>/member/wal
  std::vector<std::string> initial_advertise_peer_urls;
  std::vector<std::string> advertise_client_urls;
  std::vector<std::pair<std::string, std::vector<std::string>>> initial_cluster;  // name, peer URLs
  std::string initial_cluster_token = "etcd-cluster";
  bool new_cluster = true;  // --initial-cluster-state
  bool force_new_cluster = false;
  bool strict_reconfig_check = true;
  bool unsafe_no_fsync = false;
  // Go on where the log is missing, ends before the database or is damaged so that acknowledged entries are
  // lost, instead of refusing to start.
  bool allow_wal_cut = false;
  bool pre_vote = true;
  bool initial_election_tick_advance = true;
  int64_t max_learners = 1;

  uint64_t snapshot_count = 10'000;
  uint64_t snapshot_catchup_entries = 5'000;
  uint64_t max_snapshots = 5, max_wals = 5;  // files kept; 0: all
  uint64_t wal_segment_bytes = 64'000'000;   // etcd's; simulations meet the edges with less

  int64_t heartbeat_ns = 100 * io::kMillisecond;
  int64_t election_ns = 1'000 * io::kMillisecond;
  int election_ticks() const { return static_cast<int>(election_ns / heartbeat_ns); }
  int64_t request_timeout_ns() const { return 5 * io::kSecond + 2 * election_ns; }

  int64_t quota_backend_bytes = 0;  // 0: the default (2 GiB); negative: no quota
  int64_t backend_batch_interval_ns = 100 * io::kMillisecond;
  uint64_t backend_batch_limit = 10'000;
  uint64_t compaction_batch_limit = 1'000;
  int64_t compaction_sleep_ns = 10 * io::kMillisecond;
  enum class AutoCompaction : uint8_t { kNone, kPeriodic, kRevision } auto_compaction = AutoCompaction::kNone;
  int64_t auto_compaction_retention = 0;  // nanoseconds, or revisions; not positive: off

  uint64_t max_request_bytes = 1'572'864;
  uint64_t max_txn_ops = 128;
  int64_t warning_apply_ns = 100 * io::kMillisecond;
  int64_t warning_unary_request_ns = 300 * io::kMillisecond;
  int64_t watch_progress_notify_ns = 600 * io::kSecond;
  int64_t downgrade_check_ns = 5 * io::kSecond;
  bool initial_corrupt_check = false;
  int64_t corrupt_check_ns = 0;  // 0: never
  bool compact_hash_check = false;
  int64_t compact_hash_check_ns = 60 * io::kSecond;
  uint64_t bootstrap_defrag_mib = 0;  // defragment at start if at least so much is free; 0: never
  bool lease_checkpoint = false;
  bool lease_checkpoint_persist = false;
  bool promote_learners = false;  // that have caught up (server/learner_promotion.h)

  // ---- users ----
  auth::TokenKind token_kind = auth::TokenKind::kSimple;
  std::shared_ptr<const auth::Jwt> jwt;  // of kJwt
  int64_t auth_token_ttl_ns = 300 * io::kSecond;
  int bcrypt_cost = auth::kBcryptCostDefault;
  // A verified client certificate names its user (--client-cert-auth).
  bool client_cert_auth = false;
};

}  // namespace quoin::server
