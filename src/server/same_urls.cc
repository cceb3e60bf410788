#include "server/same_urls.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "base/go_text.h"

namespace quoin::server {

namespace {

constexpr int64_t kAllNs = 30 * io::kSecond;
constexpr int64_t kRetryNs = io::kSecond;

std::string quoted(const std::vector<std::string>& list) {
  std::vector<std::string> q;
  for (const std::string& s : list) q.push_back(go_quote(s));
  return fmt::format("[{}]", fmt::join(q, " "));
}

Error different_counts(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  return make_error(Code::kInvalidArgument, "len({}) != len({})", quoted(a), quoted(b));
}

// "name=url,name=url".
std::string named(const std::string& name, const std::vector<std::string>& urls) {
  std::vector<std::string> out;
  for (const std::string& u : urls) out.push_back(name + "=" + u);
  return fmt::format("{}", fmt::join(out, ","));
}

// A URL as far as a look-up needs it: "http://" "host:port" "/path".
struct Parts {
  std::string scheme, host, rest;
};
Parts split(const std::string& url) {
  Parts p;
  const size_t colons = url.find("://");
  if (colons == std::string::npos) return {"", "", url};
  p.scheme = url.substr(0, colons);
  const size_t begin = colons + 3;
  const size_t end = std::min(url.find_first_of("/?#", begin), url.size());
  const std::string authority = url.substr(begin, end - begin);
  p.host = authority.substr(authority.rfind('@') + 1);
  p.rest = url.substr(end);
  return p;
}

struct HostPort {
  std::string host;
  uint16_t port = 0;
};
Result<HostPort> host_and_port(const std::string& text) {
  const auto bad = [&](std::string_view why) {
    return text.empty() ? Error(Code::kInvalidArgument, std::string(why))
                        : make_error(Code::kInvalidArgument, "address {}: {}", text, why);
  };
  const size_t close = text.starts_with('[') ? text.find(']') : 0;
  if (close == std::string::npos) return bad("missing ']' in address");
  const size_t colon = text.find(':', close);
  if (colon == std::string::npos) return bad("missing port in address");
  if (text.find(':', colon + 1) != std::string::npos) return bad("too many colons in address");
  if (close > 0 && colon != close + 1) return bad("missing port in address");
  HostPort out;
  out.host = close > 0 ? text.substr(1, close - 1) : text.substr(0, colon);
  const std::string_view digits = std::string_view(text).substr(colon + 1);
  if (digits.empty()) return out;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out.port);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return make_error(Code::kInvalidArgument, "address {}: invalid port", digits);
  }
  return out;
}

std::vector<std::string> without(const std::vector<std::string>& from, const std::vector<std::string>& what) {
  std::vector<std::string> out;
  for (const std::string& s : from) {
    if (std::find(what.begin(), what.end(), s) == what.end()) out.push_back(s);
  }
  return out;
}

}  // namespace

UrlComparer::UrlComparer(io::Resolver* resolver, const io::Clock& clock, log::Logger& log)
    : resolver_(resolver), clock_(clock), log_(log), deadline_(clock.monotonic() + kAllNs) {}

// The URL with an address in the place of its host.
Result<std::string> UrlComparer::resolved(const std::string& url) {
  const Parts parts = split(url);
  if (resolver_ == nullptr || parts.scheme == "unix" || parts.scheme == "unixs") return url;
  const log::Field url_field{"url", url};
  const log::Field host_field{"host", parts.host};
  const auto target = host_and_port(parts.host);
  if (!target && !target.error().text().ends_with("invalid port")) {
    LOG(log_, kWarn, "failed to parse URL Host while resolving URL", url_field, host_field,
        {"error", target.error().text()});
    return target.error();
  }
  if (target && target->host == "localhost") return url;
  const log::Field retry{"retry-interval", log::Duration{kRetryNs}};
  for (;;) {
    const int64_t left = deadline_ - clock_.monotonic();
    auto found = !target    ? Result<std::vector<std::string>>(target.error())
                 : left > 0 ? resolver_->lookup_host(target->host, left)
                            : Error(Code::kContextDeadlineExceeded);
    if (found && !found->empty()) {
      const std::string& first = found->front();
      const std::string address = fmt::format(
          "{}:{}", first.find(':') == std::string::npos ? first : "[" + first + "]", target->port);
      LOG(log_, kInfo, "resolved URL Host", url_field, host_field, {"resolved-addr", address});
      return parts.scheme + "://" + address + parts.rest;
    }
    const Error error = found ? Error(Code::kNotFound, "no such host") : found.error();
    if (left <= 0) return error;
    LOG(log_, kWarn, "failed to resolve URL Host", url_field, host_field, retry, {"error", error.text()});
    const int64_t rest = deadline_ - clock_.monotonic();
    if (rest > 0) resolver_->wait(std::min(rest, kRetryNs));
    if (rest <= kRetryNs) {
      LOG(log_, kWarn, "failed to resolve URL Host; returning", url_field, host_field, retry,
          {"error", error.text()});
      return error;
    }
  }
}

Result<std::vector<std::string>> UrlComparer::all_resolved(const std::vector<std::string>& urls) {
  std::vector<std::string> out;
  for (const std::string& url : urls) {
    auto one = resolved(url);
    if (!one) {
      return make_error(Code::kInvalidArgument, "failed to resolve {} ({})", go_quote(url),
                        one.error().text());
    }
    out.push_back(std::move(*one));
  }
  std::sort(out.begin(), out.end());
  return out;
}

Result<> UrlComparer::same(std::vector<std::string> a, std::vector<std::string> b) {
  if (a.size() != b.size()) return different_counts(a, b);
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  if (a == b) return {};
  ASSIGN_OR_RETURN(a, all_resolved(a));
  ASSIGN_OR_RETURN(b, all_resolved(b));
  const auto [x, y] = std::mismatch(a.begin(), a.end(), b.begin());
  if (x == a.end()) return {};
  return make_error(Code::kInvalidArgument, "resolved urls: {} != {}", go_quote(*x), go_quote(*y));
}

Result<> check_advertised(const std::string& name, std::vector<std::string> listed,
                          std::vector<std::string> advertised, UrlComparer& comparer) {
  std::sort(listed.begin(), listed.end());
  std::sort(advertised.begin(), advertised.end());
  const Result<> same = comparer.same(advertised, listed);
  if (same) return {};
  const std::string given = fmt::format("{}", fmt::join(advertised, ","));
  if (const auto missing = without(listed, advertised); !missing.empty()) {
    return make_error(Code::kInvalidArgument,
                      "--initial-cluster has {} but missing from --initial-advertise-peer-urls={} ({})",
                      named(name, missing), given, same.error().text());
  }
  if (const auto missing = without(advertised, listed); !missing.empty()) {
    return make_error(Code::kInvalidArgument,
                      "--initial-advertise-peer-urls has {} but missing from --initial-cluster={}",
                      fmt::format("{}", fmt::join(missing, ",")), named(name, advertised));
  }
  return make_error(Code::kInvalidArgument, "failed to resolve {} to match --initial-cluster={} ({})", given,
                    named(name, advertised), same.error().text());
}

}  // namespace quoin::server
