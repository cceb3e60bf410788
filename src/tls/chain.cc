#include "tls/chain.h"

#include <ctime>

#include "base/go_text.h"
#include "tls/ossl.h"

namespace quoin::tls {
namespace {
constexpr std::string_view kFailed = "tls: failed to verify certificate: ";
constexpr std::string_view kCannotSign =
    "x509: invalid signature: parent certificate cannot sign this kind of certificate";
constexpr uint8_t kBadCertificate = 42, kCertificateExpired = 45, kUnknownCa = 48;

// Why the certificate is not valid at `now`; empty if it is.
std::string time_fault(const X509* x, io::WallNs now) {
  const int64_t begin = not_before_of(x), end = not_after_of(x);
  const int64_t seconds = now / io::kSecond;
  std::string_view relation;
  if (seconds < begin) relation = "before";
  if (seconds > end || (seconds == end && now % io::kSecond > 0)) relation = "after";
  if (relation.empty()) return {};
  return fmt::format("x509: certificate has expired or is not yet valid: current time {} is {} {}",
                     rfc3339(seconds, true), relation, rfc3339(relation == "before" ? begin : end, false));
}

// Go's rule for a parent: a certificate of version 3 says that it is a CA, and a key usage allows signing.
bool may_sign(X509* x) {
  const uint32_t flags = X509_get_extension_flags(x);
  const bool constraints = (flags & EXFLAG_BCONS) != 0, ca = (flags & EXFLAG_CA) != 0;
  if (X509_get_version(x) == X509_VERSION_3 && !constraints) return false;
  if (constraints && !ca) return false;
  const uint32_t usage = X509_get_key_usage(x);
  return usage == UINT32_MAX || (usage & KU_KEY_CERT_SIGN) != 0;
}

std::string signature_fault(X509* child, X509* parent) {
  const int type = X509_get_signature_nid(child);
  if (type == NID_sha1WithRSAEncryption) return "x509: cannot verify signature: insecure algorithm SHA1-RSA";
  if (type == NID_ecdsa_with_SHA1) return "x509: cannot verify signature: insecure algorithm ECDSA-SHA1";
  EVP_PKEY* key = X509_get0_pubkey(parent);
  if (key != nullptr && EVP_PKEY_get_bits(key) <= kRsaBitsMax && X509_verify(child, key) == 1) return {};
  switch (key == nullptr ? EVP_PKEY_NONE : EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_EC:
      return "x509: ECDSA verification failure";
    case EVP_PKEY_ED25519:
      return "x509: Ed25519 verification failure";
    default:
      return "crypto/rsa: verification error";
  }
}

// Why `parent` has not signed `child`.
std::string signer_fault(X509* child, X509* parent) {
  if (!may_sign(parent)) return std::string(kCannotSign);
  return signature_fault(child, parent);
}

// What keeps an issuer from being good, below which `intermediates` CAs stand already.
std::string issuer_fault(X509* parent, int intermediates, io::WallNs now) {
  if ((X509_get_extension_flags(parent) & EXFLAG_CRITICAL) != 0) return "x509: unhandled critical extension";
  if (auto why = time_fault(parent, now); !why.empty()) return why;
  const long most = X509_get_pathlen(parent);
  if (most >= 0 && intermediates > most) return "x509: too many intermediates for path length constraint";
  return {};
}

std::string name_of_authority(const X509* x) {
  const CertificateNames names = names_of(x);
  if (!names.common_name.empty()) return names.common_name;
  if (!names.organization.empty()) return names.organization;
  BIGNUM* serial = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), nullptr);
  char* decimal = serial != nullptr ? BN_bn2dec(serial) : nullptr;
  std::string text = fmt::format("serial:{}", decimal != nullptr ? decimal : "");
  OPENSSL_free(decimal);
  BN_free(serial);
  return text;
}

ChainFailure failed(std::string_view why, uint8_t alert) {
  return {std::string(kFailed) + std::string(why), alert};
}

// Why no chain was built: what is wrong with the issuer, if it is there and its signature is right, else Go's
// UnknownAuthorityError, with the first certificate that has the issuer's name and what is wrong with it.
ChainFailure no_chain(X509_STORE_CTX* ctx, X509* child, int intermediates, io::WallNs now) {
  std::string hint, fault;
  uint8_t alert = kBadCertificate;
  const auto consider = [&](X509* parent) {
    if (same_certificate(parent, child)) return;
    if (const std::string why = signer_fault(child, parent); !why.empty()) {
      if (hint.empty())
        hint =
            fmt::format(" (possibly because of {} while trying to verify candidate authority certificate {})",
                        go_quote(why), go_quote(name_of_authority(parent)));
      return;
    }
    // The last one counts.
    fault = issuer_fault(parent, intermediates, now);
    alert = !fault.empty() && fault == time_fault(parent, now) ? kCertificateExpired : kBadCertificate;
  };
  if (child != nullptr) {
    const X509_NAME* issuer = X509_get_issuer_name(child);
    STACK_OF(X509)* anchors = X509_STORE_CTX_get1_certs(ctx, issuer);
    for (int i = 0; i < sk_X509_num(anchors); ++i) consider(sk_X509_value(anchors, i));
    sk_X509_pop_free(anchors, X509_free);
    STACK_OF(X509)* presented = X509_STORE_CTX_get0_untrusted(ctx);
    // The leaf is never a parent.
    for (int i = 1; i < sk_X509_num(presented); ++i) {
      X509* parent = sk_X509_value(presented, i);
      if (X509_NAME_cmp(X509_get_subject_name(parent), issuer) == 0) consider(parent);
    }
  }
  if (!fault.empty()) return failed(fault, alert);
  return failed("x509: certificate signed by unknown authority" + hint, kUnknownCa);
}

// What OpenSSL did not like, in Go's words.
ChainFailure openssl_failure(X509_STORE_CTX* ctx, io::WallNs now) {
  const int error = X509_STORE_CTX_get_error(ctx);
  const int depth = X509_STORE_CTX_get_error_depth(ctx);
  X509* at = X509_STORE_CTX_get_current_cert(ctx);
  STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(ctx);
  switch (error) {
    case X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION:
      if (depth == 0) return failed("x509: unhandled critical extension", kBadCertificate);
      [[fallthrough]];
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_PATH_LENGTH_EXCEEDED:
    case X509_V_ERR_CA_MD_TOO_WEAK:
    case X509_V_ERR_CA_KEY_TOO_SMALL: {
      // A fault of an issuer.
      const int child = depth > 0 ? depth - 1 : 0;
      return no_chain(ctx, sk_X509_value(chain, child), child, now);
    }
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_CERT_CHAIN_TOO_LONG:
    case X509_V_ERR_CERT_UNTRUSTED:
      return no_chain(ctx, at, depth, now);
    case X509_V_ERR_PERMITTED_VIOLATION:
    case X509_V_ERR_EXCLUDED_VIOLATION:
      return failed("x509: a root or intermediate certificate is not authorized to sign for this name",
                    kBadCertificate);
    default:
      return failed(fmt::format("x509: {}", X509_verify_cert_error_string(error)), kBadCertificate);
  }
}

// Go takes a usage if each certificate of the chain that names usages names it, or names any usage.
bool usage_allowed(STACK_OF(X509) * chain, Role role) {
  const uint32_t wanted = role == Role::kServer ? XKU_SSL_CLIENT : XKU_SSL_SERVER;
  for (int i = 0; i < sk_X509_num(chain); ++i) {
    X509* x = sk_X509_value(chain, i);
    const uint32_t usage = X509_get_extended_key_usage(x);
    if (usage != UINT32_MAX && (usage & (wanted | XKU_ANYEKU)) == 0) return false;
  }
  return true;
}
}  // namespace

std::string rfc3339(int64_t seconds, bool local) {
  const time_t t = seconds;
  struct tm parts = {};
  if (local) {
    localtime_r(&t, &parts);
  } else {
    gmtime_r(&t, &parts);
  }
  std::string text = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", parts.tm_year + 1900,
                                 parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
  const long offset = local ? parts.tm_gmtoff / 60 : 0;
  if (offset == 0) return text + "Z";
  const long minutes = offset < 0 ? -offset : offset;
  return text + fmt::format("{}{:02}:{:02}", offset < 0 ? '-' : '+', minutes / 60, minutes % 60);
}

std::optional<ChainFailure> verify_chain(X509_STORE_CTX* ctx, Role role, std::string_view host,
                                         io::WallNs now) {
  X509* leaf = X509_STORE_CTX_get0_cert(ctx);
  STACK_OF(X509)* presented = X509_STORE_CTX_get0_untrusted(ctx);
  const std::string_view from = role == Role::kServer ? "client" : "server";
  for (int i = 0; i < sk_X509_num(presented); ++i) {
    X509* x = sk_X509_value(presented, i);
    EVP_PKEY* key = X509_get0_pubkey(x);
    if ((X509_get_extension_flags(x) & EXFLAG_INVALID) != 0 || key == nullptr)
      return ChainFailure{role == Role::kServer
                              ? "tls: failed to parse client certificate: x509: malformed certificate"
                              : "tls: failed to parse certificate from server: x509: malformed certificate",
                          kBadCertificate};
    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA && EVP_PKEY_get_bits(key) > kRsaBitsMax)
      return ChainFailure{
          fmt::format("tls: {} sent certificate containing RSA key larger than {} bits", from, kRsaBitsMax),
          kBadCertificate};
  }
  if ((X509_get_extension_flags(leaf) & EXFLAG_CRITICAL) != 0)
    return failed("x509: unhandled critical extension", kBadCertificate);
  if (const auto why = time_fault(leaf, now); !why.empty()) return failed(why, kCertificateExpired);
  if (!host.empty()) {
    if (const auto ok = verify_hostname(names_of(leaf), host); !ok)
      return failed(ok.error().text(), kBadCertificate);
  }

  X509_VERIFY_PARAM* rules = X509_STORE_CTX_get0_param(ctx);
  // As in Go: any certificate of the pool is an anchor, and the leaf's key usage is not looked at. Extended
  // usages are checked below, over the whole chain.
  X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_PARTIAL_CHAIN);
  X509_VERIFY_PARAM_set_purpose(rules, X509_PURPOSE_ANY);
  X509_VERIFY_PARAM_set_time(rules, now / io::kSecond);
  const bool built = X509_verify_cert(ctx) == 1;
  if (!built) return openssl_failure(ctx, now);

  STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(ctx);
  for (int i = 1; i < sk_X509_num(chain); ++i) {
    X509* x = sk_X509_value(chain, i);
    if (!may_sign(x)) return no_chain(ctx, sk_X509_value(chain, i - 1), i - 1, now);
  }
  if (!usage_allowed(chain, role))
    return failed("x509: certificate specifies an incompatible key usage", kBadCertificate);
  return std::nullopt;
}

}  // namespace quoin::tls
