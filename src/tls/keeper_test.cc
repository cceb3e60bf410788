#include "tls/keeper.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tls/self_signed.h"
#include "tls/tls_test_util.h"

namespace quoin::tls {
namespace {
using testing::error_of;
using testing::Issued;
using testing::kDay;
using testing::kNow;
using testing::shake;
using State = Session::State;

TEST(OptionsTest, NamesAndTexts) {
  EXPECT_EQ(*parse_version("TLS1.3"), Version::kTls13);
  EXPECT_EQ(*parse_version(""), Version::kDefault);
  EXPECT_EQ(parse_version("TLS1.1").error().text(),
            "unexpected TLS version \"TLS1.1\" (must be one of: TLS1.2, TLS1.3)");
  EXPECT_EQ(parse_cipher_suites({"x"}).error().text(), "unexpected TLS cipher suite \"x\"");
  const auto ids = parse_cipher_suites({"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "TLS_RSA_WITH_RC4_128_SHA"});
  EXPECT_EQ(*ids, (std::vector<uint16_t>{0xcca8, 0x0005}));
  EXPECT_EQ(openssl_cipher_list(*ids), "ECDHE-RSA-CHACHA20-POLY1305");
  // Go's order counts, not the one given.
  EXPECT_EQ(openssl_cipher_list({0xc030, 0xc02f}), "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384");
  Options o;
  o.cert_file = "c";
  o.key_file = "k";
  o.trusted_ca_file = "ca";
  o.client_cert_auth = true;
  EXPECT_EQ(
      o.describe(),
      "cert = c, key = k, client-cert=, client-key=, trusted-ca = ca, client-cert-auth = true, crl-file = ");
}

class KeeperTest : public ::testing::Test {
 protected:
  std::string load_error(const Options& o, Role role = Role::kServer) {
    const auto made = Credentials::load(o, role, *files_.fs, clock_, nullptr);
    return made ? "" : std::string(made.error().text());
  }
  void start(Role role = Role::kServer) {
    auto made = Keeper::start(options_, role, {*files_.fs, files_.executor, timers_, clock_, lines_});
    ASSERT_TRUE(made.has_value()) << made.error().text();
    keeper_ = std::move(*made);
  }
  void pass(int64_t ns) {
    timers_.advance(ns);
    files_.executor.run();
  }
  // What a handshake with a client that trusts ca_ comes to, on the server.
  std::string handshake() {
    Session server(keeper_->current(), {});
    Session client(*Credentials::load(client_options_, Role::kClient, *files_.fs, clock_, nullptr),
                   {.host = "h", .alpn = {}});
    shake(client, server);
    client_error_ = error_of(client);
    client_saw_ = client.identity().names.common_name;
    return error_of(server);
  }

  testing::Files files_;
  testing::FakeClock clock_;
  testing::FakeTimers timers_{clock_};
  testing::Lines lines_;
  Issued ca_ = testing::make_ca();
  Issued pair_ = issue({.cn = "one", .dns = {"h"}}, &ca_);
  Options options_ = files_.side("server", pair_);
  Options client_options_ = files_.side("client", issue({.cn = "c"}, &ca_), &ca_);
  std::unique_ptr<Keeper> keeper_;
  std::string client_error_, client_saw_;
};

TEST_F(KeeperTest, WhatCannotBeLoaded) {
  Options o;
  EXPECT_EQ(load_error(o), "KeyFile and CertFile must both be present[key: , cert: ]");
  EXPECT_EQ(load_error(o, Role::kClient), "");
  o.cert_file = "x";
  EXPECT_EQ(load_error(o), "KeyFile and CertFile must both be present[key: , cert: x]");
  EXPECT_EQ(load_error(o, Role::kClient), "KeyFile and CertFile must both be present[key: , cert: x]");
  o = options_;
  o.cert_file = "/nowhere/c";
  EXPECT_EQ(load_error(o), "open /nowhere/c: no such file or directory");
  o = options_;
  o.client_cert_file = "c";
  EXPECT_EQ(load_error(o),
            "ClientKeyFile and ClientCertFile must both be present or both absent: key: , cert: c]");
  o = options_;
  o.allowed_cns = {"a"};
  o.allowed_hostnames = {"b", "c"};
  EXPECT_EQ(load_error(o),
            "AllowedCNs and AllowedHostnames are mutually exclusive (cns=[\"a\"], hostnames=[\"b\" \"c\"])");
  o = options_;
  o.trusted_ca_file = "/nowhere/ca";
  EXPECT_EQ(load_error(o), "open /nowhere/ca: no such file or directory");
  o.trusted_ca_file =
      files_.write("bad.ca", "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n");
  EXPECT_EQ(load_error(o), "x509: malformed certificate");
  // A file without blocks trusts nobody; a missing revocation list shows at connections only.
  o.trusted_ca_file = files_.write("empty.ca", "");
  o.crl_file = "/nowhere/crl";
  EXPECT_EQ(load_error(o), "");
}

TEST_F(KeeperTest, TheClientRoleShowsItsOwnPairIfItHasOne) {
  const Issued own = issue({.cn = "own"}, &ca_);
  Options both = files_.side("both", pair_, &ca_);
  Options server = files_.side("server", pair_, &ca_);
  for (const bool client_pair : {false, true}) {
    if (client_pair) {
      both.client_cert_file = files_.write("own.crt", own.cert_pem());
      both.client_key_file = files_.write("own.key", own.key_pem());
    }
    Session s(*Credentials::load(server, Role::kServer, *files_.fs, clock_, nullptr), {});
    Session c(*Credentials::load(both, Role::kClient, *files_.fs, clock_, nullptr),
              {.host = "h", .alpn = {}});
    shake(c, s);
    EXPECT_EQ(s.identity().names.common_name, client_pair ? "own" : "one") << error_of(s) << error_of(c);
  }
}

TEST_F(KeeperTest, ANewPairIsShownFromTheNextLookOn) {
  start();
  EXPECT_EQ(handshake(), "");
  EXPECT_EQ(client_saw_, "one");
  const auto before = keeper_->current();
  pass(Keeper::kPeriod);
  EXPECT_EQ(keeper_->current(), before);
  const Issued next = issue({.cn = "two", .dns = {"h"}, .to = kNow + 90 * kDay}, &ca_);
  files_.side("server", next);
  pass(Keeper::kPeriod);
  EXPECT_EQ(handshake(), "");
  EXPECT_EQ(client_saw_, "two");
  EXPECT_EQ(*keeper_->not_after(), kNow + 90 * kDay);
  EXPECT_DOUBLE_EQ(keeper_->seconds_left(), 90 * kDay - 2);
}

TEST_F(KeeperTest, ABrokenPairFailsHandshakesUntilItIsWhole) {
  start();
  const Issued next = issue({.cn = "two", .dns = {"h"}}, &ca_);
  files_.write("server.crt", next.cert_pem());
  pass(Keeper::kPeriod);
  EXPECT_EQ(handshake(), "tls: private key does not match public key");
  EXPECT_EQ(client_error_, "remote error: tls: internal error");
  EXPECT_EQ(lines_.lines.size(), 1u);
  // Looked at more often while it is broken; said once.
  pass(Keeper::kPeriod / 10);
  EXPECT_EQ(lines_.lines.size(), 1u);
  files_.write("server.key", next.key_pem());
  pass(Keeper::kPeriod / 10);
  EXPECT_EQ(handshake(), "");
  EXPECT_EQ(client_saw_, "two");

  std::filesystem::remove(files_.path("server.crt"));
  pass(Keeper::kPeriod);
  EXPECT_EQ(handshake(), fmt::format("open {}: no such file or directory", files_.path("server.crt")));
  files_.write("server.crt", next.cert_pem());
  pass(Keeper::kPeriod);
  EXPECT_EQ(handshake(), "");
}

TEST_F(KeeperTest, TrustFollowsItsFileAndSurvivesABrokenOne) {
  options_ = files_.side("server", pair_, &ca_);
  start();
  EXPECT_EQ(handshake(), "");
  files_.write("server.ca", "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n");
  pass(Keeper::kPeriod);
  EXPECT_EQ(handshake(), "");
  ASSERT_TRUE(keeper_->current()->trust_error().has_value());
  EXPECT_NE(lines_.lines.back().find("x509: malformed certificate"), std::string::npos);
  files_.write("server.ca", testing::make_ca("other").cert_pem());
  pass(Keeper::kPeriod);
  EXPECT_EQ(handshake(), "tls: failed to verify certificate: x509: certificate signed by unknown authority");
}

TEST_F(KeeperTest, WarnsOfTheEndOnceADay30And7And1) {
  options_ = files_.side("server", issue({.cn = "short", .to = kNow + 40 * kDay}, &ca_));
  start();
  std::vector<int64_t> days;
  for (int day = 0; day < 42; ++day) {
    const size_t before = lines_.lines.size();
    for (int i = 0; i < 4; ++i) pass(kDay / 4 * io::kSecond);
    if (lines_.lines.size() != before) days.push_back(40 - day - 1);
  }
  EXPECT_EQ(days, (std::vector<int64_t>{30, 7, 1}));
  EXPECT_LT(keeper_->seconds_left(), 0);
  EXPECT_TRUE(lines_.lines.front().starts_with("TLS certificate ends soon cert-file="))
      << lines_.lines.front();
}

TEST_F(KeeperTest, SelfSignedAsEtcd) {
  const std::string dir = files_.path("data") + "/fixtures/client";
  auto made = ensure_self_signed(
      *files_.fs, dir, {"127.0.0.1:2379", "localhost:2379", "127.0.0.1:2379", "[::1]:1"}, 2, clock_, lines_);
  ASSERT_TRUE(made.has_value()) << made.error().text();
  EXPECT_EQ(made->cert_file, dir + "/cert.pem");
  EXPECT_EQ(
      lines_.lines,
      (std::vector<std::string>{
          "automatically generate certificates certificate-validity-bound-not-after=2029-01-14T08:00:00Z",
          "created cert file path=" + dir + "/cert.pem", "created key file path=" + dir + "/key.pem"}));
  struct stat st;
  ASSERT_EQ(::stat(made->key_file.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  ASSERT_EQ(::stat(dir.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0700u);

  std::ifstream in(made->cert_file);
  const std::string pem((std::istreambuf_iterator<char>(in)), {});
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  const X509Ptr x(PEM_read_bio_X509(bio, nullptr, nullptr, nullptr));
  BIO_free(bio);
  ASSERT_NE(x, nullptr);
  EXPECT_EQ(names_of(x.get()).organization, "etcd");
  EXPECT_EQ(names_of(x.get()).dns_names, std::vector<std::string>{"localhost"});
  EXPECT_EQ(names_of(x.get()).ip_texts(), (std::vector<std::string>{"127.0.0.1", "127.0.0.1", "::1"}));
  EXPECT_EQ(not_before_of(x.get()), kNow);
  EXPECT_EQ(X509_get_key_usage(x.get()),
            static_cast<uint32_t>(KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT | KU_CRL_SIGN));
  EXPECT_EQ(X509_get_extended_key_usage(x.get()), static_cast<uint32_t>(XKU_SSL_SERVER));
  EXPECT_NE(X509_get_extension_flags(x.get()) & EXFLAG_CA, 0u);
  EXPECT_EQ(X509_verify(x.get(), X509_get0_pubkey(x.get())), 1);
  EXPECT_EQ(EVP_PKEY_get_bits(X509_get0_pubkey(x.get())), 521);
  std::vector<std::string> order;
  for (int i = 0; i < X509_get_ext_count(x.get()); ++i) {
    X509_EXTENSION* e = X509_get_ext(x.get(), i);
    order.push_back(std::string(OBJ_nid2sn(OBJ_obj2nid(X509_EXTENSION_get_object(e)))) +
                    (X509_EXTENSION_get_critical(e) != 0 ? "!" : ""));
  }
  EXPECT_EQ(order, (std::vector<std::string>{"keyUsage!", "extendedKeyUsage", "basicConstraints!",
                                             "subjectKeyIdentifier", "subjectAltName"}));

  // It serves, and it is taken again as it is.
  Options o;
  o.cert_file = made->cert_file;
  o.key_file = made->key_file;
  EXPECT_EQ(load_error(o), "");
  lines_.lines.clear();
  EXPECT_TRUE(ensure_self_signed(*files_.fs, dir, {"other:1"}, 1, clock_, lines_).has_value());
  EXPECT_TRUE(lines_.lines.empty());
  EXPECT_EQ(ensure_self_signed(*files_.fs, dir, {}, 0, clock_, lines_).error().text(),
            "selfSignedCertValidity is invalid,it should be greater than 0");
}

}  // namespace
}  // namespace quoin::tls
