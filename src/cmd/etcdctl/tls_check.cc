#include "cmd/etcdctl/tls_check.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <memory>

#include "base/result.h"
#include "tls/ossl.h"

namespace quoin::ctl {
namespace {

using Bio = std::unique_ptr<BIO, tls::Freer<BIO_free>>;
using Certificate = tls::X509Ptr;
using Key = tls::PkeyPtr;
using Context = tls::SslCtxPtr;
using Connection = tls::SslPtr;

Bio read(const std::string& pem) {
  return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}
Certificate certificate_of(const std::string& pem) {
  return Certificate(PEM_read_bio_X509(read(pem).get(), nullptr, nullptr, nullptr));
}
Key key_of(const std::string& pem) {
  return Key(PEM_read_bio_PrivateKey(read(pem).get(), nullptr, nullptr, nullptr));
}

std::string verification_error(long result, const std::string& server_name) {
  switch (result) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return "x509: certificate signed by unknown authority";
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return "x509: certificate has expired or is not yet valid";
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return fmt::format("x509: certificate is not valid for {}", server_name);
    default:
      return fmt::format("x509: {}", X509_verify_cert_error_string(result));
  }
}

Context make_context(const TlsConfig& tls, const std::string& roots_pem) {
  Context context(SSL_CTX_new(TLS_client_method()));
  const Bio roots = read(tls.ca.empty() ? roots_pem : tls.ca);
  while (const Certificate c{PEM_read_bio_X509(roots.get(), nullptr, nullptr, nullptr)}) {
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), c.get());
  }
  if (!tls.certificate.empty()) {
    SSL_CTX_use_certificate(context.get(), certificate_of(tls.certificate).get());
    SSL_CTX_use_PrivateKey(context.get(), key_of(tls.key).get());
  }
  SSL_CTX_set_verify(context.get(), tls.skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
  constexpr unsigned char kHttp2[] = {2, 'h', '2'};
  SSL_CTX_set_alpn_protos(context.get(), kHttp2, sizeof kHttp2);
  return context;
}

}  // namespace

std::string pair_error(const std::string& certificate_pem, const std::string& key_pem) {
  const Certificate certificate = certificate_of(certificate_pem);
  const Key key = key_of(key_pem);
  ERR_clear_error();
  if (!certificate) return "tls: failed to find any PEM data in certificate input";
  if (!key) return "tls: failed to find any PEM data in key input";
  return X509_check_private_key(certificate.get(), key.get()) == 1
             ? ""
             : "tls: private key does not match public key";
}

std::string authorities_error(const std::string& pem) {
  const Bio bio = read(pem);
  char *name = nullptr, *header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  bool good = true;
  while (good && PEM_read_bio(bio.get(), &name, &header, &data, &size) == 1) {
    const unsigned char* at = data;
    good = Certificate(d2i_X509(nullptr, &at, size)) != nullptr;
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(data);
  }
  ERR_clear_error();
  return good ? "" : "x509: malformed certificate";
}

std::string handshake_error(int fd, const TlsConfig& tls, const std::string& roots_pem,
                            const std::string& server_name) {
  constexpr timeval kWait{1, 0};
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kWait, sizeof kWait);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &kWait, sizeof kWait);
  const Context context = make_context(tls, roots_pem);
  const Connection ssl(SSL_new(context.get()));
  SSL_set_fd(ssl.get(), fd);
  X509_VERIFY_PARAM* const wanted = SSL_get0_param(ssl.get());
  if (X509_VERIFY_PARAM_set1_ip_asc(wanted, server_name.c_str()) != 1) {
    X509_VERIFY_PARAM_set1_host(wanted, server_name.c_str(), 0);
    SSL_set_tlsext_host_name(ssl.get(), server_name.c_str());
  }
  ERR_clear_error();
  std::string why;
  const bool connected = SSL_connect(ssl.get()) == 1;
  if (const long result = SSL_get_verify_result(ssl.get()); !connected && result != X509_V_OK) {
    why = "tls: failed to verify certificate: " + verification_error(result, server_name);
  } else {
    // With TLS 1.3 the server refuses a client's certificate only behind the handshake.
    char byte = 0;
    if (connected) SSL_read(ssl.get(), &byte, 1);
    if (const unsigned long error = ERR_peek_last_error(); error != 0 && ERR_GET_LIB(error) == ERR_LIB_SSL) {
      const char* reason = ERR_reason_error_string(error);
      why = fmt::format("{}: {}", ERR_GET_REASON(error) > SSL_AD_REASON_OFFSET ? "remote error: tls" : "tls",
                        reason == nullptr ? "handshake failure" : reason);
    }
  }
  ERR_clear_error();
  return why;
}

}  // namespace quoin::ctl
