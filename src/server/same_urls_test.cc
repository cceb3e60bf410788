// Peer URLs compared by their addresses (server/same_urls.h).
#include "server/same_urls.h"

#include <gtest/gtest.h>

#include <map>

#include "sim/log_sink.h"

namespace quoin::server {
namespace {

using Urls = std::vector<std::string>;

class Names : public io::Resolver, public io::Clock {
 public:
  Result<std::vector<io::SrvRecord>> lookup_srv(std::string_view, int64_t) override {
    return Error(Code::kNotFound);
  }
  Result<std::vector<std::string>> lookup_host(std::string_view host, int64_t timeout_ns) override {
    ++asked;
    EXPECT_GT(timeout_ns, 0);
    EXPECT_LE(timeout_ns, 30 * io::kSecond);
    if (now < later) return make_error(Code::kNotFound, "lookup {}: no such host", host);
    if (const auto it = names.find(host); it != names.end()) return it->second;
    if (host.find_first_not_of("0123456789.") == host.npos || host.find(':') != host.npos)
      return Urls{std::string(host)};
    return make_error(Code::kNotFound, "lookup {}: no such host", host);
  }
  Result<std::vector<std::string>> lookup_address(std::string_view ip, int64_t) override {
    return make_error(Code::kNotFound, "lookup {}: no such host", ip);
  }
  void wait(int64_t ns) override { now += ns; }
  io::MonotonicNs monotonic() const override { return now; }
  io::WallNs wall() const override { return now; }

  std::map<std::string, Urls, std::less<>> names{
      {"a.test", {"10.0.0.1", "10.0.0.9"}}, {"b.test", {"10.0.0.2"}}, {"v6.test", {"fd00::1"}}};
  io::MonotonicNs now = 5, later = 0;  // until `later` nothing is found
  int asked = 0;
};

struct SameUrls : public ::testing::Test {
  SameUrls() { log.set_level(log::Level::kInfo); }
  std::string compare(const Urls& a, const Urls& b) {
    UrlComparer comparer(&names, names, log);
    const Result<> same = comparer.same(a, b);
    return same ? "" : std::string(same.error().text());
  }
  Names names;
  sim::LogSink log;
};

TEST_F(SameUrls, TextsFirstThenTheFirstAddressOfEachName) {
  EXPECT_EQ(compare({"http://x:1", "http://y:2"}, {"http://y:2", "http://x:1"}), "");
  EXPECT_EQ(names.asked, 0) << "equal texts are not looked up";
  EXPECT_EQ(compare({"http://a.test:1"}, {"http://10.0.0.1:1"}), "");
  EXPECT_EQ(compare({"http://[fd00::1]:1"}, {"http://v6.test:1"}), "");
  EXPECT_EQ(compare({"http://a.test:1", "http://b.test:1"}, {"http://10.0.0.2:1", "http://10.0.0.1:1"}), "");
  EXPECT_EQ(compare({"http://a.test:1"}, {"http://10.0.0.9:1"}),
            "resolved urls: \"http://10.0.0.1:1\" != \"http://10.0.0.9:1\"");
  EXPECT_EQ(compare({"http://a.test:1"}, {"http://10.0.0.1:2"}),
            "resolved urls: \"http://10.0.0.1:1\" != \"http://10.0.0.1:2\"");
  EXPECT_EQ(compare({"http://a.test:1"}, {"https://10.0.0.1:1"}),
            "resolved urls: \"http://10.0.0.1:1\" != \"https://10.0.0.1:1\"");
  EXPECT_EQ(compare({"http://x:1"}, {"http://x:1", "http://y:2"}),
            "len([\"http://x:1\"]) != len([\"http://x:1\" \"http://y:2\"])");
  EXPECT_TRUE(log.contains("resolved URL Host"));
}

// Real etcd takes no address for it either: it may be 127.0.0.1 here and ::1 there.
TEST_F(SameUrls, LocalhostAndUnixSocketsAreComparedAsText) {
  names.names["localhost"] = {"127.0.0.1"};
  EXPECT_EQ(compare({"http://127.0.0.1:1"}, {"http://localhost:1"}),
            "resolved urls: \"http://127.0.0.1:1\" != \"http://localhost:1\"");
  EXPECT_EQ(compare({"unix://a:1"}, {"unix://b:1"}), "resolved urls: \"unix://a:1\" != \"unix://b:1\"");
  EXPECT_EQ(names.asked, 1);
}

TEST_F(SameUrls, ANameIsAskedForUntilThirtySecondsHavePassed) {
  names.later = names.now + 10 * io::kSecond;
  EXPECT_EQ(compare({"http://a.test:1"}, {"http://10.0.0.1:1"}), "");
  EXPECT_EQ(names.asked, 10 + 2);
  EXPECT_TRUE(log.contains("failed to resolve URL Host"));
  EXPECT_FALSE(log.contains("failed to resolve URL Host; returning"));
  names.asked = 0;
  const io::MonotonicNs begin = names.now;
  EXPECT_EQ(compare({"http://10.0.0.1:1"}, {"http://nohost:1"}),
            "failed to resolve \"http://nohost:1\" (lookup nohost: no such host)");
  EXPECT_EQ(names.now - begin, 30 * io::kSecond);
  EXPECT_EQ(names.asked, 1 + 30);
  EXPECT_TRUE(log.contains("failed to resolve URL Host; returning"));
}

TEST_F(SameUrls, HostsThatAreNone) {
  const io::MonotonicNs begin = names.now;
  EXPECT_EQ(compare({"host:1"}, {"http://a.test:1"}),
            "failed to resolve \"host:1\" (missing port in address)");
  EXPECT_EQ(compare({"http://a"}, {"http://a.test:1"}),
            "failed to resolve \"http://a\" (address a: missing port in address)");
  EXPECT_EQ(names.now, begin);
  EXPECT_EQ(compare({"http://a.test:65536"}, {"http://a.test:1"}),
            "failed to resolve \"http://a.test:65536\" (address 65536: invalid port)");
  EXPECT_EQ(compare({"http://a.test:"}, {"http://10.0.0.1:0"}), "");
}

TEST_F(SameUrls, WhatIsAdvertisedAgainstTheOwnEntry) {
  const auto check = [&](const Urls& listed, const Urls& advertised = {"http://10.0.0.1:5"}) {
    UrlComparer comparer(&names, names, log);
    const Result<> ok = check_advertised("m", listed, advertised, comparer);
    return ok ? "" : std::string(ok.error().text());
  };
  EXPECT_EQ(check({"http://10.0.0.1:5"}), "");
  EXPECT_EQ(check({"http://a.test:5"}), "");
  EXPECT_EQ(check({"http://a.test:6"}),
            "--initial-cluster has m=http://a.test:6 but missing from "
            "--initial-advertise-peer-urls=http://10.0.0.1:5 (resolved urls: \"http://10.0.0.1:5\" != "
            "\"http://10.0.0.1:6\")");
  EXPECT_EQ(check({"http://10.0.0.1:5", "http://10.0.0.1:6"}),
            "--initial-cluster has m=http://10.0.0.1:6 but missing from "
            "--initial-advertise-peer-urls=http://10.0.0.1:5 (len([\"http://10.0.0.1:5\"]) != "
            "len([\"http://10.0.0.1:5\" \"http://10.0.0.1:6\"]))");
  EXPECT_EQ(check({"http://10.0.0.1:5"}, {"http://10.0.0.1:5", "http://10.0.0.1:6"}),
            "--initial-advertise-peer-urls has http://10.0.0.1:6 but missing from "
            "--initial-cluster=m=http://10.0.0.1:5,m=http://10.0.0.1:6");
  EXPECT_EQ(check({"http://a.test:5", "http://a.test:5"}, {"http://a.test:5", "http://b.test:5"}),
            "--initial-advertise-peer-urls has http://b.test:5 but missing from "
            "--initial-cluster=m=http://a.test:5,m=http://b.test:5");
}

}  // namespace
}  // namespace quoin::server
