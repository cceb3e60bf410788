#include "tls/hooks.h"

#include <openssl/core_names.h>
#include <openssl/rand.h>

#include <algorithm>

#include "base/coding.h"
#include "tls/chain.h"
#include "tls/credentials.h"

namespace quoin::tls {
namespace {
constexpr uint8_t kClientHello = 1, kServerHello = 2;

HookState& state_of(const SSL* ssl) {
  return *static_cast<HookState*>(SSL_get_app_data(ssl));
}

std::string_view view(const unsigned char* bytes, size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

uint16_t u16(std::string_view s, size_t at) {
  return static_cast<uint16_t>(static_cast<uint8_t>(s[at]) << 8 | static_cast<uint8_t>(s[at + 1]));
}

// Go's %x of a []uint16.
std::string hex_list(const std::vector<uint16_t>& numbers) {
  std::string text = "[";
  for (const uint16_t n : numbers) text += fmt::format("{}{:x}", text.size() > 1 ? " " : "", n);
  return text + "]";
}

// ---- the client's hello

std::vector<uint16_t> versions_offered(SSL* ssl) {
  const unsigned char* bytes = nullptr;
  size_t size = 0;
  std::vector<uint16_t> versions;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_supported_versions, &bytes, &size) == 1) {
    const std::string_view list = view(bytes, size);
    for (size_t at = 1; at + 2 <= list.size(); at += 2) versions.push_back(u16(list, at));
    return versions;
  }
  const unsigned most = SSL_client_hello_get0_legacy_version(ssl);
  for (const uint16_t v : {0x0304, 0x0303, 0x0302, 0x0301})
    if (v <= most) versions.push_back(v);
  return versions;
}

// The host name of the server_name extension.
std::string server_name_offered(SSL* ssl) {
  const unsigned char* bytes = nullptr;
  size_t size = 0;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &bytes, &size) != 1) return {};
  // A list's length, then for each name its type, its length, its bytes; the first one of type 0 counts.
  std::string_view list = view(bytes, size);
  if (list.size() < 5 || list[2] != 0) return {};
  const size_t length = u16(list, 3);
  return std::string(list.substr(5, length));
}

int on_client_hello(SSL* ssl, int* alert, void*) {
  HookState& s = state_of(ssl);
  const unsigned char* bytes = nullptr;
  s.server_name = server_name_offered(ssl);
  const size_t size = SSL_client_hello_get0_ciphers(ssl, &bytes);
  const std::string_view suites = view(bytes, size);
  s.client_suites.clear();
  for (size_t at = 0; at + 2 <= suites.size(); at += 2) s.client_suites.push_back(u16(suites, at));

  const Options& o = s.credentials->options();
  const uint16_t min = std::max<uint16_t>(static_cast<uint16_t>(o.min_version), TLS1_2_VERSION);
  const uint16_t max =
      o.max_version == Version::kDefault ? TLS1_3_VERSION : static_cast<uint16_t>(o.max_version);
  const auto offered = versions_offered(ssl);
  if (std::ranges::none_of(offered, [&](uint16_t v) { return v >= min && v <= max; })) {
    s.failure = fmt::format("tls: client offered only unsupported versions: {}", hex_list(offered));
    *alert = SSL_AD_PROTOCOL_VERSION;
    return SSL_CLIENT_HELLO_ERROR;
  }
  return SSL_CLIENT_HELLO_SUCCESS;
}

// `in`: for each protocol its length and its bytes.
int on_alpn(SSL* ssl, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
            unsigned in_size, void*) {
  std::vector<std::string> offered;
  bool http11 = false;
  for (std::string_view list = view(in, in_size); !list.empty();) {
    const std::string_view name = list.substr(1, static_cast<uint8_t>(list[0]));
    if (name == "h2") {
      *out = reinterpret_cast<const unsigned char*>(name.data());
      *out_size = static_cast<unsigned char>(name.size());
      return SSL_TLSEXT_ERR_OK;
    }
    http11 = http11 || name == "http/1.1";
    offered.emplace_back(name);
    list.remove_prefix(1 + name.size());
  }
  if (http11 || offered.empty()) return SSL_TLSEXT_ERR_NOACK;
  state_of(ssl).failure =
      fmt::format("tls: client requested unsupported application protocols ({})", go_quote_list(offered));
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

// ---- certificates

int on_own_certificate(SSL* ssl, void*) {
  HookState& s = state_of(ssl);
  const auto& error = s.credentials->pair_error();
  if (!error) return 1;
  s.failure = error->text();
  return 0;
}

// OpenSSL's number for the alert that should be sent.
int error_for_alert(uint8_t alert) {
  switch (alert) {
    case SSL_AD_UNKNOWN_CA:
      return X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
    case SSL_AD_CERTIFICATE_EXPIRED:
      return X509_V_ERR_CERT_HAS_EXPIRED;
    default:
      return X509_V_ERR_CERT_REJECTED;
  }
}

int on_peer_certificates(X509_STORE_CTX* ctx, void*) {
  const auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx()));
  HookState& s = state_of(ssl);
  const Options& o = s.credentials->options();
  const auto refuse = [&](std::string text, uint8_t alert) {
    s.failure = std::move(text);
    X509_STORE_CTX_set_error(ctx, error_for_alert(s.role == Role::kServer ? alert : SSL_AD_BAD_CERTIFICATE));
    return 0;
  };
  const bool verify = s.role == Role::kServer || !o.insecure_skip_verify;
  if (verify) {
    if (auto fault = verify_chain(ctx, s.role, s.host, s.credentials->clock().wall()))
      return refuse(std::move(fault->text), fault->alert);
    STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(ctx);
    s.valid_from = INT64_MIN;
    s.valid_to = INT64_MAX;
    for (int i = 0; i < sk_X509_num(chain); ++i) {
      s.valid_from = std::max(s.valid_from, not_before_of(sk_X509_value(chain, i)));
      s.valid_to = std::min(s.valid_to, not_after_of(sk_X509_value(chain, i)));
    }
  }
  s.peer = names_of(X509_STORE_CTX_get0_cert(ctx));
  s.serials.clear();
  STACK_OF(X509)* presented = X509_STORE_CTX_get0_untrusted(ctx);
  for (int i = 0; i < sk_X509_num(presented); ++i)
    s.serials.push_back(serial_bytes(X509_get0_serialNumber(sk_X509_value(presented, i))));
  // Without a verified chain Go's callback finds none that matches.
  if (has_allow_list(o)) {
    const Result<> allowed = verify ? check_allowed(o, *s.peer) : check_allowed(o, CertificateNames{});
    if (!allowed || !verify)
      return refuse("client certificate authentication failed", SSL_AD_BAD_CERTIFICATE);
  }
  X509_STORE_CTX_set_error(ctx, X509_V_OK);
  return 1;
}

// ---- tickets

int on_ticket_key(SSL* ssl, unsigned char name[16], unsigned char* iv, EVP_CIPHER_CTX* cipher,
                  EVP_MAC_CTX* mac, int sealing) {
  TicketKeys* tickets = state_of(ssl).credentials->tickets();
  if (tickets == nullptr) return 0;
  const auto use = [&](TicketKeys::Key& key) {
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.mac.data(), key.mac.size()),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};
    const auto init = sealing != 0 ? EVP_EncryptInit_ex : EVP_DecryptInit_ex;
    return EVP_MAC_CTX_set_params(mac, params) == 1 &&
           init(cipher, EVP_aes_256_cbc(), nullptr, key.cipher.data(), iv) == 1;
  };
  if (sealing != 0) {
    auto key = tickets->newest();
    if (!key || RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1) return -1;
    std::copy(key->name.begin(), key->name.end(), name);
    return use(*key) ? 1 : -1;
  }
  auto found = tickets->find(view(name, 16));
  if (!found) return 0;
  if (!use(found->key)) return -1;
  return found->newest ? 1 : 2;
}

// In a ticket, beside OpenSSL's own: from when and to when (8 bytes each) the chain is valid, then for each
// serial its length (2 bytes) and its bytes. Little endian.
std::string ticket_data(const HookState& s) {
  std::string data(16, '\0');
  store_le(data.data(), s.valid_from);
  store_le(data.data() + 8, s.valid_to);
  for (const std::string& serial : s.serials) {
    data += static_cast<char>(serial.size() & 255);
    data += static_cast<char>(serial.size() >> 8);
    data += serial;
  }
  return data;
}

bool read_ticket_data(std::string_view data, HookState& s) {
  if (data.size() < 16) return false;
  s.valid_from = load_le<int64_t>(data.data());
  s.valid_to = load_le<int64_t>(data.data() + 8);
  s.serials.clear();
  for (data.remove_prefix(16); !data.empty();) {
    if (data.size() < 2) return false;
    const size_t size = static_cast<uint8_t>(data[0]) | static_cast<size_t>(static_cast<uint8_t>(data[1]))
                                                            << 8;
    if (data.size() < 2 + size) return false;
    s.serials.emplace_back(data.substr(2, size));
    data.remove_prefix(2 + size);
  }
  return true;
}

// Tickets grow with their certificates; beyond this a session is not worth resuming. A list of serials is
// bounded by the certificate message.
constexpr size_t kTicketDataMax = 8 << 10;

int on_make_ticket(SSL* ssl, void*) {
  const std::string data = ticket_data(state_of(ssl));
  SSL_SESSION* session = SSL_get_session(ssl);
  // An empty value is refused at the other end.
  const size_t size = data.size() <= kTicketDataMax ? data.size() : 0;
  return SSL_SESSION_set1_ticket_appdata(session, data.data(), size);
}

SSL_TICKET_RETURN on_open_ticket(SSL* ssl, SSL_SESSION* session, const unsigned char*, size_t,
                                 SSL_TICKET_STATUS status, void*) {
  if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
    return SSL_TICKET_RETURN_IGNORE_RENEW;
  HookState& s = state_of(ssl);
  void* data = nullptr;
  size_t size = 0;
  if (SSL_SESSION_get0_ticket_appdata(session, &data, &size) != 1 ||
      !read_ticket_data({static_cast<char*>(data), size}, s))
    return SSL_TICKET_RETURN_IGNORE_RENEW;
  const int64_t now = s.credentials->clock().wall() / io::kSecond;
  if (now < s.valid_from || now > s.valid_to) return SSL_TICKET_RETURN_IGNORE_RENEW;
  return status == SSL_TICKET_SUCCESS_RENEW ? SSL_TICKET_RETURN_USE_RENEW : SSL_TICKET_RETURN_USE;
}

// ---- what happens

void on_message(int sent, int, int type, const void* bytes, size_t size, SSL* ssl, void*) {
  if (sent != 0 || type != SSL3_RT_HANDSHAKE || size < 4) return;
  HookState& s = state_of(ssl);
  const std::string_view message(static_cast<const char*>(bytes), size);
  const auto kind = static_cast<uint8_t>(message[0]);
  if (!s.established) {
    if (kind == kServerHello && size >= 6) s.server_hello_version = u16(message, 4);
    return;
  }
  if (s.stop()) return;
  if (SSL_version(ssl) < TLS1_3_VERSION) {
    // A handshake after the handshake: Go's server takes none, its client refuses.
    s.failure =
        s.role == Role::kClient ? "local error: tls: no renegotiation"
        : kind == kClientHello
            ? "tls: received unexpected handshake message of type *tls.clientHelloMsg when waiting for "
              "*tls.helloRequestMsg"
            : "local error: tls: unexpected message";
    return;
  }
  if (++s.idle_messages > kIdleMessagesMax) s.failure = "tls: too many non-advancing records";
}

void on_info(const SSL* ssl, int where, int value) {
  if ((where & SSL_CB_ALERT) == 0) return;
  HookState& s = state_of(ssl);
  const bool fatal = value >> 8 == SSL3_AL_FATAL;
  const auto number = static_cast<uint8_t>(value & 255);
  if ((where & SSL_CB_READ) != 0) {
    if (fatal || SSL_version(ssl) >= TLS1_3_VERSION) s.alert_received = number;
  } else if (fatal) {
    s.alert_sent = number;
  }
}
}  // namespace

void install_hooks(SSL_CTX* ctx, Role role) {
  SSL_CTX_set_cert_cb(ctx, on_own_certificate, nullptr);
  SSL_CTX_set_cert_verify_callback(ctx, on_peer_certificates, nullptr);
  SSL_CTX_set_msg_callback(ctx, on_message);
  SSL_CTX_set_info_callback(ctx, on_info);
  if (role == Role::kClient) return;
  SSL_CTX_set_client_hello_cb(ctx, on_client_hello, nullptr);
  SSL_CTX_set_alpn_select_cb(ctx, on_alpn, nullptr);
  SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket_key);
  SSL_CTX_set_session_ticket_cb(ctx, on_make_ticket, on_open_ticket, nullptr);
}

}  // namespace quoin::tls
