#include "cmd/benchmark/report.h"

#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <sstream>

#include "base/prng.h"
#include "cmd/benchmark/pace.h"
#include "cmd/benchmark/progress.h"

namespace quoin::cmd::bench {
namespace {

// ---- Latencies ----

TEST(Latencies, AnswersExactlyUpToTheBound) {
  Latencies l;
  for (int64_t i = 1000; i >= 1; --i) l.add(i);
  EXPECT_TRUE(l.exact());
  EXPECT_EQ(l.count(), 1000u);
  EXPECT_EQ(l.smallest(), 1);
  EXPECT_EQ(l.largest(), 1000);
  EXPECT_DOUBLE_EQ(l.average_ns(), 500.5);
  EXPECT_NEAR(l.deviation_ns(), 288.675, 0.001);
  const std::vector<uint64_t> ranks = {0, 1, 500, 999};
  EXPECT_EQ(l.at_ranks(ranks), (std::vector<int64_t>{1, 2, 501, 1000}));
}

TEST(Latencies, BucketsCoverEveryValueAndAreNarrow) {
  Prng prng(1);
  int64_t previous = 0;
  size_t bucket = 0;
  for (int i = 0; i < 100'000; ++i) {
    const int64_t v = static_cast<int64_t>(prng.next() >> prng.between(20, 63));
    const size_t b = Latencies::bucket_of(v);
    if (v <= previous) {
      EXPECT_LE(b, bucket);
    } else {
      EXPECT_GE(b, bucket);
    }
    const int64_t middle = Latencies::middle_of(b);
    EXPECT_LE(std::abs(middle - v), v / 2048 + 0) << v;
    previous = v;
    bucket = b;
  }
  EXPECT_EQ(Latencies::bucket_of(INT64_MAX), Latencies::bucket_of(Latencies::kLongest));
}

TEST(Latencies, ManyKeepSumsExactAndRanksNarrow) {
  Latencies many;
  std::vector<int64_t> all;
  Prng prng(2);
  for (size_t i = 0; i < 3 * Latencies::kExactMax; ++i) {
    all.push_back(static_cast<int64_t>(prng.below(50'000'000)));
    many.add(all.back());
  }
  EXPECT_FALSE(many.exact());
  std::sort(all.begin(), all.end());
  EXPECT_EQ(many.smallest(), all.front());
  EXPECT_EQ(many.largest(), all.back());
  long double sum = 0, squares = 0;
  for (const int64_t v : all) sum += static_cast<long double>(v);
  const long double mean = sum / static_cast<long double>(all.size());
  for (const int64_t v : all)
    squares += (static_cast<long double>(v) - mean) * (static_cast<long double>(v) - mean);
  EXPECT_NEAR(many.average_ns(), static_cast<double>(mean), 1e-3);
  EXPECT_NEAR(many.deviation_ns(),
              static_cast<double>(std::sqrt(squares / static_cast<long double>(all.size()))), 1e-3);
  for (const auto& [percent, value] : percentiles(many)) {
    const auto rank = static_cast<size_t>(percent / 100 * static_cast<double>(all.size()));
    EXPECT_NEAR(static_cast<double>(value), static_cast<double>(all[rank]),
                static_cast<double>(all[rank]) / 1024);
  }
  uint64_t counted = 0;
  many.for_each([&](int64_t, uint64_t n) { counted += n; });
  EXPECT_EQ(counted, all.size());
}

TEST(Latencies, NegativeCountsAsNothing) {
  Latencies l;
  l.add(-5);
  EXPECT_EQ(l.smallest(), 0);
  EXPECT_EQ(l.largest(), 0);
}

// ---- the text of the report: what etcd's pkg/report prints for the same results ----

struct Golden {
  const char* name;
  int count;
  bool precise = false, sample = false, errors = false, same = false;
};

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream s;
  s << in.rdbuf();
  return s.str();
}

// Without what time decides, and without the digits of a mean that the order of adding decides.
std::string comparable(const std::string& text) {
  const std::string timeless =
      std::regex_replace(text, std::regex("(Total|Requests/sec):\t[^ \n]+"), "$1:\t*");
  return std::regex_replace(timeless, std::regex("(Average|Stddev):\t([0-9]\\.[0-9]{4,13})[0-9]*"),
                            "$1:\t$2");
}

class ReportText : public testing::TestWithParam<Golden> {};

TEST_P(ReportText, IsThatOfTheRealPackage) {
  const Golden& g = GetParam();
  Report report({.precise = g.precise, .sample = g.sample});
  constexpr int64_t kBegan = 1'000, kBeganUnix = 1'795'252'599'900'000'000;
  report.begin(kBegan, kBeganUnix);
  auto x = static_cast<uint64_t>(g.count);
  for (int i = 0; i < g.count; ++i) {
    x = x * 6364136223846793005u + 1442695040888963407u;
    auto latency = static_cast<int64_t>((x >> 33) % 9'000'000 * (1 + (x >> 60) * 20));
    if (g.same) latency = 250'000;
    if (g.sample && i == 5) latency = 0;
    int64_t start = kBegan + int64_t{i} * 350'000;
    if (g.sample && i > 9000) start += 2 * io::kSecond;
    report.add(start, start + latency);
  }
  if (g.errors) {
    report.add_error("etcdserver: request timed out");
    report.add_error("etcdserver: request timed out");
  }
  report.end(kBegan + io::kSecond);
  EXPECT_EQ(
      comparable(report.text()),
      comparable(read_file(std::string(QUOIN_SOURCE_DIR "/src/cmd/benchmark/testdata/") + g.name + ".txt")));
}

INSTANTIATE_TEST_SUITE_P(All, ReportText,
                         testing::Values(Golden{"one", 1}, Golden{"seven", 7},
                                         Golden{"hundred_precise", 100, true},
                                         Golden{"thousand", 1000, false, false, true},
                                         Golden{"ten_thousand_sample", 10'000, false, true},
                                         Golden{"none_but_errors", 0, false, false, true},
                                         Golden{"same", 50, false, false, false, true}, Golden{"nothing", 0},
                                         Golden{"sample_nothing", 0, false, true, true}),
                         [](const auto& info) { return info.param.name; });

TEST(Report, TotalAndRate) {
  Report report({});
  report.begin(0, 0);
  for (int i = 0; i < 100; ++i) report.add(0, 1'000'000);
  report.end(2 * io::kSecond);
  EXPECT_NE(report.text().find("  Total:\t2.0000 secs.\n"), std::string::npos);
  EXPECT_NE(report.text().find("  Requests/sec:\t50.0000\n"), std::string::npos);
}

// One stall of a second in a run that asks for an operation each millisecond: it holds up one operation, and a thousand
// that were due.
TEST(Report, IntendedStartsShowWhatAStallHeldUp) {
  Report report({.intended = true});
  report.begin(0, 0);
  int64_t free_at = 0;
  for (int64_t k = 0; k < 10'000; ++k) {
    const int64_t due = k * io::kMillisecond;
    const int64_t start = std::max(due, free_at);
    const int64_t end = start + (k == 1000 ? io::kSecond : 200'000);
    report.add(due, start, end);
    free_at = end;
  }
  report.end(free_at);
  const std::string text = report.text();
  EXPECT_NE(text.find("\nLatency distribution:\n  10% in 0.0002 secs.\n"), std::string::npos) << text;
  EXPECT_NE(text.find("  99.9% in 0.0002 secs.\n\nLatency distribution from the intended start:\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("  95% in 0.6008 secs.\n"), std::string::npos) << text;
}

TEST(Report, IntendedStartsAreSilentWhereNothingDiffers) {
  Report report({.intended = true});
  report.begin(0, 0);
  for (int i = 0; i < 100; ++i) report.add(i, i, i + 500'000);
  report.end(io::kSecond);
  EXPECT_EQ(report.text().find("intended"), std::string::npos);
}

TEST(Report, KeepsABoundedNumberOfErrorTexts) {
  Report report({});
  for (int i = 0; i < 1000; ++i) report.add_error("error " + std::to_string(i));
  EXPECT_EQ(report.errors(), 1000u);
  EXPECT_NE(report.text().find("  [900]\tother errors\n"), std::string::npos);
}

TEST(Report, Json) {
  Report report({.sample = true, .intended = true});
  report.begin(0, 7 * io::kSecond);
  report.add(0, 1, 3);
  report.add_error("no \"way\"");
  report.end(io::kSecond);
  GoJson json;
  report.append_json(json, "put");
  EXPECT_EQ(
      json.text(),
      R"({"name":"put","total_seconds":1,"requests":1,"requests_per_second":1,"slowest_seconds":2e-9,)"
      R"("fastest_seconds":2e-9,"average_seconds":2e-9,"stddev_seconds":0,"exact":true,"histogram":[)"
      R"({"upper_seconds":2e-9,"count":1},{"upper_seconds":2e-9,"count":0},{"upper_seconds":2e-9,"count":0},)"
      R"({"upper_seconds":2e-9,"count":0},{"upper_seconds":2e-9,"count":0},{"upper_seconds":2e-9,"count":0},)"
      R"({"upper_seconds":2e-9,"count":0},{"upper_seconds":2e-9,"count":0},{"upper_seconds":2e-9,"count":0},)"
      R"({"upper_seconds":2e-9,"count":0},{"upper_seconds":2e-9,"count":0}],"latency":[],)"
      R"("latency_from_intended_start":[],"samples":[{"unix_second":7,"min_seconds":2e-9,"avg_seconds":2e-9,)"
      R"("max_seconds":2e-9,"requests":1}],"errors":[{"text":"no \"way\"","count":1}]})");
}

TEST(Report, NumbersAsGo) {
  EXPECT_EQ(go_g(0.0001), "0.0001");
  EXPECT_EQ(go_g(0.00001234), "1.234e-05");
  EXPECT_EQ(go_g(43084.8772), "43084.8772");
  EXPECT_EQ(go_g(123456.75), "123456.75");
  EXPECT_EQ(go_g(1234567.75), "1.23456775e+06");
  EXPECT_EQ(go_g(1e6), "1e+06");
  EXPECT_EQ(go_g(0), "0");
  EXPECT_EQ(go_g(99.9), "99.9");
}

TEST(Seconds, WhatBeginsEarlierMayEndLater) {
  Seconds s;
  s.add(10 * io::kSecond, 5);
  s.add(8 * io::kSecond, 7);
  ASSERT_EQ(s.all().size(), 3u);
  EXPECT_EQ(s.all()[0].unix_second, 8);
  EXPECT_EQ(s.all()[0].count, 1u);
  EXPECT_EQ(s.all()[1].unix_second, 9);
  EXPECT_EQ(s.all()[1].count, 0u);
  EXPECT_EQ(s.all()[2].unix_second, 10);
}

TEST(Seconds, AreBounded) {
  Seconds s;
  s.add(0, 1);
  s.add(int64_t{3'000'000} * io::kSecond, 1);
  EXPECT_EQ(s.all().size(), Seconds::kSecondsMax);
  EXPECT_EQ(s.all().back().count, 1u);
}

TEST(Pace, DuesDoNotDrift) {
  Pace pace(3);
  pace.begin(100);
  EXPECT_EQ(pace.due(0), 100);
  EXPECT_EQ(pace.due(1), 100 + 333'333'333);
  EXPECT_EQ(pace.due(3), 100 + io::kSecond);
  EXPECT_EQ(pace.due(3'000'000'000), 100 + 1'000'000'000 * io::kSecond);
  EXPECT_FALSE(Pace(0).limited());
}

TEST(Progress, Line) {
  EXPECT_EQ(progress_line(50, 100, io::kSecond), "  50/100 [===============>              ]  50%  50/s  1s");
  EXPECT_EQ(progress_line(100, 100, 2 * io::kSecond),
            "  100/100 [==============================] 100%  50/s  2s");
  EXPECT_EQ(progress_line(7, 0, io::kSecond), "  7  7/s  1s");
}

}  // namespace
}  // namespace quoin::cmd::bench
