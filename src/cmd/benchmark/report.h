// The results of one kind of operation, and the report that is made of them.
//
//   Report report(Report::Options{.precise = args.precise});
//   report.begin(now, wall);
//   report.add(start, end);            // for each operation that went well
//   report.add_error("etcdserver: …"); // for each one that did not
//   report.end(now);
//   report.text()                      // byte for byte what etcd's benchmark prints
//
// With a rate each operation has an intended start: the moment the rate asks for it. A server that stalls keeps the
// clients from sending what was due meanwhile, and the few that waited are too few in the percentiles ("coordinated
// omission"). Latencies from the intended start show what a user would have waited; they are printed behind the rest,
// where the figures differ.
//
// Threads: none. Units: nanoseconds. Bounds: Latencies', Seconds', and kErrorsMax different error texts.
// Source: etcd's pkg/report; spec cli 11.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cmd/benchmark/latencies.h"
#include "cmd/benchmark/seconds.h"
#include "cmd/text/go_json.h"
#include "io/clock.h"

namespace quoin::cmd::bench {

class Report {
 public:
  static constexpr size_t kErrorsMax = 100;
  static constexpr std::string_view kOtherErrors = "other errors";
  struct Options {
    bool precise = false;   // %g instead of %4.4f
    bool sample = false;    // figures of each second
    bool intended = false;  // operations have intended starts
  };

  explicit Report(Options options) : options_(options) {}

  void begin(io::MonotonicNs now, int64_t unix_ns) {
    began_ = ended_ = now;
    began_unix_ = unix_ns;
  }
  void add(io::MonotonicNs start, io::MonotonicNs end) {
    latencies_.add(end - start);
    if (options_.sample) seconds_.add(began_unix_ + (start - began_), end - start);
  }
  void add(io::MonotonicNs intended, io::MonotonicNs start, io::MonotonicNs end) {
    add(start, end);
    if (options_.intended) intended_.add(end - intended);
  }
  void add_error(std::string_view text);
  void end(io::MonotonicNs now) { ended_ = now; }

  uint64_t count() const { return latencies_.count(); }
  uint64_t errors() const { return error_count_; }
  std::string text() const;
  // An object; what text() tells, and the number of seconds in full.
  void append_json(GoJson& json, std::string_view name) const;

 private:
  struct Bar {
    double bound = 0;  // seconds
    uint64_t count = 0;
  };
  std::string number(double v) const;
  double total_seconds() const;
  double rate() const;
  std::vector<Bar> histogram() const;
  std::string percentile_lines(const Latencies& latencies) const;

  const Options options_;
  io::MonotonicNs began_ = 0, ended_ = 0;
  int64_t began_unix_ = 0;
  Latencies latencies_, intended_;
  Seconds seconds_;
  std::map<std::string, uint64_t, std::less<>> errors_;
  uint64_t error_count_ = 0;
};

// Percent, and the latency there: 10, 25, 50, 75, 90, 95, 99, 99.9, as far as there are so many values. etcd's way: of
// the sorted values the i-th of n fills the next percentile p as soon as 100 i / n >= p, one percentile a value.
std::vector<std::pair<double, int64_t>> percentiles(const Latencies& latencies);

// Go's %g.
std::string go_g(double v);

}  // namespace quoin::cmd::bench
