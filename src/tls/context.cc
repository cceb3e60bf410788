#include "tls/context.h"

#include <openssl/sha.h>

#include <array>

#include "tls/credentials.h"
#include "tls/hooks.h"

namespace quoin::tls {
namespace {
constexpr const char* kSuites13 =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr const char* kGroups = "X25519:P-256:P-384:P-521";
// Go's defaultSupportedSignatureAlgorithms without its two last, of SHA-1.
constexpr const char* kSignatures =
    "RSA-PSS+SHA256:ECDSA+SHA256:ed25519:RSA-PSS+SHA384:RSA-PSS+SHA512:RSA+SHA256:RSA+SHA384:RSA+SHA512:"
    "ECDSA+SHA384:ECDSA+SHA512";
// Go's maxHandshakeCertificateMsg.
constexpr long kCertificateMessageMax = 256 << 10;
// RSA of 1024 bits at least and no SHA-1 in chains: Go's rules.
constexpr int kSecurityLevel = 1;

Error refused(std::string_view what) {
  const unsigned long e = ERR_peek_last_error();
  const char* reason = e != 0 ? ERR_reason_error_string(e) : nullptr;
  Error error = make_error(Code::kUnsupported, "tls: {}: {}", what, reason != nullptr ? reason : "refused");
  ERR_clear_error();
  return error;
}

Result<> set_versions(SSL_CTX* ctx, const Options& o, std::string_view list) {
  int min = o.min_version == Version::kDefault ? TLS1_2_VERSION : static_cast<int>(o.min_version);
  const int max = o.max_version == Version::kDefault ? TLS1_3_VERSION : static_cast<int>(o.max_version);
  if (list.empty()) {
    // Suites were named, and OpenSSL has none of them: nothing is left for TLS 1.2.
    if (max < TLS1_3_VERSION)
      return Error(Code::kUnsupported, "tls: none of the cipher suites given is supported");
    min = TLS1_3_VERSION;
  }
  if (SSL_CTX_set_min_proto_version(ctx, min) != 1 || SSL_CTX_set_max_proto_version(ctx, max) != 1)
    return refused("versions");
  return {};
}

Result<> set_algorithms(SSL_CTX* ctx, const Options& o) {
  const std::string list = openssl_cipher_list(o.cipher_suites);
  TRY(set_versions(ctx, o, list));
  SSL_CTX_set_security_level(ctx, kSecurityLevel);
  if (!list.empty() && SSL_CTX_set_cipher_list(ctx, list.c_str()) != 1) return refused("cipher suites");
  if (SSL_CTX_set_ciphersuites(ctx, kSuites13) != 1) return refused("cipher suites");
  if (SSL_CTX_set1_groups_list(ctx, kGroups) != 1) return refused("groups");
  if (SSL_CTX_set1_sigalgs_list(ctx, kSignatures) != 1) return refused("signature algorithms");
  return {};
}

Result<> set_pair(SSL_CTX* ctx, const KeyPair& pair) {
  if (SSL_CTX_use_certificate(ctx, pair.leaf.get()) != 1) return refused("certificate");
  if (SSL_CTX_use_PrivateKey(ctx, pair.key.get()) != 1) return refused("private key");
  for (const X509Ptr& x : pair.chain)
    if (SSL_CTX_add1_chain_cert(ctx, x.get()) != 1) return refused("certificate chain");
  return {};
}

Result<> set_anchors(SSL_CTX* ctx, const ContextParts& parts, bool demanded) {
  X509StorePtr store(X509_STORE_new());
  for (X509* x : parts.anchors)
    if (X509_STORE_add_cert(store.get(), x) != 1) return refused("trusted certificate");
  SSL_CTX_set_cert_store(ctx, store.release());
  if (!demanded || !parts.name_anchors) return {};
  for (X509* x : parts.anchors)
    if (SSL_CTX_add_client_CA(ctx, x) != 1) return refused("trusted certificate");
  return {};
}

// What a ticket is good for: the same trust and the same allow lists.
Result<> set_session_context(SSL_CTX* ctx, const Options& o, const ContextParts& parts) {
  std::string all = o.demands_client_certificate() ? "client certificate\n" : "none\n";
  for (X509* x : parts.anchors) {
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
    unsigned size = 0;
    if (X509_digest(x, EVP_sha256(), digest.data(), &size) != 1) return refused("digest");
    all.append(reinterpret_cast<char*>(digest.data()), size);
  }
  all += go_quote_list(o.allowed_cns) + go_quote_list(o.allowed_hostnames);
  std::array<unsigned char, SHA256_DIGEST_LENGTH> id{};
  SHA256(reinterpret_cast<const unsigned char*>(all.data()), all.size(), id.data());
  if (SSL_CTX_set_session_id_context(ctx, id.data(), id.size()) != 1) return refused("session context");
  return {};
}
}  // namespace

Result<SslCtxPtr> make_context(const Credentials& credentials, const ContextParts& parts) {
  const Options& o = credentials.options();
  const bool server = credentials.role() == Role::kServer;
  ERR_clear_error();
  SslCtxPtr ctx(SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()));
  if (!ctx) return refused("context");
  // The system's openssl.cnf may have set others of these: each is set here.
  SSL_CTX_clear_options(ctx.get(), SSL_CTX_get_options(ctx.get()));
  SSL_CTX_set_options(ctx.get(), SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
  SSL_CTX_set_mode(ctx.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN | SSL_MODE_AUTO_RETRY);
  SSL_CTX_set_session_cache_mode(ctx.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_max_cert_list(ctx.get(), kCertificateMessageMax);
  TRY(set_algorithms(ctx.get(), o));
  TRY(set_anchors(ctx.get(), parts, server && o.demands_client_certificate()));
  if (parts.pair != nullptr) TRY(set_pair(ctx.get(), *parts.pair));

  if (server) {
    TRY(set_session_context(ctx.get(), o, parts));
    SSL_CTX_set_timeout(ctx.get(), TicketKeys::kLifetime / io::kSecond);
    SSL_CTX_set_num_tickets(ctx.get(), credentials.tickets() != nullptr ? 1 : 0);
  }
  if (credentials.tickets() == nullptr) SSL_CTX_set_options(ctx.get(), SSL_OP_NO_TICKET);
  const int demand = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  SSL_CTX_set_verify(ctx.get(), !server || o.demands_client_certificate() ? demand : SSL_VERIFY_NONE,
                     nullptr);
  install_hooks(ctx.get(), credentials.role());
  ERR_clear_error();
  return ctx;
}

}  // namespace quoin::tls
