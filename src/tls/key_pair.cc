#include "tls/key_pair.h"

#include <openssl/ec.h>

#include <algorithm>
#include <array>

#include "tls/pem.h"

namespace quoin::tls {
namespace {
constexpr std::string_view kPrivateKey = "PRIVATE KEY";

Error malformed(std::string_view text) {
  return Error(Code::kMalformed, std::string(text));
}

// Go's %v of a []string.
std::string plain_list(const std::vector<std::string>& strings) {
  std::string text = "[";
  for (const std::string& s : strings) text.append(text.size() > 1 ? " " : "").append(s);
  return text + "]";
}

bool known_curve(EVP_PKEY* key) {
  std::array<char, 32> name{};
  size_t size = 0;
  if (EVP_PKEY_get_group_name(key, name.data(), name.size(), &size) != 1) return false;
  const std::string_view curve(name.data(), size);
  return curve == SN_X9_62_prime256v1 || curve == SN_secp384r1 || curve == SN_secp521r1 ||
         curve == SN_secp224r1;
}

Result<PkeyPtr> parse_key(std::string_view der) {
  // PKCS#1, PKCS#8 or SEC 1, whichever it is.
  const auto* p = reinterpret_cast<const unsigned char*>(der.data());
  PkeyPtr key(d2i_AutoPrivateKey(nullptr, &p, static_cast<long>(der.size())));
  ERR_clear_error();
  if (!key) return malformed("tls: failed to parse private key");
  const int type = EVP_PKEY_get_base_id(key.get());
  if (type == EVP_PKEY_EC && !known_curve(key.get())) return malformed("tls: failed to parse private key");
  if (type != EVP_PKEY_RSA && type != EVP_PKEY_EC && type != EVP_PKEY_ED25519)
    return malformed("tls: found unknown private key type in PKCS#8 wrapping");
  return key;
}

Result<> check_match(const X509* leaf, EVP_PKEY* key) {
  EVP_PKEY* shown = X509_get0_pubkey(leaf);
  const int type = EVP_PKEY_get_base_id(shown);
  if (type != EVP_PKEY_RSA && type != EVP_PKEY_EC && type != EVP_PKEY_ED25519)
    return malformed("tls: unknown public key algorithm");
  if (type != EVP_PKEY_get_base_id(key))
    return malformed("tls: private key type does not match public key type");
  const bool same = EVP_PKEY_eq(shown, key) == 1;
  ERR_clear_error();
  if (!same) return malformed("tls: private key does not match public key");
  return {};
}
}  // namespace

Result<KeyPair> parse_key_pair(std::string_view cert_pem, std::string_view key_pem) {
  std::vector<std::string> certificates, skipped;
  while (auto block = next_pem_block(cert_pem)) {
    if (block->type == "CERTIFICATE") {
      certificates.push_back(std::move(block->bytes));
    } else {
      skipped.push_back(std::move(block->type));
    }
  }
  if (certificates.empty()) {
    if (skipped.empty()) return malformed("tls: failed to find any PEM data in certificate input");
    if (skipped.size() == 1 && skipped[0].ends_with(kPrivateKey))
      return malformed(
          "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM "
          "inputs "
          "may have been switched");
    return malformed(fmt::format(
        "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks "
        "of the following types: {}",
        plain_list(skipped)));
  }
  skipped.clear();
  std::optional<PemBlock> key_block;
  for (;;) {
    key_block = next_pem_block(key_pem);
    if (!key_block || key_block->type == kPrivateKey ||
        key_block->type.ends_with(std::string(" ").append(kPrivateKey)))
      break;
    skipped.push_back(std::move(key_block->type));
  }
  if (!key_block) {
    if (skipped.empty()) return malformed("tls: failed to find any PEM data in key input");
    if (skipped.size() == 1 && skipped[0] == "CERTIFICATE")
      return malformed("tls: found a certificate rather than a key in the PEM for the private key");
    return malformed(fmt::format(
        "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping "
        "PEM blocks of the following types: {}",
        plain_list(skipped)));
  }
  KeyPair pair;
  ASSIGN_OR_RETURN(pair.leaf, parse_certificate(certificates[0]));
  ASSIGN_OR_RETURN(pair.key, parse_key(key_block->bytes));
  OPENSSL_cleanse(key_block->bytes.data(), key_block->bytes.size());
  TRY(check_match(pair.leaf.get(), pair.key.get()));
  for (size_t i = 1; i < certificates.size(); ++i) {
    ASSIGN_OR_RETURN(X509Ptr next, parse_certificate(certificates[i]));
    pair.chain.push_back(std::move(next));
  }
  return pair;
}

Result<std::vector<X509Ptr>> parse_certificates(std::string_view pem) {
  std::vector<X509Ptr> all;
  while (auto block = next_pem_block(pem)) {
    ASSIGN_OR_RETURN(X509Ptr one, parse_certificate(block->bytes));
    all.push_back(std::move(one));
  }
  return all;
}

}  // namespace quoin::tls
