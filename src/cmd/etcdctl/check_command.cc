// Source: etcdctl/ctlv3/command/check.go; spec cli 9.1, 9.2.
#include <atomic>
#include <cmath>
#include <csignal>
#include <thread>

#include "base/go_text.h"
#include "cmd/etcdctl/check_bar.h"
#include "cmd/etcdctl/check_load.h"
#include "cmd/etcdctl/commands.h"
#include "cmd/etcdctl/kv_requests.h"
#include "cmd/etcdctl/methods.h"
#include "cmd/etcdctl/metrics_fetch.h"
#include "cmd/etcdctl/output.h"

namespace quoin::ctl {
namespace {

struct Model {
  const char *name, *long_name;
  int64_t perf_per_second;  // puts
  int64_t datascale_count;  // puts in all
  size_t clients;
};
constexpr Model kModels[] = {{"s", "small", 150, 10'000, 50},
                             {"m", "medium", 1'000, 100'000, 200},
                             {"l", "large", 8'000, 1'000'000, 500},
                             {"xl", "xLarge", 15'000, 3'000'000, 1'000}};

Or<Model> read_model(const std::string& name) {
  for (const Model& m : kModels) {
    if (name == m.name || name == m.long_name) return m;
  }
  return tl::unexpected(fail(kExitBadFeature, "unknown load option {}", name));
}

constexpr int64_t kTidyingNs = 30'000'000'000;  // for each call after the load

std::atomic<bool> interrupted{false};

// The first SIGINT ends the load; the second one ends the program.
void catch_interrupt() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = true; };
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  sigaction(SIGINT, &action, nullptr);
}

// Nothing: no key begins so. `quote`: stands around the command that deletes them.
std::optional<Ending> check_empty(Client& client, const std::string& prefix, const char* quote,
                                  Deadline deadline) {
  pb::RangeRequest request;
  request.set_key(prefix.empty() ? std::string(kNul) : prefix);
  request.set_range_end(prefix_end(prefix));
  request.set_limit(1);
  const auto r = client.call(kRange, request, deadline);
  if (!r) return Session::failed(r.error());
  if (r->kvs().empty()) return std::nullopt;
  return fail(kExitInvalidInput, "prefix {} has keys. Delete with {}etcdctl del --prefix {}{} first",
              go_quote(prefix), quote, prefix, quote);
}

Rpc<int64_t> delete_prefix(Client& client, const std::string& prefix, Deadline deadline) {
  pb::DeleteRangeRequest request;
  request.set_key(prefix.empty() ? std::string(kNul) : prefix);
  request.set_range_end(prefix_end(prefix));
  const auto r = client.call(kDeleteRange, request, deadline);
  if (!r) return tl::unexpected(r.error());
  return r->header().revision();
}

// --auto-compact and --auto-defrag.
Ending compact(Client& client, int64_t revision) {
  out().line("Compacting with revision {}", revision);
  pb::CompactionRequest request;
  request.set_revision(revision);
  request.set_physical(true);
  if (const auto r = client.call(kCompact, request, Deadline::after(kTidyingNs)); !r)
    return Session::failed(r.error());
  out().line("Compacted with revision {}", revision);
  return ok();
}

Ending defragment_all(Session& s) {
  const auto config = s.config();
  if (!config) return config.error();
  for (const std::string& e : config->endpoints) {
    out().line("Defragmenting {}", go_quote(e));
    out().flush();
    auto client = s.connect({e});
    if (!client) return client.error();
    const auto r = (*client)->call(kDefragment, pb::DefragmentRequest(), Deadline::after(kTidyingNs));
    if (!r) return Session::failed(r.error());
    out().line("Defragmented {}", go_quote(e));
  }
  return ok();
}

Ending clean_up(Session& s, Client& client) {
  const auto revision = delete_prefix(client, s.text("prefix"), Deadline::after(kTidyingNs));
  if (!revision) {
    out().line("FAIL: Cleanup failed during key deletion: ERROR({})", revision.error().text());
  } else if (s.flag("auto-compact")) {
    return compact(client, *revision);
  }
  return ok();
}

bool show_errors(const LoadResult& r) {
  if (r.errors.empty()) return false;
  out().put("FAIL: too many errors\n");
  for (const auto& [text, count] : r.errors) out().line("FAIL: ERROR({}) -> {}", text, count);
  return true;
}

// etcd's bounds.
Ending judge(const LoadResult& r, int64_t wanted_per_second) {
  constexpr double kShare = 0.9, kSlowest = 0.5, kDeviation = 0.1;
  bool good = !show_errors(r);
  const bool fast = r.per_second / static_cast<double>(wanted_per_second) > kShare;
  out().line("{} {} writes/s", fast ? "PASS: Throughput is" : "FAIL: Throughput too low:",
             static_cast<int64_t>(r.per_second) + 1);
  const bool prompt = !(r.slowest_s > kSlowest), even = !(r.deviation_s > kDeviation);
  out().line("{} {:f}s",
             prompt ? "PASS: Slowest request took" : "Slowest request took too long:", r.slowest_s);
  const std::string deviation = std::isnan(r.deviation_s) ? "NaN" : fmt::format("{:f}", r.deviation_s);
  out().line("{} {}s", even ? "PASS: Stddev is" : "Stddev too high:", deviation);
  good = good && fast && prompt && even;
  out().put(good ? "PASS\n" : "FAIL\n");
  return {good ? kExitOk : kExitError, ""};
}

Ending run_perf(Session& s) {
  const auto model = read_model(s.text("load"));
  if (!model) return model.error();
  auto clients = connect_many(s, model->clients);
  if (!clients) return clients.error();
  Client& first = *clients->front();
  constexpr int64_t kSeconds = 60, kNs = 1'000'000'000;
  catch_interrupt();
  if (auto e = check_empty(first, s.text("prefix"), "'", Deadline::after(kSeconds * kNs))) return *e;

  LoadResult result;
  {
    CheckBar bar(kSeconds);
    std::jthread ticker([&](const std::stop_token& stop) {
      auto next = std::chrono::steady_clock::now();
      for (int64_t i = 0; i < kSeconds; ++i) {
        next += std::chrono::seconds(1);
        while (!stop.stop_requested() && std::chrono::steady_clock::now() < next) {
          constexpr auto kPause = std::chrono::milliseconds(50);
          std::this_thread::sleep_for(kPause);
        }
        if (stop.stop_requested()) return;
        bar.add(1);
      }
    });
    result = put_all(*clients, {.prefix = s.text("prefix"),
                                .key_bytes = 256,
                                .value_bytes = 1024,
                                .per_second_max = static_cast<double>(model->perf_per_second),
                                .seconds_max = kSeconds,
                                .interrupted = [] { return interrupted.load(); }});
    ticker.request_stop();
  }
  if (Ending e = clean_up(s, first); e.code != kExitOk) return e;
  if (s.flag("auto-defrag")) {
    if (Ending e = defragment_all(s); e.code != kExitOk) return e;
  }
  return judge(result, model->perf_per_second);
}

// Resident memory of the member, or nothing after a line that tells why.
std::optional<double> resident_bytes(Session& s, std::string_view when) {
  const ClientConfig config = *s.config();
  const auto bytes = fetch_metric(config.endpoints[0], config.tls, "process_resident_memory_bytes");
  if (bytes && *bytes != 0) return *bytes;
  if (!bytes) out().line("{}", bytes.error());
  out().line("FAIL: Could not read process_resident_memory_bytes {} the put operations.", when);
  return std::nullopt;
}

Ending run_datascale(Session& s) {
  const auto model = read_model(s.text("load"));
  if (!model) return model.error();
  auto clients = connect_many(s, model->clients);
  if (!clients) return clients.error();
  Client& first = *clients->front();
  const std::string& prefix = s.text("prefix");
  if (auto e = check_empty(first, prefix, "", Deadline::never())) return *e;
  const auto before = resident_bytes(s, "before");
  if (!before) return {kExitError, ""};
  constexpr size_t kHalfBytes = 512;
  out().line(
      "Start data scale check for work load [{} key-value pairs, {} bytes per key-value, {} concurrent "
      "clients].",
      model->datascale_count, 2 * kHalfBytes, model->clients);
  out().flush();
  CheckBar bar(model->datascale_count);
  const LoadResult result = put_all(*clients, {.prefix = prefix,
                                               .key_bytes = kHalfBytes,
                                               .value_bytes = kHalfBytes,
                                               .count_max = model->datascale_count,
                                               .on_answer = [&] { bar.add(1); }});
  bar.finish();
  const auto after = resident_bytes(s, "after");
  if (!after) return {kExitError, ""};
  const auto revision = delete_prefix(first, prefix, Deadline::never());
  if (!revision) return Session::failed(revision.error());
  if (s.flag("auto-compact")) {
    if (Ending e = compact(first, *revision); e.code != kExitOk) return e;
  }
  if (s.flag("auto-defrag")) {
    if (Ending e = defragment_all(s); e.code != kExitOk) return e;
  }
  if (show_errors(result)) return {kExitError, ""};
  constexpr double kMegabyte = 1024 * 1024;
  out().line("PASS: Approximate system memory used : {:.2f} MB.", (*after - *before) / kMegabyte);
  return ok();
}

void add_flags(CobraCommand& c, const std::string& load_help, const std::string& name) {
  using Kind = CobraFlag::Kind;
  c.flags.add({.name = "load",
               .help = load_help,
               .text = "s",
               .values = name == "performance"
                             ? std::vector<std::string>{"small", "medium", "large", "xLarge"}
                             : std::vector<std::string>{}});
  c.flags.add({.name = "prefix",
               .help = fmt::format("The prefix for writing the {} check's keys.", name),
               .text = name == "performance" ? "/etcdctl-check-perf/" : "/etcdctl-check-datascale/"});
  c.flags.add({.name = "auto-compact",
               .kind = Kind::kBool,
               .help = "Compact storage with last revision after test is finished."});
  c.flags.add(
      {.name = "auto-defrag", .kind = Kind::kBool, .help = "Defragment storage after test is finished."});
}

}  // namespace

void add_check_commands(Registry& r) {
  CobraCommand& check =
      r.root().add("check <subcommand>", "commands for checking properties of the etcd cluster");
  add_flags(
      r.add(check, "perf [options]", "Check the performance of the etcd cluster", run_perf),
      "The performance check's workload model. Accepted workloads: s(small), m(medium), l(large), "
      "xl(xLarge). "
      "Different workload models use different configurations in terms of number of clients and expected "
      "throughput.",
      "performance");
  CobraCommand& datascale =
      r.add(check, "datascale [options]",
            "Check the memory usage of holding data for different workloads on a given server endpoint.",
            run_datascale);
  datascale.description =
      "If no endpoint is provided, localhost will be used. If multiple endpoints are provided, first "
      "endpoint will be "
      "used.";
  add_flags(
      datascale,
      "The datascale check's workload model. Accepted workloads: s(small), m(medium), l(large), xl(xLarge)",
      "datascale");
}

}  // namespace quoin::ctl
