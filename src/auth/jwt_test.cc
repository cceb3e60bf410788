#include "auth/jwt.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "auth/base64.h"
#include "base/check.h"

namespace quoin::auth {
namespace {

constexpr io::WallNs kNow = 1'800'000'000 * io::kSecond;
constexpr std::string_view kMethods[] = {"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256",
                                         "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"};

std::string file(const std::string& name) {
  std::ifstream in(std::string(QUOIN_SOURCE_DIR) + "/src/auth/corpus/jwt/" + name, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  EXPECT_FALSE(out.str().empty()) << name;
  return out.str();
}
std::string key_name(std::string_view method) {
  if (method.starts_with("ES")) return "ec" + std::string(method.substr(2));
  return method == "EdDSA" ? "ed" : "rsa";
}
Result<std::unique_ptr<Jwt>> make(std::string_view method, bool own, bool shared, int64_t ttl_s = 300) {
  JwtOptions o;
  o.sign_method = method;
  o.ttl_ns = ttl_s * io::kSecond;
  const bool hmac = method.starts_with("HS");
  if (own) o.private_key = file(hmac ? "secret" : key_name(method) + ".pem");
  if (shared && !hmac) o.public_key = file(key_name(method) + ".pub");
  return Jwt::make(o);
}
std::unique_ptr<Jwt> jwt(std::string_view method, bool own = true, bool shared = true, int64_t ttl_s = 300) {
  auto r = make(method, own, shared, ttl_s);
  CHECK(r.has_value(), "{}: {}", method, r.error().text());
  return std::move(*r);
}
std::string who(const Jwt& jwt, std::string_view token, io::WallNs now = kNow) {
  const auto info = jwt.verify(token, now);
  return info ? fmt::format("{}@{}", info->user, info->revision) : "none";
}
// Any head and claims under a right signature.
std::string forge(std::string_view method, std::string_view head, std::string_view claims) {
  auto key = JwtKey::make(method, file(method.starts_with("HS") ? "secret" : key_name(method) + ".pem"), {});
  std::string text = base64url_encode(head) + "." + base64url_encode(claims);
  return text + "." + base64url_encode(*(*key)->sign(text));
}
std::string claims(std::string_view text) {
  return forge("HS256", R"({"alg":"HS256","typ":"JWT"})", text);
}

TEST(JwtTest, EveryMethodSignsAndVerifies) {
  for (const std::string_view method : kMethods) {
    const auto own = jwt(method);
    const auto token = own->sign("alice", 7, kNow);
    ASSERT_TRUE(token) << method;
    EXPECT_EQ(who(*own, *token), "alice@7") << method;
    EXPECT_FALSE(own->verify_only());
    if (!method.starts_with("HS")) {
      const auto shared = jwt(method, false, true);
      EXPECT_TRUE(shared->verify_only());
      EXPECT_EQ(who(*shared, *token), "alice@7") << method;
      EXPECT_EQ(shared->sign("alice", 7, kNow).error().code(), Code::kTokenVerifyOnly);
    }
    for (size_t i = 0; i + 4 < token->size(); i += 7) {
      std::string spoilt = *token;
      spoilt[i] = spoilt[i] == 'A' ? 'B' : 'A';
      EXPECT_EQ(who(*own, spoilt), "none") << method << " " << i;
    }
    for (size_t cut = 0; cut < token->size(); cut += 5) EXPECT_EQ(who(*own, token->substr(0, cut)), "none");
  }
}

// Tokens that openssl's program signed, and tokens that etcd 3.6.16 handed out.
TEST(JwtTest, OthersTokensAreUnderstood) {
  for (const char* name : {"openssl_tokens.txt", "etcd_tokens.txt"}) {
    std::istringstream in(file(name));
    std::string method, token;
    int seen = 0;
    while (in >> method >> token) {
      ++seen;
      const std::string want = name[0] == 'o' ? "alice@5" : "b\"<o>b@4";
      EXPECT_EQ(who(*jwt(method), token), want) << name << " " << method;
      for (const std::string_view other : kMethods) {
        if (other == method) continue;
        EXPECT_EQ(who(*jwt(other), token), "none") << method << " for " << other;
      }
    }
    EXPECT_EQ(seen, 13) << name;
  }
}

TEST(JwtTest, ATokenLooksAsEtcdsDoes) {
  const std::string token = *jwt("HS256")->sign("b\"<o>b", 4, kNow);
  EXPECT_EQ(*base64url_decode(token.substr(0, token.find('.'))), R"({"alg":"HS256","typ":"JWT"})");
  const size_t first = token.find('.') + 1;
  EXPECT_EQ(*base64url_decode(token.substr(first, token.rfind('.') - first)),
            R"({"exp":1800000300,"revision":4,"username":"b\"\u003co\u003eb"})");
}

TEST(JwtTest, TheHeadChoosesNothing) {
  const std::string good = R"({"username":"root","revision":9})";
  const auto hs = jwt("HS256");
  EXPECT_EQ(who(*hs, claims(good)), "root@9");
  const std::string body = base64url_encode(good);
  for (const char* head :
       {R"({"alg":"none"})", R"({"alg":"None","typ":"JWT"})", R"({"alg":""})", R"({"typ":"JWT"})",
        R"({"alg":1})", R"({"alg":"HS512"})", R"([])", R"("HS256")", "null", "", "{"}) {
    EXPECT_EQ(who(*hs, base64url_encode(head) + "." + body + "."), "none") << head;
    EXPECT_EQ(who(*hs, forge("HS256", head, good)), "none") << head;
  }
  // The public key as an HMAC secret.
  const std::string head = R"({"alg":"HS256","typ":"JWT"})";
  const std::string text = base64url_encode(head) + "." + body;
  auto confused = JwtKey::make("HS256", file("rsa.pub"), {});
  const std::string token = text + "." + base64url_encode(*(*confused)->sign(text));
  EXPECT_EQ(who(*jwt("RS256"), token), "none");
  EXPECT_EQ(who(*jwt("RS256", false, true), token), "none");
  // A head that says RS256 over an HMAC.
  const std::string lying = base64url_encode(R"({"alg":"RS256"})") + "." + body;
  EXPECT_EQ(who(*jwt("RS256"), lying + "." + base64url_encode(*(*confused)->sign(lying))), "none");
}

TEST(JwtTest, Claims) {
  const auto hs = jwt("HS256");
  struct {
    const char* claims;
    const char* want;
  } const rows[] = {
      {R"({"username":"a","revision":1})", "a@1"},  // no end: valid for ever
      {R"({"username":"a","revision":1,"exp":1800000001})", "a@1"},
      {R"({"username":"a","revision":1,"exp":1800000000})", "none"},
      {R"({"username":"a","revision":1,"exp":1800000000.9})", "none"},
      {R"({"username":"a","revision":1,"exp":1800000001.9})", "a@1"},
      {R"({"username":"a","revision":1,"exp":0})", "a@1"},
      {R"({"username":"a","revision":1,"exp":-1})", "none"},
      {R"({"username":"a","revision":1,"exp":"1800000001"})", "none"},
      {R"({"username":"a","revision":1,"exp":null})", "none"},
      {R"({"username":"a","revision":1,"exp":1e300})", "none"},
      {R"({"username":"a","revision":1,"exp":1e999})", "none"},
      {R"({"username":"a","revision":1,"nbf":1800000000})", "a@1"},
      {R"({"username":"a","revision":1,"nbf":1800000001})", "none"},
      {R"({"username":"a","revision":1,"nbf":[]})", "none"},
      {R"({"username":"a","revision":1,"iat":"x","aud":5,"iss":{}})", "a@1"},
      {R"({"username":"a","revision":1.9})", "a@1"},
      {R"({"username":"a","revision":"1"})", "none"},
      {R"({"username":"a","revision":-1})", "none"},
      {R"({"username":"a","revision":1e19})", "none"},
      {R"({"username":"a"})", "none"},
      {R"({"revision":1})", "none"},
      {R"({"username":1,"revision":1})", "none"},
      {R"({"username":"","revision":0})", "@0"},
      {R"({"username":"a","username":"b","revision":1})", "b@1"},
      {R"({"username":"a","revision":1}x)", "none"},
      {R"(null)", "none"},
      {"", "none"},
  };
  for (const auto& row : rows) EXPECT_EQ(who(*hs, claims(row.claims)), row.want) << row.claims;
}

TEST(JwtTest, AnEndComesAtItsSecond) {
  const auto hs = jwt("HS256", true, true, 5);
  const std::string token = *hs->sign("a", 1, kNow + 300 * io::kMillisecond);
  EXPECT_EQ(who(*hs, token, kNow + 4999 * io::kMillisecond), "a@1");
  EXPECT_EQ(who(*hs, token, kNow + 5000 * io::kMillisecond), "none");
}

TEST(JwtTest, LengthsAndSegments) {
  const auto hs = jwt("HS256");
  const std::string good = claims(R"({"username":"a","revision":1})");
  for (const std::string& bad :
       {std::string(), std::string("."), std::string(".."), std::string("..."), good + ".", "." + good,
        good + "=", good.substr(0, good.rfind('.')), good.substr(0, good.rfind('.') + 1), " " + good,
        good + "A", good + std::string(kJwtBytesMax, 'A'), std::string(1 << 20, '.')}) {
    EXPECT_EQ(who(*hs, bad), "none") << bad.substr(0, 40);
  }
  // Many brackets: parsed, and no object.
  const std::string deep = forge("HS256", R"({"alg":"HS256"})", std::string(20'000, '['));
  EXPECT_EQ(who(*hs, deep), "none");
  const std::string nested =
      R"({"username":"a","revision":1,"x":)" + std::string(15'000, '[') + std::string(15'000, ']') + "}";
  EXPECT_EQ(who(*hs, claims(nested)), "a@1");
}

TEST(JwtTest, KeysAndTheirErrors) {
  const auto text = [](std::string_view method, const std::string& own, const std::string& shared) {
    const auto r = JwtKey::make(method, own.empty() ? "" : file(own), shared.empty() ? "" : file(shared));
    return r ? std::string((*r)->verify_only() ? "verify" : "sign") : std::string(r.error().text());
  };
  EXPECT_EQ(text("RS256", "rsa.pem", ""), "sign");
  EXPECT_EQ(text("RS256", "rsa_pkcs1.pem", "rsa_pkcs1.pub"), "sign");
  EXPECT_EQ(text("PS512", "", "rsa.crt"), "verify");
  EXPECT_EQ(text("RS256", "rsa.pem", "rsa.crt"), "sign");
  EXPECT_EQ(text("ES256", "ec256_sec1.pem", "ec256.pub"), "sign");
  EXPECT_EQ(text("RS256", "rsa.pem", "rsa_other.pub"), "auth: public and private keys don't match");
  EXPECT_EQ(text("ES256", "ec256.pem", "ec384.pub"), "auth: public and private keys don't match");
  EXPECT_EQ(text("RS256", "", ""), "auth: missing key data");
  EXPECT_EQ(text("EdDSA", "", ""), "auth: missing key data");
  EXPECT_EQ(text("HS256", "", "rsa.pub"), "auth: missing key data");
  EXPECT_EQ(text("RS256", "ec256.pem", ""), "key is not a valid RSA private key");
  EXPECT_EQ(text("RS256", "", "ec256.pub"), "key is not a valid RSA public key");
  EXPECT_EQ(text("ES256", "rsa.pem", ""), "key is not a valid ECDSA private key");
  EXPECT_EQ(text("ES256", "", "ed.pub"), "key is not a valid ECDSA public key");
  EXPECT_EQ(text("EdDSA", "rsa.pem", ""), "key is not a valid Ed25519 private key");
  EXPECT_EQ(text("EdDSA", "", "rsa.pub"), "key is not a valid Ed25519 public key");
  EXPECT_EQ(text("RS256", "secret", ""), "invalid key: Key must be a PEM encoded PKCS1 or PKCS8 key");
  EXPECT_EQ(text("RS256", "rsa.pub", ""), "key is not a valid RSA private key");
  EXPECT_EQ(text("none", "rsa.pem", ""), "unsupported signing method: *jwt.signingMethodNone");
  EXPECT_EQ(text("RS1", "rsa.pem", ""), "auth: invalid auth options");
  EXPECT_EQ(text("", "rsa.pem", ""), "auth: invalid auth options");
  // Another curve than the method's is found out when something is signed, as in etcd.
  auto wrong = JwtKey::make("ES256", file("ec384.pem"), {});
  ASSERT_TRUE(wrong);
  EXPECT_EQ((*wrong)->sign("x").error().text(), "key is invalid");
}

TEST(Base64Test, IsGos) {
  for (size_t n = 0; n < 70; ++n) {
    std::string bytes;
    for (size_t i = 0; i < n; ++i) bytes.push_back(static_cast<char>(i * 37 + n));
    EXPECT_EQ(base64_decode(base64_encode(bytes)), bytes);
    EXPECT_EQ(base64url_decode(base64url_encode(bytes)), bytes);
  }
  EXPECT_EQ(base64_encode("abcd"), "YWJjZA==");
  EXPECT_EQ(base64url_encode("\xfb\xff"), "-_8");
  EXPECT_EQ(base64_decode("YW\nJj\r\nZA=\n=\n"), "abcd");
  EXPECT_EQ(base64_decode("YR=="), "a");  // unused bits may be anything
  for (const char* bad :
       {"Y", "YQ", "YQ=", "YQ===", "YWJj=", "====", "=", "YQ==YQ==", "Y=Q=", "YQ==x", "-_8=", "Y Q="}) {
    EXPECT_EQ(base64_decode(bad), std::nullopt) << bad;
  }
  for (const char* bad : {"Y", "YQ==", "+/8", "YWJjZ"}) EXPECT_EQ(base64url_decode(bad), std::nullopt) << bad;
}

}  // namespace
}  // namespace quoin::auth
