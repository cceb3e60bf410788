// What members tell each other in the fields of a request or answer, and whether two may talk at all.
//
// Source: spec raft-and-peers 21.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http1/server_connection.h"

namespace quoin::peer {

struct Context;

using Fields = std::vector<std::pair<std::string, std::string>>;

// Members of versions below it are not spoken to.
inline constexpr std::string_view kMinClusterVersion = "3.0.0";

struct Version {
  int64_t major = 0, minor = 0, patch = 0;
  std::string rest;  // "-rc.0+build"
  std::string text() const;
  // Of major and minor alone: -1, 0, 1.
  friend int compare_minor(const Version& a, const Version& b);
};
// "3.6.14"; none for anything but three numbers and what may follow them.
std::optional<Version> parse_version(std::string_view text);
const Version& own_version();

// X-Server-From, X-Server-Version, X-Min-Cluster-Version, X-Etcd-Cluster-Id, X-Peerurls, as Go writes names.
Fields request_fields(const Context& context);

enum class Compatibility : uint8_t {
  kOk,
  kIncompatible,  // 412 "incompatible version"
  kOtherCluster,  // 412 "cluster ID mismatch"
  kNoVersion,     // a field that is no version: the connection ends without an answer
};
// Of a request; writes the log line where it refuses one.
Compatibility check_compatibility(const Context& context, const http1::Request& request);

// Whether a member that answers with this X-Server-Version (none: it sent none) has the streams.
bool has_streams(std::optional<std::string_view> version);

inline constexpr std::string_view kIncompatibleVersion = "incompatible version";
inline constexpr std::string_view kClusterIdMismatch = "cluster ID mismatch";
// "text\n" -> "text".
std::string_view without_newline(std::string_view body);

}  // namespace quoin::peer
