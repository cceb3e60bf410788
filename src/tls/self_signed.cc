#include "tls/self_signed.h"

#include <openssl/rand.h>
#include <openssl/sha.h>

#include <array>

#include "tls/chain.h"
#include "tls/ossl.h"
#include "tls/pem.h"

namespace quoin::tls {
namespace {
constexpr int64_t kYear = 365 * 24 * 3600;
constexpr size_t kSerialBytes = 16;
constexpr size_t kKeyIdBytes = 20;

// net.SplitHostPort's host, empty if it refuses, as etcd leaves it.
std::string host_of(std::string_view host_port) {
  const size_t colon = host_port.rfind(':');
  if (colon == std::string_view::npos) return {};
  std::string_view host = host_port.substr(0, colon);
  if (host.starts_with('[')) return host.ends_with(']') ? std::string(host.substr(1, host.size() - 2)) : "";
  return host.find(':') == std::string_view::npos ? std::string(host) : "";
}

bool add_extension(X509* x, int nid, void* value, bool critical) {
  return X509_add1_ext_i2d(x, nid, value, critical ? 1 : 0, X509V3_ADD_APPEND) == 1;
}

bool add_usages(X509* x) {
  bool ok = true;
  ASN1_BIT_STRING* usage = ASN1_BIT_STRING_new();
  // digitalSignature, keyEncipherment, cRLSign
  for (const int bit : {0, 2, 6}) ok = ok && ASN1_BIT_STRING_set_bit(usage, bit, 1) == 1;
  ok = ok && add_extension(x, NID_key_usage, usage, true);
  ASN1_BIT_STRING_free(usage);

  EXTENDED_KEY_USAGE* extended = sk_ASN1_OBJECT_new_null();
  sk_ASN1_OBJECT_push(extended, OBJ_nid2obj(NID_server_auth));
  ok = ok && add_extension(x, NID_ext_key_usage, extended, false);
  sk_ASN1_OBJECT_free(extended);

  BASIC_CONSTRAINTS* constraints = BASIC_CONSTRAINTS_new();
  constraints->ca = 0xff;
  ok = ok && add_extension(x, NID_basic_constraints, constraints, true);
  BASIC_CONSTRAINTS_free(constraints);
  return ok;
}

// As Go for a CA: the first 160 bits of the key's SHA-256.
bool add_key_id(X509* x) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  const ASN1_BIT_STRING* key = X509_get0_pubkey_bitstr(x);
  SHA256(ASN1_STRING_get0_data(key), static_cast<size_t>(ASN1_STRING_length(key)), digest.data());
  ASN1_OCTET_STRING* id = ASN1_OCTET_STRING_new();
  bool ok = ASN1_OCTET_STRING_set(id, digest.data(), kKeyIdBytes) == 1;
  ok = ok && add_extension(x, NID_subject_key_identifier, id, false);
  ASN1_OCTET_STRING_free(id);
  return ok;
}

// Names first, then addresses, as Go writes them.
bool add_names(X509* x, const std::vector<std::string>& hosts) {
  GENERAL_NAMES* names = sk_GENERAL_NAME_new_null();
  bool ok = true;
  const auto add = [&](int type, std::string_view bytes) {
    GENERAL_NAME* name = GENERAL_NAME_new();
    ASN1_STRING* value = type == GEN_DNS ? ASN1_IA5STRING_new() : ASN1_OCTET_STRING_new();
    ok = ok && ASN1_STRING_set(value, bytes.data(), static_cast<int>(bytes.size())) == 1;
    GENERAL_NAME_set0_value(name, type, value);
    sk_GENERAL_NAME_push(names, name);
  };
  for (const std::string& host : hosts)
    if (const std::string h = host_of(host); !parse_ip(h)) add(GEN_DNS, h);
  for (const std::string& host : hosts)
    if (const auto ip = parse_ip(host_of(host))) add(GEN_IPADD, *ip);
  ok = ok && (hosts.empty() || add_extension(x, NID_subject_alt_name, names, false));
  GENERAL_NAMES_free(names);
  return ok;
}

bool set_serial(X509* x) {
  std::array<unsigned char, kSerialBytes> bytes{};
  if (RAND_bytes(bytes.data(), bytes.size()) != 1) return false;
  BIGNUM* number = BN_bin2bn(bytes.data(), bytes.size(), nullptr);
  const bool ok = number != nullptr && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x)) != nullptr;
  BN_free(number);
  return ok;
}

X509Ptr make_certificate(EVP_PKEY* key, const std::vector<std::string>& hosts, int64_t begin, int64_t end) {
  X509Ptr x(X509_new());
  X509_NAME* subject = X509_get_subject_name(x.get());
  const bool ok =
      X509_set_version(x.get(), X509_VERSION_3) == 1 && set_serial(x.get()) &&
      X509_NAME_add_entry_by_NID(subject, NID_organizationName, V_ASN1_PRINTABLESTRING,
                                 reinterpret_cast<const unsigned char*>("etcd"), -1, -1, 0) == 1 &&
      X509_set_issuer_name(x.get(), subject) == 1 &&
      ASN1_TIME_set(X509_getm_notBefore(x.get()), begin) != nullptr &&
      ASN1_TIME_set(X509_getm_notAfter(x.get()), end) != nullptr && X509_set_pubkey(x.get(), key) == 1 &&
      add_usages(x.get()) && add_key_id(x.get()) && add_names(x.get(), hosts) &&
      X509_sign(x.get(), key, EVP_sha512()) > 0;
  return ok ? std::move(x) : nullptr;
}

template <class Write>
std::string der_of(Write write) {
  unsigned char* bytes = nullptr;
  const int size = write(&bytes);
  std::string der(reinterpret_cast<char*>(bytes), size > 0 ? static_cast<size_t>(size) : 0);
  if (size > 0) OPENSSL_clear_free(bytes, static_cast<size_t>(size));
  return der;
}

Result<> write_file(io::FileSystem& files, const std::string& path, std::string_view text, uint32_t mode) {
  io::OpenOptions options;
  options.write = options.create = options.truncate = true;
  options.mode = mode;
  ASSIGN_OR_RETURN(auto file, files.open(path, options));
  TRY(file->write_at(0, text));
  return file->sync();
}
}  // namespace

Result<SelfSigned> ensure_self_signed(io::FileSystem& files, const std::string& dir,
                                      const std::vector<std::string>& hosts, unsigned validity_years,
                                      const io::Clock& clock, log::Logger& logger) {
  if (validity_years == 0) {
    Error error(Code::kInvalidArgument, "selfSignedCertValidity is invalid,it should be greater than 0");
    LOG(logger, kWarn, "cannot generate cert", {"error", error.text()});
    return error;
  }
  if (auto made = files.make_dirs(dir, 0700); !made) {
    LOG(logger, kWarn, "cannot create cert directory", {"error", made.error().text()});
    return made.error();
  }
  SelfSigned paths{dir + "/cert.pem", dir + "/key.pem"};
  ASSIGN_OR_RETURN(const bool have_cert, files.exists(paths.cert_file));
  ASSIGN_OR_RETURN(const bool have_key, files.exists(paths.key_file));
  if (have_cert && have_key) return paths;

  const int64_t begin = clock.wall() / io::kSecond;
  const int64_t end = begin + static_cast<int64_t>(validity_years) * kYear;
  LOG(logger, kWarn, "automatically generate certificates",
      {"certificate-validity-bound-not-after", rfc3339(end, false)});
  const PkeyPtr key(EVP_EC_gen("P-521"));
  const X509Ptr certificate = key ? make_certificate(key.get(), hosts, begin, end) : nullptr;
  ERR_clear_error();
  if (!certificate) {
    Error error(Code::kIo, "x509: cannot make a certificate");
    LOG(logger, kWarn, "cannot generate x509 certificate", {"error", error.text()});
    return error;
  }
  const auto write = [&](const std::string& path, std::string_view text, uint32_t mode,
                         std::string_view failed, std::string_view made) -> Result<> {
    if (auto written = write_file(files, path, text, mode); !written) {
      LOG(logger, kWarn, failed, {"path", path}, {"error", written.error().text()});
      return written.error();
    }
    LOG(logger, kInfo, made, {"path", path});
    return {};
  };
  const std::string certificate_der =
      der_of([&](unsigned char** p) { return i2d_X509(certificate.get(), p); });
  std::string key_der = der_of([&](unsigned char** p) { return i2d_PrivateKey(key.get(), p); });
  TRY(write(paths.cert_file, pem_text("CERTIFICATE", certificate_der), 0666, "cannot cert file",
            "created cert file"));
  std::string key_text = pem_text("EC PRIVATE KEY", key_der);
  OPENSSL_cleanse(key_der.data(), key_der.size());
  const Result<> written = write(paths.key_file, key_text, 0600, "cannot key file", "created key file");
  OPENSSL_cleanse(key_text.data(), key_text.size());
  TRY(written);
  return paths;
}

}  // namespace quoin::tls
