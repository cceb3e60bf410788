// Bytes as a token: verified under an HMAC key and a public key, and as a simple token. Nothing is accepted whose
// signature is not right; what is accepted is accepted again after signing the same claims.
#include <cstddef>
#include <cstdint>

#include "auth/base64.h"
#include "auth/jwt.h"
#include "auth/tokens.h"
#include "base/check.h"

namespace {

constexpr quoin::io::WallNs kNow = 1'800'000'000 * quoin::io::kSecond;

const quoin::auth::Jwt& jwt(const char* method) {
  static const auto make = [](const char* m) {
    quoin::auth::JwtOptions options;
    options.sign_method = m;
    options.private_key = "fuzz";
    options.ttl_ns = quoin::io::kSecond;
    auto r = quoin::auth::Jwt::make(options);
    CHECK(r.has_value());
    return std::move(*r);
  };
  static const auto only = make(method);
  return *only;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto& hs = jwt("HS256");
  const auto check = [&](std::string_view token) {
    const auto info = hs.verify(token, kNow);
    if (!info) return;
    const auto again = hs.sign(info->user, info->revision, kNow);
    CHECK(again.has_value());
    const auto same = hs.verify(*again, kNow);
    CHECK(same && same->user == info->user);
  };
  check(bytes);
  quoin::auth::parse_simple_token(bytes);
  // The same bytes as claims under a right signature: "head|claims".
  const size_t bar = bytes.find('|');
  if (bar != std::string_view::npos) {
    static const auto key = quoin::auth::JwtKey::make("HS256", "fuzz", {});
    std::string text = quoin::auth::base64url_encode(bytes.substr(0, bar)) + "." +
                       quoin::auth::base64url_encode(bytes.substr(bar + 1));
    check(text + "." + quoin::auth::base64url_encode(*(*key)->sign(text)));
  }
  if (const auto decoded = quoin::auth::base64_decode(bytes)) {
    CHECK(quoin::auth::base64_decode(quoin::auth::base64_encode(*decoded)) == decoded);
  }
  // Any bytes as a key file.
  (void)quoin::auth::JwtKey::make("RS256", bytes, {});
  (void)quoin::auth::JwtKey::make("ES256", {}, bytes);
  return 0;
}
