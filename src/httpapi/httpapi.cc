#include "httpapi/httpapi.h"

#include <algorithm>

#include "base/go_text.h"
#include "httpapi/gzip.h"
#include "httpapi/path.h"

namespace quoin::httpapi {
namespace {

constexpr std::string_view kRebindingText = R"(
etcd received your request, but the Host header was unrecognized.

To fix this, choose one of the following options:
- Enable TLS, then any HTTPS request will be allowed.
- Add the hostname you want to use to the whitelist in settings.
  - e.g. etcd --host-whitelist "{}"

This requirement has been added to help prevent "DNS Rebinding" attacks (CVE-2018-5702).
)";

constexpr std::string_view kGatewayPrefix = "/v3/", kOldPrefix = "/v3beta/";

bool contains(const std::vector<std::string>& list, std::string_view s) {
  return std::find(list.begin(), list.end(), s) != list.end();
}

// Host header without its port; as it is where there is none.
std::string_view host_name(std::string_view host) {
  const size_t colon = host.rfind(':');
  if (colon == std::string_view::npos) return host;
  if (!host.empty() && host[0] == '[') {
    const size_t end = host.find(']');
    return end != std::string_view::npos && end + 1 == colon ? host.substr(1, end - 1) : host;
  }
  return host.find(':') == colon ? host.substr(0, colon) : host;
}

// "0.75"; what is not part of a number ends it.
double parse_weight(std::string_view s) {
  double q = 0, scale = 1;
  bool point = false;
  for (const char c : s) {
    if (c == '.' && !point) {
      point = true;
    } else if (c >= '0' && c <= '9') {
      if (point) scale /= 10;
      q = point ? q + (c - '0') * scale : q * 10 + (c - '0');
    } else {
      break;
    }
  }
  return q;
}

// Weight of one word in an Accept-Encoding header as Go's promhttp reads it; negative: not named.
double weight_of(std::string_view header, std::string_view offer) {
  double best = -1;
  while (!header.empty()) {
    const size_t comma = header.find(',');
    std::string_view item = header.substr(0, comma);
    header.remove_prefix(comma == std::string_view::npos ? header.size() : comma + 1);
    const auto trim = [](std::string_view s) {
      while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
      while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
      return s;
    };
    const size_t semicolon = item.find(';');
    const std::string_view word = trim(item.substr(0, semicolon));
    double q = 1;
    if (semicolon != std::string_view::npos) {
      const std::string_view p = trim(item.substr(semicolon + 1));
      if (p.substr(0, 2) == "q=") {
        q = parse_weight(p.substr(2));
      }
    }
    if (word == offer || word == "*") best = std::max(best, q);
  }
  return best;
}

// True if delimited protobuf is what the scraper likes best. Weights between types are rare here; text wins
// only where it is named with a higher one.
bool asks_for_proto(std::string_view accept) {
  double proto = -1, text = -1;
  while (!accept.empty()) {
    const size_t comma = accept.find(',');
    const std::string_view item = accept.substr(0, comma);
    accept.remove_prefix(comma == std::string_view::npos ? accept.size() : comma + 1);
    double q = 1;
    if (const size_t at = item.find("q="); at != std::string_view::npos)
      q = parse_weight(item.substr(at + 2));
    if (item.find("application/vnd.google.protobuf") != std::string_view::npos &&
        item.find("proto=io.prometheus.client.MetricFamily") != std::string_view::npos &&
        item.find("encoding=delimited") != std::string_view::npos) {
      proto = std::max(proto, q);
    } else if (item.find("text/plain") != std::string_view::npos) {
      text = std::max(text, q);
    }
  }
  return proto > 0 && proto >= text;
}

std::string_view choose_encoding(std::string_view accept) {
  std::string_view best = "identity";
  double best_q = -1;
  for (const std::string_view offer : {"identity", "gzip", "zstd"}) {
    const double q = weight_of(accept, offer);
    if (q > best_q) {
      best_q = q;
      best = offer;
    }
  }
  return best_q == 0 ? "identity" : best;
}

}  // namespace

Endpoints::Endpoints(HealthSource& source, metrics::Registry& registry, log::Logger& logger, Options options)
    : source_(source),
      registry_(registry),
      logger_(logger),
      options_(std::move(options)),
      health_(source, registry, logger),
      scrapes_ok_(registry.counter("promhttp_metric_handler_requests_total", "Scrapes by HTTP status code.",
                                   {{"code", "200"}})),
      scrapes_in_flight_(registry.gauge("promhttp_metric_handler_requests_in_flight",
                                        "Scrapes being served at the moment.")) {
  for (const char* code : {"500", "503"}) {
    registry.counter("promhttp_metric_handler_requests_total", "Scrapes by HTTP status code.",
                     {{"code", code}});
  }
}

bool Endpoints::host_allowed(std::string_view host) const {
  return options_.host_whitelist.empty() || contains(options_.host_whitelist, "*") ||
         contains(options_.host_whitelist, host);
}

// Empty for an origin that is not allowed.
Headers Endpoints::cors_fields(const Request& request) const {
  std::string origin = "*";
  if (!contains(options_.cors, "*")) {
    origin = request.header("Origin");
    if (origin.empty() || !contains(options_.cors, origin)) return {};
  }
  return {{"Access-Control-Allow-Headers", "accept, content-type, authorization"},
          {"Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE"},
          {"Access-Control-Allow-Origin", std::move(origin)}};
}

std::optional<Response> Endpoints::misdirected(const Request& request) const {
  const std::string_view host = host_name(request.host);
  if (host_allowed(host)) return std::nullopt;
  LOG(logger_, kWarn, "rejecting HTTP request to prevent DNS rebinding attacks", {"host", host});
  return error_response(421, fmt::format(fmt::runtime(kRebindingText), host));
}

void Endpoints::serve(Surface surface, bool tls, const Request& request, Reply reply) {
  if (surface != Surface::kClient) return route(surface, request, std::move(reply));
  if (!tls) {
    if (auto refusal = misdirected(request)) return reply(std::move(*refusal));
  }
  reply = [cors = cors_fields(request), reply = std::move(reply)](Response r) mutable {
    r.headers.insert(r.headers.begin(), std::make_move_iterator(cors.begin()),
                     std::make_move_iterator(cors.end()));
    reply(std::move(r));
  };
  if (request.method == "OPTIONS") return reply({200, {}, ""});
  route(surface, request, std::move(reply));
}

bool Endpoints::below_v3(std::string_view path) {
  const std::string decoded = decoded_path(path);
  return decoded == "/v3" || decoded.starts_with(kGatewayPrefix) || decoded.starts_with(kOldPrefix);
}

Endpoints::Admitted Endpoints::admit(bool tls, const Request& request) const {
  Admitted out;
  if (!tls) {
    out.answer = misdirected(request);
    if (out.answer) return out;
  }
  out.cors = cors_fields(request);
  if (request.method == "OPTIONS") {
    out.answer = Response{200, out.cors, ""};
    return out;
  }
  const std::string decoded = fully_decoded_path(request.path);
  if (decoded == "/v3") {
    const std::string_view mark = request.query.empty() ? "" : "?";
    out.answer = redirect(request, fmt::format("{}{}{}", kGatewayPrefix, mark, request.query));
    out.answer->headers.insert(out.answer->headers.begin(), out.cors.begin(), out.cors.end());
    return out;
  }
  std::string path = decoded.starts_with(kOldPrefix)
                         ? fmt::format("{}{}", kGatewayPrefix, decoded.substr(kOldPrefix.size()))
                         : decoded;
  // Go's mux cleans the path it is told, which is the new one.
  const std::string sent = request.path.starts_with(kOldPrefix)
                               ? fmt::format("{}{}", kGatewayPrefix, request.path.substr(kOldPrefix.size()))
                               : std::string(request.path);
  if (request.method != "CONNECT") {
    if (const auto location = clean_location(sent, request.query)) {
      out.answer = redirect(request, *location);
      out.answer->headers.insert(out.answer->headers.begin(), out.cors.begin(), out.cors.end());
      return out;
    }
  }
  out.path = std::move(path);
  return out;
}

void Endpoints::route(Surface surface, const Request& original, Reply reply) {
  if (original.path == "*") return reply({400, {}, ""});
  if (original.method != "CONNECT") {
    if (const auto location = clean_location(original.path, original.query))
      return reply(redirect(original, *location));
  }
  Request request = original;
  const std::string decoded = decoded_path(original.path);
  request.path = decoded;
  const std::string_view path = request.path;
  const bool client = surface == Surface::kClient;
  if (surface != Surface::kPeer) {
    if (path == "/metrics") return serve_metrics(request, std::move(reply));
    if (health_.serve(request, reply)) return;
  }
  if (surface != Surface::kMetrics && path == "/version") return reply(version_page(request));
  if (surface == Surface::kPeer && peer_pages_ && peer_pages_->serve(request, reply)) return;
  if (client && path == "/debug/vars") {
    if (request.method != "GET") return reply(method_not_allowed());
    auto answer = [this, reply = std::move(reply)](std::string raft) mutable {
      in_background(
          [this, raft = std::move(raft), reply = std::move(reply)]() mutable { reply(debug_vars(raft)); });
    };
    return options_.raft_status ? options_.raft_status(std::move(answer)) : answer("null");
  }
  reply(error_response(404, "404 page not found"));
}

void Endpoints::in_background(Task task) const {
  if (options_.background) return options_.background(std::move(task));
  std::move(task)();
}

void Endpoints::serve_metrics(const Request& request, Reply reply) {
  // The request may be gone when the page is made.
  const bool proto = asks_for_proto(request.header("Accept"));
  const std::string_view encoding = choose_encoding(request.header("Accept-Encoding"));
  in_background(
      [this, proto, encoding, reply = std::move(reply)]() mutable { reply(metrics_page(proto, encoding)); });
}

Response Endpoints::metrics_page(bool proto, std::string_view encoding) {
  scrapes_in_flight_.add(1);
  ProcessStats stats;
  if (options_.process_stats) stats = options_.process_stats();
  const ProcessStats* process = options_.process_stats ? &stats : nullptr;
  Response r{
      200, {{"Content-Type", std::string(proto ? kMetricsProtoContentType : kMetricsContentType)}}, {}};
  r.body = proto ? render_metrics_proto(registry_, process) : render_metrics(registry_, process);
  if (encoding != "identity") {
    r.body = encoding == "gzip" ? gzip(r.body) : zstd(r.body);
    r.headers.insert(r.headers.begin(), {"Content-Encoding", std::string(encoding)});
  }
  scrapes_in_flight_.add(-1);
  scrapes_ok_.inc();
  return r;
}

Response Endpoints::version_page(const Request& request) const {
  if (request.method != "GET") return method_not_allowed();
  const std::string cluster = source_.cluster_version();
  const std::string storage = source_.storage_version();
  std::string body = fmt::format("{{\"etcdserver\":{},\"etcdcluster\":{},\"storage\":{}",
                                 go_json_string(options_.etcd_version),
                                 go_json_string(cluster.empty() ? "not_decided" : cluster),
                                 go_json_string(storage.empty() ? "unknown" : storage));
  if (!options_.quoin_version.empty())
    body += fmt::format(",\"quoin-version\":{}", go_json_string(options_.quoin_version));
  return {200, {{"Content-Type", "application/json"}}, body + "}"};
}

Response Endpoints::debug_vars(const std::string& raft) const {
  std::string argv;
  for (const std::string& a : options_.argv) argv += (argv.empty() ? "" : ",") + go_json_string(a);
  ProcessStats s;
  if (options_.process_stats) s = options_.process_stats();
  const auto whole = [](double v) { return static_cast<uint64_t>(v); };
  const ProcessStats::Heap& h = s.heap;
  const std::string memstats = fmt::format(
      "{{\"Alloc\":{0},\"TotalAlloc\":{1},\"Sys\":{2},\"Mallocs\":{3},\"Frees\":{4},\"HeapAlloc\":{0},"
      "\"HeapSys\":{5},\"HeapIdle\":{6},\"HeapInuse\":{7},\"HeapReleased\":{8},\"HeapObjects\":{9},\"NumGC\":"
      "0}}",
      whole(h.allocated_bytes), whole(h.allocated_bytes_total), whole(h.system_bytes + h.own_bytes),
      whole(h.allocations_total), whole(h.frees_total), whole(h.system_bytes),
      whole(std::max(0.0, h.system_bytes - h.active_bytes)), whole(h.active_bytes), whole(h.released_bytes),
      whole(std::max(0.0, h.allocations_total - h.frees_total)));
  return {200,
          {{"Content-Type", "application/json; charset=utf-8"}},
          fmt::format("{{\n\"cmdline\": [{}],\n\"file_descriptor_limit\": {},\n\"memstats\": "
                      "{},\n\"raft.status\": {}\n}}\n",
                      argv, whole(s.max_fds), memstats, raft)};
}

}  // namespace quoin::httpapi
