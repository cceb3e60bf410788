#include "httpapi/httpapi.h"

#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "httpapi/constant_metrics.h"
#include "httpapi/gzip.h"

namespace quoin::httpapi {
namespace {

class FakeSource final : public HealthSource {
 public:
  std::vector<Alarm> alarms() override { return alarm_list; }
  bool has_leader() override { return leader; }
  bool is_learner() override { return learner; }
  void probe_read(bool serializable, absl::AnyInvocable<void(Result<>)> done) override {
    if (hold) {
      held.push_back(std::move(done));
      return;
    }
    const auto& error = serializable ? local_error : linear_error;
    done(error ? Result<>(*error) : Result<>());
  }
  std::string cluster_version() override { return cluster; }
  std::string storage_version() override { return storage; }

  std::vector<Alarm> alarm_list;
  bool leader = true, learner = false, hold = false;
  std::optional<Error> local_error, linear_error;
  std::vector<absl::AnyInvocable<void(Result<>)>> held;
  std::string cluster = "3.6.0", storage = "3.6.0";
};

struct Line {
  log::Level level;
  std::string message;
};
class Recorder final : public log::Logger {
 public:
  bool enabled(log::Level level) const override { return level >= log::Level::kInfo; }
  void log(const log::Event& e) override { lines.push_back({e.level, std::string(e.message)}); }
  std::vector<Line> lines;
};

class HttpApi : public testing::Test {
 protected:
  explicit HttpApi(Options options = {}) : endpoints_(source_, registry_, logger_, std::move(options)) {}

  std::optional<Response> ask(std::string_view target, std::string_view method = "GET",
                              std::vector<std::pair<std::string_view, std::string_view>> headers = {},
                              Surface surface = Surface::kClient) {
    const size_t question = target.find('?');
    Request r{method, target.substr(0, question),
              question == std::string_view::npos ? std::string_view() : target.substr(question + 1),
              std::move(headers)};
    r.host = r.header("Host");
    auto answer = std::make_shared<std::optional<Response>>();
    endpoints_.serve(surface, false, r, [answer](Response response) { *answer = std::move(response); });
    last_ = answer;
    return *answer;
  }
  static std::string header(const Response& r, std::string_view name) {
    std::string out;
    for (const auto& [k, v] : r.headers) {
      if (k == name) out = v;
    }
    return out;
  }

  FakeSource source_;
  metrics::Registry registry_;
  Recorder logger_;
  Endpoints endpoints_;
  std::shared_ptr<std::optional<Response>> last_;
};

TEST_F(HttpApi, HealthOk) {
  const Response r = *ask("/health");
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(r.body, R"({"health":"true","reason":""})");
  EXPECT_EQ(header(r, "Content-Type"), "text/plain; charset=utf-8");
  EXPECT_EQ(header(r, "X-Content-Type-Options"), "");
  EXPECT_EQ(header(r, "Access-Control-Allow-Origin"), "*");
}

TEST_F(HttpApi, HealthFailures) {
  source_.alarm_list = {{7, AlarmType::kNospace}, {7, AlarmType::kCorrupt}};
  Response r = *ask("/health");
  EXPECT_EQ(r.status, 503);
  EXPECT_EQ(r.body, "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n");
  EXPECT_EQ(header(r, "X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(ask("/health?exclude=NOSPACE")->body, "{\"health\":\"false\",\"reason\":\"ALARM CORRUPT\"}\n");
  EXPECT_EQ(ask("/health?exclude=nospace")->body, "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n");
  EXPECT_EQ(ask("/health?exclude=NOSPACE&exclude=CORRUPT")->status, 200);
  source_.alarm_list.clear();

  source_.leader = false;
  EXPECT_EQ(ask("/health")->body, "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}\n");
  EXPECT_EQ(ask("/health?serializable=true")->status, 200);
  EXPECT_EQ(ask("/health?serializable=1")->status, 503);
  source_.leader = true;

  source_.linear_error = Error(Code::kTimeout);
  EXPECT_EQ(ask("/health")->body,
            "{\"health\":\"false\",\"reason\":\"RANGE ERROR:etcdserver: request timed out\"}\n");
  EXPECT_EQ(logger_.lines.back().message, "/health error");

  const std::string page = render_metrics(registry_, nullptr);
  EXPECT_NE(page.find("etcd_server_health_success 2\n"), std::string::npos);
  EXPECT_NE(page.find("etcd_server_health_failures 6\n"), std::string::npos);
}

TEST_F(HttpApi, HealthWaitsForTheRead) {
  source_.hold = true;
  EXPECT_FALSE(ask("/health"));
  source_.held[0](Result<>());
  EXPECT_EQ((*last_)->status, 200);

  EXPECT_FALSE(ask("/readyz?verbose"));
  ASSERT_EQ(source_.held.size(), 3U);
  source_.held[2](Result<>(Error(Code::kNoLeader)));
  EXPECT_FALSE(*last_);
  source_.held[1](Result<>());
  EXPECT_EQ((*last_)->status, 503);
  EXPECT_EQ(
      (*last_)->body,
      "[+]data_corruption ok\n[+]serializable_read ok\n[-]linearizable_read failed: etcdserver: no leader\n"
      "[+]non_learner ok\n\n");
}

TEST_F(HttpApi, LivezAndReadyz) {
  EXPECT_EQ(ask("/livez")->body, "ok\n");
  EXPECT_EQ(ask("/livez?verbose")->body, "[+]serializable_read ok\nok\n");
  EXPECT_EQ(ask("/livez/serializable_read")->body, "ok\n");
  EXPECT_EQ(ask("/livez/linearizable_read")->status, 404);
  EXPECT_EQ(header(*ask("/livez"), "X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(ask("/readyz?verbose=no&exclude=data_corruption&exclude=foo")->body,
            "[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n");
  EXPECT_EQ(logger_.lines.back().message, "some health checks cannot be excluded");
  EXPECT_EQ(ask("/livez?exclude=serializable_read")->body, "ok\n");

  source_.learner = true;
  EXPECT_EQ(ask("/readyz/non_learner")->body, "[-]non_learner failed: not supported for learner\n\n");
  EXPECT_EQ(ask("/readyz?exclude=non_learner")->body, "ok\n");
  source_.alarm_list = {{1, AlarmType::kNospace}};
  EXPECT_EQ(ask("/readyz?exclude=non_learner")->status, 200);
  source_.alarm_list = {{1, AlarmType::kCorrupt}};
  EXPECT_EQ(ask("/readyz/data_corruption")->body, "[-]data_corruption failed: alarm activated: CORRUPT\n\n");
  EXPECT_EQ(logger_.lines.back().message, "Health check error");

  const std::string page = render_metrics(registry_, nullptr);
  EXPECT_NE(page.find("etcd_server_healthcheck{name=\"data_corruption\",type=\"readyz\"} 0\n"),
            std::string::npos);
  EXPECT_NE(
      page.find("etcd_server_healthchecks_total{name=\"non_learner\",status=\"error\",type=\"readyz\"} 1\n"),
      std::string::npos);
}

class Background : public HttpApi {
 protected:
  Background() : HttpApi({.background = [this](Task t) { tasks_.push_back(std::move(t)); }}) {}
  std::vector<Task> tasks_;
};

TEST_F(Background, ScrapesAndDebugVarsAreMadeElsewhere) {
  EXPECT_FALSE(ask("/metrics", "GET", {{"Accept-Encoding", "gzip"}}));
  const auto page = last_;
  EXPECT_FALSE(ask("/debug/vars"));
  EXPECT_TRUE(ask("/version"));
  ASSERT_EQ(tasks_.size(), 2u);
  std::move(tasks_[0])();
  EXPECT_EQ(header(**page, "Content-Encoding"), "gzip");  // asked for by a request that is gone
  std::move(tasks_[1])();
}

TEST(Gzip, PiecesOfAnySizeMakeOneMember) {
  std::string text;
  for (uint64_t i = 0; i < 100'000; ++i) text += std::to_string(i * 7919);
  for (const size_t piece : {size_t{1000}, size_t{256 << 10}, text.size()}) {
    GzipStream gzip;
    std::string packed;
    for (size_t at = 0; at < text.size(); at += piece)
      gzip.add(std::string_view(text).substr(at, piece), /*last=*/false, packed);
    gzip.add({}, /*last=*/true, packed);
    std::string back(text.size() + 1, '\0');
    z_stream z{};
    ASSERT_EQ(inflateInit2(&z, 16 + MAX_WBITS), Z_OK);
    z.next_in = reinterpret_cast<Bytef*>(packed.data());
    z.avail_in = static_cast<uInt>(packed.size());
    z.next_out = reinterpret_cast<Bytef*>(back.data());
    z.avail_out = static_cast<uInt>(back.size());
    EXPECT_EQ(inflate(&z, Z_FINISH), Z_STREAM_END);
    back.resize(z.total_out);
    EXPECT_TRUE(back == text);
    inflateEnd(&z);
  }
}

TEST_F(HttpApi, PathsAreCleanedAndDecodedAsByGo) {
  const std::pair<std::string_view, std::string_view> redirects[] = {
      {"//health", "/health"},  {"/x/../health?a=b&c", "/health?a=b&c"},
      {"/./livez/", "/livez/"}, {"//he%61lth", "/he%2561lth"},
      {"//a\"b", "/a%2522b"},   {"", "/"},
  };
  for (const auto& [path, location] : redirects) {
    const Response r = *ask(path);
    EXPECT_EQ(r.status, 307) << path;
    EXPECT_EQ(header(r, "Location"), location);
    EXPECT_EQ(ask(path, "POST")->body, "");
  }
  EXPECT_EQ(ask("//health?a&b")->body, "<a href=\"/health?a&amp;b\">Temporary Redirect</a>.\n\n");
  for (const auto surface : {Surface::kClient, Surface::kMetrics}) {
    EXPECT_EQ(ask("/he%61lth", "GET", {}, surface)->status, 200);
    EXPECT_EQ(ask("/readyz%2Fnon_learner", "GET", {}, surface)->status, 404);
  }
  EXPECT_EQ(ask("//version", "GET", {}, Surface::kPeer)->status, 307);
  EXPECT_EQ(ask("*")->status, 400);
}

TEST_F(HttpApi, MethodsAndPaths) {
  for (const std::string_view path :
       {"/health", "/livez", "/readyz/non_learner", "/version", "/debug/vars"}) {
    const Response r = *ask(path, "POST");
    EXPECT_EQ(r.status, 405);
    EXPECT_EQ(r.body, "Method Not Allowed\n");
    EXPECT_EQ(header(r, "Allow"), "GET");
    EXPECT_EQ(header(r, "X-Content-Type-Options"), "nosniff");
  }
  for (const std::string_view path :
       {"/foo", "/health/", "/livez/foo", "/readyz/", "/", "/v3/kv/put", "/config/local/log"}) {
    EXPECT_EQ(ask(path)->status, 404) << path;
    EXPECT_EQ(ask(path)->body, "404 page not found\n");
  }
  EXPECT_EQ(ask("/metrics", "POST")->status, 200);
  const Response options = *ask("/foo", "OPTIONS");
  EXPECT_EQ(options.status, 200);
  EXPECT_EQ(options.body, "");
  EXPECT_EQ(header(options, "Content-Type"), "");
  EXPECT_EQ(header(options, "Access-Control-Allow-Methods"), "POST, GET, OPTIONS, PUT, DELETE");
}

TEST_F(HttpApi, Surfaces) {
  EXPECT_EQ(ask("/health", "GET", {}, Surface::kMetrics)->status, 200);
  EXPECT_EQ(ask("/metrics", "GET", {}, Surface::kMetrics)->status, 200);
  EXPECT_EQ(ask("/version", "GET", {}, Surface::kMetrics)->status, 404);
  EXPECT_EQ(ask("/debug/vars", "GET", {}, Surface::kMetrics)->status, 404);
  EXPECT_EQ(ask("/health", "OPTIONS", {}, Surface::kMetrics)->status, 405);
  EXPECT_EQ(header(*ask("/health", "GET", {}, Surface::kMetrics), "Access-Control-Allow-Origin"), "");
  EXPECT_EQ(ask("/version", "GET", {}, Surface::kPeer)->status, 200);
  EXPECT_EQ(ask("/health", "GET", {}, Surface::kPeer)->status, 404);
}

TEST_F(HttpApi, Version) {
  const Response r = *ask("/version");
  EXPECT_EQ(r.body, R"({"etcdserver":"3.6.16","etcdcluster":"3.6.0","storage":"3.6.0"})");
  EXPECT_EQ(header(r, "Content-Type"), "application/json");
  source_.cluster = source_.storage = "";
  EXPECT_EQ(ask("/version")->body,
            R"({"etcdserver":"3.6.16","etcdcluster":"not_decided","storage":"unknown"})");
}

TEST_F(HttpApi, WhatStandsBeforeTheGateway) {
  const auto admit = [this](std::string_view path, std::string_view method = "POST") {
    Request r;
    r.method = method;
    r.path = path;
    return endpoints_.admit(false, r);
  };
  EXPECT_EQ(admit("/v3/kv/put").path, "/v3/kv/put");
  EXPECT_EQ(admit("/v3beta/kv/range").path, "/v3/kv/range");
  EXPECT_EQ(admit("/v3/kv%2Fr%61nge").path, "/v3/kv/range");
  EXPECT_EQ(admit("/v3/kv/put").cors.size(), 3u);
  EXPECT_EQ(admit("/v3//kv/put").answer->status, 307);
  EXPECT_EQ(header(*admit("/v3beta//kv/put").answer, "Location"), "/v3/kv/put");
  EXPECT_EQ(admit("/v3/kv/put", "OPTIONS").answer->status, 200);
  EXPECT_TRUE(Endpoints::below_v3("/v3/"));
  EXPECT_TRUE(Endpoints::below_v3("/v3bet%61/x"));
  EXPECT_EQ(header(*admit("/v3").answer, "Location"), "/v3/");
  EXPECT_FALSE(Endpoints::below_v3("/v3x"));
  EXPECT_FALSE(Endpoints::below_v3("/v3%2Fkv/range"));
  EXPECT_FALSE(Endpoints::below_v3("/v3alpha/kv/range"));
  // Without a gateway there is no such page.
  EXPECT_EQ(ask("/v3/kv/put", "POST")->status, 404);
}

class Strict : public HttpApi {
 protected:
  Strict()
      : HttpApi({.cors = {"http://good:1"},
                 .host_whitelist = {"good", "::1"},
                 .quoin_version = "0.1.0",
                 .argv = {"etcd", "--name=\"x\""}}) {}
};

TEST_F(Strict, HostAndOrigin) {
  for (const std::string_view host : {"good", "good:2379", "[::1]:2379"}) {
    EXPECT_EQ(ask("/health", "GET", {{"host", host}})->status, 200) << host;
  }
  const Response r = *ask("/health", "GET", {{"Host", "example.com:80"}});
  EXPECT_EQ(r.status, 421);
  EXPECT_EQ(r.body.substr(0, 70),
            "\netcd received your request, but the Host header was unrecognized.\n\nTo");
  EXPECT_NE(r.body.find("--host-whitelist \"example.com\"\n"), std::string::npos);
  EXPECT_EQ(r.body.substr(r.body.size() - 18), "(CVE-2018-5702).\n\n");
  EXPECT_EQ(header(r, "Access-Control-Allow-Origin"), "");
  EXPECT_EQ(logger_.lines.back().message, "rejecting HTTP request to prevent DNS rebinding attacks");

  EXPECT_EQ(header(*ask("/health", "GET", {{"Host", "good"}, {"Origin", "http://good:1"}}),
                   "Access-Control-Allow-Origin"),
            "http://good:1");
  EXPECT_EQ(header(*ask("/health", "GET", {{"Host", "good"}, {"Origin", "http://bad:1"}}),
                   "Access-Control-Allow-Methods"),
            "");
}

TEST_F(Strict, OwnVersionAndVars) {
  EXPECT_EQ(ask("/version", "GET", {{"Host", "good"}})->body,
            R"({"etcdserver":"3.6.16","etcdcluster":"3.6.0","storage":"3.6.0","quoin-version":"0.1.0"})");
  const std::string vars = ask("/debug/vars", "GET", {{"Host", "good"}})->body;
  EXPECT_EQ(
      vars.find(
          "{\n\"cmdline\": [\"etcd\",\"--name=\\\"x\\\"\"],\n\"file_descriptor_limit\": 0,\n\"memstats\": {"),
      0U);
  EXPECT_NE(vars.find(",\n\"raft.status\": null\n}\n"), std::string::npos);
}

TEST_F(HttpApi, MetricsEncodings) {
  const Response plain = *ask("/metrics");
  EXPECT_EQ(header(plain, "Content-Type"), "text/plain; version=0.0.4; charset=utf-8; escaping=underscores");
  EXPECT_NE(plain.body.find("promhttp_metric_handler_requests_in_flight 1\n"), std::string::npos);
  EXPECT_NE(plain.body.find("promhttp_metric_handler_requests_total{code=\"200\"} 0\n"
                            "promhttp_metric_handler_requests_total{code=\"500\"} 0\n"
                            "promhttp_metric_handler_requests_total{code=\"503\"} 0\n"),
            std::string::npos);
  const auto encoding = [this](std::string_view accept) {
    return header(*ask("/metrics", "GET", {{"Accept-Encoding", accept}}), "Content-Encoding");
  };
  EXPECT_EQ(encoding("gzip"), "gzip");
  EXPECT_EQ(encoding("zstd, gzip"), "gzip");
  EXPECT_EQ(encoding("zstd"), "zstd");
  EXPECT_EQ(encoding("gzip;q=0.5, zstd;q=0.9"), "zstd");
  EXPECT_EQ(encoding("*"), "");
  EXPECT_EQ(encoding("br"), "");
  EXPECT_EQ(encoding("gzip;q=0"), "");
}

TEST_F(HttpApi, MetricsAsProtobuf) {
  const auto type = [this](std::string_view accept) {
    return header(*ask("/metrics", "GET", {{"Accept", accept}}), "Content-Type").substr(0, 10);
  };
  constexpr std::string_view kProto =
      "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
  EXPECT_EQ(type(kProto), "applicatio");
  EXPECT_EQ(type(fmt::format("{};q=0.3,text/plain;version=0.0.4;q=0.5", kProto)), "text/plain");
  EXPECT_EQ(type(fmt::format("{},text/plain;version=0.0.4;q=0.5,*/*;q=0.1", kProto)), "applicatio");
  EXPECT_EQ(type("application/openmetrics-text;version=1.0.0,text/plain;q=0.4"), "text/plain");
  EXPECT_EQ(type("application/vnd.google.protobuf"), "text/plain");
}

TEST(MetricsProto, Bytes) {
  metrics::Registry registry;
  registry.gauge("g", "H", {{"l", "v"}}).set(1);
  registry.histogram("h", "", {0.5}).observe(2);
  const std::string one("\0\0\0\0\0\0\xf0\x3f", 8), half("\0\0\0\0\0\0\xe0\x3f", 8),
      two("\0\0\0\0\0\0\0\x40", 8);
  const auto cat = [](std::initializer_list<std::string_view> parts) {
    std::string out;
    for (const std::string_view p : parts) out.append(p);
    return out;
  };
  using namespace std::string_view_literals;
  const std::string gauge =
      cat({"\x0a\x01g\x12\x01H\x18\x01\x22\x13"sv, "\x0a\x06\x0a\x01l\x12\x01v"sv, "\x12\x09\x09"sv, one});
  const std::string bucket = cat({"\x08\x00\x11"sv, half});
  const std::string body = cat({"\x08\x01\x11"sv, two, "\x1a\x0b"sv, bucket});
  const std::string histogram = cat({"\x0a\x01h\x12\x00\x18\x04\x22\x1a"sv, "\x3a\x18"sv, body});
  std::string want;
  for (const std::string& message : {gauge, histogram}) {
    want.push_back(static_cast<char>(message.size()));
    want.append(message);
  }
  EXPECT_EQ(render_metrics_proto(registry, nullptr), want);
}

TEST(Gzip, RoundTrips) {
  const std::string text = [] {
    std::string s;
    for (int i = 0; i < 5000; ++i) s += std::to_string(i * 7919) + "\n";
    return s;
  }();
  const std::string packed = gzip(text);
  EXPECT_LT(packed.size(), text.size());
  std::string out(text.size() + 1, '\0');
  z_stream z{};
  ASSERT_EQ(inflateInit2(&z, MAX_WBITS + 16), Z_OK);
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  z.avail_in = static_cast<uInt>(packed.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(inflate(&z, Z_FINISH), Z_STREAM_END);
  out.resize(z.total_out);
  inflateEnd(&z);
  EXPECT_EQ(out, text);

  const std::string frame = zstd(text);
  std::string back(text.size(), '\0');
  EXPECT_EQ(ZSTD_decompress(back.data(), back.size(), frame.data(), frame.size()), text.size());
  EXPECT_EQ(back, text);
  EXPECT_FALSE(gzip("").empty());
}

TEST(MetricsText, Floats) {
  struct Row {
    double v;
    std::string_view text;
  };
  for (const Row& r :
       {Row{0, "0"}, Row{-0.0, "0"}, Row{1, "1"}, Row{-1, "-1"}, Row{20480, "20480"}, Row{999999, "999999"},
        Row{1e6, "1e+06"}, Row{2147483648.0, "2.147483648e+09"}, Row{0.0001, "0.0001"}, Row{0.00001, "1e-05"},
        Row{0.001, "0.001"}, Row{1.024, "1.024"}, Row{0.1 + 0.2, "0.30000000000000004"},
        Row{18446744073709551615.0, "1.8446744073709552e+19"},
        Row{1795259068.5953836, "1.7952590685953836e+09"}, Row{1e300, "1e+300"}, Row{INFINITY, "+Inf"},
        Row{-INFINITY, "-Inf"}, Row{NAN, "NaN"}}) {
    EXPECT_EQ(format_float(r.v), r.text);
  }
}

TEST(MetricsText, Page) {
  metrics::Registry registry;
  auto& h = registry.histogram("b_seconds", "How long.\nReally \\.", {0.5, 1, 2e6}, {{"To", "x\"y\\z\n"}});
  registry.counter("c_total", "Plain.").inc(3);
  registry.gauge("a", "Sorted.", {{"z", "2"}, {"k", "b"}}).set(1.5);
  registry.gauge("a", "Sorted.", {{"z", "1"}, {"k", "b"}}).set(-2);
  registry.gauge("a", "Sorted.", {{"k", "a"}, {"z", "9"}}).set(1e6);
  registry.callback("d", "Read late.", metrics::Type::kGauge, [] { return 42.0; });
  h.observe(0.5);
  h.observe(0.7);
  h.observe(3e6);
  EXPECT_EQ(render_metrics(registry, nullptr),
            "# HELP a Sorted.\n# TYPE a gauge\n"
            "a{k=\"a\",z=\"9\"} 1e+06\na{k=\"b\",z=\"1\"} -2\na{k=\"b\",z=\"2\"} 1.5\n"
            "# HELP b_seconds How long.\\nReally \\\\.\n# TYPE b_seconds histogram\n"
            "b_seconds_bucket{To=\"x\\\"y\\\\z\\n\",le=\"0.5\"} 1\n"
            "b_seconds_bucket{To=\"x\\\"y\\\\z\\n\",le=\"1\"} 2\n"
            "b_seconds_bucket{To=\"x\\\"y\\\\z\\n\",le=\"2e+06\"} 2\n"
            "b_seconds_bucket{To=\"x\\\"y\\\\z\\n\",le=\"+Inf\"} 3\n"
            "b_seconds_sum{To=\"x\\\"y\\\\z\\n\"} 3.0000012e+06\n"
            "b_seconds_count{To=\"x\\\"y\\\\z\\n\"} 3\n"
            "# HELP c_total Plain.\n# TYPE c_total counter\nc_total 3\n"
            "# HELP d Read late.\n# TYPE d gauge\nd 42\n");
}

TEST(MetricsText, ProcessFamilies) {
  metrics::Registry registry;
  registry.gauge("go_a", "Between.").set(1);
  ProcessStats stats;
  stats.cpu_seconds = 0.03;
  stats.virtual_max_bytes = 18446744073709551615.0;
  stats.go_version = "go1.24";
  stats.heap = {.allocated_bytes = 100,
                .active_bytes = 150,
                .system_bytes = 400,
                .released_bytes = 50,
                .own_bytes = 7,
                .allocated_bytes_total = 5000,
                .allocations_total = 90,
                .frees_total = 80};
  const std::string page = render_metrics(registry, &stats);
  EXPECT_EQ(page.find("# HELP go_a Between."), 0U);
  EXPECT_NE(page.find("# TYPE go_gc_duration_seconds summary\ngo_gc_duration_seconds{quantile=\"0\"} 0\n"),
            std::string::npos);
  EXPECT_NE(page.find("go_info{version=\"go1.24\"} 1\n"), std::string::npos);
  EXPECT_NE(page.find("go_gc_gomemlimit_bytes 9.223372036854776e+18\n"), std::string::npos);
  EXPECT_NE(page.find("process_virtual_memory_max_bytes 1.8446744073709552e+19\n"), std::string::npos);
  for (const std::string_view line :
       {"go_memstats_alloc_bytes 100", "go_memstats_alloc_bytes_total 5000",
        "go_memstats_heap_inuse_bytes 150", "go_memstats_heap_idle_bytes 250",
        "go_memstats_heap_sys_bytes 400", "go_memstats_sys_bytes 407", "go_memstats_heap_released_bytes 50",
        "go_memstats_heap_objects 10", "go_memstats_mallocs_total 90", "go_memstats_frees_total 80",
        "go_memstats_other_sys_bytes 7"}) {
    EXPECT_NE(page.find("\n" + std::string(line) + "\n"), std::string::npos) << line;
  }
  // All of spec operations 5.6, in order.
  std::vector<std::string> names;
  for (size_t at = page.find("# TYPE "); at != std::string::npos; at = page.find("# TYPE ", at + 1)) {
    const size_t from = at + 7;
    names.push_back(page.substr(from, page.find(' ', from) - from));
  }
  EXPECT_EQ(names.size(), 1 + 29 + 9U);
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
}

TEST(ConstantMetrics, Families) {
  metrics::Registry registry;
  register_constant_metrics(registry, {.etcd_version = "3.6.16",
                                       .go_version = "go1.24",
                                       .quoin_version = "0.1.0",
                                       .gates = {{"AllBeta", "BETA", false}, {"AllAlpha", "ALPHA", true}},
                                       .open_fds = [] { return 19.0; },
                                       .max_fds = [] { return 20000.0; }});
  const std::string page = render_metrics(registry, nullptr);
  for (const std::string_view line :
       {"etcd_server_version{server_version=\"3.6.16\"} 1\n", "quoin_build_info{version=\"0.1.0\"} 1\n",
        "etcd_server_feature_enabled{name=\"AllAlpha\",stage=\"ALPHA\"} 1\n"
        "etcd_server_feature_enabled{name=\"AllBeta\",stage=\"BETA\"} 0\n",
        "os_fd_used 19\n", "os_fd_limit 20000\n", "etcd_grpc_proxy_cache_hits_total 0\n",
        "etcd_debugging_store_writes_total{action=\"create\"} 0\n"}) {
    EXPECT_NE(page.find(line), std::string::npos) << line;
  }
}

TEST(Http, QueriesAsGoReadsThem) {
  const Query q("a=1&b&a=%32+x&c=%zz&d;e=1&%61=3&=v");
  EXPECT_EQ(q.all("a"), (std::vector<std::string_view>{"1", "2 x", "3"}));
  EXPECT_TRUE(q.has("b"));
  EXPECT_FALSE(q.has("c"));
  EXPECT_FALSE(q.has("d"));
  EXPECT_EQ(q.get("a"), "1");
}

}  // namespace
}  // namespace quoin::httpapi
