// Versions of servers and of the cluster, and what follows from them: which cluster version the leader sets,
// whether a downgrade may begin and when it is over, who may join whom. Pure functions.
//
// The cluster version is the lowest version all members speak, always X.Y.0. It rises by itself; it falls
// only while a downgrade is enabled, and then by one minor. Errors: texts and codes clients see. Source: spec
// raft-and-peers 29, 30; api-semantics 5.4.
#pragma once
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace quoin::membership {

struct Version {
  int64_t major = 0;
  int64_t minor = 0;
  int64_t patch = 0;
  friend auto operator<=>(const Version&, const Version&) = default;
  std::string text() const;        // "3.6.16"
  std::string minor_text() const;  // "3.6"
  Version cluster() const { return {major, minor, 0}; }
};
constexpr Version kClusterVersionMin{3, 0, 0};

// Go's semver: "X.Y.Z" with optional "-pre" and "+build", which are read over.
std::optional<Version> parse_version(std::string_view text);
// kEtcdVersion of base/version.h.
Version own_version();

struct Downgrade {
  bool enabled = false;
  std::string target;  // "3.5.0"; empty when not enabled
  friend bool operator==(const Downgrade&, const Downgrade&) = default;
};

// The lowest; none if any is unknown or there are none.
std::optional<Version> lowest_version(std::span<const std::optional<Version>> servers);

// What the leader's monitor proposes as cluster version, if anything. `lowest`: of all members' server
// versions.
std::optional<Version> decide_cluster_version(std::optional<Version> current, std::optional<Version> lowest,
                                              const Downgrade& downgrade);

// "X.Y" or "X.Y.Z", optionally with a suffix; patch and suffix are dropped. kWrongDowngradeVersionFormat.
Result<Version> parse_downgrade_target(std::string_view text);
// The checks of Downgrade VALIDATE and ENABLE after the format, in order: kClusterVersionUnavailable,
// kInvalidDowngradeTargetVersion, kDowngradeInProcess.
Result<> check_downgrade(std::optional<Version> cluster, Version target, const Downgrade& downgrade);
// Whether the leader may end the downgrade: every server runs the target's minor.
bool downgrade_finished(const Downgrade& downgrade, std::span<const std::optional<Version>> servers);

// A server older than the cluster version must not run: kUnsupported with etcd's words.
Result<> check_server_version(Version server, std::optional<Version> cluster);

enum class Compatibility { kCompatible, kTooLow, kTooHigh };
// Whether a server of version `own` may be in a cluster of this version. While a downgrade is enabled there
// it must be exactly one minor above.
Compatibility check_compatible(Version own, Version cluster, bool downgrade_enabled);

}  // namespace quoin::membership
