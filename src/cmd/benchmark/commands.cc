#include "cmd/benchmark/commands.h"

#include "io/clock.h"

namespace quoin::cmd::bench {
namespace {

using Kind = CobraFlag::Kind;

CobraFlag whole(std::string name, int64_t value, std::string help) {
  return {.name = std::move(name), .kind = Kind::kInt, .help = std::move(help), .number = value};
}
CobraFlag text(std::string name, std::string value, std::string help) {
  return {.name = std::move(name), .kind = Kind::kString, .help = std::move(help), .text = std::move(value)};
}
CobraFlag yes(std::string name, std::string help) {
  return {.name = std::move(name), .kind = Kind::kBool, .help = std::move(help)};
}
CobraFlag duration(std::string name, int64_t ns, std::string help) {
  return {.name = std::move(name), .kind = Kind::kDuration, .help = std::move(help), .duration_ns = ns};
}
CobraFlag count(std::string name, uint64_t value, std::string help) {
  return {.name = std::move(name), .kind = Kind::kUint64, .help = std::move(help), .unsigned_number = value};
}

void add_global_flags(CobraFlags& f) {
  f.add({.name = "endpoints", .kind = Kind::kStrings, .help = "gRPC endpoints", .list = {"127.0.0.1:2379"}});
  f.add(count("conns", 1, "Total number of gRPC connections"));
  f.add(count("clients", 1, "Total number of gRPC clients"));
  f.add(yes("precise", "use full floating point precision"));
  f.add(yes("sample", "'true' to sample requests for every second"));
  f.add(text("cert", "", "identify HTTPS client using this SSL certificate file"));
  f.add(text("key", "", "identify HTTPS client using this SSL key file"));
  f.add(text("cacert", "", "verify certificates of HTTPS-enabled servers using this CA bundle"));
  f.add(yes("insecure-skip-tls-verify", "skip server certificate verification"));
  f.add(text("user", "", "provide username[:password] and prompt if password is not supplied."));
  f.add(duration("dial-timeout", 0, "dial timeout for client connections"));
  f.add(yes("target-leader", "connect only to the leader node"));
  f.add(duration("auto-sync-interval", 0,
                 "AutoSyncInterval is the interval to update endpoints with its latest members"));
  // Not etcd's.
  f.add({.name = "write-out",
         .shorthand = 'w',
         .kind = Kind::kString,
         .help = "Output format of reports (simple, json)",
         .text = "simple"});
  f.add(duration("stall-timeout", 60 * io::kSecond,
                 "Ends a run in which nothing is answered for so long (0 waits for ever)"));
}

void add_put(CobraCommand& root) {
  CobraCommand& c = root.add("put", "Benchmark put");
  c.runnable = true;
  c.flags.add(whole("key-size", 8, "Key size of put request"));
  c.flags.add(whole("val-size", 8, "Value size of put request"));
  c.flags.add(whole("rate", 0, "Maximum puts per second (0 is no limit)"));
  c.flags.add(whole("total", 10000, "Total number of put requests"));
  c.flags.add(whole("key-space-size", 1, "Maximum possible keys"));
  c.flags.add(yes("sequential-keys", "Use sequential keys"));
  c.flags.add(
      duration("compact-interval", 0,
               "Interval to compact database (do not duplicate this with etcd's "
               "'auto-compaction-retention' flag) (e.g. --compact-interval=5m compacts every 5-minute)"));
  c.flags.add(
      whole("compact-index-delta", 1000,
            "Delta between current revision and compact revision (e.g. current revision 10000, compact "
            "at 9000)"));
  c.flags.add(yes("check-hashkv", "'true' to check hashkv"));
}

void add_range(CobraCommand& root) {
  CobraCommand& c = root.add("range key [end-range]", "Benchmark range");
  c.runnable = true;
  c.flags.add(whole("rate", 0, "Maximum range requests per second (0 is no limit)"));
  c.flags.add(whole("total", 10000, "Total number of range requests"));
  c.flags.add(text("consistency", "l", "Linearizable(l) or Serializable(s)"));
  c.flags.add(whole("limit", 0, "Maximum number of results to return from range request (0 is no limit)"));
  c.flags.add(yes("count-only", "Only returns the count of keys"));
}

void add_txns(CobraCommand& root) {
  CobraCommand& put = root.add("txn-put", "Benchmark txn-put");
  put.runnable = true;
  put.flags.add(whole("key-size", 8, "Key size of txn put"));
  put.flags.add(whole("val-size", 8, "Value size of txn put"));
  put.flags.add(whole("txn-ops", 1, "Number of puts per txn"));
  put.flags.add(whole("rate", 0, "Maximum txns per second (0 is no limit)"));
  put.flags.add(whole("total", 10000, "Total number of txn requests"));
  put.flags.add(whole("key-space-size", 1, "Maximum possible keys"));

  CobraCommand& mixed =
      root.add("txn-mixed key [end-range]", "Benchmark a mixed load of txn-put & txn-range.");
  mixed.runnable = true;
  mixed.flags.add(whole("key-size", 8, "Key size of mixed txn"));
  mixed.flags.add(whole("val-size", 8, "Value size of mixed txn"));
  mixed.flags.add(whole("rate", 0, "Maximum txns per second (0 is no limit)"));
  mixed.flags.add(whole("total", 10000, "Total number of txn requests"));
  mixed.flags.add(
      text("end-key", "",
           "Read operation range end key. By default, we do full range query with the default limit "
           "of 1000."));
  mixed.flags.add(whole("limit", 1000, "Read operation range result limit"));
  mixed.flags.add(whole("key-space-size", 1, "Maximum possible keys"));
  mixed.flags.add(text("consistency", "l", "Linearizable(l) or Serializable(s)"));
  mixed.flags.add({.name = "rw-ratio", .kind = Kind::kFloat64, .help = "Read/write ops ratio", .real = 1});
}

void add_stm(CobraCommand& root) {
  CobraCommand& c = root.add("stm", "Benchmark STM");
  c.runnable = true;
  c.flags.add(
      text("isolation", "r", "Read Committed (c), Repeatable Reads (r), Serializable (s), or Snapshot (ss)"));
  c.flags.add(whole("keys", 1, "Total unique keys accessible by the benchmark"));
  c.flags.add(whole("total", 10000, "Total number of completed STM transactions"));
  c.flags.add(whole("keys-per-txn", 1, "Number of keys to access per transaction"));
  c.flags.add(whole("txn-wr-percent", 50, "Percentage of keys to overwrite per transaction"));
  c.flags.add(text("stm-locker", "stm",
                   "Wrap STM transaction with a custom locking mechanism (stm, lock-client, lock-rpc)"));
  c.flags.add(whole("val-size", 8, "Value size of each STM put request"));
  c.flags.add(whole("rate", 0, "Maximum STM transactions per second (0 is no limit)"));
}

void add_watches(CobraCommand& root) {
  CobraCommand& watch = root.add("watch", "Benchmark watch");
  watch.runnable = true;
  watch.description =
      "Benchmark watch tests the performance of processing watch requests and\n"
      "sending events to watchers. It tests the sending performance by\n"
      "changing the value of the watched keys with concurrent put\n"
      "requests.\n\n"
      "During the test, each watcher watches (--total/--watchers) keys\n\n"
      "(a watcher might watch on the same key multiple times if\n"
      "--watched-key-total is small).\n\n"
      "Each key is watched by (--total/--watched-key-total) watchers.\n";
  watch.flags.add(whole("streams", 10, "Total watch streams"));
  watch.flags.add(whole("watch-per-stream", 100, "Total watchers per stream"));
  watch.flags.add(whole("watched-key-total", 1, "Total number of keys to be watched"));
  watch.flags.add(whole("put-rate", 0, "Number of keys to put per second"));
  watch.flags.add(whole("put-total", 1000, "Number of put requests"));
  watch.flags.add(whole("key-size", 32, "Key size of watch request"));
  watch.flags.add(whole("key-space-size", 1, "Maximum possible keys"));
  watch.flags.add(yes("sequential-keys", "Use sequential keys"));

  CobraCommand& get = root.add("watch-get", "Benchmark watch with get");
  get.runnable = true;
  get.description = "Benchmark for serialized key gets with many unsynced watchers";
  get.flags.add(whole("watchers", 10000, "Total number of watchers"));
  get.flags.add(whole("streams", 1, "Total number of watcher streams"));
  get.flags.add(whole("events", 8, "Number of events per watcher"));

  CobraCommand& latency = root.add("watch-latency", "Benchmark watch latency");
  latency.runnable = true;
  latency.description =
      "Benchmarks the latency for watches by measuring\n"
      "\tthe latency between writing to a key and receiving the\n"
      "\tassociated watch response.";
  latency.flags.add(whole("streams", 10, "Total watch streams"));
  latency.flags.add(whole("watchers-per-stream", 10, "Total watchers per stream"));
  latency.flags.add(yes("prevkv", "PrevKV enabled on watch requests"));
  latency.flags.add(whole("put-total", 1000, "Total number of put requests"));
  latency.flags.add(whole("put-rate", 100, "Number of keys to put per second"));
  latency.flags.add(whole("key-size", 32, "Key size of watch response"));
  latency.flags.add(whole("val-size", 32, "Value size of watch response"));

  // Not etcd's.
  CobraCommand& fanout = root.add("watch-fanout", "Benchmark one key with many watchers");
  fanout.runnable = true;
  fanout.description =
      "Puts one key again and again while many watchers over many streams hear of it.\n"
      "Shows events per second, and the time from the start of a put to each event.";
  fanout.flags.add(whole("watchers", 1000, "Total number of watchers"));
  fanout.flags.add(whole("streams", 10, "Total watch streams"));
  fanout.flags.add(yes("prevkv", "PrevKV enabled on watch requests"));
  fanout.flags.add(whole("put-total", 1000, "Total number of put requests"));
  fanout.flags.add(whole("put-rate", 0, "Number of puts per second (0 is no limit)"));
  fanout.flags.add(whole("key-size", 32, "Key size of put request"));
  fanout.flags.add(whole("val-size", 32, "Value size of put request"));
}

// The command is known so that its name gives a clear answer; it does not run (arguments.cc).
void add_mvcc(CobraCommand& root) {
  CobraCommand& mvcc = root.add("mvcc", "Benchmark mvcc");
  mvcc.description =
      "storage subcommand is a set of various benchmark tools for MVCC storage subsystem of etcd.\n"
      "Actual benchmarks are implemented as its subcommands.";
  mvcc.persistent.add(whole("batch-interval", 100, "Interval of batching (milliseconds)"));
  mvcc.persistent.add(whole("batch-limit", 10000, "A limit of batched transaction"));
  CobraCommand& put = mvcc.add("put", "Benchmark put performance of storage");
  put.runnable = true;
  put.flags.add(whole("total", 100, "a total number of keys to put"));
  put.flags.add(whole("key-size", 64, "a size of key (Byte)"));
  put.flags.add(whole("value-size", 64, "a size of value (Byte)"));
  put.flags.add(yes("txn", "put a key in transaction or not"));
  put.flags.add(whole("txn-ops", 1, "a number of keys to put per transaction"));
  put.flags.add(text("cpuprofile", "", "the path of file for storing cpu profile result"));
  put.flags.add(text("memprofile", "", "the path of file for storing heap profile result"));
}

}  // namespace

std::unique_ptr<CobraCommand> make_commands(const std::string& program) {
  auto root = std::make_unique<CobraCommand>(program, "A low-level benchmark tool for etcd3");
  root->description = program +
                      " is a low-level benchmark tool for etcd3.\n"
                      "It uses gRPC client directly and does not depend on\n"
                      "etcd client library.\n\t";
  root->options.help_command = true;
  add_global_flags(root->persistent);
  add_put(*root);
  add_range(*root);
  add_txns(*root);
  add_stm(*root);
  add_watches(*root);
  add_mvcc(*root);
  CobraCommand& leases = root->add("lease-keepalive", "Benchmark lease keepalive");
  leases.runnable = true;
  leases.flags.add(whole("total", 10000, "Total number of lease keepalive requests"));
  return root;
}

}  // namespace quoin::cmd::bench
