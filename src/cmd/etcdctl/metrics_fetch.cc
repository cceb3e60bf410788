#include "cmd/etcdctl/metrics_fetch.h"

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "base/go_text.h"
#include "cmd/etcdctl/dial_error.h"
#include "membership/go_url.h"
#include "tls/ossl.h"

namespace quoin::ctl {
namespace {

using Bio = std::unique_ptr<BIO, tls::Freer<BIO_free_all>>;
using Context = tls::SslCtxPtr;
using Certificate = tls::X509Ptr;
using Key = tls::PkeyPtr;

Bio memory(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string openssl_error() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* text = code == 0 ? nullptr : ERR_reason_error_string(code);
  return text == nullptr ? "EOF" : text;
}

void trust(SSL_CTX* context, const std::string& pem) {
  const Bio in = memory(pem);
  while (const Certificate ca{PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr)}) {
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), ca.get());
  }
  ERR_clear_error();
}

Context make_context(const TlsConfig& tls) {
  Context context(SSL_CTX_new(TLS_client_method()));
  if (tls.ca.empty()) {
    SSL_CTX_set_default_verify_paths(context.get());
  } else {
    trust(context.get(), tls.ca);
  }
  SSL_CTX_set_verify(context.get(), tls.skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
  if (!tls.certificate.empty()) {
    const Certificate own(PEM_read_bio_X509(memory(tls.certificate).get(), nullptr, nullptr, nullptr));
    const Key key(PEM_read_bio_PrivateKey(memory(tls.key).get(), nullptr, nullptr, nullptr));
    SSL_CTX_use_certificate(context.get(), own.get());
    SSL_CTX_use_PrivateKey(context.get(), key.get());
  }
  return context;
}

// The connection, or nothing after it failed.
Bio open(const std::string& host_port, const TlsConfig* tls, SSL_CTX* context) {
  if (tls == nullptr) return Bio(BIO_new_connect(host_port.c_str()));
  Bio bio(BIO_new_ssl_connect(context));
  SSL* ssl = nullptr;
  BIO_get_ssl(bio.get(), &ssl);
  BIO_set_conn_hostname(bio.get(), host_port.c_str());
  const auto parts = membership::split_host_port(host_port);
  const std::string host = parts ? parts->first : host_port;
  SSL_set_tlsext_host_name(ssl, host.c_str());
  if (!tls->skip_verify) {
    X509_VERIFY_PARAM* wanted = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(wanted, host.c_str()) != 1) {
      X509_VERIFY_PARAM_set1_host(wanted, host.c_str(), 0);
    }
  }
  return bio;
}

tl::expected<std::string, std::string> get(const std::string& url, const std::string& host_port, bool secure,
                                           const TlsConfig& tls) {
  const auto failed = [&](const std::string& why) {
    return tl::unexpected(fmt::format("fetch error: Get {}: {}", go_quote(url), why));
  };
  if (const std::string why = dial_error(read_endpoint(host_port)); !why.empty()) return failed(why);
  const Context context = secure ? make_context(tls) : nullptr;
  const Bio bio = open(host_port, secure ? &tls : nullptr, context.get());
  if (BIO_do_connect(bio.get()) != 1) return failed(openssl_error());
  // HTTP/1.0: the answer comes in one piece and ends with the connection.
  const std::string request = fmt::format("GET /metrics HTTP/1.0\r\nHost: {}\r\n\r\n", host_port);
  if (BIO_write(bio.get(), request.data(), static_cast<int>(request.size())) <= 0)
    return failed(openssl_error());
  constexpr size_t kPieceBytes = 16 * 1024, kBytesMax = 64 << 20;
  std::string answer, piece(kPieceBytes, '\0');
  for (int n = 0; answer.size() < kBytesMax &&
                  (n = BIO_read(bio.get(), piece.data(), static_cast<int>(piece.size()))) > 0;) {
    answer.append(piece, 0, static_cast<size_t>(n));
  }
  const size_t body = answer.find("\r\n\r\n");
  if (body == std::string::npos) return failed("EOF");
  return answer.substr(body + 4);
}

}  // namespace

tl::expected<double, std::string> fetch_metric(const std::string& endpoint, const TlsConfig& tls,
                                               const std::string& name) {
  constexpr std::string_view kHttp = "http://", kHttps = "https://";
  const bool secure = endpoint.starts_with(kHttps);
  const bool plain = endpoint.starts_with(kHttp);
  const std::string host_port = endpoint.substr(secure ? kHttps.size() : plain ? kHttp.size() : 0);
  const auto page =
      get(fmt::format("{}{}/metrics", secure ? kHttps : kHttp, host_port), host_port, secure, tls);
  if (!page) return tl::unexpected(page.error());
  const std::string line = "\n" + name + " ";
  const size_t at = ("\n" + *page).find(line);
  if (at == std::string::npos) return tl::unexpected("could not find: " + name);
  const char* begin = page->data() + at + line.size() - 1;
  const char* end = page->data() + page->size();
  double value = 0;
  if (std::from_chars(begin, end, value).ec != std::errc()) {
    const std::string text(begin, std::find(begin, end, '\n'));
    return tl::unexpected(
        fmt::format("parse error: strconv.ParseFloat: parsing {}: invalid syntax", go_quote(text)));
  }
  return value;
}

}  // namespace quoin::ctl
