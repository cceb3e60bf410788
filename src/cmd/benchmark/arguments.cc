#include "cmd/benchmark/arguments.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "base/go_text.h"
#include "cmd/benchmark/commands.h"
#include "cmd/benchmark/requests.h"

namespace quoin::cmd::bench {
namespace {

constexpr int kExitCobra = 255, kExitFault = 1;
constexpr uint64_t kClientsMax = 1'000'000, kConnsMax = 100'000;
// Of what has memory of its own: keys, watchers, bytes of a value.
constexpr int64_t kCountMax = 100'000'000;
constexpr int64_t kStreamsMax = 1'000'000;

constexpr std::array<std::pair<std::string_view, Command>, 10> kCommands = {{
    {"put", Command::kPut},
    {"range", Command::kRange},
    {"txn-put", Command::kTxnPut},
    {"txn-mixed", Command::kTxnMixed},
    {"stm", Command::kStm},
    {"watch", Command::kWatch},
    {"watch-get", Command::kWatchGet},
    {"watch-latency", Command::kWatchLatency},
    {"watch-fanout", Command::kWatchFanout},
    {"lease-keepalive", Command::kLeaseKeepalive},
}};

// Values by name; 0 where the command has no such flag.
class Values {
 public:
  explicit Values(const CobraCommand& command) : flags_(command.all_flags()) {}
  int64_t number(std::string_view name) const {
    const CobraFlag* f = flags_.find(name);
    return f ? f->number : 0;
  }
  bool yes(std::string_view name) const {
    const CobraFlag* f = flags_.find(name);
    return f != nullptr && f->boolean;
  }
  std::string text(std::string_view name) const {
    const CobraFlag* f = flags_.find(name);
    return f ? f->text : "";
  }
  const CobraFlag* find(std::string_view name) const { return flags_.find(name); }

 private:
  const CobraFlags flags_;
};

Arguments collect(const CobraCommand& command, const std::vector<std::string>& words) {
  const Values v(command);
  Arguments a;
  a.command_name = command.name();
  for (const auto& [name, c] : kCommands) {
    if (name == a.command_name) a.command = c;
  }
  a.endpoints = v.find("endpoints")->list;
  a.conns = v.find("conns")->unsigned_number;
  a.clients = v.find("clients")->unsigned_number;
  a.precise = v.yes("precise");
  a.sample = v.yes("sample");
  a.json = v.text("write-out") == "json";
  a.cert = v.text("cert");
  a.key = v.text("key");
  a.cacert = v.text("cacert");
  a.insecure_skip_tls_verify = v.yes("insecure-skip-tls-verify");
  a.user = v.text("user");
  a.dial_timeout_ns = v.find("dial-timeout")->duration_ns;
  a.auto_sync_interval_ns = v.find("auto-sync-interval")->duration_ns;
  a.stall_timeout_ns = v.find("stall-timeout")->duration_ns;
  a.target_leader = v.yes("target-leader");

  a.key_size = v.number("key-size");
  a.val_size = v.number("val-size");
  a.rate = v.number("rate") + v.number("put-rate");     // a command has one of them
  a.total = v.number("total") + v.number("put-total");  // the same
  a.key_space_size = v.number("key-space-size");
  a.sequential_keys = v.yes("sequential-keys");
  if (const CobraFlag* f = v.find("compact-interval")) a.compact_interval_ns = f->duration_ns;
  a.compact_index_delta = v.number("compact-index-delta");
  a.check_hashkv = v.yes("check-hashkv");
  if (a.command == Command::kRange && !words.empty()) a.range_key = words[0];
  if (a.command == Command::kRange && words.size() > 1) a.range_end = words[1];
  a.serializable = v.text("consistency") == "s";
  a.limit = v.number("limit");
  a.count_only = v.yes("count-only");
  a.txn_ops = v.number("txn-ops");
  if (const CobraFlag* f = v.find("rw-ratio")) a.rw_ratio = f->real;
  a.end_key = v.text("end-key");
  a.isolation = v.text("isolation");
  a.locker = v.text("stm-locker");
  a.keys = v.number("keys");
  a.keys_per_txn = v.number("keys-per-txn");
  a.txn_wr_percent = v.number("txn-wr-percent");
  a.streams = v.number("streams");
  a.watchers = v.number("watchers") + v.number("watch-per-stream") + v.number("watchers-per-stream");
  a.watched_keys = v.number("watched-key-total");
  a.events = v.number("events");
  a.prev_kv = v.yes("prevkv");
  return a;
}

// etcd's checks, and those of what its tool dies of. Some of its texts have no line feed at their end.
std::string fault_of(const Arguments& a, const std::vector<std::string>& words, const CobraCommand& command) {
  const auto usage = [&] { return command.usage() + "<nil>\n"; };
  const auto has = [&](std::string_view flag) { return command.all_flags().find(flag) != nullptr; };
  const auto text_of = [&](std::string_view flag) { return command.all_flags().at(flag).text; };
  if (const std::string format = text_of("write-out"); format != "simple" && format != "json") {
    return fmt::format("unknown output format {}, expected simple or json\n", go_quote(format));
  }
  if (a.endpoints.empty()) return "expected at least one of --endpoints\n";
  if (a.conns == 0 || a.conns > kConnsMax) {
    return fmt::format("expected --conns between 1 and {}, got ({})\n", kConnsMax, a.conns);
  }
  if (a.clients == 0 || a.clients > kClientsMax) {
    return fmt::format("expected --clients between 1 and {}, got ({})\n", kClientsMax, a.clients);
  }
  if (a.command == Command::kRange && (words.empty() || words.size() > 2)) return usage();
  if (has("key-space-size") && a.key_space_size <= 0) {
    return fmt::format("expected positive --key-space-size, got ({})", a.key_space_size);
  }
  if (a.command == Command::kTxnPut && a.txn_ops > a.key_space_size) {
    return fmt::format(
        "expected --txn-ops no larger than --key-space-size, got txn-ops({}) key-space-size({})\n", a.txn_ops,
        a.key_space_size);
  }
  if (has("consistency") && text_of("consistency") != "l" && text_of("consistency") != "s") return usage();
  if (a.command == Command::kStm) {
    if (a.keys <= 0) return fmt::format("expected positive --keys, got ({})", a.keys);
    if (a.txn_wr_percent < 0 || a.txn_wr_percent > 100) {
      return fmt::format("expected [0, 100] --txn-wr-percent, got ({})", a.txn_wr_percent);
    }
    if (a.keys_per_txn < 0 || a.keys_per_txn > a.keys) {
      return fmt::format("expected --keys-per-txn between 0 and {}, got ({})", a.keys, a.keys_per_txn);
    }
    if (a.isolation != "c" && a.isolation != "r" && a.isolation != "s" && a.isolation != "ss") return usage();
    if (a.locker != "stm" && a.locker != "lock-client" && a.locker != "lock-rpc") {
      return fmt::format("unexpected stm locker {}\n", go_quote(a.locker));
    }
  }
  for (const std::string_view flag :
       {"key-size", "val-size", "txn-ops", "streams", "watchers", "watch-per-stream", "watchers-per-stream",
        "watched-key-total", "keys-per-txn"}) {
    const CobraFlag* f = command.all_flags().find(flag);
    if (f != nullptr && (f->number < 0 || f->number > kCountMax)) {
      return fmt::format("expected --{} between 0 and {}, got ({})\n", flag, kCountMax, f->number);
    }
  }
  if (a.streams > kStreamsMax) {
    return fmt::format("expected --streams between 0 and {}, got ({})\n", kStreamsMax, a.streams);
  }
  const bool of_each = has("watch-per-stream") || has("watchers-per-stream");
  if (of_each && a.streams * a.watchers > kCountMax) {
    return fmt::format("expected no more than {} watchers, got ({})\n", kCountMax, a.streams * a.watchers);
  }
  if (a.command == Command::kWatch && a.watched_keys == 0)
    return "expected positive --watched-key-total, got (0)\n";
  if (has("key-space-size")) {
    const size_t least = KeyBuffer::varint_bytes(a.key_space_size - 1);
    if (static_cast<size_t>(a.key_size) < least) {
      return fmt::format("expected --key-size of at least {} for --key-space-size {}, got ({})\n", least,
                         a.key_space_size, a.key_size);
    }
  }
  return "";
}

}  // namespace

ArgumentsOrEnd read_arguments(const std::string& program, const std::vector<std::string>& words) {
  const std::unique_ptr<CobraCommand> root = make_commands(program);
  CobraOutcome o = root->read(words);
  ArgumentsOrEnd end;
  end.out = std::move(o.out);
  end.err = std::move(o.err);
  if (o.command == nullptr) {
    if (!o.error.empty()) {
      end.err += o.error + "\n";
      end.exit_code = kExitCobra;
    }
    return end;
  }
  if (o.command->parent() != root.get()) {
    end.err +=
        program +
        " mvcc put: it measures the storage engine of etcd's own server within the tool, and this tool has "
        "none\n";
    end.exit_code = kExitFault;
    return end;
  }
  Arguments a = collect(*o.command, o.words);
  if (const std::string fault = fault_of(a, o.words, *o.command); !fault.empty()) {
    end.err += fault;
    end.exit_code = kExitFault;
    return end;
  }
  end.arguments = std::move(a);
  return end;
}

}  // namespace quoin::cmd::bench
