// The page as length-delimited io.prometheus.client.MetricFamily messages. Written by hand: five small
// messages of which only these fields are used.
//   MetricFamily: name 1, help 2, type 3, metric 4.   Metric: label 1, gauge 2, counter 3, summary 4,
//   histogram 7. LabelPair: name 1, value 2.   Gauge, Counter: value 1.   Quantile: quantile 1, value 2.
//   Summary, Histogram: sample_count 1, sample_sum 2, quantile or bucket 3.   Bucket: cumulative_count 1,
//   upper_bound 2.
#include <charconv>
#include <cstring>

#include "httpapi/metrics_families.h"
#include "httpapi/metrics_text.h"

namespace quoin::httpapi {
namespace {

void put_varint(std::string& out, uint64_t v) {
  for (; v >= 0x80; v >>= 7) out += static_cast<char>(v | 0x80);
  out += static_cast<char>(v);
}
void put_number(std::string& out, int field, uint64_t v) {
  put_varint(out, static_cast<uint64_t>(field) << 3);
  put_varint(out, v);
}
void put_double(std::string& out, int field, double v) {
  put_varint(out, static_cast<uint64_t>(field) << 3 | 1);
  uint64_t bits = 0;
  static_assert(sizeof bits == sizeof v);
  std::memcpy(&bits, &v, sizeof bits);
  for (int i = 0; i < 8; ++i) out += static_cast<char>(bits >> (8 * i));
}
void put_bytes(std::string& out, int field, std::string_view s) {
  put_varint(out, static_cast<uint64_t>(field) << 3 | 2);
  put_varint(out, s.size());
  out += s;
}

int proto_type(FamilyType type) {
  switch (type) {
    case FamilyType::kCounter:
      return 0;
    case FamilyType::kGauge:
      return 1;
    case FamilyType::kSummary:
      return 2;
    case FamilyType::kHistogram:
      return 4;
  }
  return 3;  // untyped
}

std::string histogram_message(const HistogramValue& h) {
  std::string out;
  put_number(out, 1, h.count());
  put_double(out, 2, h.sum);
  // Go leaves the last bucket, +Inf, to the count.
  for (size_t i = 0; i + 1 < h.buckets.size(); ++i) {
    std::string bucket;
    put_number(bucket, 1, h.buckets[i].second);
    put_double(bucket, 2, h.buckets[i].first);
    put_bytes(out, 3, bucket);
  }
  return out;
}

std::string summary_message() {
  std::string out;
  put_number(out, 1, 0);
  put_double(out, 2, 0);
  for (const std::string_view q : kSummaryQuantiles) {
    double value = 0;
    std::from_chars(q.data(), q.data() + q.size(), value);
    std::string quantile;
    put_double(quantile, 1, value);
    put_double(quantile, 2, 0);
    put_bytes(out, 3, quantile);
  }
  return out;
}

std::string metric_message(FamilyType type, const SeriesValue& s) {
  std::string out;
  for (const auto& [name, value] : s.labels) {
    std::string label;
    put_bytes(label, 1, name);
    put_bytes(label, 2, value);
    put_bytes(out, 1, label);
  }
  std::string value;
  switch (type) {
    case FamilyType::kGauge:
    case FamilyType::kCounter:
      put_double(value, 1, s.value);
      put_bytes(out, type == FamilyType::kGauge ? 2 : 3, value);
      break;
    case FamilyType::kSummary:
      put_bytes(out, 4, summary_message());
      break;
    case FamilyType::kHistogram:
      put_bytes(out, 7, histogram_message(s.histogram));
      break;
  }
  return out;
}

}  // namespace

std::string render_metrics_proto(const metrics::Registry& registry, const ProcessStats* process) {
  std::string out;
  for (const FamilyValue& f : collect_families(registry, process)) {
    std::string family;
    put_bytes(family, 1, f.name);
    put_bytes(family, 2, f.help);
    put_number(family, 3, static_cast<uint64_t>(proto_type(f.type)));
    for (const SeriesValue& s : f.series) put_bytes(family, 4, metric_message(f.type, s));
    put_varint(out, family.size());
    out += family;
  }
  return out;
}

}  // namespace quoin::httpapi
