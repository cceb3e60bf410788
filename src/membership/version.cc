#include "membership/version.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "base/version.h"

namespace quoin::membership {
namespace {
bool suffix_ok(std::string_view s) {
  return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.';
  });
}

Version one_minor_below(Version v) {
  return {v.major, v.minor - 1, 0};
}
}  // namespace

std::string Version::text() const {
  return fmt::format("{}.{}.{}", major, minor, patch);
}
std::string Version::minor_text() const {
  return fmt::format("{}.{}", major, minor);
}

std::optional<Version> parse_version(std::string_view text) {
  if (const size_t plus = text.find('+'); plus != text.npos) {
    if (!suffix_ok(text.substr(plus + 1))) return std::nullopt;
    text = text.substr(0, plus);
  }
  if (const size_t dash = text.find('-'); dash != text.npos) {
    if (!suffix_ok(text.substr(dash + 1))) return std::nullopt;
    text = text.substr(0, dash);
  }
  Version v;
  const char* at = text.data();
  const char* const end = at + text.size();
  for (int64_t* part : {&v.major, &v.minor, &v.patch}) {
    if (part != &v.major) {
      if (at == end || *at != '.') return std::nullopt;
      ++at;
    }
    const auto [next, error] = std::from_chars(at, end, *part);
    if (error != std::errc() || *at == '-') return std::nullopt;
    at = next;
  }
  if (at != end) return std::nullopt;
  return v;
}

Version own_version() {
  const auto own = parse_version(kEtcdVersion);
  CHECK(own);
  return *own;
}

std::optional<Version> lowest_version(std::span<const std::optional<Version>> servers) {
  std::optional<Version> lowest;
  for (const auto& v : servers) {
    if (!v) return std::nullopt;
    if (!lowest || *v < *lowest) lowest = v;
  }
  return lowest;
}

std::optional<Version> decide_cluster_version(std::optional<Version> current, std::optional<Version> lowest,
                                              const Downgrade& downgrade) {
  if (!current) return lowest ? lowest->cluster() : kClusterVersionMin;
  if (!lowest) return std::nullopt;
  if (downgrade.enabled) {
    const auto target = parse_version(downgrade.target);
    if (!target || *target == *current) return std::nullopt;
    if (target->cluster() != one_minor_below(*current) || target->cluster() != one_minor_below(*lowest)) {
      return std::nullopt;
    }
    return target->cluster();
  }
  if (current->major == lowest->major && current->minor < lowest->minor) return lowest->cluster();
  return std::nullopt;
}

Result<Version> parse_downgrade_target(std::string_view text) {
  auto v = parse_version(text);
  if (!v) v = parse_version(std::string(text) + ".0");
  if (!v) return Code::kWrongDowngradeVersionFormat;
  return v->cluster();
}

Result<> check_downgrade(std::optional<Version> cluster, Version target, const Downgrade& downgrade) {
  if (!cluster) return Code::kClusterVersionUnavailable;
  if (target.cluster() != one_minor_below(*cluster)) return Code::kInvalidDowngradeTargetVersion;
  if (downgrade.enabled) return Code::kDowngradeInProcess;
  return {};
}

bool downgrade_finished(const Downgrade& downgrade, std::span<const std::optional<Version>> servers) {
  if (!downgrade.enabled || servers.empty()) return false;
  const auto target = parse_version(downgrade.target);
  return target && std::all_of(servers.begin(), servers.end(),
                               [&](const auto& v) { return v && v->cluster() == target->cluster(); });
}

Result<> check_server_version(Version server, std::optional<Version> cluster) {
  if (!cluster || server.cluster() >= cluster->cluster()) return {};
  return make_error(Code::kUnsupported,
                    "invalid downgrade; server version is lower than determined cluster version");
}

Compatibility check_compatible(Version own, Version cluster, bool downgrade_enabled) {
  Version low = kClusterVersionMin;
  Version high = own.cluster();
  if (downgrade_enabled) low = high = Version{own.major, own.minor + 1, 0};
  if (cluster < low) return Compatibility::kTooLow;
  return cluster.cluster() > high ? Compatibility::kTooHigh : Compatibility::kCompatible;
}

}  // namespace quoin::membership
