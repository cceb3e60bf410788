// The command line of etcd-benchmark.
//
// Flags, their defaults and the texts about wrong ones are etcd's (spec cli 11). Ours beyond them:
//   --write-out, -w       simple or json
//   --stall-timeout       ends a run in which no call ends for so long; 0: waits for ever, as etcd's
//   watch-fanout          a command: one key, many watchers over many streams
//
// Threads: none.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace quoin::cmd::bench {

enum class Command : uint8_t {
  kPut,
  kRange,
  kTxnPut,
  kTxnMixed,
  kStm,
  kWatch,
  kWatchGet,
  kWatchLatency,
  kWatchFanout,
  kLeaseKeepalive,
};

// Values that a command has no flag for are 0.
struct Arguments {
  Command command = Command::kPut;
  std::string command_name;

  std::vector<std::string> endpoints;
  uint64_t conns = 1, clients = 1;
  bool precise = false, sample = false, json = false;
  std::string cert, key, cacert;
  bool insecure_skip_tls_verify = false;
  std::string user;
  int64_t dial_timeout_ns = 0, auto_sync_interval_ns = 0, stall_timeout_ns = 0;
  bool target_leader = false;

  int64_t key_size = 0, val_size = 0, rate = 0, total = 0, key_space_size = 0;
  bool sequential_keys = false;
  int64_t compact_interval_ns = 0, compact_index_delta = 0;  // put
  bool check_hashkv = false;
  std::string range_key, range_end;  // range
  bool serializable = false;         // range, txn-mixed
  int64_t limit = 0;
  bool count_only = false;
  int64_t txn_ops = 0;  // txn-put
  double rw_ratio = 0;  // txn-mixed
  std::string end_key;
  std::string isolation, locker;  // stm: c, r, s or ss; stm, lock-client or lock-rpc
  int64_t keys = 0, keys_per_txn = 0, txn_wr_percent = 0;
  int64_t streams = 0, watchers = 0;  // watchers: of a stream, or of watch-get and watch-fanout of all
  int64_t watched_keys = 0, events = 0;
  bool prev_kv = false;

  bool tls() const { return !cert.empty() || !key.empty() || !cacert.empty() || insecure_skip_tls_verify; }
};

struct ArgumentsOrEnd {
  std::optional<Arguments> arguments;  // none: it ends so
  std::string out, err;                // what is said before, in both cases
  int exit_code = 0;
};

// `program`: its name in texts; `words`: those behind it.
ArgumentsOrEnd read_arguments(const std::string& program, const std::vector<std::string>& words);

}  // namespace quoin::cmd::bench
