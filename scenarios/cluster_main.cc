// scenarios_cluster [--runs N] [--seed S] [--hours H] [--twice] [--edges] [--log] [--lines N] [--first]
//
// N runs of several members from the seeds S, S+1, ...; each prints its seed before it begins. A run that finds the
// members wrong prints what broke and what was done when, and the program ends with 1; that seed alone repeats it.
// --hours: runs until so much real time has passed. --twice does each run twice and compares what happened. --edges:
// fails too if a situation that a long run must meet was never met. --log: prints the members' logs of a failed run.
// --lines: how much is told of a failed run. --first: ends with the first run that fails.
#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "scenarios/cluster_run.h"

namespace {

using quoin::scenarios::ClusterCounts;
using quoin::scenarios::ClusterRun;

constexpr std::string_view kEdges[] = {
    "HashKV compared",
    "address used again",
    "bits flipped",
    "clean stop",
    "crash images started from",
    "damaged member removed",
    "configuration changes",
    "elections",
    "end in an installation",
    "failed disk ended a member",
    "flipped bit refused at the start",
    "forwarded proposals",
    "joiner ended before its first hard state",
    "leader on a slow disk removes itself",
    "leader stands still for longer than a lease",
    "leadership handed over at a stop",
    "leadership lost with a read round open",
    "leadership moved",
    "learner added",
    "learner promoted",
    "lease expired",
    "lease renewed",
    "links cut",
    "member removed",
    "own removal answered",
    "partitions",
    "pauses",
    "power lost in the start",
    "power lost with a vote given",
    "removed member ended",
    "snapshots installed",
    "slow file strand",
    "snapshots made",
    "stopped before it was ready",
    "stopped while it stood still",
    "stuck syncs",
    "torn tails",
    "voter added",
    "watch catch-up",
    "watch catch-up overtaken by a compaction",
    "watch compacted",
    "watch from a revision the member has not reached",
    "watch progress",
    "watch refused for want of room",
};

struct Flags {
  uint64_t runs = 40, seed = 1, lines = 150;
  double hours = 0;
  bool twice = false, log = false, edges = false, first = false;
};

bool parse(int argc, char** argv, Flags* flags) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    const bool more = i + 1 < argc;
    char* end = nullptr;
    if (arg == "--twice") {
      flags->twice = true;
    } else if (arg == "--edges") {
      flags->edges = true;
    } else if (arg == "--first") {
      flags->first = true;
    } else if (arg == "--log") {
      flags->log = true;
    } else if (arg == "--hours" && more) {
      flags->hours = std::strtod(argv[++i], &end);
      if (*end != '\0') return false;
    } else if ((arg == "--runs" || arg == "--seed" || arg == "--lines") && more) {
      (arg == "--runs"   ? flags->runs
       : arg == "--seed" ? flags->seed
                         : flags->lines) = std::strtoull(argv[++i], &end, 10);
      if (*end != '\0') return false;
    } else {
      return false;
    }
  }
  return true;
}

void add(const ClusterCounts& c, ClusterCounts* sum) {
  sum->traffic.sent += c.traffic.sent;
  sum->traffic.acknowledged += c.traffic.acknowledged;
  sum->traffic.refused += c.traffic.refused;
  sum->traffic.unknown += c.traffic.unknown;
  sum->traffic.reads += c.traffic.reads;
  sum->network.sent += c.network.sent;
  sum->network.dropped += c.network.dropped;
  sum->network.doubled += c.network.doubled;
  sum->network.databases += c.network.databases;
  sum->network.databases_cut += c.network.databases_cut;
  sum->network.databases_taken += c.network.databases_taken;
  sum->lives += c.lives;
  sum->events += c.events;
  sum->revisions += c.revisions;
  sum->seconds += c.seconds;
  sum->edges.add(c.edges);
}

void print(const ClusterCounts& c) {
  fmt::print(
      "{} lives, {:.0f} virtual seconds, {} revisions; {} requests: {} acknowledged, {} refused, {} of "
      "unknown "
      "outcome, {} reads; {} events\n",
      c.lives, c.seconds, c.revisions, c.traffic.sent, c.traffic.acknowledged, c.traffic.refused,
      c.traffic.unknown, c.traffic.reads, c.events);
  fmt::print("{} messages, {} lost, {} doubled; {} databases sent, {} cut off, {} taken\n", c.network.sent,
             c.network.dropped, c.network.doubled, c.network.databases, c.network.databases_cut,
             c.network.databases_taken);
  fmt::print("edges:\n{}", c.edges.text());
}

// A failed CHECK ends the program; the seed is printed already, this says what led to it.
const ClusterRun* current = nullptr;
uint64_t lines_told = 0;
void tell_at_abort(int) {
  if (current == nullptr) return;
  const ClusterRun* run = std::exchange(current, nullptr);
  fmt::print("\nFAILED: a check of the product failed\n{}{}", run->story().text(lines_told), run->logs());
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  if (!parse(argc, argv, &flags)) {
    fmt::print(stderr,
               "usage: scenarios_cluster [--runs N] [--seed S] [--hours H] [--twice] [--edges] [--log] "
               "[--lines N] [--first]\n");
    return 2;
  }
  lines_told = flags.lines;
  std::signal(SIGABRT, tell_at_abort);
  ClusterCounts sum;
  int failed = 0;
  const auto begin = std::chrono::steady_clock::now();
  const auto goes_on = [&](uint64_t done) {
    if (flags.hours <= 0) return done < flags.runs;
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() <
           flags.hours * 3600;
  };
  for (uint64_t done = 0; goes_on(done); ++done) {
    const uint64_t seed = flags.seed + done;
    fmt::print("seed {}", seed);
    std::fflush(stdout);
    ClusterRun run(seed);
    current = &run;
    std::string problem = run.run();
    current = nullptr;
    fmt::print(" trace {:016x}", run.trace());
    if (problem.empty() && flags.twice) {
      ClusterRun again(seed);
      (void)again.run();
      if (again.trace() != run.trace()) problem = "the same seed gave another run";
    }
    add(run.counts(), &sum);
    if (problem.empty()) {
      fmt::print("\n");
    } else {
      ++failed;
      fmt::print("\nseed {} FAILED: {}\n{}", seed, problem, run.story().text(flags.lines));
      if (flags.log) fmt::print("{}", run.logs());
      if (flags.first) break;
    }
    std::fflush(stdout);
  }
  print(sum);
  if (failed > 0) fmt::print("{} runs failed\n", failed);
  if (flags.edges) {
    for (const std::string_view edge : kEdges) {
      if (sum.edges.has(edge)) continue;
      ++failed;
      fmt::print("never met: {}\n", edge);
    }
  }
  return failed > 0 ? 1 : 0;
}
