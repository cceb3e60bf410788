// The parts of etcdctl that need no server. tests/interop/etcdctl.py compares the whole program with the real one.
#include <gtest/gtest.h>

#include "cmd/cobra/completion.h"
#include "cmd/cobra/etcd_usage.h"
#include "cmd/etcdctl/argify.h"
#include "cmd/etcdctl/endpoint.h"
#include "cmd/etcdctl/kv_requests.h"
#include "cmd/etcdctl/message_json.h"
#include "cmd/etcdctl/numbers.h"
#include "cmd/etcdctl/txn_lines.h"

namespace quoin::ctl {
namespace {

using Words = std::vector<std::string>;

TEST(Argify, WordsOfALine) {
  const auto words = [](std::string_view line) { return argify(line).value_or(Words{"refused"}); };
  EXPECT_EQ(words(""), Words{});
  EXPECT_EQ(words(" \t "), Words{});
  EXPECT_EQ(words("put a b"), (Words{"put", "a", "b"}));
  EXPECT_EQ(words(R"(put "a b" 'c "d' e"f g)"), (Words{"put", "a b", "c \"d", "e\"f", "g"}));
  EXPECT_EQ(words(R"("\x61\t\u00e9\101\"")"), (Words{"a\t\xc3\xa9"
                                                     "A\""}));
  EXPECT_EQ(words(R"(a "b)"), (Words{"a", "b"}));
  EXPECT_EQ(words("a ' b"), (Words{"a", "b"}));
  for (const char* bad : {R"("\q")", R"("\'")", R"("\x6")", R"("\400")", R"("\ud800")", R"("\U00110000")"}) {
    const auto r = argify(bad);
    ASSERT_FALSE(r) << bad;
    EXPECT_EQ(r.error().code, kExitInvalidInput);
  }
}

TEST(Argify, RawStrings) {
  EXPECT_EQ(go_unquote(R"(`a\n"`)"), R"(a\n")");
  EXPECT_EQ(go_unquote("`a"), std::nullopt);
  EXPECT_EQ(go_unquote("\"a\nb\""), std::nullopt);
}

TEST(TxnLines, Comparisons) {
  const auto c = read_compare(R"(mod("a b") != "7" rest)");
  ASSERT_TRUE(c);
  EXPECT_EQ(c->key(), "a b");
  EXPECT_EQ(c->mod_revision(), 7);
  EXPECT_EQ(c->result(), pb::Compare::NOT_EQUAL);
  const auto lease = read_compare(R"(lease("k") = "7f")");
  ASSERT_TRUE(lease);
  EXPECT_EQ(lease->lease(), 0x7f);
  const std::pair<const char*, const char*> faults[] = {
      {"x", "malformed comparison: x"},
      {R"(val("a") ="b")", R"(malformed comparison: val("a") ="b"; got val("a") ="b" "")"},
      {R"(val("a")="b")", R"(malformed comparison: val("a")="b"; got val("a")  "")"},
      {R"(foo("a") = "b")", R"(malformed comparison: foo("a") = "b" (unknown target foo))"},
      {R"(ver("a") = "b")", R"(invalid txn compare request: ver("a") = "b")"},
      {R"(ver("a") >= "1")", R"(malformed comparison: ver("a") >= "1" (unknown operator >=))"},
  };
  for (const auto& [line, text] : faults) {
    const auto r = read_compare(line);
    ASSERT_FALSE(r) << line;
    EXPECT_EQ(r.error().text, text);
    EXPECT_EQ(r.error().code, kExitInvalidInput);
  }
}

TEST(Endpoints, SchemesAndTargets) {
  EXPECT_EQ(read_endpoint("127.0.0.1:2379").target, "ipv4:127.0.0.1:2379");
  EXPECT_EQ(read_endpoint("http://[::1]:2379").target, "ipv6:[::1]:2379");
  EXPECT_EQ(read_endpoint("https://etcd.example:2379/x").target, "dns:///etcd.example:2379");
  EXPECT_EQ(read_endpoint("https://etcd.example:2379").server_name, "etcd.example");
  EXPECT_EQ(read_endpoint("https://etcd.example:2379").tls, Endpoint::Tls::kAlways);
  EXPECT_EQ(read_endpoint("http://etcd.example:2379").tls, Endpoint::Tls::kNever);
  EXPECT_EQ(read_endpoint("unix:///run/etcd/x:0").target, "unix:/run/etcd/x:0");
  EXPECT_EQ(read_endpoint("unixs://local:1").tls, Endpoint::Tls::kAlways);
  EXPECT_EQ(authority_of("http://a:1"), "a:1");
}

TEST(Numbers, AsStrconv) {
  EXPECT_EQ(parse_int("-9223372036854775808", 10), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(parse_int("9223372036854775808", 10).error(),
            "strconv.ParseInt: parsing \"9223372036854775808\": value out of range");
  EXPECT_EQ(parse_int("+7f", 16), 0x7f);
  EXPECT_EQ(parse_int("0x1", 16).error(), "strconv.ParseInt: parsing \"0x1\": invalid syntax");
  EXPECT_EQ(parse_int("", 10).error(), "strconv.ParseInt: parsing \"\": invalid syntax");
  EXPECT_FALSE(parse_uint("-1", 16));
}

TEST(Keys, EndOfAPrefix) {
  EXPECT_EQ(prefix_end("a"), "b");
  EXPECT_EQ(prefix_end("a\xff\xff"), "b");
  EXPECT_EQ(prefix_end("\xff"), kNul);
}

TEST(MessageJson, AsGoWritesTheStructs) {
  pb::TxnResponse r;
  EXPECT_EQ(json_of(r), "{}");
  r.mutable_header()->set_cluster_id(~uint64_t{0});
  r.add_responses()->mutable_response_put()->mutable_prev_kv()->set_key("<\n");
  r.add_responses()->mutable_response_range();
  EXPECT_EQ(json_of(r),
            R"({"header":{"cluster_id":18446744073709551615},"responses":[{"Response":{"response_put":)"
            R"({"prev_kv":{"key":"PAo="}}}},{"Response":{"response_range":{}}}]})");
  pb::AlarmResponse alarms;
  alarms.add_alarms()->set_alarm(pb::NOSPACE);
  EXPECT_EQ(json_of(alarms), R"({"alarms":[{"alarm":1}]})");
}

TEST(EtcdUsage, Columns) {
  EXPECT_EQ(cmd::tabbed_columns("a\tx\nlonger name\ty\n\nb\tz\n"), "a\t\tx\nlonger name\ty\n\nb\tz\n");
}

TEST(Completion, ScriptsNameTheProgram) {
  for (const char* shell : {"bash", "zsh", "fish", "powershell"}) {
    const std::string script = cmd::completion_script(shell, "etcdctl");
    EXPECT_NE(script.find("etcdctl"), std::string::npos) << shell;
    EXPECT_EQ(script.find("PROGRAM"), std::string::npos) << shell;
  }
  EXPECT_EQ(cmd::completion_script("tcsh", "etcdctl"), "");
}

}  // namespace
}  // namespace quoin::ctl
