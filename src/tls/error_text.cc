#include "tls/error_text.h"

namespace quoin::tls {
namespace {
struct AlertName {
  uint8_t number;
  std::string_view text;
};
constexpr AlertName kAlerts[] = {
    {0, "close notify"},
    {10, "unexpected message"},
    {20, "bad record MAC"},
    {21, "decryption failed"},
    {22, "record overflow"},
    {30, "decompression failure"},
    {40, "handshake failure"},
    {42, "bad certificate"},
    {43, "unsupported certificate"},
    {44, "revoked certificate"},
    {45, "expired certificate"},
    {46, "unknown certificate"},
    {47, "illegal parameter"},
    {48, "unknown certificate authority"},
    {49, "access denied"},
    {50, "error decoding message"},
    {51, "error decrypting message"},
    {60, "export restriction"},
    {70, "protocol version not supported"},
    {71, "insufficient security level"},
    {80, "internal error"},
    {86, "inappropriate fallback"},
    {90, "user canceled"},
    {100, "no renegotiation"},
    {109, "missing extension"},
    {110, "unsupported extension"},
    {111, "certificate unobtainable"},
    {112, "unrecognized name"},
    {113, "bad certificate status response"},
    {114, "bad certificate hash value"},
    {115, "unknown PSK identity"},
    {116, "certificate required"},
    {120, "no application protocol"},
    {121, "encrypted client hello required"},
};

std::string_view signature_text(const SSL* ssl) {
  const X509* peer = SSL_get0_peer_certificate(ssl);
  EVP_PKEY* key = peer != nullptr ? X509_get0_pubkey(peer) : nullptr;
  switch (key != nullptr ? EVP_PKEY_get_base_id(key) : EVP_PKEY_NONE) {
    case EVP_PKEY_EC:
      return "ECDSA verification failure";
    case EVP_PKEY_ED25519:
      return "Ed25519 verification failure";
    default:
      return "crypto/rsa: verification error";
  }
}

std::string suites_text(const std::vector<uint16_t>& suites) {
  std::string text = "[";
  for (const uint16_t s : suites) text += fmt::format("{}{:x}", text.size() > 1 ? " " : "", s);
  return text + "]";
}

// Empty: nothing better than the alert that was sent.
std::string reason_text(int reason, const SSL* ssl, const HookState& s, std::string_view oversized) {
  const bool server = s.role == Role::kServer;
  const bool tls13 = SSL_version(ssl) >= TLS1_3_VERSION;
  switch (reason) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return "tls: client didn't provide a certificate";
    case SSL_R_NO_SHARED_CIPHER:
      return fmt::format("tls: no cipher suite supported by both client and server; client offered: {}",
                         suites_text(s.client_suites));
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_GROUPS:
      return "tls: no key exchanges supported by both client and server";
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
      return "tls: peer doesn't support any of the certificate's signature algorithms";
    case SSL_R_INAPPROPRIATE_FALLBACK:
      return "tls: client using inappropriate protocol fallback";
    case SSL_R_BAD_SIGNATURE:
      return fmt::format("tls: invalid signature by the {} certificate: {}", server ? "client" : "server",
                         signature_text(ssl));
    case SSL_R_DIGEST_CHECK_FAILED:
      if (tls13) return server ? "tls: invalid client finished hash" : "tls: invalid server finished hash";
      return server ? "tls: client's Finished message is incorrect"
                    : "tls: server's Finished message was incorrect";
    case SSL_R_BINDER_DOES_NOT_VERIFY:
      return "tls: invalid PSK binder";
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_WRONG_SSL_VERSION:
      if (!server && s.server_hello_version != 0)
        return fmt::format("tls: server selected unsupported protocol version {:x}", s.server_hello_version);
      return {};
    case SSL_R_BAD_EXTENSION:
      return {};
    case SSL_R_DATA_LENGTH_TOO_LONG:
    case SSL_R_ENCRYPTED_LENGTH_TOO_LONG:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
      return std::string(oversized);
    case SSL_R_EXCESSIVE_MESSAGE_SIZE:
      return "tls: handshake message exceeds its maximum size";
    case SSL_R_TOO_MANY_WARN_ALERTS:
    case SSL_R_RECORD_TOO_SMALL:
      return "tls: too many ignored records";
    case SSL_R_TOO_MANY_KEY_UPDATES:
      return "tls: too many non-advancing records";
    default:
      return {};
  }
}
}  // namespace

std::string alert_text(uint8_t alert) {
  for (const AlertName& a : kAlerts)
    if (a.number == alert) return fmt::format("tls: {}", a.text);
  return fmt::format("tls: alert({})", alert);
}

std::string failure_text(const SSL* ssl, const HookState& state, std::string_view oversized) {
  const unsigned long error = ERR_peek_last_error();
  const int reason = ERR_GET_LIB(error) == ERR_LIB_SSL ? ERR_GET_REASON(error) : 0;
  ERR_clear_error();
  if (!state.failure.empty()) return state.failure;
  // Alerts of the other side have reasons of their own from SSL_AD_REASON_OFFSET on.
  if (state.alert_received != 0) return fmt::format("remote error: {}", alert_text(state.alert_received));
  if (auto text = reason_text(reason, ssl, state, oversized); !text.empty()) return text;
  if (state.alert_sent != 0) return fmt::format("local error: {}", alert_text(state.alert_sent));
  return fmt::format("local error: {}", alert_text(SSL_AD_INTERNAL_ERROR));
}

}  // namespace quoin::tls
