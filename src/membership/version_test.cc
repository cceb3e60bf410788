#include "membership/version.h"

#include <gtest/gtest.h>

namespace quoin::membership {
namespace {

std::optional<Version> v(std::string_view text) {
  if (text.empty()) return std::nullopt;
  auto parsed = parse_version(text);
  EXPECT_TRUE(parsed) << text;
  return parsed;
}
std::string show(std::optional<Version> x) {
  return x ? x->text() : "-";
}

TEST(VersionTest, Reading) {
  EXPECT_EQ(show(parse_version("3.6.16")), "3.6.16");
  EXPECT_EQ(show(parse_version("3.7.0-alpha.0+git")), "3.7.0");
  for (const char* bad :
       {"", "3", "3.6", "v3.6.0", "3.6.0.1", "3..0", "3.6.0-", "3.6.x", "-3.6.0", "3.6.-1"}) {
    EXPECT_EQ(parse_version(bad), std::nullopt) << bad;
  }
}

// Spec raft-and-peers 30.
TEST(VersionTest, WhatTheMonitorSets) {
  struct {
    const char *current, *lowest, *downgrade, *want;
  } const rows[] = {
      {"", "3.6.16", "", "3.6.0"},
      {"", "", "", "3.0.0"},
      {"3.5.0", "", "", "-"},
      {"3.5.0", "3.6.16", "", "3.6.0"},
      {"3.6.0", "3.6.16", "", "-"},
      {"3.6.0", "3.5.33", "", "-"},
      {"3.6.0", "4.0.0", "", "-"},
      {"3.6.0", "3.6.16", "3.5.0", "3.5.0"},
      {"3.5.0", "3.6.16", "3.5.0", "-"},
      {"3.5.0", "3.5.33", "3.5.0", "-"},
      {"3.6.0", "3.7.1", "3.5.0", "-"},
      {"3.7.0", "3.7.1", "3.5.0", "-"},
      {"3.6.0", "", "3.5.0", "-"},
      {"", "3.6.16", "3.5.0", "3.6.0"},
      {"3.4.0", "3.6.16", "", "3.6.0"},
  };
  for (const auto& row : rows) {
    const Downgrade d{*row.downgrade != 0, row.downgrade};
    EXPECT_EQ(show(decide_cluster_version(v(row.current), v(row.lowest), d)), row.want)
        << row.current << " " << row.lowest << " " << row.downgrade;
  }
}

TEST(VersionTest, LowestOfServers) {
  using List = std::vector<std::optional<Version>>;
  EXPECT_EQ(show(lowest_version(List{v("3.6.16"), v("3.5.33"), v("3.7.1")})), "3.5.33");
  EXPECT_EQ(show(lowest_version(List{v("3.6.16"), std::nullopt})), "-");
  EXPECT_EQ(show(lowest_version(List{})), "-");
  const Downgrade d{true, "3.5.0"};
  EXPECT_TRUE(downgrade_finished(d, List{v("3.5.33"), v("3.5.1")}));
  EXPECT_FALSE(downgrade_finished(d, List{v("3.5.33"), v("3.6.1")}));
  EXPECT_FALSE(downgrade_finished(d, List{v("3.5.33"), std::nullopt}));
  EXPECT_FALSE(downgrade_finished({}, List{v("3.5.33")}));
}

// Spec api-semantics 5.4.
TEST(VersionTest, DowngradeChecks) {
  struct {
    const char *cluster, *target;
    bool enabled;
    const char* want;
  } const rows[] = {
      {"3.6.0", "3.5.0", false, "ok"},
      {"3.6.0", "3.5", false, "ok"},
      {"3.6.0", "3.5.7-rc.1", false, "ok"},
      {"3.6.0", "v3.5.0", false, "etcdserver: wrong downgrade target version format"},
      {"3.6.0", "3", false, "etcdserver: wrong downgrade target version format"},
      {"3.6.0", "", false, "etcdserver: wrong downgrade target version format"},
      {"", "3.5.0", false, "etcdserver: cluster version not found during downgrade"},
      {"3.6.0", "3.6.0", false, "etcdserver: invalid downgrade target version"},
      {"3.6.0", "3.4.0", true, "etcdserver: invalid downgrade target version"},
      {"3.6.0", "2.5.0", false, "etcdserver: invalid downgrade target version"},
      {"3.6.0", "3.5.0", true, "etcdserver: cluster has a downgrade job in progress"},
  };
  for (const auto& row : rows) {
    const auto target = parse_downgrade_target(row.target);
    const Result<> r =
        target ? check_downgrade(v(row.cluster), *target, {row.enabled, row.enabled ? "3.5.0" : ""})
               : Result<>(target.error());
    EXPECT_EQ(r ? "ok" : std::string(r.error().text()), row.want) << row.target;
  }
}

TEST(VersionTest, WhoMayRunWhere) {
  EXPECT_TRUE(check_server_version({3, 6, 16}, std::nullopt));
  EXPECT_TRUE(check_server_version({3, 6, 16}, Version{3, 6, 0}));
  EXPECT_FALSE(check_server_version({3, 6, 16}, Version{3, 7, 0}));
  using C = Compatibility;
  EXPECT_EQ(check_compatible({3, 6, 16}, {3, 6, 0}, false), C::kCompatible);
  EXPECT_EQ(check_compatible({3, 6, 16}, {3, 0, 0}, false), C::kCompatible);
  EXPECT_EQ(check_compatible({3, 6, 16}, {2, 3, 0}, false), C::kTooLow);
  EXPECT_EQ(check_compatible({3, 6, 16}, {3, 7, 0}, false), C::kTooHigh);
  EXPECT_EQ(check_compatible({3, 6, 16}, {3, 7, 0}, true), C::kCompatible);
  EXPECT_EQ(check_compatible({3, 6, 16}, {3, 6, 0}, true), C::kTooLow);
}

}  // namespace
}  // namespace quoin::membership
