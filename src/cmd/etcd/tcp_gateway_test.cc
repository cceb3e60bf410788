// Which backends the gateway takes, and why it does not start, with names and records of a simulated network.
#include "cmd/etcd/tcp_gateway.h"

#include <gtest/gtest.h>

#include "io/dial_error.h"
#include "sim/log_sink.h"

namespace quoin::cmd {
namespace {

class Names final : public io::Resolver {
 public:
  Result<std::vector<io::SrvRecord>> lookup_srv(std::string_view name, int64_t) override {
    const auto it = records.find(std::string(name));
    if (it == records.end())
      return make_error(Code::kNotFound, "lookup {} on 10.0.0.2:53: no such host", name);
    return it->second;
  }
  Result<std::vector<std::string>> lookup_host(std::string_view host, int64_t) override {
    if (host.find_first_not_of("0123456789.:abcdef") == std::string_view::npos)
      return std::vector{std::string(host)};
    const auto it = hosts.find(std::string(host));
    if (it == hosts.end()) return make_error(Code::kNotFound, "lookup {} on 10.0.0.2:53: no such host", host);
    return it->second;
  }
  Result<std::vector<std::string>> lookup_address(std::string_view, int64_t) override {
    return Code::kNotFound;
  }
  void wait(int64_t) override {}

  std::map<std::string, std::vector<io::SrvRecord>> records;
  std::map<std::string, std::vector<std::string>> hosts;
};

struct Rig {
  Rig() {
    names.hosts = {{"localhost", {"::1", "127.0.0.1"}},
                   {"m1.example.", {"10.0.0.1"}},
                   {"m2.example.", {"10.0.0.2"}},
                   {"m3.example.", {"10.0.0.3"}}};
    options.listen_addr = "127.0.0.1:23790";
    options.endpoints = {"127.0.0.1:2379"};
  }
  GatewayPlanOrEnd plan() {
    return plan_gateway(options, {names,
                                  [this](const std::string& host, uint16_t port) -> Result<> {
                                    dialled.push_back(fmt::format("{}:{}", host, port));
                                    if (host != refuses) return {};
                                    return io::dial_error(false, "", "10.0.0.2:2379",
                                                          io::call_error("connect", ECONNREFUSED));
                                  },
                                  [](const std::string& path) -> Result<> {
                                    if (path == "ca") return {};
                                    return make_error(Code::kIo, "open {}: no such file or directory", path);
                                  },
                                  log});
  }
  std::string end() {
    const GatewayPlanOrEnd p = plan();
    EXPECT_FALSE(p.plan);
    EXPECT_EQ(p.end.exit_code, 1);
    return p.end.out + "|" + p.end.err;
  }
  std::string backends() {
    const GatewayPlanOrEnd p = plan();
    if (!p.plan) return p.end.out + p.end.err;
    std::string out;
    for (const front::Backend& b : p.plan->backends)
      out += fmt::format("{} {}/{} ", b.address(), b.priority, b.weight);
    return out;
  }
  GatewayOptions options;
  Names names;
  sim::LogSink log;
  std::vector<std::string> dialled;
  std::string refuses;
};

TEST(TcpGateway, EndpointsWithoutTheirSchemes) {
  Rig r;
  r.options.endpoints = {"127.0.0.1:1",  "http://localhost:2", "https://u:p@localhost:3/path",
                         "[::1]:4",      "localhost:http",     "localhost:70000",
                         "localhost:12x"};
  EXPECT_EQ(r.backends(),
            "127.0.0.1:1 0/0 localhost:2 0/0 localhost:3 0/0 [::1]:4 0/0 localhost:0 0/0 localhost:0 0/0 "
            "localhost:12 0/0 ");
}

TEST(TcpGateway, WhyItDoesNotStart) {
  const struct {
    std::string listen;
    std::vector<std::string> endpoints;
    std::string end;  // standard output|standard error
  } rows[] = {
      {"x:1", {"foo"}, "error parsing endpoint \"foo\"|"},
      {"x:1", {"http://a:1:2"}, "error parsing endpoint \"http://a:1:2\"|"},
      {"x:1", {"::1:7"}, "error parsing endpoint \"::1:7\"|"},
      {"foo", {"127.0.0.1:1"}, "failed to validate listen address: foo\n|"},
      {"nohost:1", {"127.0.0.1:1"}, "failed to resolve listen host: nohost\n|"},
      {":1", {"127.0.0.1:1"}, "failed to resolve listen host: \n|"},
      {"127.0.0.1:5", {"nohost:1"}, "failed to resolve endpoint host: nohost\n|"},
      {"127.0.0.1:5", {":1"}, "failed to resolve endpoint host: \n|"},
      {"127.0.0.1:5",
       {"127.0.0.1:6", "localhost:5"},
       "SRV or endpoint (localhost:5->127.0.0.1:5) should not resolve to the gateway listen addr "
       "(127.0.0.1:5)\n|"},
      {"127.0.0.1:5", {}, "no endpoints found\n|"},
      {"127.0.0.1:foo", {"127.0.0.1:1"}, "|listen tcp: lookup tcp/foo: unknown port\n"},
      {"127.0.0.1:70000", {"127.0.0.1:1"}, "|listen tcp: address 70000: invalid port\n"},
  };
  for (const auto& row : rows) {
    Rig r;
    r.options.listen_addr = row.listen;
    r.options.endpoints = row.endpoints;
    EXPECT_EQ(r.end(), row.end);
  }
}

TEST(TcpGateway, WhereItListens) {
  const struct {
    std::string address, host;
    uint16_t port;
  } rows[] = {{"127.0.0.1:5", "127.0.0.1", 5}, {"localhost:5", "127.0.0.1", 5},
              {"[::1]:5", "::1", 5},           {"127.0.0.1:", "127.0.0.1", 0},
              {"127.0.0.1:0", "127.0.0.1", 0}, {"0.0.0.0:2379", "0.0.0.0", 2379}};
  for (const auto& row : rows) {
    Rig r;
    r.options.listen_addr = row.address;
    const auto p = r.plan();
    ASSERT_TRUE(p.plan) << row.address << p.end.out << p.end.err;
    EXPECT_EQ(p.plan->listen.host, row.host);
    EXPECT_EQ(p.plan->listen.port, row.port);
  }
}

TEST(TcpGateway, SrvRecordsOfBothServices) {
  Rig r;
  r.options.discovery_srv = "example";
  EXPECT_EQ(
      r.end(),
      "|dns lookup errors: lookup _etcd-client-ssl._tcp.example on 10.0.0.2:53: no such host and lookup "
      "_etcd-client._tcp.example on 10.0.0.2:53: no such host\n");
  r.names.records = {
      {"_etcd-client-ssl._tcp.example", {{"m1.example.", 2379, 1, 10}, {"m2.example.", 2379, 2, 0}}},
      {"_etcd-client._tcp.example", {{"m3.example.", 2379, 3, 30}}}};
  r.options.insecure_discovery = true;
  EXPECT_EQ(r.backends(), "m1.example.:2379 1/10 m2.example.:2379 2/0 m3.example.:2379 3/30 ");
  EXPECT_TRUE(r.dialled.empty());
  EXPECT_TRUE(r.log.contains("discovered cluster from SRV srv-server=example")) << r.log.lines().at(0);

  r.options.insecure_discovery = false;
  r.refuses = "m2.example.";
  EXPECT_EQ(r.backends(), "m1.example.:2379 1/10 ");
  EXPECT_EQ(r.dialled, (std::vector<std::string>{"m1.example.:2379", "m2.example.:2379"}));
  EXPECT_TRUE(r.log.contains("warn failed to validate discovered endpoints srv-server=example"));
  EXPECT_TRUE(
      r.log.contains("error=\"https://m2.example.:2379\" failed to dial (dial tcp 10.0.0.2:2379: connect: "
                     "connection refused),\"http://m3.example.:2379\" is insecure"))
      << r.log.lines().back();

  r.names.records.erase("_etcd-client._tcp.example");
  r.refuses = "";
  EXPECT_EQ(r.backends(), "m1.example.:2379 1/10 m2.example.:2379 2/0 ");
  EXPECT_TRUE(r.log.contains("info using validated discovered SRV endpoints"));

  r.options.trusted_ca_file = "ca";
  EXPECT_EQ(r.backends(), "m1.example.:2379 1/10 m2.example.:2379 2/0 ");
  r.options.trusted_ca_file = "missing";
  EXPECT_EQ(r.backends(), "127.0.0.1:2379 0/0 ") << "none is left: those of --endpoints";
  EXPECT_TRUE(r.log.contains("error=open missing: no such file or directory"));
}

TEST(TcpGateway, TheNameOfTheServiceIsASuffix) {
  Rig r;
  r.options.discovery_srv = "example";
  r.options.discovery_srv_name = "dev";
  r.options.insecure_discovery = true;
  r.names.records = {{"_etcd-client-dev._tcp.example", {{"m3.example.", 2379, 0, 0}}}};
  EXPECT_EQ(r.backends(), "m3.example.:2379 0/0 ");
}

}  // namespace
}  // namespace quoin::cmd
