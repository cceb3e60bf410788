#include "auth/jwt_key.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <array>

#include "tls/ossl.h"

namespace quoin::auth {
namespace {

using Pkey = tls::PkeyPtr;
using Bio = std::unique_ptr<BIO, tls::Freer<BIO_free>>;
using Certificate = tls::X509Ptr;
using Context = std::unique_ptr<EVP_MD_CTX, tls::Freer<EVP_MD_CTX_free>>;
using EcSignature = std::unique_ptr<ECDSA_SIG, tls::Freer<ECDSA_SIG_free>>;

enum class Family : uint8_t { kHmac, kRsa, kPss, kEcdsa, kEd25519 };
struct Method {
  std::string_view name;
  Family family;
  const EVP_MD* (*digest)();
  size_t half = 0;  // ECDSA: bytes of r and of s
  int curve_bits = 0;
};
constexpr std::array kMethods = {
    Method{"HS256", Family::kHmac, EVP_sha256},
    Method{"HS384", Family::kHmac, EVP_sha384},
    Method{"HS512", Family::kHmac, EVP_sha512},
    Method{"RS256", Family::kRsa, EVP_sha256},
    Method{"RS384", Family::kRsa, EVP_sha384},
    Method{"RS512", Family::kRsa, EVP_sha512},
    Method{"PS256", Family::kPss, EVP_sha256},
    Method{"PS384", Family::kPss, EVP_sha384},
    Method{"PS512", Family::kPss, EVP_sha512},
    Method{"ES256", Family::kEcdsa, EVP_sha256, 32, 256},
    Method{"ES384", Family::kEcdsa, EVP_sha384, 48, 384},
    Method{"ES512", Family::kEcdsa, EVP_sha512, 66, 521},
    Method{"EdDSA", Family::kEd25519, nullptr},
};

const unsigned char* bytes_of(std::string_view s) {
  return reinterpret_cast<const unsigned char*>(s.data());
}
unsigned char* bytes_of(std::string& s) {
  return reinterpret_cast<unsigned char*>(s.data());
}
Error argument(std::string_view text) {
  return Error(Code::kInvalidArgument, std::string(text));
}

// ---- keys ----

// The DER bytes of the first PEM block.
Result<std::string> first_block(std::string_view pem) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  char *name = nullptr, *header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  if (bio == nullptr || PEM_read_bio(bio.get(), &name, &header, &data, &size) != 1) {
    ERR_clear_error();
    return argument("invalid key: Key must be a PEM encoded PKCS1 or PKCS8 key");
  }
  std::string der(reinterpret_cast<const char*>(data), static_cast<size_t>(size));
  OPENSSL_cleanse(data, static_cast<size_t>(size));
  OPENSSL_free(name);
  OPENSSL_free(header);
  OPENSSL_free(data);
  return der;
}

struct Kind {
  const char* type;
  std::string_view wrong_private, wrong_public;
};
Kind kind_of(Family family) {
  switch (family) {
    case Family::kEcdsa:
      return {"EC", "key is not a valid ECDSA private key", "key is not a valid ECDSA public key"};
    case Family::kEd25519:
      return {"ED25519", "key is not a valid Ed25519 private key", "key is not a valid Ed25519 public key"};
    default:
      return {"RSA", "key is not a valid RSA private key", "key is not a valid RSA public key"};
  }
}

Result<Pkey> read_private(std::string_view pem, const Kind& kind) {
  ASSIGN_OR_RETURN(std::string der, first_block(pem));
  const unsigned char* at = bytes_of(der);
  Pkey key(d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(der.size())));
  OPENSSL_cleanse(der.data(), der.size());
  ERR_clear_error();
  if (key == nullptr || EVP_PKEY_is_a(key.get(), kind.type) != 1) return argument(kind.wrong_private);
  return key;
}

Result<Pkey> read_public(std::string_view pem, const Kind& kind) {
  ASSIGN_OR_RETURN(const std::string der, first_block(pem));
  const auto size = static_cast<long>(der.size());
  const unsigned char* at = bytes_of(der);
  Pkey key(d2i_PUBKEY(nullptr, &at, size));
  if (key == nullptr) {
    at = bytes_of(der);
    const Certificate certificate(d2i_X509(nullptr, &at, size));
    if (certificate != nullptr) key.reset(X509_get_pubkey(certificate.get()));
  }
  if (key == nullptr) {
    at = bytes_of(der);
    key.reset(d2i_PublicKey(EVP_PKEY_RSA, nullptr, &at, size));
  }
  ERR_clear_error();
  if (key == nullptr || EVP_PKEY_is_a(key.get(), kind.type) != 1) return argument(kind.wrong_public);
  return key;
}

// ---- signatures ----

class HmacKey final : public JwtKey {
 public:
  HmacKey(const Method& method, std::string_view secret) : method_(method), secret_(secret) {}
  Result<std::string> sign(std::string_view text) const override {
    std::string out(EVP_MAX_MD_SIZE, '\0');
    unsigned size = 0;
    if (HMAC(method_.digest(), secret_.data(), static_cast<int>(secret_.size()), bytes_of(text), text.size(),
             bytes_of(out), &size) == nullptr) {
      return make_error(Code::kCorruption, "the token cannot be signed");
    }
    out.resize(size);
    return out;
  }
  bool verify(std::string_view text, std::string_view signature) const override {
    const Result<std::string> right = sign(text);
    return right && right->size() == signature.size() &&
           CRYPTO_memcmp(right->data(), signature.data(), signature.size()) == 0;
  }
  bool verify_only() const override { return false; }

 private:
  const Method& method_;
  const std::string secret_;
};

class PublicKey final : public JwtKey {
 public:
  PublicKey(const Method& method, Pkey key, bool can_sign)
      : method_(method), key_(std::move(key)), can_sign_(can_sign) {}

  Result<std::string> sign(std::string_view text) const override {
    if (!can_sign_) return Code::kTokenVerifyOnly;
    // A key of another curve verifies nothing and signs nothing; golang-jwt says so when it signs.
    if (method_.family == Family::kEcdsa && EVP_PKEY_get_bits(key_.get()) != method_.curve_bits) {
      return make_error(Code::kInvalidArgument, "key is invalid");
    }
    const auto failed = [] {
      ERR_clear_error();
      return make_error(Code::kCorruption, "the token cannot be signed");
    };
    const Context context(EVP_MD_CTX_new());
    EVP_PKEY_CTX* parameters = nullptr;
    if (context == nullptr ||
        EVP_DigestSignInit(context.get(), &parameters, digest(), nullptr, key_.get()) != 1 ||
        !set_padding(parameters, RSA_PSS_SALTLEN_DIGEST)) {
      return failed();
    }
    size_t size = 0;
    if (EVP_DigestSign(context.get(), nullptr, &size, bytes_of(text), text.size()) != 1) return failed();
    std::string out(size, '\0');
    if (EVP_DigestSign(context.get(), bytes_of(out), &size, bytes_of(text), text.size()) != 1)
      return failed();
    out.resize(size);
    if (method_.family != Family::kEcdsa) return out;
    // OpenSSL's form is DER; a token has r and s, each of fixed length.
    const unsigned char* at = bytes_of(out);
    const EcSignature pair(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(out.size())));
    std::string raw(2 * method_.half, '\0');
    const auto half = static_cast<int>(method_.half);
    if (pair == nullptr || BN_bn2binpad(ECDSA_SIG_get0_r(pair.get()), bytes_of(raw), half) != half ||
        BN_bn2binpad(ECDSA_SIG_get0_s(pair.get()), bytes_of(raw) + half, half) != half) {
      return failed();
    }
    return raw;
  }

  bool verify(std::string_view text, std::string_view signature) const override {
    std::string der;
    if (method_.family == Family::kEcdsa) {
      if (signature.size() != 2 * method_.half || !to_der(signature, &der)) return false;
      signature = der;
    }
    const Context context(EVP_MD_CTX_new());
    EVP_PKEY_CTX* parameters = nullptr;
    const bool right = context != nullptr &&
                       EVP_DigestVerifyInit(context.get(), &parameters, digest(), nullptr, key_.get()) == 1 &&
                       set_padding(parameters, RSA_PSS_SALTLEN_AUTO) &&
                       EVP_DigestVerify(context.get(), bytes_of(signature), signature.size(), bytes_of(text),
                                        text.size()) == 1;
    if (!right) ERR_clear_error();
    return right;
  }
  bool verify_only() const override { return !can_sign_; }

 private:
  const EVP_MD* digest() const { return method_.digest == nullptr ? nullptr : method_.digest(); }
  bool set_padding(EVP_PKEY_CTX* parameters, int salt) const {
    if (method_.family != Family::kPss) return true;  // PKCS #1 v1.5 is OpenSSL's choice for RSA
    return EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, salt) == 1;
  }
  bool to_der(std::string_view raw, std::string* der) const {
    const auto half = static_cast<int>(method_.half);
    BIGNUM* r = BN_bin2bn(bytes_of(raw), half, nullptr);
    BIGNUM* s = BN_bin2bn(bytes_of(raw) + half, half, nullptr);
    const EcSignature pair(ECDSA_SIG_new());
    if (r == nullptr || s == nullptr || pair == nullptr || ECDSA_SIG_set0(pair.get(), r, s) != 1) {
      BN_free(r);
      BN_free(s);
      return false;
    }
    const int size = i2d_ECDSA_SIG(pair.get(), nullptr);
    if (size <= 0) return false;
    der->resize(static_cast<size_t>(size));
    unsigned char* out = bytes_of(*der);
    return i2d_ECDSA_SIG(pair.get(), &out) == size;
  }

  const Method& method_;
  const Pkey key_;
  const bool can_sign_;
};

}  // namespace

Result<std::unique_ptr<JwtKey>> JwtKey::make(std::string_view name, std::string_view private_key,
                                             std::string_view public_key) {
  // golang-jwt knows the name, and etcd has no key for it.
  if (name == "none") return argument("unsupported signing method: *jwt.signingMethodNone");
  const Method* method = nullptr;
  for (const Method& m : kMethods) {
    if (m.name == name) method = &m;
  }
  if (method == nullptr) return argument("auth: invalid auth options");
  if (method->family == Family::kHmac) {
    if (private_key.empty()) return argument("auth: missing key data");
    return std::unique_ptr<JwtKey>(std::make_unique<HmacKey>(*method, private_key));
  }
  const Kind kind = kind_of(method->family);
  Pkey own, shared;
  if (!private_key.empty()) {
    ASSIGN_OR_RETURN(own, read_private(private_key, kind));
  }
  if (!public_key.empty()) {
    ASSIGN_OR_RETURN(shared, read_public(public_key, kind));
  }
  if (own == nullptr && shared == nullptr) return argument("auth: missing key data");
  if (own != nullptr && shared != nullptr && EVP_PKEY_eq(own.get(), shared.get()) != 1) {
    ERR_clear_error();
    return argument("auth: public and private keys don't match");
  }
  const bool can_sign = own != nullptr;
  return std::unique_ptr<JwtKey>(
      std::make_unique<PublicKey>(*method, can_sign ? std::move(own) : std::move(shared), can_sign));
}

}  // namespace quoin::auth
