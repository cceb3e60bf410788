#include "tls/ossl.h"

#include <ctime>
#include <limits>

namespace quoin::tls {
namespace {
std::string last_entry(const X509_NAME* name, int nid, bool first) {
  int found = -1;
  for (int at = -1; (at = X509_NAME_get_index_by_NID(name, nid, at)) >= 0;) {
    found = at;
    if (first) break;
  }
  if (found < 0) return {};
  const ASN1_STRING* data = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, found));
  unsigned char* utf8 = nullptr;
  const int length = ASN1_STRING_to_UTF8(&utf8, data);
  if (length < 0) return {};
  std::string text(reinterpret_cast<char*>(utf8), static_cast<size_t>(length));
  OPENSSL_free(utf8);
  return text;
}

int64_t seconds_of(const ASN1_TIME* time, int64_t if_unreadable) {
  struct tm parts = {};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return if_unreadable;
  return timegm(&parts);
}
}  // namespace

Result<X509Ptr> parse_certificate(std::string_view bytes) {
  const auto* p = reinterpret_cast<const unsigned char*>(bytes.data());
  const auto* const end = p + bytes.size();
  X509Ptr certificate(d2i_X509(nullptr, &p, static_cast<long>(bytes.size())));
  // Extensions are parsed when first asked for; here is the time to find out.
  const bool whole = certificate && (X509_get_extension_flags(certificate.get()) & EXFLAG_INVALID) == 0 &&
                     X509_get0_pubkey(certificate.get()) != nullptr;
  ERR_clear_error();
  if (!whole) return Error(Code::kMalformed, "x509: malformed certificate");
  if (p != end) return Error(Code::kMalformed, "x509: trailing data");
  return certificate;
}

CertificateNames names_of(const X509* certificate) {
  CertificateNames names;
  const X509_NAME* subject = X509_get_subject_name(certificate);
  names.common_name = last_entry(subject, NID_commonName, false);
  names.organization = last_entry(subject, NID_organizationName, true);
  names.serial = serial_bytes(X509_get0_serialNumber(certificate));
  auto* sans =
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  names.has_san_extension = X509_get_ext_by_NID(certificate, NID_subject_alt_name, -1) >= 0;
  for (int i = 0; i < sk_GENERAL_NAME_num(sans); ++i) {
    int type = 0;
    const void* value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(sans, i), &type);
    if (type != GEN_DNS && type != GEN_IPADD) continue;
    const auto* text = static_cast<const ASN1_STRING*>(value);
    std::string bytes(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                      static_cast<size_t>(ASN1_STRING_length(text)));
    if (type == GEN_DNS) names.dns_names.push_back(std::move(bytes));
    if (type == GEN_IPADD) names.ip_addresses.push_back(std::move(bytes));
  }
  GENERAL_NAMES_free(sans);
  ERR_clear_error();
  return names;
}

int64_t not_before_of(const X509* certificate) {
  return seconds_of(X509_get0_notBefore(certificate), std::numeric_limits<int64_t>::max());
}

int64_t not_after_of(const X509* certificate) {
  return seconds_of(X509_get0_notAfter(certificate), std::numeric_limits<int64_t>::min());
}

std::string serial_bytes(const ASN1_INTEGER* serial) {
  // The content is stored big endian and without its sign.
  std::string_view bytes(reinterpret_cast<const char*>(ASN1_STRING_get0_data(serial)),
                         static_cast<size_t>(ASN1_STRING_length(serial)));
  while (bytes.starts_with('\0')) bytes.remove_prefix(1);
  return std::string(bytes);
}

}  // namespace quoin::tls
