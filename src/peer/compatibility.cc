#include "peer/compatibility.h"

#include <charconv>

#include "base/check.h"
#include "base/coding.h"
#include "base/version.h"
#include "peer/context.h"

namespace quoin::peer {
namespace {

// What a request without the field is taken for.
constexpr std::string_view kNoVersionField = "2.0.0";

bool take_number(std::string_view& text, int64_t* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  if (error != std::errc() || *value < 0) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

}  // namespace

std::string Version::text() const {
  return fmt::format("{}.{}.{}{}", major, minor, patch, rest);
}

int compare_minor(const Version& a, const Version& b) {
  const auto x = std::pair(a.major, a.minor), y = std::pair(b.major, b.minor);
  return x < y ? -1 : x > y ? 1 : 0;
}

std::optional<Version> parse_version(std::string_view text) {
  Version v;
  for (int64_t* part : {&v.major, &v.minor, &v.patch}) {
    if (part != &v.major) {
      if (!text.starts_with('.')) return std::nullopt;
      text.remove_prefix(1);
    }
    if (!take_number(text, part)) return std::nullopt;
  }
  if (!text.empty() && text[0] != '-' && text[0] != '+') return std::nullopt;
  v.rest = text;
  return v;
}

const Version& own_version() {
  static const Version own = [] {
    auto v = parse_version(kEtcdVersion);
    CHECK(v.has_value());
    return std::move(*v);
  }();
  return own;
}

Fields request_fields(const Context& context) {
  Fields fields{{"X-Server-From", hex(context.self.v)},
                {"X-Server-Version", std::string(kEtcdVersion)},
                {"X-Min-Cluster-Version", std::string(kMinClusterVersion)},
                {"X-Etcd-Cluster-Id", hex(context.cluster.v)}};
  std::string urls;
  for (const std::string& url : context.options.peer_urls) urls.append(urls.empty() ? "" : ",").append(url);
  fields.emplace_back("X-Peerurls", std::move(urls));
  return fields;
}

Compatibility check_compatibility(const Context& context, const http1::Request& request) {
  const std::string_view name = request.field("X-Server-From").value_or("");
  // An empty field counts as none.
  const auto version = [&](std::string_view field) {
    const std::string_view text = request.field(field).value_or("");
    return parse_version(text.empty() ? kNoVersionField : text);
  };
  const std::optional<Version> server = version("X-Server-Version");
  const std::optional<Version> minimum = version("X-Min-Cluster-Version");
  if (!server || !minimum) return Compatibility::kNoVersion;
  static const Version own_minimum = *parse_version(kMinClusterVersion);
  const std::string own_text = own_version().text(), server_text = server->text(),
                    minimum_text = minimum->text();

  const bool too_low = compare_minor(*server, own_minimum) < 0;
  if (too_low || compare_minor(*minimum, own_version()) > 0) {
    LOG(context.log, kWarn, "failed version compatibility check",
        {"local-member-id", log::Hex{context.self.v}},
        {"local-member-cluster-id", log::Hex{context.cluster.v}}, {"local-member-server-version", own_text},
        {"local-member-server-minimum-cluster-version", kMinClusterVersion},
        {"remote-peer-server-name", name}, {"remote-peer-server-version", server_text},
        {"remote-peer-server-minimum-cluster-version", minimum_text},
        {"error", fmt::format("{} version is too low: remote[{}]={}, local={}", too_low ? "remote" : "local",
                              name, server_text, own_text)});
    return Compatibility::kIncompatible;
  }
  const std::string_view cluster = request.field("X-Etcd-Cluster-Id").value_or("");
  if (cluster != hex(context.cluster.v)) {
    LOG(context.log, kWarn, "request cluster ID mismatch", {"local-member-id", log::Hex{context.self.v}},
        {"local-member-cluster-id", log::Hex{context.cluster.v}}, {"local-member-server-version", own_text},
        {"local-member-server-minimum-cluster-version", kMinClusterVersion},
        {"remote-peer-server-name", name}, {"remote-peer-server-version", server_text},
        {"remote-peer-server-minimum-cluster-version", minimum_text}, {"remote-peer-cluster-id", cluster});
    return Compatibility::kOtherCluster;
  }
  return Compatibility::kOk;
}

bool has_streams(std::optional<std::string_view> text) {
  const std::optional<Version> v = parse_version(!text || text->empty() ? kNoVersionField : *text);
  if (!v) return false;
  if (compare_minor(*v, own_version()) >= 0 || v->major == 3) return true;
  return v->major == 2 && v->minor >= 1 && v->minor <= 3;
}

std::string_view without_newline(std::string_view body) {
  if (body.ends_with('\n')) body.remove_suffix(1);
  return body;
}

}  // namespace quoin::peer
