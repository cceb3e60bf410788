// scenarios_crash [--runs N] [--seed S] [--twice] [--keep-cache] [--direct] [--edges] [--meet EDGE] [--log]
//
// N runs from the seeds S, S+1, ...; each prints its seed before it begins. A run that finds the member wrong
// prints what broke, and the program ends with 1; that seed alone repeats it. --twice does each run twice and
// compares what happened. --keep-cache: after a failed disk operation the operating system may live on, with
// what its cache shows (see CrashOptions). --direct: without services, network and watchers; that is another run
// of the seed. --edges: fails too if a situation that a long run must meet (edges.cc) was never met; --meet: one of
// them.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "scenarios/crash_run.h"

namespace {

using quoin::scenarios::Accident;
using quoin::scenarios::Counts;
using quoin::scenarios::CrashOptions;
using quoin::scenarios::CrashRun;

struct Flags {
  uint64_t runs = 40, seed = 1;
  bool twice = false, log = false, edges = false;
  std::vector<std::string_view> meet;
  CrashOptions options;
};

bool parse(int argc, char** argv, Flags* flags) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    if (arg == "--twice") {
      flags->twice = true;
    } else if (arg == "--keep-cache") {
      flags->options.keep_cache = true;
    } else if (arg == "--direct") {
      flags->options.network = false;
    } else if (arg == "--edges") {
      flags->edges = true;
    } else if (arg == "--meet" && i + 1 < argc) {
      flags->meet.push_back(argv[++i]);
    } else if (arg == "--log") {
      flags->log = true;
    } else if ((arg == "--runs" || arg == "--seed") && i + 1 < argc) {
      char* end = nullptr;
      (arg == "--runs" ? flags->runs : flags->seed) = std::strtoull(argv[++i], &end, 10);
      if (*end != '\0') return false;
    } else {
      return false;
    }
  }
  return true;
}

void add(const Counts& c, Counts* sum) {
  sum->lives += c.lives;
  sum->requests += c.requests;
  sum->acknowledged += c.acknowledged;
  sum->reads += c.reads;
  sum->failures_reported += c.failures_reported;
  sum->steps += c.steps;
  for (size_t i = 0; i < c.accidents.size(); ++i) sum->accidents[i] += c.accidents[i];
  sum->damaged += c.damaged;
  sum->refused_at_start += c.refused_at_start;
  sum->refused_later += c.refused_later;
  sum->served_right += c.served_right;
  sum->watches.add(c.watches);
  sum->edges.add(c.edges);
}

void print(const Counts& c) {
  fmt::print("{} lives, {} requests sent, {} acknowledged, {} reads of everything, {} steps\n", c.lives,
             c.requests, c.acknowledged, c.reads, c.steps);
  for (size_t i = 0; i < c.accidents.size(); ++i) {
    fmt::print("  {:<26} {}\n", quoin::scenarios::accident_name(static_cast<Accident>(i)), c.accidents[i]);
  }
  fmt::print("{} failures reported by the member\n", c.failures_reported);
  fmt::print("{} damaged images: {} refused at start, {} refused while running, {} served right\n", c.damaged,
             c.refused_at_start, c.refused_later, c.served_right);
  const quoin::scenarios::WatchCounts& w = c.watches;
  fmt::print("{} watchers, {} resumptions, {} messages with {} events, {} fragments, {} of progress\n",
             w.watchers, w.resumed, w.messages, w.events, w.fragments, w.progress);
  fmt::print("  {} cancelled, {} compacted, {} refused; {} times everybody was told everything\n",
             w.cancelled, w.compacted, w.refusals, w.caught_up);
  fmt::print("edges:\n{}", c.edges.text());
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  if (!parse(argc, argv, &flags)) {
    fmt::print(stderr,
               "usage: scenarios_crash [--runs N] [--seed S] [--twice] [--keep-cache] [--direct] [--edges] "
               "[--log]\n");
    return 2;
  }
  Counts sum;
  int failed = 0;
  for (uint64_t seed = flags.seed; seed < flags.seed + flags.runs; ++seed) {
    fmt::print("seed {}", seed);
    std::fflush(stdout);
    CrashRun run(seed, flags.options);
    if (flags.log) run.tell();
    std::string problem = run.run();
    fmt::print(" trace {:016x}", run.trace());
    if (problem.empty() && flags.twice) {
      CrashRun again(seed, flags.options);
      (void)again.run();
      if (again.trace() != run.trace()) problem = "the same seed gave another run";
    }
    add(run.counts(), &sum);
    if (problem.empty()) {
      fmt::print("\n");
    } else {
      ++failed;
      fmt::print("\nseed {} FAILED: {}\n", seed, problem);
    }
    std::fflush(stdout);
  }
  print(sum);
  if (failed > 0) fmt::print("{} of {} runs failed\n", failed, flags.runs);
  std::vector<std::string_view> never;
  if (flags.edges) never = sum.edges.missing();
  for (const std::string_view edge : flags.meet) {
    if (!sum.edges.has(edge)) never.push_back(edge);
  }
  for (const std::string_view edge : never) fmt::print("never met: {}\n", edge);
  failed += static_cast<int>(never.size());
  return failed > 0 ? 1 : 0;
}
