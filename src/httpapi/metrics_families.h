// A scrape taken apart from the way it is written: families in name order, each with its series in order.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/metrics.h"
#include "httpapi/metrics_text.h"

namespace quoin::httpapi {

enum class FamilyType : uint8_t { kCounter, kGauge, kSummary, kHistogram };

struct HistogramValue {
  std::vector<std::pair<double, uint64_t>> buckets;  // upper bound, cumulative count; the last bound is +Inf
  double sum = 0;
  uint64_t count() const { return buckets.back().second; }
};
struct SeriesValue {
  metrics::Labels labels;    // sorted by name
  double value = 0;          // counters and gauges
  HistogramValue histogram;  // histograms
};
struct FamilyValue {
  std::string name, help;
  FamilyType type;
  std::vector<SeriesValue> series;  // by label values; a summary has one: Go's collector pauses, all zero
};

// Quantiles of the one summary.
inline constexpr std::string_view kSummaryQuantiles[] = {"0", "0.25", "0.5", "0.75", "1"};

// Families without series are left out. `process` may be null.
std::vector<FamilyValue> collect_families(const metrics::Registry& registry, const ProcessStats* process);

}  // namespace quoin::httpapi
