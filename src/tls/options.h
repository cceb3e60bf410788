// What the flags and the configuration file say about TLS on one kind of URL (clients', peers'), and the
// names that stand in them.
//
// Plain values; any thread.
// Errors: kInvalidArgument with etcd's text.
// Source: spec operations 1.3, 4.2, 4.4; etcd's client/pkg/transport/listener.go (TLSInfo) and
// client/pkg/tlsutil.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace quoin::tls {

// Numbers of the wire.
enum class Version : uint16_t { kDefault = 0, kTls12 = 0x0303, kTls13 = 0x0304 };

enum class Role : uint8_t { kServer, kClient };

struct Options {
  // The pair of the server role; also of the client role where no client pair is given.
  std::string cert_file, key_file;
  std::string client_cert_file, client_key_file;
  // PEM, any number of certificates. Empty: the system's roots, where roots are needed.
  std::string trusted_ca_file;
  // One list, DER.
  std::string crl_file;
  // The server demands and verifies a client certificate if this or trusted_ca_file is set.
  bool client_cert_auth = false;
  // The client role takes any server certificate.
  bool insecure_skip_verify = false;
  // Numbers of parse_cipher_suites(); they say which suites of TLS 1.2 are allowed. Empty: Go's defaults.
  std::vector<uint16_t> cipher_suites;
  Version min_version = Version::kDefault;  // kDefault: TLS 1.2
  Version max_version = Version::kDefault;  // kDefault: TLS 1.3
  // At most one of the two. In both roles they are asked of the other side's certificate.
  std::vector<std::string> allowed_cns, allowed_hostnames;
  // The client role: the name that the server's certificate must be for. Empty: the host dialled.
  std::string server_name;
  // Where the system's roots stand: in the first of the files that can be read, and in all files of the folders.
  std::vector<std::string> system_root_files = default_system_root_files();
  std::vector<std::string> system_root_dirs = default_system_root_dirs();

  // Neither certificate nor key: https URLs cannot be served.
  bool empty() const { return cert_file.empty() && key_file.empty(); }
  bool demands_client_certificate() const { return client_cert_auth || !trusted_ca_file.empty(); }
  // The value of `tls-info` in etcd's log lines: "cert = c, key = k, client-cert=, ...".
  std::string describe() const;

  // What SSL_CERT_FILE and SSL_CERT_DIR say (one file; folders with ':' between them) stands in place of the defaults.
  // Null or empty: not set.
  void override_system_roots(const char* ssl_cert_file, const char* ssl_cert_dir);

  // Where Go looks on Linux.
  static std::vector<std::string> default_system_root_files();
  static std::vector<std::string> default_system_root_dirs();
};

// "TLS1.2", "TLS1.3" or nothing. `unexpected TLS version "x" (must be one of: TLS1.2, TLS1.3)`.
Result<Version> parse_version(std::string_view name);

// Go's names of all suites it knows, secure or not, and etcd's two aliases.
// `unexpected TLS cipher suite "x"`.
Result<std::vector<uint16_t>> parse_cipher_suites(const std::vector<std::string>& names);

// The suites of TLS 1.2 that `suites` allows (empty: Go's defaults) in Go's order of preference, as OpenSSL's
// list. Suites that OpenSSL was built without (RC4, 3DES) are left out; empty if nothing is left.
std::string openssl_cipher_list(const std::vector<uint16_t>& suites);

// Go's fmt %q of a []string: ["a" "b"].
std::string go_quote_list(const std::vector<std::string>& strings);

}  // namespace quoin::tls
