#include "tls/options.h"

#include <algorithm>

#include "base/go_text.h"

namespace quoin::tls {
namespace {
struct Suite {
  uint16_t id;
  std::string_view go;
  std::string_view openssl;  // empty: OpenSSL does not have it, or it belongs to TLS 1.3
  bool on_by_default;
};
// In Go's order of preference on a machine with AES instructions (crypto/tls cipher_suites.go).
constexpr Suite kSuites[] = {
    {0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256", true},
    {0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256", true},
    {0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384", true},
    {0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384", true},
    {0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305", true},
    {0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305", true},
    {0xc009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "ECDHE-ECDSA-AES128-SHA", true},
    {0xc013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "ECDHE-RSA-AES128-SHA", true},
    {0xc00a, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "ECDHE-ECDSA-AES256-SHA", true},
    {0xc014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "ECDHE-RSA-AES256-SHA", true},
    {0x009c, "TLS_RSA_WITH_AES_128_GCM_SHA256", "AES128-GCM-SHA256", false},
    {0x009d, "TLS_RSA_WITH_AES_256_GCM_SHA384", "AES256-GCM-SHA384", false},
    {0x002f, "TLS_RSA_WITH_AES_128_CBC_SHA", "AES128-SHA", false},
    {0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA", "AES256-SHA", false},
    {0xc012, "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", "", false},
    {0x000a, "TLS_RSA_WITH_3DES_EDE_CBC_SHA", "", false},
    {0xc023, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", "ECDHE-ECDSA-AES128-SHA256", false},
    {0xc027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "ECDHE-RSA-AES128-SHA256", false},
    {0x003c, "TLS_RSA_WITH_AES_128_CBC_SHA256", "AES128-SHA256", false},
    {0xc007, "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA", "", false},
    {0xc011, "TLS_ECDHE_RSA_WITH_RC4_128_SHA", "", false},
    {0x0005, "TLS_RSA_WITH_RC4_128_SHA", "", false},
    {0x1301, "TLS_AES_128_GCM_SHA256", "", false},
    {0x1302, "TLS_AES_256_GCM_SHA384", "", false},
    {0x1303, "TLS_CHACHA20_POLY1305_SHA256", "", false},
    // etcd's aliases.
    {0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "", false},
    {0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "", false},
};
}  // namespace

std::string Options::describe() const {
  return fmt::format(
      "cert = {}, key = {}, client-cert={}, client-key={}, trusted-ca = {}, client-cert-auth = {}, crl-file "
      "= {}",
      cert_file, key_file, client_cert_file, client_key_file, trusted_ca_file, client_cert_auth, crl_file);
}

std::vector<std::string> Options::default_system_root_files() {
  return {"/etc/ssl/certs/ca-certificates.crt",                 // Debian, Gentoo
          "/etc/pki/tls/certs/ca-bundle.crt",                   // Fedora, RHEL 6
          "/etc/ssl/ca-bundle.pem",                             // OpenSUSE
          "/etc/pki/tls/cacert.pem",                            // OpenELEC
          "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  // CentOS, RHEL 7
          "/etc/ssl/cert.pem"};                                 // Alpine
}

std::vector<std::string> Options::default_system_root_dirs() {
  return {"/etc/ssl/certs",       // SLES
          "/etc/pki/tls/certs"};  // Fedora, RHEL
}

void Options::override_system_roots(const char* ssl_cert_file, const char* ssl_cert_dir) {
  if (ssl_cert_file != nullptr && *ssl_cert_file != '\0') system_root_files = {ssl_cert_file};
  if (ssl_cert_dir == nullptr || *ssl_cert_dir == '\0') return;
  system_root_dirs.clear();
  std::string_view rest = ssl_cert_dir;
  for (;;) {
    const size_t colon = rest.find(':');
    system_root_dirs.emplace_back(rest.substr(0, colon));
    if (colon == std::string_view::npos) return;
    rest.remove_prefix(colon + 1);
  }
}

Result<Version> parse_version(std::string_view name) {
  if (name.empty()) return Version::kDefault;
  if (name == "TLS1.2") return Version::kTls12;
  if (name == "TLS1.3") return Version::kTls13;
  return make_error(Code::kInvalidArgument, "unexpected TLS version {} (must be one of: TLS1.2, TLS1.3)",
                    go_quote(name));
}

Result<std::vector<uint16_t>> parse_cipher_suites(const std::vector<std::string>& names) {
  std::vector<uint16_t> ids;
  for (const std::string& name : names) {
    const auto* found = std::ranges::find(kSuites, std::string_view(name), &Suite::go);
    if (found == std::end(kSuites))
      return make_error(Code::kInvalidArgument, "unexpected TLS cipher suite {}", go_quote(name));
    ids.push_back(found->id);
  }
  return ids;
}

std::string openssl_cipher_list(const std::vector<uint16_t>& suites) {
  std::string list;
  for (const Suite& s : kSuites) {
    const bool wanted = suites.empty() ? s.on_by_default : std::ranges::find(suites, s.id) != suites.end();
    if (!wanted || s.openssl.empty()) continue;
    if (!list.empty()) list += ':';
    list += s.openssl;
  }
  return list;
}

std::string go_quote_list(const std::vector<std::string>& strings) {
  std::string text = "[";
  for (const std::string& s : strings) {
    if (text.size() > 1) text += ' ';
    text += go_quote(s);
  }
  return text + "]";
}

}  // namespace quoin::tls
