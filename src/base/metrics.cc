#include "base/metrics.h"

#include <algorithm>

#include "base/check.h"

namespace quoin::metrics {

Histogram::Histogram(std::vector<double> upper_bounds)
    : bounds_(std::move(upper_bounds)), counts_(new std::atomic<uint64_t>[bounds_.size() + 1] {}) {
  CHECK(std::is_sorted(bounds_.begin(), bounds_.end()));
}

void Histogram::observe(double v) {
  const size_t i = std::lower_bound(bounds_.begin(), bounds_.end(), v) - bounds_.begin();
  counts_[i].fetch_add(1, std::memory_order_relaxed);
  sum_.add(v);
}

std::vector<double> exponential_buckets(double start, double factor, int count) {
  std::vector<double> b;
  for (int i = 0; i < count; ++i, start *= factor) b.push_back(start);
  return b;
}

Family& Registry::family(std::string_view name, std::string_view help, Type type) {
  auto it = std::lower_bound(families_.begin(), families_.end(), name,
                             [](const auto& f, std::string_view n) { return f->name < n; });
  if (it == families_.end() || (*it)->name != name) {
    it = families_.insert(it,
                          std::make_unique<Family>(Family{std::string(name), std::string(help), type, {}}));
  }
  CHECK((*it)->type == type, "metric {} registered with two types", name);
  return **it;
}

namespace {

// The cell of the family with these labels; null if there is none.
template <class Source>
Source* find(const Family& family, const Labels& labels) {
  for (const Cell& cell : family.cells) {
    if (cell.labels != labels) continue;
    // The registry made it, as one that may be written to.
    if (const auto* source = std::get_if<const Source*>(&cell.source)) return const_cast<Source*>(*source);
  }
  return nullptr;
}

}  // namespace

Counter& Registry::counter(std::string_view name, std::string_view help, Labels labels) {
  std::lock_guard lock(mutex_);
  Family& f = family(name, help, Type::kCounter);
  if (Counter* known = find<Counter>(f, labels)) return *known;
  Counter& c = counters_.emplace_back();
  f.cells.push_back({std::move(labels), &c});
  return c;
}

Gauge& Registry::gauge(std::string_view name, std::string_view help, Labels labels) {
  std::lock_guard lock(mutex_);
  Family& f = family(name, help, Type::kGauge);
  if (Gauge* known = find<Gauge>(f, labels)) return *known;
  Gauge& g = gauges_.emplace_back();
  f.cells.push_back({std::move(labels), &g});
  return g;
}

Histogram& Registry::histogram(std::string_view name, std::string_view help, std::vector<double> bounds,
                               Labels labels) {
  std::lock_guard lock(mutex_);
  Family& f = family(name, help, Type::kHistogram);
  if (Histogram* known = find<Histogram>(f, labels)) return *known;
  Histogram& h = histograms_.emplace_back(std::move(bounds));
  f.cells.push_back({std::move(labels), &h});
  return h;
}

void Registry::callback(std::string_view name, std::string_view help, Type type, std::function<double()> read,
                        Labels labels) {
  std::lock_guard lock(mutex_);
  family(name, help, type).cells.push_back({std::move(labels), std::move(read)});
}

void Registry::visit(const std::function<void(const Family&)>& visit) const {
  std::lock_guard lock(mutex_);
  for (const auto& f : families_) visit(*f);
}

}  // namespace quoin::metrics
