// Owners of OpenSSL's objects, and what is read from its certificates. For the .cc files of this module
// alone: OpenSSL's headers reach no other header.
#pragma once
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "tls/names.h"

namespace quoin::tls {

template <auto Free>
struct Freer {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};
using X509Ptr = std::unique_ptr<X509, Freer<X509_free>>;
using X509CrlPtr = std::unique_ptr<X509_CRL, Freer<X509_CRL_free>>;
using X509StorePtr = std::unique_ptr<X509_STORE, Freer<X509_STORE_free>>;
using PkeyPtr = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using PkeyCtxPtr = std::unique_ptr<EVP_PKEY_CTX, Freer<EVP_PKEY_CTX_free>>;
using SslCtxPtr = std::unique_ptr<SSL_CTX, Freer<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, Freer<SSL_free>>;

// The certificate whose DER `bytes` are: "x509: malformed certificate", "x509: trailing data".
Result<X509Ptr> parse_certificate(std::string_view bytes);

CertificateNames names_of(const X509* certificate);

// Seconds since 1970. A time that cannot be read makes the certificate invalid: it begins never, or ended
// long ago.
int64_t not_before_of(const X509* certificate);
int64_t not_after_of(const X509* certificate);

// Big endian, without leading zeros.
std::string serial_bytes(const ASN1_INTEGER* serial);

inline bool same_certificate(const X509* a, const X509* b) {
  return X509_cmp(a, b) == 0;
}

}  // namespace quoin::tls
