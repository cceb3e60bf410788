#include "tls/session.h"

#include <gtest/gtest.h>

#include "tls/tls_test_util.h"

namespace quoin::tls {
namespace {
using testing::error_of;
using testing::issue;
using testing::Issued;
using testing::kDay;
using testing::kNow;
using testing::read_all;
using testing::shake;
using State = Session::State;

class SessionTest : public ::testing::Test {
 protected:
  std::shared_ptr<const Credentials> load(const Options& o, Role role) {
    auto made = Credentials::load(o, role, *files_.fs, clock_, role == Role::kServer ? tickets_ : nullptr);
    EXPECT_TRUE(made.has_value()) << made.error().text();
    return made ? *made : nullptr;
  }
  std::unique_ptr<Session> session(const Options& o, Role role, SessionOptions more = {}) {
    if (role == Role::kClient && more.host.empty()) more.host = "127.0.0.1";
    return std::make_unique<Session>(load(o, role), more);
  }
  Options server_options() { return files_.side("server", server_, nullptr); }
  Options demanding() { return files_.side("server", server_, &ca_); }
  Options client_options() { return files_.side("client", client_, &ca_); }

  testing::Files files_;
  testing::FakeClock clock_;
  std::shared_ptr<TicketKeys> tickets_ = std::make_shared<TicketKeys>(clock_);
  Issued ca_ = testing::make_ca();
  Issued server_ = issue({.cn = "server", .dns = {"etcd.local"}, .ips = {"127.0.0.1"}}, &ca_);
  Issued client_ = issue({.cn = "alice", .dns = {"a.local"}, .ips = {"10.0.0.7"}, .serial = 0x0a1b}, &ca_);
};

TEST_F(SessionTest, BothVersionsAndKeysCarryBytesBothWays) {
  for (const Version v : {Version::kTls12, Version::kTls13}) {
    for (const std::string key : {"P-256", "P-384", "P-521", "RSA-2048", "ED25519"}) {
      const Issued pair = issue({.ips = {"127.0.0.1"}, .key = key}, &ca_);
      Options so = files_.side("s", pair, &ca_);
      so.max_version = v;
      auto server = session(so, Role::kServer);
      auto client = session(client_options(), Role::kClient, {.host = "", .alpn = {"h2"}});
      shake(*client, *server);
      ASSERT_EQ(server->state(), State::kOpen) << key << " " << error_of(*server) << error_of(*client);
      ASSERT_EQ(client->state(), State::kOpen) << key << error_of(*client);
      const Identity& who = server->identity();
      EXPECT_EQ(who.version, v);
      EXPECT_EQ(who.alpn, "h2");
      EXPECT_EQ(who.names.common_name, "alice");
      EXPECT_EQ(who.names.dns_names, std::vector<std::string>{"a.local"});
      EXPECT_EQ(who.names.ip_texts(), std::vector<std::string>{"10.0.0.7"});
      EXPECT_EQ(who.names.serial, "\x0a\x1b");
      EXPECT_FALSE(who.resumed);
      client->write(std::string(100'000, 'q'));
      server->write("answer");
      server->feed(client->take_output());
      client->feed(server->take_output());
      EXPECT_EQ(read_all(*server), std::string(100'000, 'q'));
      EXPECT_EQ(read_all(*client), "answer");
    }
  }
}

// spec operations 3.2.
TEST_F(SessionTest, AlpnIsH2OrNothing) {
  struct Row {
    std::vector<std::string> offered;
    std::string chosen, server_error, client_error;
  };
  const Row rows[] = {
      {{}, "", "", ""},
      {{"h2"}, "h2", "", ""},
      {{"http/1.1"}, "", "", ""},
      {{"http/1.1", "h2"}, "h2", "", ""},
      {{"spdy/3", "x"},
       "",
       "tls: client requested unsupported application protocols ([\"spdy/3\" \"x\"])",
       "remote error: tls: no application protocol"},
  };
  for (const Row& row : rows) {
    auto server = session(server_options(), Role::kServer);
    auto client = session(client_options(), Role::kClient, {.host = "etcd.local", .alpn = row.offered});
    shake(*client, *server);
    EXPECT_EQ(error_of(*server), row.server_error);
    EXPECT_EQ(error_of(*client), row.client_error);
    EXPECT_EQ(server->identity().alpn, row.chosen);
    EXPECT_EQ(server->identity().server_name, "etcd.local");
  }
}

TEST_F(SessionTest, VersionsThatDoNotMeet) {
  Options so = server_options(), co = client_options();
  so.min_version = Version::kTls13;
  co.max_version = Version::kTls12;
  auto server = session(so, Role::kServer), client = session(co, Role::kClient);
  shake(*client, *server);
  EXPECT_EQ(error_of(*server), "tls: client offered only unsupported versions: [303 302 301]");
  EXPECT_EQ(error_of(*client), "remote error: tls: protocol version not supported");

  so.min_version = Version::kDefault;
  so.max_version = Version::kTls12;
  co.max_version = Version::kDefault;
  co.min_version = Version::kTls13;
  server = session(so, Role::kServer);
  client = session(co, Role::kClient);
  shake(*client, *server);
  EXPECT_EQ(error_of(*server), "tls: client offered only unsupported versions: [304]");
}

TEST_F(SessionTest, SuitesRestrictTls12Only) {
  Options so = server_options(), co = client_options();
  so.cipher_suites = *parse_cipher_suites({"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"});
  so.max_version = Version::kTls12;
  auto server = session(so, Role::kServer), client = session(co, Role::kClient);
  shake(*client, *server);
  EXPECT_EQ(server->identity().cipher_suite, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384");

  so.cipher_suites = *parse_cipher_suites({"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"});
  server = session(so, Role::kServer);
  client = session(co, Role::kClient);
  shake(*client, *server);
  EXPECT_TRUE(error_of(*server).starts_with(
      "tls: no cipher suite supported by both client and server; client offered: [1301 1302 1303 c02b "))
      << error_of(*server);
  EXPECT_EQ(error_of(*client), "remote error: tls: handshake failure");

  so.max_version = Version::kDefault;
  server = session(so, Role::kServer);
  client = session(co, Role::kClient);
  shake(*client, *server);
  EXPECT_EQ(server->identity().cipher_suite, "TLS_AES_128_GCM_SHA256");

  // OpenSSL has no RC4.
  so.cipher_suites = *parse_cipher_suites({"TLS_ECDHE_RSA_WITH_RC4_128_SHA"});
  server = session(so, Role::kServer);
  client = session(co, Role::kClient);
  shake(*client, *server);
  EXPECT_EQ(server->state(), State::kOpen);
  so.max_version = Version::kTls12;
  EXPECT_EQ(Credentials::load(so, Role::kServer, *files_.fs, clock_, nullptr).error().text(),
            "tls: none of the cipher suites given is supported");
}

struct CertificateRow {
  std::string name;
  std::string server_error, client_error12, client_error13;
};

TEST_F(SessionTest, ClientCertificatesThatAreRefused) {
  const Issued other = testing::make_ca("other"), twin = testing::make_ca("ca");
  std::map<std::string, Issued> leaves;
  leaves["other"] = issue({.cn = "x"}, &other);
  leaves["twin"] = issue({.cn = "x"}, &twin);
  leaves["expired"] = issue({.cn = "x", .from = kNow - 2 * kDay, .to = kNow - kDay}, &ca_);
  leaves["early"] = issue({.cn = "x", .from = kNow + kDay}, &ca_);
  leaves["usage"] = issue({.cn = "x", .client_auth = false}, &ca_);
  leaves["itself"] = issue({.cn = "x"});
  const std::string verify = "tls: failed to verify certificate: ";
  const CertificateRow rows[] = {
      {"", "tls: client didn't provide a certificate", "handshake failure", "certificate required"},
      {"other", verify + "x509: certificate signed by unknown authority", "unknown certificate authority",
       ""},
      {"itself", verify + "x509: certificate signed by unknown authority", "unknown certificate authority",
       ""},
      {"twin",
       verify +
           "x509: certificate signed by unknown authority (possibly because of \"x509: ECDSA verification "
           "failure\" while trying to verify candidate authority certificate \"ca\")",
       "unknown certificate authority", ""},
      {"expired",
       verify +
           "x509: certificate has expired or is not yet valid: current time 2027-01-15T08:00:00Z is after "
           "2027-01-14T08:00:00Z",
       "expired certificate", ""},
      {"early",
       verify +
           "x509: certificate has expired or is not yet valid: current time 2027-01-15T08:00:00Z is before "
           "2027-01-16T08:00:00Z",
       "expired certificate", ""},
      {"usage", verify + "x509: certificate specifies an incompatible key usage", "bad certificate", ""},
  };
  for (const Version v : {Version::kTls12, Version::kTls13}) {
    for (const CertificateRow& row : rows) {
      Options co;
      co.trusted_ca_file = files_.write("ca.crt", ca_.cert_pem());
      if (!row.name.empty()) {
        co = files_.side("bad", leaves[row.name]);
        co.trusted_ca_file = files_.path("ca.crt");
      }
      co.max_version = v;
      auto server = session(demanding(), Role::kServer), client = session(co, Role::kClient);
      shake(*client, *server);
      EXPECT_EQ(error_of(*server), row.server_error);
      EXPECT_FALSE(server->identity().has_certificate);
      if (v == Version::kTls13) (void)read_all(*client);
      EXPECT_EQ(
          error_of(*client),
          "remote error: tls: " +
              (v == Version::kTls13 && !row.client_error13.empty() ? row.client_error13 : row.client_error12))
          << row.name;
    }
  }
}

TEST_F(SessionTest, AllowListsLookAtTheVerifiedLeafInBothRoles) {
  Options so = demanding();
  so.allowed_cns = {"bob", "alice"};
  auto server = session(so, Role::kServer), client = session(client_options(), Role::kClient);
  shake(*client, *server);
  EXPECT_EQ(server->state(), State::kOpen) << error_of(*server);

  so.allowed_cns = {"bob"};
  server = session(so, Role::kServer);
  client = session(client_options(), Role::kClient);
  shake(*client, *server);
  (void)read_all(*client);
  EXPECT_EQ(error_of(*server), "client certificate authentication failed");
  EXPECT_EQ(error_of(*client), "remote error: tls: bad certificate");
  // Its chain was good, so etcd's log line has its names.
  EXPECT_TRUE(server->identity().has_certificate);
  EXPECT_EQ(server->identity().names.ip_texts(), std::vector<std::string>{"10.0.0.7"});

  so.allowed_cns.clear();
  so.allowed_hostnames = {"a.local"};
  server = session(so, Role::kServer);
  client = session(client_options(), Role::kClient);
  shake(*client, *server);
  EXPECT_EQ(server->state(), State::kOpen) << error_of(*server);

  // The dialling side asks it of the server.
  Options co = client_options();
  co.allowed_hostnames = {"b.local"};
  server = session(demanding(), Role::kServer);
  client = session(co, Role::kClient);
  shake(*client, *server);
  EXPECT_EQ(error_of(*client), "client certificate authentication failed");
  EXPECT_EQ(error_of(*server), "remote error: tls: bad certificate");
  co.insecure_skip_verify = true;
  client = session(co, Role::kClient);
  server = session(demanding(), Role::kServer);
  shake(*client, *server);
  EXPECT_EQ(error_of(*client), "client certificate authentication failed");
}

TEST_F(SessionTest, ServerCertificatesThatAreRefused) {
  auto server = session(server_options(), Role::kServer);
  auto client = session(client_options(), Role::kClient, {.host = "10.1.1.1", .alpn = {}});
  shake(*client, *server);
  EXPECT_EQ(error_of(*client),
            "tls: failed to verify certificate: x509: certificate is valid for 127.0.0.1, not 10.1.1.1");
  EXPECT_EQ(error_of(*server), "remote error: tls: bad certificate");

  Options co = client_options();
  co.trusted_ca_file = files_.write("other", testing::make_ca("other").cert_pem());
  server = session(server_options(), Role::kServer);
  client = session(co, Role::kClient);
  shake(*client, *server);
  EXPECT_EQ(error_of(*client),
            "tls: failed to verify certificate: x509: certificate signed by unknown authority");
  EXPECT_EQ(error_of(*server), "remote error: tls: bad certificate");

  co.insecure_skip_verify = true;
  server = session(server_options(), Role::kServer);
  client = session(co, Role::kClient);
  shake(*client, *server);
  EXPECT_EQ(client->state(), State::kOpen);
  EXPECT_EQ(client->identity().names.common_name, "server");
}

// Go's rules for the roots of the system: the first readable file, and all files of the folders.
TEST_F(SessionTest, RootsOfTheSystem) {
  const std::string right = ca_.cert_pem(), other = testing::make_ca("other").cert_pem();
  const auto trusts = [&](const Options& o) {
    auto server = session(server_options(), Role::kServer), client = session(o, Role::kClient);
    shake(*client, *server);
    return client->state() == State::kOpen;
  };
  Options co;  // without a pair
  co.system_root_files = {files_.path("missing"), files_.write("first", "# nothing\n" + other),
                          files_.write("second", right)};
  co.system_root_dirs = {files_.path("no-such-folder")};
  EXPECT_FALSE(trusts(co));  // the second file is not looked at
  std::filesystem::create_directories(files_.path("roots/below"));
  files_.write("roots/junk", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  files_.write("roots/below/ca.pem", right);
  co.system_root_dirs.push_back(files_.path("roots"));
  EXPECT_FALSE(trusts(co));  // folders below are not looked at
  files_.write("roots/ca.pem", right);
  std::filesystem::create_symlink("ca.pem", files_.path("roots/5ed36f99.0"));
  EXPECT_TRUE(trusts(co));

  // The variables stand in place of the defaults.
  Options fresh;
  fresh.override_system_roots(nullptr, "");
  EXPECT_EQ(fresh.system_root_files, Options::default_system_root_files());
  EXPECT_EQ(fresh.system_root_dirs, Options::default_system_root_dirs());
  fresh.override_system_roots(files_.path("second").c_str(), nullptr);
  EXPECT_EQ(fresh.system_root_dirs, Options::default_system_root_dirs());
  fresh.system_root_dirs.clear();
  EXPECT_TRUE(trusts(fresh));
  fresh.override_system_roots("/no/such/file",
                              (files_.path("no-such-folder") + ":" + files_.path("roots")).c_str());
  EXPECT_EQ(fresh.system_root_dirs.size(), 2u);
  EXPECT_TRUE(trusts(fresh));
  fresh.override_system_roots(nullptr, files_.path("no-such-folder").c_str());
  EXPECT_FALSE(trusts(fresh));
}

TEST_F(SessionTest, IntermediatesComeWithTheCertificate) {
  const Issued middle = issue({.cn = "middle", .ca = true}, &ca_);
  const Issued leaf = issue({.cn = "deep"}, &middle);
  Options co = files_.side("deep", leaf, &ca_);
  auto server = session(demanding(), Role::kServer), client = session(co, Role::kClient);
  shake(*client, *server);
  EXPECT_EQ(error_of(*server),
            "tls: failed to verify certificate: x509: certificate signed by unknown authority");
  files_.write("deep.crt", leaf.cert_pem() + middle.cert_pem());
  server = session(demanding(), Role::kServer);
  client = session(co, Role::kClient);
  shake(*client, *server);
  EXPECT_EQ(server->state(), State::kOpen) << error_of(*server);
  EXPECT_EQ(server->identity().serials.size(), 2u);

  // One that may not sign.
  const Issued fake = issue({.cn = "fake"}, &ca_);
  const Issued below = issue({.cn = "below"}, &fake);
  co = files_.side("below", below, &ca_);
  files_.write("below.crt", below.cert_pem() + fake.cert_pem());
  server = session(demanding(), Role::kServer);
  client = session(co, Role::kClient);
  shake(*client, *server);
  EXPECT_EQ(
      error_of(*server),
      "tls: failed to verify certificate: x509: certificate signed by unknown authority (possibly because of "
      "\"x509: invalid signature: parent certificate cannot sign this kind of certificate\" while trying to "
      "verify candidate authority certificate \"fake\")");
}

TEST_F(SessionTest, RevokedSerialsEndTheConnectionAfterTheHandshake) {
  Options so = demanding();
  so.crl_file = files_.write("crl", testing::make_crl(ca_, {1, 0x0a1b}));
  auto server = session(so, Role::kServer), client = session(client_options(), Role::kClient);
  shake(*client, *server);
  EXPECT_EQ(error_of(*server), "transport: certificate serial 0a1b revoked");
  EXPECT_EQ(client->state(), State::kOpen);
  EXPECT_EQ(read_all(*client), "");
  EXPECT_TRUE(client->at_end());
  EXPECT_TRUE(server->identity().has_certificate);

  files_.write("crl", testing::make_crl(ca_, {1}));
  server = session(so, Role::kServer);
  client = session(client_options(), Role::kClient);
  shake(*client, *server);
  EXPECT_EQ(server->state(), State::kOpen);

  files_.write("crl", "-----BEGIN X509 CRL-----\nMIIB\n-----END X509 CRL-----\n");
  server = session(so, Role::kServer);
  client = session(client_options(), Role::kClient);
  shake(*client, *server);
  EXPECT_EQ(error_of(*server), "x509: malformed crl");

  so.crl_file = "/nowhere/crl";
  server = session(so, Role::kServer);
  client = session(client_options(), Role::kClient);
  shake(*client, *server);
  EXPECT_EQ(error_of(*server), "open /nowhere/crl: no such file or directory");
}

// ---- bytes

TEST_F(SessionTest, OneByteAtATime) {
  for (const Version v : {Version::kTls12, Version::kTls13}) {
    Options so = demanding();
    so.max_version = v;
    auto server = session(so, Role::kServer), client = session(client_options(), Role::kClient);
    shake(*client, *server, 1);
    ASSERT_EQ(server->state(), State::kOpen) << error_of(*server);
    client->write("hello");
    for (const char c : client->take_output()) server->feed({&c, 1});
    EXPECT_EQ(read_all(*server), "hello");
  }
}

TEST_F(SessionTest, TruncatedAtEachByte) {
  auto server = session(demanding(), Role::kServer), client = session(client_options(), Role::kClient);
  client->step();
  const std::string hello = client->take_output();
  for (size_t n = 0; n <= hello.size(); ++n) {
    auto cut = session(demanding(), Role::kServer);
    cut->feed(std::string_view(hello).substr(0, n));
    cut->feed_eof();
    while (cut->wants_step()) cut->step();
    EXPECT_EQ(error_of(*cut), n == 0 || n == hello.size() ? "EOF" : "unexpected EOF") << n;
  }
  // And later, in what is encrypted.
  server->feed(hello);
  shake(*client, *server);
  client->write("0123456789");
  const std::string record = client->take_output();
  server->feed(std::string_view(record).substr(0, record.size() - 1));
  server->feed_eof();
  EXPECT_EQ(read_all(*server), "");
  EXPECT_EQ(error_of(*server), "unexpected EOF");
  EXPECT_FALSE(server->at_end());
}

TEST_F(SessionTest, WhatIsNotTls) {
  struct Row {
    std::string bytes, error, sent;
  };
  const Row rows[] = {
      {"GET /health HTTP/1.1\r\n\r\n", "tls: first record does not look like a TLS handshake", ""},
      {"PRI * HTTP/2.0\r\n\r\n", "tls: first record does not look like a TLS handshake", ""},
      {std::string("\x80\x2e\x01\x00\x02", 5), "tls: unsupported SSLv2 handshake received",
       std::string("\x15\x03\x01\x00\x02\x02\x46", 7)},
      {std::string("\x16\x03\x01\x00\x05\x01\x01\x00\x01\x00", 10),
       "tls: handshake message of length 65537 bytes exceeds maximum of 65536 bytes",
       std::string("\x15\x03\x01\x00\x02\x02\x50", 7)},
      {std::string("\x15\x03\x01\x00\x02\x02\x28", 7), "remote error: tls: handshake failure", ""},
      {std::string("\x15\x03\x01\x00\x02\x01\x00", 7), "EOF", ""},
  };
  for (const Row& row : rows) {
    for (const size_t piece : {size_t{1}, row.bytes.size()}) {
      auto server = session(server_options(), Role::kServer);
      for (size_t at = 0; at < row.bytes.size(); at += piece) server->feed(row.bytes.substr(at, piece));
      while (server->wants_step()) server->step();
      EXPECT_EQ(error_of(*server), row.error);
      EXPECT_EQ(server->take_output(), row.sent);
    }
  }
  // A client's certificate for a hello; a record that is too long.
  auto server = session(server_options(), Role::kServer);
  server->feed(std::string("\x16\x03\x01\x00\x04\x0b\x00\x00\x00", 9));
  while (server->wants_step()) server->step();
  EXPECT_EQ(error_of(*server), "local error: tls: unexpected message");
  server = session(server_options(), Role::kServer);
  server->feed(std::string("\x16\x03\x01\xff\xff", 5) + std::string(100, 'x'));
  while (server->wants_step()) server->step();
  EXPECT_EQ(error_of(*server), "tls: oversized record received with length 65535");
}

TEST_F(SessionTest, HandshakesAreBoundedInBytes) {
  auto server = session(server_options(), Role::kServer);
  // Handshake records that carry a hello which never ends.
  std::string record("\x16\x03\x01\x40\x00\x01\x00\xff\xff", 9);
  record.resize(5 + 16384, 'x');
  size_t fed = 0;
  for (int i = 0; i < 1000 && server->state() == State::kHandshake; ++i, fed += record.size()) {
    server->feed(record);
    while (server->wants_step()) server->step();
  }
  EXPECT_LE(fed, kHandshakeBytesMax);
  EXPECT_EQ(server->state(), State::kFailed);
}

TEST_F(SessionTest, CloseNotifyAndEof) {
  auto server = session(server_options(), Role::kServer), client = session(client_options(), Role::kClient);
  shake(*client, *server);
  client->write("last");
  client->close();
  client->write("nothing");
  server->feed(client->take_output());
  EXPECT_EQ(read_all(*server), "last");
  EXPECT_TRUE(server->at_end());
  EXPECT_EQ(server->state(), State::kOpen);
  // The other direction still works.
  server->write("answer");
  server->close();
  client->feed(server->take_output());
  EXPECT_EQ(read_all(*client), "answer");
  EXPECT_TRUE(client->at_end());

  server = session(server_options(), Role::kServer);
  client = session(client_options(), Role::kClient);
  shake(*client, *server);
  server->feed_eof();
  EXPECT_FALSE(server->at_end());
  EXPECT_EQ(read_all(*server), "");
  EXPECT_TRUE(server->at_end());
}

TEST_F(SessionTest, ABrokenRecordEndsTheSession) {
  auto server = session(server_options(), Role::kServer), client = session(client_options(), Role::kClient);
  shake(*client, *server);
  client->write("hello");
  std::string record = client->take_output();
  record.back() = static_cast<char>(record.back() ^ 1);
  server->feed(record);
  EXPECT_EQ(read_all(*server), "");
  EXPECT_EQ(error_of(*server), "local error: tls: bad record MAC");
  client->feed(server->take_output());
  EXPECT_EQ(read_all(*client), "");
  EXPECT_EQ(error_of(*client), "remote error: tls: bad record MAC");
}

}  // namespace
}  // namespace quoin::tls
