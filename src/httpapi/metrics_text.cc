#include "httpapi/metrics_text.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "httpapi/metrics_families.h"

namespace quoin::httpapi {
namespace {

using metrics::Labels;

std::string_view type_name(FamilyType type) {
  switch (type) {
    case FamilyType::kCounter:
      return "counter";
    case FamilyType::kGauge:
      return "gauge";
    case FamilyType::kSummary:
      return "summary";
    case FamilyType::kHistogram:
      return "histogram";
  }
  return "untyped";
}

void append_escaped(std::string& out, std::string_view s, bool quotes) {
  for (const char c : s) {
    if (c == '\\')
      out += "\\\\";
    else if (c == '\n')
      out += "\\n";
    else if (c == '"' && quotes)
      out += "\\\"";
    else
      out += c;
  }
}

void append_head(std::string& out, std::string_view name, std::string_view help, std::string_view type) {
  out += "# HELP ";
  out += name;
  out += ' ';
  append_escaped(out, help, false);
  out += "\n# TYPE ";
  out += name;
  out += ' ';
  out += type;
  out += '\n';
}

// name{a="b",le="1"} value
void append_series(std::string& out, std::string_view name, std::string_view suffix, const Labels& labels,
                   std::string_view extra_name, std::string_view extra_value, std::string_view value) {
  out += name;
  out += suffix;
  char separator = '{';
  const auto label = [&](std::string_view key, std::string_view text) {
    out += separator;
    out += key;
    out += "=\"";
    append_escaped(out, text, true);
    out += '"';
    separator = ',';
  };
  for (const auto& [key, text] : labels) label(key, text);
  if (!extra_name.empty()) label(extra_name, extra_value);
  if (separator == ',') out += '}';
  out += ' ';
  out += value;
  out += '\n';
}

void append_histogram(std::string& out, std::string_view name, const Labels& labels,
                      const HistogramValue& h) {
  for (const auto& [bound, count] : h.buckets) {
    append_series(out, name, "_bucket", labels, "le", format_float(bound), fmt::format_int(count).c_str());
  }
  append_series(out, name, "_sum", labels, {}, {}, format_float(h.sum));
  append_series(out, name, "_count", labels, {}, {}, fmt::format_int(h.count()).c_str());
}

void append_summary(std::string& out, std::string_view name, const Labels& labels) {
  for (const std::string_view q : kSummaryQuantiles) append_series(out, name, {}, labels, "quantile", q, "0");
  append_series(out, name, "_sum", labels, {}, {}, "0");
  append_series(out, name, "_count", labels, {}, {}, "0");
}

}  // namespace

std::string format_float(double v) {
  if (std::isnan(v)) return "NaN";
  if (std::isinf(v)) return v > 0 ? "+Inf" : "-Inf";
  if (v == 0) return "0";
  char buffer[64];
  // Shortest digits d.ddde±xx first: they decide which form Go takes.
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, v, std::chars_format::scientific).ptr;
  const std::string_view scientific(buffer, static_cast<size_t>(end - buffer));
  const size_t e = scientific.find('e');
  int exponent = 0;
  const size_t sign = scientific[e + 1] == '+' ? 2 : 1;
  std::from_chars(scientific.data() + e + sign, end, exponent);
  constexpr int kLow = -4, kHigh = 6;
  if (exponent < kLow || exponent >= kHigh) return std::string(scientific);
  const auto fixed_end = std::to_chars(buffer, buffer + sizeof buffer, v, std::chars_format::fixed).ptr;
  return std::string(buffer, static_cast<size_t>(fixed_end - buffer));
}

std::string render_metrics(const metrics::Registry& registry, const ProcessStats* process) {
  std::string out;
  for (const FamilyValue& f : collect_families(registry, process)) {
    append_head(out, f.name, f.help, type_name(f.type));
    for (const SeriesValue& s : f.series) {
      if (f.type == FamilyType::kHistogram)
        append_histogram(out, f.name, s.labels, s.histogram);
      else if (f.type == FamilyType::kSummary)
        append_summary(out, f.name, s.labels);
      else
        append_series(out, f.name, {}, s.labels, {}, {}, format_float(s.value));
    }
  }
  return out;
}

}  // namespace quoin::httpapi
