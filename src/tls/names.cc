#include "tls/names.h"

#include <arpa/inet.h>

#include <algorithm>

#include "base/coding.h"

namespace quoin::tls {
namespace {
constexpr size_t kNamesToldMax = 100;

std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  return out;
}

std::vector<std::string_view> split_labels(std::string_view s) {
  std::vector<std::string_view> labels;
  for (;;) {
    const size_t dot = s.find('.');
    labels.push_back(s.substr(0, dot));
    if (dot == std::string_view::npos) return labels;
    s.remove_prefix(dot + 1);
  }
}

bool label_ok(std::string_view label) {
  for (size_t i = 0; i < label.size(); ++i) {
    const char c = label[i];
    const bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!alnum && c != '_' && !(c == '-' && i != 0)) return false;
  }
  return !label.empty();
}

bool valid_hostname(std::string_view host, bool pattern) {
  if (!pattern && host.ends_with('.')) host.remove_suffix(1);
  if (host.empty() || host == "*") return false;
  const auto labels = split_labels(host);
  for (size_t i = 0; i < labels.size(); ++i) {
    if (pattern && i == 0 && labels[i] == "*") continue;
    if (!label_ok(labels[i])) return false;
  }
  return true;
}

// `host` is in lower case, without a dot at its end.
bool match_hostnames(std::string_view pattern, std::string_view host) {
  if (pattern.empty()) return false;
  const std::string low = lower(pattern);
  const auto want = split_labels(low);
  const auto have = split_labels(host);
  if (want.size() != have.size()) return false;
  for (size_t i = 0; i < want.size(); ++i)
    if (!(i == 0 && want[i] == "*") && want[i] != have[i]) return false;
  return true;
}

std::string_view without_last_dot(std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  return host;
}

Error hostname_error(const CertificateNames& names, std::string_view host) {
  const std::string low = lower(without_last_dot(host));
  if (!names.has_san_extension && match_hostnames(names.common_name, low))
    return Error(Code::kInvalidArgument,
                 "x509: certificate relies on legacy Common Name field, use SANs instead");
  std::string valid;
  const auto add = [&](std::string_view name) { valid.append(valid.empty() ? "" : ", ").append(name); };
  if (parse_ip(host)) {
    if (names.ip_addresses.empty())
      return make_error(Code::kInvalidArgument,
                        "x509: cannot validate certificate for {} because it doesn't contain any IP SANs",
                        host);
    if (names.ip_addresses.size() >= kNamesToldMax)
      return make_error(Code::kInvalidArgument,
                        "x509: certificate is valid for {} IP SANs, but none matched {}",
                        names.ip_addresses.size(), host);
    for (const std::string& ip : names.ip_addresses) add(ip_text(ip));
  } else {
    if (names.dns_names.size() >= kNamesToldMax)
      return make_error(Code::kInvalidArgument,
                        "x509: certificate is valid for {} names, but none matched {}",
                        names.dns_names.size(), host);
    for (const std::string& name : names.dns_names) add(name);
  }
  if (valid.empty())
    return make_error(Code::kInvalidArgument,
                      "x509: certificate is not valid for any names, but wanted to match {}", host);
  return make_error(Code::kInvalidArgument, "x509: certificate is valid for {}, not {}", valid, host);
}

constexpr std::string_view kMappedPrefix("\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
}  // namespace

std::vector<std::string> CertificateNames::ip_texts() const {
  std::vector<std::string> texts;
  for (const std::string& ip : ip_addresses) texts.push_back(ip_text(ip));
  return texts;
}

std::optional<std::string> parse_ip(std::string_view text) {
  const std::string z(text);
  char bytes[16];
  if (inet_pton(AF_INET, z.c_str(), bytes) == 1) return std::string(bytes, 4);
  if (inet_pton(AF_INET6, z.c_str(), bytes) != 1) return std::nullopt;
  std::string v6(bytes, 16);
  return v6.starts_with(kMappedPrefix) ? v6.substr(12) : v6;
}

std::string ip_text(std::string_view bytes) {
  char text[INET6_ADDRSTRLEN];
  if (bytes.size() == 16 && bytes.starts_with(kMappedPrefix)) bytes.remove_prefix(12);
  if (bytes.size() == 4) return inet_ntop(AF_INET, bytes.data(), text, sizeof text);
  if (bytes.size() == 16) return inet_ntop(AF_INET6, bytes.data(), text, sizeof text);
  return "?" + hex_bytes(bytes);
}

Result<> verify_hostname(const CertificateNames& names, std::string_view host) {
  std::string_view address = host;
  if (host.size() >= 3 && host.front() == '[' && host.back() == ']')
    address = host.substr(1, host.size() - 2);
  if (const auto ip = parse_ip(address)) {
    for (std::string_view have : names.ip_addresses) {
      if (have.size() == 16 && have.starts_with(kMappedPrefix)) have.remove_prefix(12);
      if (have == *ip) return {};
    }
    return hostname_error(names, address);
  }
  const std::string name = lower(host);
  const bool valid = valid_hostname(name, false);
  for (const std::string& have : names.dns_names) {
    if (valid && valid_hostname(have, true)) {
      if (match_hostnames(have, without_last_dot(name))) return {};
    } else if (!have.empty() && have != "." && !name.empty() && name != "." && lower(have) == name) {
      return {};
    }
  }
  return hostname_error(names, host);
}

}  // namespace quoin::tls
