// What needs a client that does more than ours: it keeps tickets, updates keys, speaks old versions.
// OpenSSL's own, over two strings.
#include <gtest/gtest.h>

#include "tls/tls_test_util.h"

namespace quoin::tls {
namespace {
using testing::error_of;
using testing::issue;
using testing::Issued;
using testing::kDay;
using testing::kNow;
using State = Session::State;

class RawClient {
 public:
  RawClient(const Issued* pair, int version, SSL_SESSION* resume, int level = 1) {
    ctx_.reset(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_security_level(ctx_.get(), level);
    SSL_CTX_set_min_proto_version(ctx_.get(), version < TLS1_2_VERSION ? TLS1_VERSION : version);
    SSL_CTX_set_max_proto_version(ctx_.get(), version);
    SSL_CTX_set_session_cache_mode(ctx_.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx_.get(), [](SSL* s, SSL_SESSION* session) {
      auto* self = static_cast<RawClient*>(SSL_get_app_data(s));
      SSL_SESSION_free(self->ticket);
      self->ticket = session;
      return 1;
    });
    if (pair != nullptr) {
      SSL_CTX_use_certificate(ctx_.get(), pair->certificate.get());
      SSL_CTX_use_PrivateKey(ctx_.get(), pair->key.get());
    }
    ssl.reset(SSL_new(ctx_.get()));
    SSL_set_app_data(ssl.get(), this);
    SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    if (resume != nullptr) SSL_set_session(ssl.get(), resume);
    SSL_set_connect_state(ssl.get());
  }
  ~RawClient() { SSL_SESSION_free(ticket); }
  // Both sides until they rest.
  void talk(Session& server) {
    for (bool moved = true; moved;) {
      moved = false;
      char buffer[20'000];
      (void)SSL_do_handshake(ssl.get());
      if (SSL_is_init_finished(ssl.get())) (void)SSL_read(ssl.get(), buffer, sizeof buffer);
      ERR_clear_error();
      for (int n; (n = BIO_read(SSL_get_wbio(ssl.get()), buffer, sizeof buffer)) > 0; moved = true) {
        server.feed({buffer, static_cast<size_t>(n)});
        while (server.wants_step()) server.step();
        (void)testing::read_all(server);
      }
      if (server.has_output()) {
        const std::string out = server.take_output();
        BIO_write(SSL_get_rbio(ssl.get()), out.data(), static_cast<int>(out.size()));
        moved = true;
      }
    }
  }
  bool resumed() const { return SSL_session_reused(ssl.get()) == 1; }

  SslPtr ssl;
  SSL_SESSION* ticket = nullptr;

 private:
  SslCtxPtr ctx_;
};

class ResumeTest : public ::testing::Test {
 protected:
  std::unique_ptr<Session> server() {
    auto made = Credentials::load(options_, Role::kServer, *files_.fs, clock_, tickets_);
    EXPECT_TRUE(made.has_value()) << made.error().text();
    return std::make_unique<Session>(*made, SessionOptions{});
  }

  testing::Files files_;
  testing::FakeClock clock_;
  std::shared_ptr<TicketKeys> tickets_ = std::make_shared<TicketKeys>(clock_);
  Issued ca_ = testing::make_ca();
  Issued pair_ = issue({.ips = {"127.0.0.1"}}, &ca_);
  // OpenSSL keeps the times of its tickets by the machine's clock; the certificates end by ours.
  Issued client_ = issue({.cn = "alice", .to = kNow + 2 * kDay, .serial = 77}, &ca_);
  Options options_ = files_.side("server", pair_, &ca_);
};

TEST_F(ResumeTest, ATicketBringsIdentityBackWhileItsCertificateIsGood) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    clock_.ns = 0;
    options_.crl_file = files_.write("crl", testing::make_crl(ca_, {1}));
    RawClient first(&client_, version, nullptr);
    auto one = server();
    first.talk(*one);
    ASSERT_EQ(one->state(), State::kOpen) << error_of(*one);
    ASSERT_NE(first.ticket, nullptr);
    EXPECT_FALSE(first.resumed());

    RawClient second(&client_, version, first.ticket);
    auto two = server();
    second.talk(*two);
    ASSERT_EQ(two->state(), State::kOpen) << error_of(*two);
    EXPECT_TRUE(second.resumed());
    EXPECT_TRUE(two->identity().resumed);
    EXPECT_EQ(two->identity().names.common_name, "alice");
    EXPECT_EQ(two->identity().serials, one->identity().serials);

    // Revoked since: a ticket does not help.
    options_.crl_file = files_.write("crl", testing::make_crl(ca_, {77}));
    RawClient third(&client_, version, first.ticket);
    auto three = server();
    third.talk(*three);
    EXPECT_EQ(error_of(*three), "transport: certificate serial 4d revoked");
    options_.crl_file.clear();

    // The certificate has ended since: the handshake is a whole one, and fails.
    clock_.ns = 3 * kDay * io::kSecond;
    RawClient fourth(&client_, version, first.ticket);
    auto four = server();
    fourth.talk(*four);
    EXPECT_TRUE(error_of(*four).starts_with(
        "tls: failed to verify certificate: x509: certificate has expired or is not yet valid"))
        << error_of(*four);
  }
}

TEST_F(ResumeTest, TicketsOfOtherTrustAreIgnored) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    options_ = files_.side("server", pair_, &ca_);
    RawClient first(&client_, version, nullptr);
    auto one = server();
    first.talk(*one);
    ASSERT_NE(first.ticket, nullptr);
    for (const int change : {0, 1}) {
      options_ = files_.side("server", pair_, &ca_);
      if (change == 0) options_.allowed_cns = {"alice", "bob"};
      if (change == 1) files_.write("server.ca", ca_.cert_pem() + testing::make_ca("another").cert_pem());
      RawClient next(&client_, version, first.ticket);
      auto two = server();
      next.talk(*two);
      EXPECT_EQ(two->state(), State::kOpen) << error_of(*two);
      EXPECT_FALSE(next.resumed());
      EXPECT_EQ(two->identity().names.common_name, "alice");
    }
  }
}

TEST_F(ResumeTest, ABrokenPairStillResumesTls13AsGoDoes) {
  RawClient first(&client_, TLS1_3_VERSION, nullptr);
  auto loaded = Credentials::load(options_, Role::kServer, *files_.fs, clock_, tickets_);
  ASSERT_TRUE(loaded.has_value());
  Session one(*loaded, {});
  first.talk(one);
  files_.write("server.key", "nothing");
  const auto broken = Credentials::renew(**loaded, FileContents::read(options_, *files_.fs));
  ASSERT_TRUE(broken->pair_error().has_value());
  RawClient second(&client_, TLS1_3_VERSION, first.ticket);
  Session two(broken, {});
  second.talk(two);
  EXPECT_EQ(two.state(), State::kOpen) << error_of(two);
  RawClient third(&client_, TLS1_3_VERSION, nullptr);
  Session three(broken, {});
  third.talk(three);
  EXPECT_EQ(error_of(three), "tls: failed to find any PEM data in key input");
}

TEST_F(ResumeTest, KeysRotateDailyAndLastAWeek) {
  const auto first = tickets_->newest();
  ASSERT_TRUE(first.has_value());
  const std::string name(first->name.begin(), first->name.end());
  EXPECT_TRUE(tickets_->find(name)->newest);
  clock_.ns += TicketKeys::kRotation;
  EXPECT_NE(tickets_->newest()->name, first->name);
  ASSERT_TRUE(tickets_->find(name).has_value());
  EXPECT_FALSE(tickets_->find(name)->newest);
  clock_.ns += TicketKeys::kLifetime;
  EXPECT_FALSE(tickets_->find(name).has_value());
  EXPECT_FALSE(tickets_->find("unknown").has_value());
}

TEST_F(ResumeTest, OldVersionsAreNamed) {
  options_ = files_.side("server", pair_);
  RawClient client(nullptr, TLS1_1_VERSION, nullptr, 0);
  auto s = server();
  client.talk(*s);
  EXPECT_EQ(error_of(*s), "tls: client offered only unsupported versions: [302 301]");
}

TEST_F(ResumeTest, KeyUpdatesAreBoundedUnlessDataCome) {
  RawClient client(&client_, TLS1_3_VERSION, nullptr);
  auto s = server();
  client.talk(*s);
  const auto update = [&] {
    SSL_key_update(client.ssl.get(), SSL_KEY_UPDATE_REQUESTED);
    client.talk(*s);
  };
  for (int i = 0; i < 100; ++i) {
    update();
    SSL_write(client.ssl.get(), "x", 1);
    client.talk(*s);
  }
  EXPECT_EQ(s->state(), State::kOpen) << error_of(*s);
  for (int i = 0; i < 16; ++i) update();
  EXPECT_EQ(s->state(), State::kOpen) << error_of(*s);
  update();
  EXPECT_EQ(error_of(*s), "tls: too many non-advancing records");
}

TEST_F(ResumeTest, NoRenegotiation) {
  RawClient client(&client_, TLS1_2_VERSION, nullptr);
  auto s = server();
  client.talk(*s);
  ASSERT_EQ(s->state(), State::kOpen) << error_of(*s);
  SSL_renegotiate(client.ssl.get());
  client.talk(*s);
  EXPECT_EQ(error_of(*s),
            "tls: received unexpected handshake message of type *tls.clientHelloMsg when waiting for "
            "*tls.helloRequestMsg");
}

}  // namespace
}  // namespace quoin::tls
