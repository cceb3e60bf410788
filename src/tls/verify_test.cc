#include "tls/verify.h"

#include <gtest/gtest.h>

#include "tls/key_pair.h"
#include "tls/pem.h"
#include "tls/tls_test_util.h"

namespace quoin::tls {
namespace {
using testing::issue;
using testing::Issued;

CertificateNames named(std::vector<std::string> dns, std::vector<std::string> ips, std::string cn = "") {
  CertificateNames n;
  n.common_name = std::move(cn);
  n.has_san_extension = !dns.empty() || !ips.empty();
  n.dns_names = std::move(dns);
  for (const auto& ip : ips) n.ip_addresses.push_back(*parse_ip(ip));
  return n;
}

TEST(HostnameTest, AsGo) {
  struct Row {
    CertificateNames names;
    std::string host, error;
  };
  const Row rows[] = {
      {named({"a.b"}, {}), "a.b", ""},
      {named({"a.b"}, {}), "A.B.", ""},
      {named({"*.b"}, {}), "x.b", ""},
      {named({"*.b"}, {}), "x.y.b", "x509: certificate is valid for *.b, not x.y.b"},
      {named({"*.b"}, {}), "b", "x509: certificate is valid for *.b, not b"},
      {named({"x*.b"}, {}), "xy.b", "x509: certificate is valid for x*.b, not xy.b"},
      {named({"*"}, {}), "b", "x509: certificate is valid for *, not b"},
      {named({"odd name!"}, {}), "ODD name!", ""},
      {named({"a", "b"}, {}), "c", "x509: certificate is valid for a, b, not c"},
      {named({}, {"10.0.0.1", "fd00::1"}), "10.0.0.1", ""},
      {named({}, {"10.0.0.1", "fd00::1"}), "[fd00::1]", ""},
      {named({}, {"10.0.0.1"}), "::ffff:10.0.0.1", ""},
      {named({}, {"10.9.9.9"}), "127.0.0.1", "x509: certificate is valid for 10.9.9.9, not 127.0.0.1"},
      {named({"127.0.0.1"}, {}), "127.0.0.1",
       "x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs"},
      {named({}, {"10.0.0.1"}), "a", "x509: certificate is not valid for any names, but wanted to match a"},
      {named({}, {}, "a"), "a", "x509: certificate relies on legacy Common Name field, use SANs instead"},
      {named({}, {}), "a", "x509: certificate is not valid for any names, but wanted to match a"},
  };
  for (const Row& row : rows) {
    const auto ok = verify_hostname(row.names, row.host);
    EXPECT_EQ(ok ? "" : ok.error().text(), row.error) << row.host;
  }
  CertificateNames many;
  many.dns_names.assign(100, "a");
  EXPECT_EQ(verify_hostname(many, "b").error().text(),
            "x509: certificate is valid for 100 names, but none matched b");
}

// Answers later, from tables.
class Lookup final : public NameLookup {
 public:
  void lookup_address(const std::string& ip, Done done) override { answer(names, ip, std::move(done)); }
  void lookup_host(const std::string& name, Done done) override { answer(addresses, name, std::move(done)); }
  void answer(std::map<std::string, std::vector<std::string>>& table, const std::string& key, Done done) {
    asked.push_back(key);
    loop.post([&table, key, done = std::move(done)]() mutable {
      const auto found = table.find(key);
      if (found != table.end()) return done(found->second);
      done(make_error(Code::kNotFound, "lookup {} on 10.0.0.2:53: no such host", key));
    });
  }
  std::map<std::string, std::vector<std::string>> names, addresses;
  std::vector<std::string> asked;
  testing::FakeLoop loop;
};

TEST(SanCheckTest, AsEtcd) {
  Lookup lookup;
  lookup.names["10.0.0.1"] = {"node1.cluster.", "other"};
  lookup.names["10.0.0.3"] = {};
  lookup.addresses["db"] = {"10.0.0.3", "10.0.0.4"};
  const auto check = [&](const CertificateNames& names, const std::string& remote) -> std::string {
    std::optional<Result<>> got;
    lookup.asked.clear();
    auto pending = check_san(names, remote, lookup, [&](Result<> r) { got = std::move(r); });
    lookup.loop.run();
    EXPECT_TRUE(got.has_value());
    return *got ? "" : std::string(got->error().text());
  };
  EXPECT_EQ(check(named({}, {}), "10.0.0.9:1"), "");
  EXPECT_EQ(check(named({}, {"10.0.0.9"}), "10.0.0.9:1"), "");
  EXPECT_EQ(check(named({}, {"fd00::9"}), "[fd00::9]:1"), "");
  EXPECT_TRUE(lookup.asked.empty());
  EXPECT_EQ(check(named({}, {"10.9.9.9"}), "127.0.0.1:1"),
            "x509: certificate is valid for 10.9.9.9, not 127.0.0.1");
  EXPECT_EQ(check(named({"node1.cluster"}, {"10.9.9.9"}), "10.0.0.1:1"), "");
  EXPECT_EQ(lookup.asked, std::vector<std::string>{"10.0.0.1"});
  EXPECT_EQ(check(named({"*.cluster"}, {}), "10.0.0.1:1"), "");
  EXPECT_EQ(check(named({"db"}, {}), "10.0.0.3:1"), "");
  EXPECT_EQ(
      check(named({"db"}, {}), "10.0.0.5:1"),
      "tls: \"10.0.0.5\" does not match any of DNSNames [\"db\"] (lookup 10.0.0.5 on 10.0.0.2:53: no such "
      "host)");
  EXPECT_EQ(
      check(named({"a", "*.x"}, {}), "10.0.0.3:1"),
      "tls: \"10.0.0.3\" does not match any of DNSNames [\"a\" \"*.x\"] (lookup a on 10.0.0.2:53: no such "
      "host)");
  EXPECT_EQ(check(named({"a"}, {}), "@"), "address @: missing port in address");

  // Dropped: no answer.
  bool called = false;
  auto pending = check_san(named({"db"}, {}), "10.0.0.3:1", lookup, [&](Result<>) { called = true; });
  pending.reset();
  lookup.loop.run();
  EXPECT_FALSE(called);
}

TEST(RevocationTest, SerialsInHex) {
  const Issued ca = testing::make_ca();
  const auto list = RevocationList::parse(testing::make_crl(ca, {0x1ff, 7}));
  ASSERT_TRUE(list.has_value());
  EXPECT_EQ(list->size(), 2u);
  EXPECT_TRUE(list->check({"\x08", "\xff"}));
  EXPECT_EQ(list->check({"\x08", "\x01\xff"}).error().text(), "transport: certificate serial 01ff revoked");
  EXPECT_EQ(RevocationList::parse("").error().text(), "x509: malformed crl");
  EXPECT_EQ(RevocationList::parse("x").error().text(), "x509: malformed crl");
}

TEST(PemTest, BlocksAsGoFindsThem) {
  const std::string text = pem_text("THING", std::string(100, 'a'));
  std::string_view rest = text;
  auto block = next_pem_block(rest);
  ASSERT_TRUE(block.has_value());
  EXPECT_EQ(block->type, "THING");
  EXPECT_EQ(block->bytes, std::string(100, 'a'));
  EXPECT_TRUE(rest.empty());
  for (size_t n = 0; n < 5; ++n) {
    const std::string round = pem_text("X", std::string(n, 'z'));
    rest = round;
    EXPECT_EQ(next_pem_block(rest)->bytes, std::string(n, 'z'));
  }
  const std::string mixed =
      "words\n-----BEGIN A-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\nQUJD\n-----END A-----\n"
      "-----BEGIN B-----\n!!!!\n-----END B-----\n-----BEGIN C-----\nQUJD\n-----END D-----\n"
      "-----BEGIN E-----\r\nQUI=\r\n-----END E-----\r\n";
  rest = mixed;
  block = next_pem_block(rest);
  ASSERT_TRUE(block.has_value());
  EXPECT_EQ(block->type + block->bytes, "AABC");
  block = next_pem_block(rest);
  ASSERT_TRUE(block.has_value());
  EXPECT_EQ(block->type + block->bytes, "EAB");
  EXPECT_FALSE(next_pem_block(rest).has_value());
}

TEST(KeyPairTest, ErrorsAsGoWordsThem) {
  const Issued a = issue({}), b = issue({}), rsa = issue({.key = "RSA-2048"});
  const auto error = [](const std::string& cert, const std::string& key) {
    const auto pair = parse_key_pair(cert, key);
    return pair ? std::string() : std::string(pair.error().text());
  };
  EXPECT_EQ(error(a.cert_pem(), a.key_pem()), "");
  EXPECT_EQ(error(a.cert_pem(), b.key_pem()), "tls: private key does not match public key");
  EXPECT_EQ(error(a.cert_pem(), rsa.key_pem()), "tls: private key type does not match public key type");
  EXPECT_EQ(error("", a.key_pem()), "tls: failed to find any PEM data in certificate input");
  EXPECT_EQ(error(a.cert_pem(), ""), "tls: failed to find any PEM data in key input");
  EXPECT_EQ(
      error(a.key_pem(), a.cert_pem()),
      "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs "
      "may have been switched");
  EXPECT_EQ(error(a.cert_pem(), a.cert_pem()),
            "tls: found a certificate rather than a key in the PEM for the private key");
  EXPECT_EQ(
      error(pem_text("X", "y") + pem_text("Z", "y"), a.key_pem()),
      "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the "
      "following types: [X Z]");
  EXPECT_EQ(error(pem_text("CERTIFICATE", "junk"), a.key_pem()), "x509: malformed certificate");
  EXPECT_EQ(error(a.cert_pem(), pem_text("PRIVATE KEY", "junk")), "tls: failed to parse private key");
}

}  // namespace
}  // namespace quoin::tls
