#include "auth/jwt.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "auth/base64.h"
#include "base/go_text.h"

namespace quoin::auth {
namespace {

using Json = nlohmann::json;

// Rounds down, also before 1970.
int64_t seconds(io::WallNs ns) {
  return ns / io::kSecond - (ns % io::kSecond < 0 ? 1 : 0);
}

std::optional<Json> object_of(std::string_view segment) {
  const std::optional<std::string> text = base64url_decode(segment);
  if (!text) return std::nullopt;
  Json json = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  return json;
}

// A claim in whole seconds: absent, a number (0 counts as absent, as golang-jwt has it), or invalid.
struct Date {
  bool valid = true;
  std::optional<int64_t> seconds;
};
Date date_claim(const Json& claims, const char* name) {
  const auto it = claims.find(name);
  if (it == claims.end()) return {};
  if (!it->is_number()) return {false, {}};
  const double v = it->get<double>();
  if (v == 0) return {};
  if (!(std::abs(v) < 9e18)) return {false, {}};
  return {true, static_cast<int64_t>(v)};
}

}  // namespace

Result<std::unique_ptr<Jwt>> Jwt::make(const JwtOptions& options) {
  ASSIGN_OR_RETURN(auto key, JwtKey::make(options.sign_method, options.private_key, options.public_key));
  return std::unique_ptr<Jwt>(new Jwt(options.sign_method, std::move(key), options.ttl_ns));
}

Result<std::string> Jwt::sign(std::string_view user, uint64_t revision, io::WallNs now) const {
  if (verify_only()) return Code::kTokenVerifyOnly;
  const std::string head = fmt::format(R"({{"alg":"{}","typ":"JWT"}})", method_);
  const std::string claims = fmt::format(R"({{"exp":{},"revision":{},"username":{}}})",
                                         seconds(now + ttl_ns_), revision, go_json_string(user));
  std::string token = base64url_encode(head) + "." + base64url_encode(claims);
  ASSIGN_OR_RETURN(const std::string signature, key_->sign(token));
  return token + "." + base64url_encode(signature);
}

std::optional<AuthInfo> Jwt::verify(std::string_view token, io::WallNs now) const {
  if (token.size() > kJwtBytesMax) return std::nullopt;
  const size_t first = token.find('.');
  if (first == std::string_view::npos) return std::nullopt;
  const size_t second = token.find('.', first + 1);
  if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos) {
    return std::nullopt;
  }
  const std::optional<Json> head = object_of(token.substr(0, first));
  if (!head) return std::nullopt;
  const auto algorithm = head->find("alg");
  if (algorithm == head->end() || !algorithm->is_string() ||
      algorithm->get_ref<const std::string&>() != method_) {
    return std::nullopt;
  }
  const std::optional<std::string> signature = base64url_decode(token.substr(second + 1));
  // The signature before the claims: nothing is read that nobody signed.
  if (!signature || !key_->verify(token.substr(0, second), *signature)) return std::nullopt;
  const std::optional<Json> claims = object_of(token.substr(first + 1, second - first - 1));
  if (!claims) return std::nullopt;

  const int64_t now_s = seconds(now);
  const Date expires = date_claim(*claims, "exp"), begins = date_claim(*claims, "nbf");
  if (!expires.valid || !begins.valid) return std::nullopt;
  if (expires.seconds && now_s >= *expires.seconds) return std::nullopt;
  if (begins.seconds && now_s < *begins.seconds) return std::nullopt;

  const auto user = claims->find("username");
  const auto revision = claims->find("revision");
  if (user == claims->end() || !user->is_string()) return std::nullopt;
  if (revision == claims->end() || !revision->is_number()) return std::nullopt;
  const double r = revision->get<double>();
  if (!(r >= 0 && r < 9e18)) return std::nullopt;
  return AuthInfo{user->get<std::string>(), static_cast<uint64_t>(r)};
}

}  // namespace quoin::auth
