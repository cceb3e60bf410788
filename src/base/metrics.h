// Metric cells: counters, gauges and histograms that any thread may touch, and the registry that lists them
// for the metrics page. A module declares its cells in one probe struct; the text is rendered in httpapi.
//
// Threads: cells are atomics, wait-free to update. Registration takes a mutex and happens at start-up.
// Lifetime: the registry owns the cells; references stay valid as long as it lives.
// Names, helps, types and buckets: spec operations 5.
#pragma once
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace quoin::metrics {

class Counter {
 public:
  void inc(uint64_t n = 1) { v_.fetch_add(n, std::memory_order_relaxed); }
  uint64_t value() const { return v_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> v_{0};
};

class Gauge {
 public:
  void set(double v) { v_.store(v, std::memory_order_relaxed); }
  void add(double d) {
    double old = v_.load(std::memory_order_relaxed);
    while (!v_.compare_exchange_weak(old, old + d, std::memory_order_relaxed)) {
    }
  }
  double value() const { return v_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> v_{0};
};

class Histogram {
 public:
  explicit Histogram(std::vector<double> upper_bounds);
  void observe(double v);
  const std::vector<double>& bounds() const { return bounds_; }
  // Count of observations in bucket i alone (not cumulative); i == bounds().size() is +Inf.
  uint64_t bucket(size_t i) const { return counts_[i].load(std::memory_order_relaxed); }
  double sum() const { return sum_.value(); }

 private:
  std::vector<double> bounds_;
  std::unique_ptr<std::atomic<uint64_t>[]> counts_;
  Gauge sum_;
};
// start, start*factor, ... count bounds.
std::vector<double> exponential_buckets(double start, double factor, int count);

using Labels = std::vector<std::pair<std::string, std::string>>;

enum class Type : uint8_t { kCounter, kGauge, kHistogram };

// One line (or, for a histogram, one group of lines) of a family.
struct Cell {
  Labels labels;
  std::variant<const Counter*, const Gauge*, const Histogram*, std::function<double()>> source;
};
struct Family {
  std::string name, help;
  Type type;
  std::deque<Cell> cells;
};

class Registry {
 public:
  // A name and labels that are registered already give the same cell again: who takes over from an object of the
  // same kind goes on counting.
  Counter& counter(std::string_view name, std::string_view help, Labels labels = {});
  Gauge& gauge(std::string_view name, std::string_view help, Labels labels = {});
  Histogram& histogram(std::string_view name, std::string_view help, std::vector<double> bounds,
                       Labels labels = {});
  // Read at scrape time, on the scraping thread.
  void callback(std::string_view name, std::string_view help, Type type, std::function<double()> read,
                Labels labels = {});
  // Calls `visit` for every family in name order, with the registry locked.
  void visit(const std::function<void(const Family&)>& visit) const;

 private:
  Family& family(std::string_view name, std::string_view help, Type type);
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Family>> families_;  // sorted by name
  std::deque<Counter> counters_;
  std::deque<Gauge> gauges_;
  std::deque<Histogram> histograms_;
};

}  // namespace quoin::metrics
