#include "auth/password.h"

#include <crypt.h>
#include <openssl/crypto.h>

#include <array>
#include <cstring>
#include <memory>
#include <optional>

#include "auth/base64.h"

namespace quoin::auth {
namespace {

constexpr std::string_view kAlphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
constexpr size_t kSaltBytes = 16;
constexpr size_t kSaltText = 22;
constexpr size_t kHashText = 31;

// bcrypt's own base64, without padding.
std::string salt_text(std::string_view bytes) {
  std::string out;
  unsigned bits = 0;
  int have = 0;
  for (const char c : bytes) {
    bits = (bits << 8) | static_cast<unsigned char>(c);
    for (have += 8; have >= 6; have -= 6) out.push_back(kAlphabet[(bits >> (have - 6)) & 63]);
  }
  if (have > 0) out.push_back(kAlphabet[(bits << (6 - have)) & 63]);
  return out;
}

Error nul_error() {
  return make_error(Code::kInvalidArgument, "etcdserver: password with a NUL byte is not supported");
}

// The 31 characters behind the salt. `password` has no NUL byte and 72 bytes at most.
Result<std::string> bcrypt(std::string_view password, std::string_view cost, std::string_view salt) {
  const std::string phrase(password);
  const std::string setting = fmt::format("$2b${}${}", cost, salt);
  const auto state = std::make_unique<crypt_data>();
  const char* text = crypt_r(phrase.c_str(), setting.c_str(), state.get());
  std::string out;
  if (text != nullptr && std::string_view(text).size() == setting.size() + kHashText && text[0] == '$') {
    out = std::string_view(text).substr(setting.size());
  }
  OPENSSL_cleanse(state.get(), sizeof(*state));
  OPENSSL_cleanse(const_cast<char*>(phrase.data()), phrase.size());
  if (out.empty()) return make_error(Code::kCorruption, "bcrypt: the hash cannot be computed");
  return out;
}

struct Parts {
  std::string_view cost, salt, hash;
};

// Empty: no bcrypt text. As Go reads it: any version letter, and whatever stands behind 31 characters is read
// over.
std::optional<Parts> parse(std::string_view text) {
  constexpr size_t kShortest = 59;
  if (text.size() < kShortest || !text.starts_with('$') || text[1] > '2') return std::nullopt;
  text.remove_prefix(text[2] == '$' ? 3 : 4);
  Parts p{text.substr(0, 2), text.substr(3, kSaltText), text.substr(3 + kSaltText)};
  for (const char c : p.cost) {
    if (c < '0' || c > '9') return std::nullopt;
  }
  const int cost = (p.cost[0] - '0') * 10 + (p.cost[1] - '0');
  if (cost < kBcryptCostMin || cost > kBcryptCostMax) return std::nullopt;
  for (const char c : p.salt) {
    if (kAlphabet.find(c) == std::string_view::npos) return std::nullopt;
  }
  p.hash = p.hash.substr(0, kHashText);
  if (p.hash.size() != kHashText) return std::nullopt;
  return p;
}

}  // namespace

Result<std::string> hash_password(std::string_view password, int cost, Secrets& secrets) {
  if (password.size() > kPasswordBytesMax) return Code::kPasswordTooLong;
  if (password.find('\0') != std::string_view::npos) return nul_error();
  if (cost < kBcryptCostMin || cost > kBcryptCostMax) {
    return make_error(Code::kInvalidArgument, "bcrypt: cost {} is outside allowed range ({},{})", cost,
                      kBcryptCostMin, kBcryptCostMax);
  }
  std::array<char, kSaltBytes> bytes;
  secrets.fill(bytes);
  const std::string salt = salt_text({bytes.data(), bytes.size()});
  const std::string cost_text = fmt::format("{:02}", cost);
  ASSIGN_OR_RETURN(const std::string hash, bcrypt(password, cost_text, salt));
  return fmt::format("$2a${}${}{}", cost_text, salt, hash);
}

std::string hashed_password_field(std::string_view hash) {
  return base64_encode(hash);
}

Result<> compare_password(std::string_view hash, std::string_view password) {
  password = password.substr(0, kPasswordBytesMax);
  if (password.find('\0') != std::string_view::npos) return Code::kAuthFailed;
  const std::optional<Parts> parts = parse(hash);
  if (!parts) return Code::kAuthFailed;
  auto computed = bcrypt(password, parts->cost, parts->salt);
  if (!computed) return Code::kAuthFailed;
  if (CRYPTO_memcmp(computed->data(), parts->hash.data(), kHashText) != 0) return Code::kAuthFailed;
  return {};
}

}  // namespace quoin::auth
