#include "cmd/benchmark/report.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

namespace quoin::cmd::bench {
namespace {

constexpr std::array kPercents = {10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9};

// As Go's Duration.Seconds().
double seconds_of(int64_t ns) {
  constexpr int64_t kSecond = 1'000'000'000;
  return static_cast<double>(ns / kSecond) + static_cast<double>(ns % kSecond) / 1e9;
}

}  // namespace

std::string go_g(double v) {
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, v, std::chars_format::scientific).ptr;
  const std::string_view shortest(buffer, static_cast<size_t>(end - buffer));
  const size_t e = shortest.find('e');
  if (e == std::string_view::npos) return std::isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf";
  int exponent = 0;
  std::from_chars(buffer + e + (shortest[e + 1] == '+' ? 2 : 1), end, exponent);
  constexpr int kFixedMin = -4, kFixedMax = 5;
  if (exponent < kFixedMin || exponent > kFixedMax) return std::string(shortest);
  const auto fixed_end = std::to_chars(buffer, buffer + sizeof buffer, v, std::chars_format::fixed).ptr;
  return std::string(buffer, static_cast<size_t>(fixed_end - buffer));
}

std::vector<std::pair<double, int64_t>> percentiles(const Latencies& latencies) {
  const uint64_t n = latencies.count();
  std::vector<uint64_t> ranks;
  const auto reached = [n](uint64_t i, double p) {
    return static_cast<double>(i) * 100.0 / static_cast<double>(n) >= p;
  };
  uint64_t next = 0;  // the first value that has filled none
  for (const double p : kPercents) {
    uint64_t i = std::max(next, static_cast<uint64_t>(p / 100.0 * static_cast<double>(n)));
    while (i > next && reached(i - 1, p)) --i;
    while (i < n && !reached(i, p)) ++i;
    if (i >= n) break;
    ranks.push_back(i);
    next = i + 1;
  }
  const std::vector<int64_t> values = latencies.at_ranks(ranks);
  std::vector<std::pair<double, int64_t>> out;
  for (size_t i = 0; i < values.size(); ++i) out.emplace_back(kPercents[i], values[i]);
  return out;
}

void Report::add_error(std::string_view text) {
  ++error_count_;
  auto it = errors_.find(text);
  if (it == errors_.end()) {
    it = errors_.emplace(errors_.size() < kErrorsMax ? text : kOtherErrors, 0).first;
  }
  ++it->second;
}

std::string Report::number(double v) const {
  return options_.precise ? go_g(v) : fmt::format("{:.4f}", v);
}

double Report::total_seconds() const {
  return seconds_of(ended_ - began_);
}

double Report::rate() const {
  const double seconds = total_seconds();
  return seconds > 0 ? static_cast<double>(count()) / seconds : 0;
}

std::vector<Report::Bar> Report::histogram() const {
  constexpr size_t kBars = 11;
  const double fastest = seconds_of(latencies_.smallest()), slowest = seconds_of(latencies_.largest());
  const double width = (slowest - fastest) / (kBars - 1);
  std::vector<Bar> bars(kBars);
  for (size_t i = 0; i + 1 < kBars; ++i) bars[i].bound = fastest + width * static_cast<double>(i);
  bars[kBars - 1].bound = slowest;
  size_t at = 0;
  latencies_.for_each([&](int64_t ns, uint64_t how_many) {
    const double v = seconds_of(ns);
    while (at + 1 < kBars && v > bars[at].bound) ++at;
    bars[at].count += how_many;
  });
  return bars;
}

std::string Report::percentile_lines(const Latencies& latencies) const {
  std::string out;
  for (const auto& [percent, ns] : percentiles(latencies)) {
    if (ns > 0) out += fmt::format("  {}% in {} secs.\n", go_g(percent), number(seconds_of(ns)));
  }
  return out;
}

std::string Report::text() const {
  constexpr uint64_t kBarWidth = 40;
  std::string out;
  if (count() > 0) {
    const auto line = [&](std::string_view name, double v) {
      out += fmt::format("  {}:\t{} secs.\n", name, number(v));
    };
    out += "\nSummary:\n";
    line("Total", total_seconds());
    line("Slowest", seconds_of(latencies_.largest()));
    line("Fastest", seconds_of(latencies_.smallest()));
    line("Average", latencies_.average_ns() / 1e9);
    line("Stddev", latencies_.deviation_ns() / 1e9);
    out += fmt::format("  Requests/sec:\t{}\n\nResponse time histogram:\n", number(rate()));
    const std::vector<Bar> bars = histogram();
    uint64_t most = 0;
    for (const Bar& b : bars) most = std::max(most, b.count);
    for (const Bar& b : bars) {
      out += fmt::format("  {} [{}]\t|", number(b.bound), b.count);
      for (uint64_t i = 0; i < b.count * kBarWidth / most; ++i) out += "∎";
      out += '\n';
    }
    const std::string lines = percentile_lines(latencies_);
    out += "\nLatency distribution:\n" + lines;
    if (options_.intended) {
      const std::string intended = percentile_lines(intended_);
      if (intended != lines) out += "\nLatency distribution from the intended start:\n" + intended;
    }
    if (options_.sample) out += seconds_.text() + "\n";
  }
  if (!errors_.empty()) {
    out += "\nError distribution:\n";
    for (const auto& [text, how_many] : errors_) out += fmt::format("  [{}]\t{}\n", how_many, text);
  }
  return out;
}

void Report::append_json(GoJson& json, std::string_view name) const {
  json.open_object().put("name", name).put("total_seconds", total_seconds());
  json.put("requests", count()).put("requests_per_second", rate());
  const auto distribution = [&](std::string_view key, const Latencies& latencies) {
    json.key(key).open_array();
    for (const auto& [percent, ns] : percentiles(latencies)) {
      json.open_object().put("percent", percent).put("seconds", seconds_of(ns)).close_object();
    }
    json.close_array();
  };
  if (count() > 0) {
    json.put("slowest_seconds", seconds_of(latencies_.largest()));
    json.put("fastest_seconds", seconds_of(latencies_.smallest()));
    json.put("average_seconds", latencies_.average_ns() / 1e9);
    json.put("stddev_seconds", latencies_.deviation_ns() / 1e9);
    json.put("exact", latencies_.exact());
    json.key("histogram").open_array();
    for (const Bar& b : histogram()) {
      json.open_object().put("upper_seconds", b.bound).put("count", b.count).close_object();
    }
    json.close_array();
    distribution("latency", latencies_);
    if (options_.intended) distribution("latency_from_intended_start", intended_);
  }
  if (options_.sample) {
    json.key("samples").open_array();
    for (const Second& s : seconds_.all()) {
      json.open_object().put("unix_second", s.unix_second);
      json.put("min_seconds", seconds_of(s.smallest_ns)).put("avg_seconds", seconds_of(s.average_ns()));
      json.put("max_seconds", seconds_of(s.largest_ns)).put("requests", s.count).close_object();
    }
    json.close_array();
  }
  json.key("errors").open_array();
  for (const auto& [text, how_many] : errors_) {
    json.open_object().put("text", text).put("count", how_many).close_object();
  }
  json.close_array().close_object();
}

}  // namespace quoin::cmd::bench
