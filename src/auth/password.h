// bcrypt as etcd uses it: hashing a password at a cost, and comparing one with a stored hash.
//
// Work: about 2^cost times 30 microseconds on the calling thread, so never on a loop or strand: see
// password_checker.h.
// Hashes are written as "$2a$"; "$2a$", "$2b$", "$2y$" and "$2$" are all compared the same way. That is Go's
// reading; libxcrypt's own "$2a$" differs from it for some passwords with bytes of 128 and more, hence what
// reaches libxcrypt is always "$2b$".
//
// Lengths: a password of more than 72 bytes is refused when it is hashed (etcd's text). When one is compared only
// its first 72 bytes count, which is all that bcrypt reads; Go does the same.
// NUL bytes: Go hashes a password with a NUL byte in it, libxcrypt would read it up to there. Such a password is
// refused by name when it is hashed, and is no user's when it is compared, also where Go hashed it: cutting it would let
// every password with that beginning in.
//
// Threads: any; nothing is kept.
// Errors: kPasswordTooLong; kInvalidArgument for a password with a NUL byte and for a cost out of range;
// kCorruption if libxcrypt fails.
// Source: spec api-semantics 6.2; Go's golang.org/x/crypto/bcrypt for what is compared.
#pragma once
#include <string>
#include <string_view>

#include "auth/secrets.h"
#include "base/result.h"

namespace quoin::auth {

constexpr int kBcryptCostMin = 4;
constexpr int kBcryptCostMax = 31;
constexpr int kBcryptCostDefault = 10;
constexpr size_t kPasswordBytesMax = 72;

// --bcrypt-cost: one that is out of range means the default.
constexpr int bcrypt_cost_or_default(int cost) {
  return cost < kBcryptCostMin || cost > kBcryptCostMax ? kBcryptCostDefault : cost;
}

// The bcrypt text, 60 bytes.
Result<std::string> hash_password(std::string_view password, int cost, Secrets& secrets);
// What the entry of a UserAdd or UserChangePassword carries: the bcrypt text in base64.
std::string hashed_password_field(std::string_view hash);

// kAuthFailed: another password, or no bcrypt text at all.
Result<> compare_password(std::string_view hash, std::string_view password);

}  // namespace quoin::auth
