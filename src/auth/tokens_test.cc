#include "auth/tokens.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "auth/token_options.h"
#include "sim/world.h"

namespace quoin::auth {
namespace {

// 0, 1, 2, ... in every byte.
class Counting : public Secrets {
 public:
  void fill(std::span<char> out) override {
    for (char& c : out) c = static_cast<char>(next_++);
  }

 private:
  unsigned next_ = 0;
};

class TokensTest : public ::testing::Test {
 protected:
  TokensTest() : world(1), process(world.start_process("member")) { make({}); }
  void make(const TokenTable::Options& options) {
    metrics = std::make_unique<metrics::Registry>();
    table = std::make_unique<TokenTable>(options, process.clock(), *metrics);
    table->enable();
  }
  void pass_s(int64_t s) { world.run_for(s * io::kSecond); }
  std::string find(std::string_view token) { return table->find(token).value_or("none"); }

  sim::World world;
  sim::Process& process;
  std::unique_ptr<metrics::Registry> metrics;
  std::unique_ptr<TokenTable> table;
};

TEST_F(TokensTest, APrefixIsSixteenLettersEachEquallyLikely) {
  Counting counting;
  EXPECT_EQ(new_token_prefix(counting), "abcdefghijklmnop");
  std::map<char, int> letters;
  for (int i = 0; i < 4 * 13 * 16; ++i) {
    for (char c : new_token_prefix(counting)) ++letters[c];
  }
  EXPECT_EQ(letters.size(), 52u);
  const auto system = system_secrets();
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) seen.insert(new_token_prefix(*system));
  EXPECT_EQ(seen.size(), 100u);
}

TEST_F(TokensTest, WhatASimpleTokenLooksLike) {
  EXPECT_EQ(simple_token("SptHktnwZqNGdxRS", Index(36)), "SptHktnwZqNGdxRS.36");
  struct {
    const char* token;
    std::optional<uint64_t> index;
  } const rows[] = {
      {"SptHktnwZqNGdxRS.36", 36},
      {"a.007", 7},
      {".0", 0},
      {"a.18446744073709551615", UINT64_MAX},
      {"a.18446744073709551616", std::nullopt},
      {"a.99999999999999999999", std::nullopt},
      {"a", std::nullopt},
      {"", std::nullopt},
      {"a.", std::nullopt},
      {"a.b", std::nullopt},
      {"a.1.2", std::nullopt},
      {"a.+1", std::nullopt},
      {"a.-1", std::nullopt},
      {"a. 1", std::nullopt},
      {"a.1_0", std::nullopt},
  };
  for (const auto& row : rows) {
    const auto got = parse_simple_token(row.token);
    EXPECT_EQ(got ? std::optional(got->v) : std::nullopt, row.index) << row.token;
  }
  EXPECT_EQ(token_fingerprint("abc"), "ba7816bf8f01");
}

TEST_F(TokensTest, ATokenLivesFromItsLastUse) {
  table->assign("t.1", "alice");
  for (int i = 0; i < 5; ++i) {
    pass_s(299);
    EXPECT_EQ(find("t.1"), "alice");
  }
  pass_s(301);
  EXPECT_EQ(find("t.1"), "none");
  EXPECT_EQ(table->size(), 0u);
  EXPECT_EQ(table->bytes(), 0u);
}

TEST_F(TokensTest, WhatHasEndedIsGivenBackInPieces) {
  for (int i = 0; i < 1000; ++i) table->assign(fmt::format("t.{}", i), "alice");
  pass_s(200);
  for (int i = 0; i < 1000; i += 2) find(fmt::format("t.{}", i));
  EXPECT_FALSE(table->sweep());
  EXPECT_EQ(table->size(), 1000u);
  pass_s(150);
  EXPECT_TRUE(table->sweep(100));
  EXPECT_EQ(table->size(), 900u);
  while (table->sweep(100)) {
  }
  EXPECT_EQ(table->size(), 500u);
  EXPECT_EQ(find("t.2"), "alice");
  EXPECT_EQ(find("t.1"), "none");
}

TEST_F(TokensTest, AUsersTokensEndTogetherAndNewOnesAreValid) {
  for (int i = 0; i < 100; ++i) {
    table->assign(fmt::format("a.{}", i), "alice");
    table->assign(fmt::format("b.{}", i), "bob");
  }
  table->end_user("alice");
  table->end_user("nobody");
  table->assign("new.1", "alice");
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(find(fmt::format("a.{}", i)), "none");
    EXPECT_EQ(find(fmt::format("b.{}", i)), "bob");
  }
  EXPECT_EQ(find("new.1"), "alice");
  table->end_user("alice");
  EXPECT_EQ(find("new.1"), "none");
}

TEST_F(TokensTest, DisablingEndsAllAndEnablingRevivesNone) {
  table->assign("t.1", "alice");
  table->disable();
  EXPECT_EQ(find("t.1"), "none");
  table->assign("t.2", "alice");
  table->enable();
  EXPECT_EQ(find("t.1"), "none");
  EXPECT_EQ(find("t.2"), "none");
  table->assign("t.3", "alice");
  EXPECT_EQ(find("t.3"), "alice");
  table->sweep();
  EXPECT_EQ(table->size(), 1u);
}

TEST_F(TokensTest, TheTableHasABoundAndTheLongestUnusedGoesFirst) {
  make({.tokens_max = 160});
  for (int i = 0; i < 1000; ++i) {
    table->assign(fmt::format("t.{}", i), "alice");
    EXPECT_EQ(find("t.0"), "alice");  // in use
  }
  EXPECT_LE(table->size(), 160u);
  EXPECT_GT(table->size(), 100u);
  EXPECT_EQ(find("t.999"), "alice");
  EXPECT_EQ(find("t.1"), "none");
  make({.bytes_max = 16 * 4096});
  for (int i = 0; i < 1000; ++i) table->assign(fmt::format("{}.{}", std::string(200, 'x'), i), "alice");
  EXPECT_LE(table->bytes(), 16u * 4096);
  EXPECT_GT(table->size(), 50u);
}

TEST_F(TokensTest, TheTtlIsTheCallersOrTheDefault) {
  make({.ttl_ns = 5 * io::kSecond});
  table->assign("t.1", "alice");
  pass_s(6);
  EXPECT_EQ(find("t.1"), "none");
  make({.ttl_ns = 0});
  table->assign("t.1", "alice");
  pass_s(299);
  EXPECT_EQ(find("t.1"), "alice");
}

// ---- --auth-token ----

TEST(TokenOptionsTest, Kinds) {
  const auto kind = [](std::string_view text) {
    const auto r = parse_token_options(text);
    return r ? std::to_string(static_cast<int>(r->kind)) : std::string(r.error().text());
  };
  const std::string invalid = "auth: invalid auth options";
  EXPECT_EQ(kind(""), "0");
  EXPECT_EQ(kind("simple"), "1");
  EXPECT_EQ(kind("simple,any=thing"), "1");
  EXPECT_EQ(kind("jwt,sign-method=RS256,ttl=1m"), "2");
  EXPECT_EQ(kind("jwt,a=1,a=2"), invalid);
  EXPECT_EQ(kind("jwt,a"), invalid);
  EXPECT_EQ(kind("jwt,a=b=c"), invalid);
  EXPECT_EQ(kind("jwt,"), invalid);
  EXPECT_EQ(kind("JWT"), invalid);
  EXPECT_EQ(kind(" simple"), invalid);
}

TEST(TokenOptionsTest, Durations) {
  struct {
    const char* text;
    std::optional<int64_t> ns;
  } const rows[] = {
      {"5m", 300'000'000'000},
      {"1h30m", 5'400'000'000'000},
      {"1.5s", 1'500'000'000},
      {"-2ms", -2'000'000},
      {"+3us", 3000},
      {"\xc2\xb5s", std::nullopt},
      {"2\xc2\xb5s", 2000},
      {"0", 0},
      {".5s", 500'000'000},
      {"1.s", 1'000'000'000},
      {"", std::nullopt},
      {"5", std::nullopt},
      {"5x", std::nullopt},
      {"-", std::nullopt},
      {".s", std::nullopt},
      {"1.2.3s", std::nullopt},
      {"9999999h", std::nullopt},
      {"1 s", std::nullopt},
  };
  for (const auto& row : rows) EXPECT_EQ(parse_go_duration(row.text), row.ns) << row.text;
}

TEST(TokenOptionsTest, JwtOptions) {
  const FileReader files = [](const std::string& path) -> Result<std::string> {
    if (path == "/none") return make_error(Code::kFileNotFound, "no such file");
    return "content of " + path;
  };
  const auto parse = [&](std::string_view text) {
    return parse_jwt_options(*parse_token_options(text), files);
  };
  const auto all = parse("jwt,pub-key=/p,priv-key=/q,sign-method=RS256,ttl=1m,colour=red");
  ASSERT_TRUE(all);
  EXPECT_EQ(all->public_key, "content of /p");
  EXPECT_EQ(all->private_key, "content of /q");
  EXPECT_EQ(all->sign_method, "RS256");
  EXPECT_EQ(all->ttl_ns, 60 * io::kSecond);
  EXPECT_EQ(all->unknown, (std::vector<std::string>{"colour"}));
  EXPECT_EQ(parse("jwt,sign-method=RS256")->ttl_ns, 300 * io::kSecond);
  EXPECT_EQ(parse("jwt,sign-method=RS256,ttl=0")->ttl_ns, 0);
  EXPECT_EQ(parse("jwt,sign-method=RS256,ttl=x").error().text(), "auth: invalid auth options");
  EXPECT_EQ(parse("jwt,pub-key=/none").error().text(), "auth: invalid auth options");
}

}  // namespace
}  // namespace quoin::auth
