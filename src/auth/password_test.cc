#include "auth/password.h"

#include <gtest/gtest.h>

#include <fstream>

#include "auth/corpus_test.h"
#include "auth/password_checker.h"
#include "sim/world.h"

namespace quoin::auth {
namespace {

class Zeros : public Secrets {
 public:
  void fill(std::span<char> out) override { std::fill(out.begin(), out.end(), '\0'); }
};

std::string say(const Result<>& r) {
  return r ? "ok" : std::string(r.error().text());
}
constexpr const char* kFailed = "etcdserver: authentication failed, invalid user ID or password";

// Hashes that Go's bcrypt made: of nothing, of bytes beyond 127, of 72 bytes, of a NUL byte.
TEST(PasswordTest, GosHashesAreUnderstood) {
  std::ifstream in(corpus_path("bcrypt_go.txt"));
  std::string hex, hash;
  int seen = 0;
  while (in >> hex >> hash) {
    ++seen;
    const std::string password = from_hex(hex);
    if (password.find('\0') != std::string::npos) {
      EXPECT_EQ(say(compare_password(hash, password)), kFailed);
      EXPECT_EQ(say(compare_password(hash, password.substr(0, password.find('\0')))), kFailed);
      continue;
    }
    for (const char version : {'a', 'b', 'y'}) {
      std::string other = hash;
      other[2] = version;
      EXPECT_EQ(say(compare_password(other, password)), "ok") << hex << " " << version;
    }
    if (password.size() < 72) {
      EXPECT_EQ(say(compare_password(hash, password + "x")), kFailed) << hex;
    }
    EXPECT_EQ(say(compare_password(hash + "beyond", password)), "ok");
    EXPECT_EQ(say(compare_password(hash.substr(0, 59), password)), kFailed);
  }
  EXPECT_EQ(seen, 9);
}

TEST(PasswordTest, AHashIsCompared) {
  Zeros zeros;
  const auto hash = hash_password("secret", 4, zeros);
  ASSERT_TRUE(hash);
  EXPECT_EQ(hash->size(), 60u);
  EXPECT_TRUE(hash->starts_with("$2a$04$......................"));
  EXPECT_EQ(say(compare_password(*hash, "secret")), "ok");
  EXPECT_EQ(say(compare_password(*hash, "Secret")), kFailed);
  EXPECT_EQ(say(compare_password(*hash, "")), kFailed);
  const auto system = system_secrets();
  EXPECT_NE(*hash_password("secret", 4, *system), *hash_password("secret", 4, *system));
  EXPECT_TRUE(hash_password("", 4, zeros));  // an empty password is one
}

TEST(PasswordTest, WhatIsRefused) {
  Zeros zeros;
  EXPECT_EQ(hash_password(std::string(73, 'x'), 4, zeros).error().text(),
            "bcrypt: password length exceeds 72 bytes");
  EXPECT_EQ(hash_password(std::string(73, 'x'), 4, zeros).error().grpc_status(), GrpcStatus::kUnknown);
  const std::string nul("a\0b", 3);
  EXPECT_EQ(hash_password(nul, 4, zeros).error().text(),
            "etcdserver: password with a NUL byte is not supported");
  EXPECT_FALSE(hash_password("x", 3, zeros));
  EXPECT_FALSE(hash_password("x", 32, zeros));
  // Only 72 bytes count when one is compared.
  const std::string hash = *hash_password(std::string(72, 'x'), 4, zeros);
  EXPECT_EQ(say(compare_password(hash, std::string(1000, 'x'))), "ok");
  EXPECT_EQ(say(compare_password(hash, std::string(71, 'x'))), kFailed);
  for (const char* bad : {"", "x", "$2a$04$", "$3a$04$......................................................",
                          "$2a$03$......................................................",
                          "$2a$32$......................................................",
                          "$2a$0x$......................................................",
                          "$2a$04$!.....................................................",
                          "2a$04$.......................................................", "$1$04$abc"}) {
    EXPECT_EQ(say(compare_password(bad, "secret")), kFailed) << bad;
  }
  EXPECT_EQ(bcrypt_cost_or_default(4), 4);
  EXPECT_EQ(bcrypt_cost_or_default(31), 31);
  EXPECT_EQ(bcrypt_cost_or_default(3), 10);
  EXPECT_EQ(bcrypt_cost_or_default(32), 10);
  EXPECT_EQ(bcrypt_cost_or_default(0), 10);
  EXPECT_EQ(hashed_password_field("$2a$"), "JDJhJA==");
}

class CheckerTest : public ::testing::Test {
 protected:
  CheckerTest()
      : world(1),
        process(world.start_process("member")),
        loop(process.executor("loop")),
        pool{&process.executor("p1"), &process.executor("p2")} {
    hash = *hash_password("secret", 4, zeros);
    make({});
  }
  void make(PasswordChecker::Options options) {
    options.cost = 4;
    metrics = std::make_unique<metrics::Registry>();
    checker = std::make_unique<PasswordChecker>(options, pool, process.clock(), zeros, *metrics);
    said.clear();
  }
  void ask(std::string h, std::string password) {
    checker->compare(std::move(h), std::move(password), loop, [this](Result<> r) {
      EXPECT_TRUE(loop.running_here());
      said.push_back(say(r));
    });
  }
  std::string answer(std::string h, std::string password) {
    ask(std::move(h), std::move(password));
    world.run_for(io::kSecond);
    CHECK(!said.empty());
    return said.back();
  }
  uint64_t recalled() { return metrics->counter("quoin_auth_logins_remembered_total", "").value(); }

  sim::World world;
  sim::Process& process;
  io::Executor& loop;
  std::vector<io::Executor*> pool;
  Zeros zeros;
  std::string hash;
  std::unique_ptr<metrics::Registry> metrics;
  std::unique_ptr<PasswordChecker> checker;
  std::vector<std::string> said;
};

TEST_F(CheckerTest, ComparesAndHashes) {
  EXPECT_EQ(answer(hash, "secret"), "ok");
  EXPECT_EQ(answer(hash, "wrong"), kFailed);
  std::optional<Result<std::string>> made;
  checker->hash("new", loop, [&](Result<std::string> r) { made = std::move(r); });
  EXPECT_FALSE(made);
  world.run_for(io::kSecond);
  ASSERT_TRUE(made && *made);
  EXPECT_EQ(say(compare_password(**made, "new")), "ok");
  checker->hash(std::string(73, 'x'), loop, [&](Result<std::string> r) { made = std::move(r); });
  world.run_for(io::kSecond);
  EXPECT_EQ(made->error().code(), Code::kPasswordTooLong);
  EXPECT_EQ(checker->waiting(), 0u);
}

TEST_F(CheckerTest, ARightLoginIsRememberedForAWhile) {
  EXPECT_EQ(answer(hash, "secret"), "ok");
  EXPECT_EQ(recalled(), 0u);
  EXPECT_EQ(answer(hash, "secret"), "ok");
  EXPECT_EQ(recalled(), 1u);
  // Another password is not, nor the same one for another hash, nor a wrong one ever.
  EXPECT_EQ(answer(hash, "secret2"), kFailed);
  EXPECT_EQ(answer(hash, "secret2"), kFailed);
  const auto system = system_secrets();
  EXPECT_EQ(answer(*hash_password("other", 4, *system), "secret"), kFailed);
  EXPECT_EQ(recalled(), 1u);
  world.run_for(31 * io::kSecond);
  EXPECT_EQ(answer(hash, "secret"), "ok");
  EXPECT_EQ(recalled(), 1u);
}

TEST_F(CheckerTest, TheMemoryHasABound) {
  make({.logins_max = 3});
  std::vector<std::string> hashes;
  const auto system = system_secrets();
  for (int i = 0; i < 5; ++i) hashes.push_back(*hash_password("p", 4, *system));
  for (const auto& h : hashes) EXPECT_EQ(answer(h, "p"), "ok");
  EXPECT_EQ(checker->remembered(), 3u);
  EXPECT_EQ(answer(hashes[4], "p"), "ok");
  EXPECT_EQ(recalled(), 1u);
  EXPECT_EQ(answer(hashes[0], "p"), "ok");
  EXPECT_EQ(recalled(), 1u);
}

TEST_F(CheckerTest, TooManyWaitingAreRefused) {
  make({.jobs_max = 5});
  for (int i = 0; i < 8; ++i) ask(hash, "wrong");
  EXPECT_EQ(checker->waiting(), 5u);
  world.run_for(io::kSecond);
  EXPECT_EQ(std::count(said.begin(), said.end(), "etcdserver: too many requests"), 3);
  EXPECT_EQ(std::count(said.begin(), said.end(), kFailed), 5);
  EXPECT_EQ(answer(hash, "secret"), "ok");
  make({.bytes_max = 200});
  for (int i = 0; i < 4; ++i) ask(hash, "wrong");
  world.run_for(io::kSecond);
  EXPECT_EQ(std::count(said.begin(), said.end(), "etcdserver: too many requests"), 1);
}

TEST_F(CheckerTest, TheSameLoginManyTimesCostsOneBcryptAThread) {
  for (int i = 0; i < 50; ++i) ask(hash, "secret");
  world.run_for(io::kSecond);
  EXPECT_EQ(std::count(said.begin(), said.end(), "ok"), 50);
  EXPECT_GE(recalled(), 48u);
}

TEST_F(CheckerTest, WhatNobodyWaitsForIsNotDone) {
  auto given_up = std::make_shared<std::atomic<bool>>(false);
  std::optional<Result<std::string>> made;
  std::optional<Result<>> right;
  checker->hash(
      "new", loop, [&](Result<std::string> r) { made = std::move(r); }, given_up);
  checker->compare(
      hash, "secret", loop, [&](Result<> r) { right = std::move(r); }, given_up);
  given_up->store(true);
  world.run_for(io::kSecond);
  ASSERT_TRUE(made && right);
  EXPECT_EQ(made->error().code(), Code::kContextCanceled);
  EXPECT_EQ(right->error().code(), Code::kContextCanceled);
  EXPECT_EQ(checker->waiting(), 0u);
}

TEST_F(CheckerTest, ClosingAnswersWhoWaits) {
  for (int i = 0; i < 3; ++i) ask(hash, "secret");
  checker.reset();
  world.run_for(io::kSecond);
  EXPECT_EQ(said, (std::vector<std::string>(3, "stopped")));
}

}  // namespace
}  // namespace quoin::auth
