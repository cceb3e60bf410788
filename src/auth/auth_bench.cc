// What authentication and authorisation cost: a bcrypt, the same login again, one check of a Range, a token's
// look-up, the signature of a JWT and its verification.
#include <benchmark/benchmark.h>

#include <fstream>
#include <sstream>

#include "auth/checks.h"
#include "auth/jwt.h"
#include "auth/password.h"
#include "auth/password_checker.h"
#include "auth/tokens.h"
#include "sim/world.h"
#include "wire/message.h"

namespace quoin::auth {
namespace {

void BM_Bcrypt(benchmark::State& state) {
  const auto secrets = system_secrets();
  const std::string hash = *hash_password("secret", static_cast<int>(state.range(0)), *secrets);
  for (auto _ : state) benchmark::DoNotOptimize(compare_password(hash, "secret"));
}
BENCHMARK(BM_Bcrypt)->Arg(4)->Arg(10)->Unit(benchmark::kMicrosecond);

void BM_RepeatedLogin(benchmark::State& state) {
  sim::World world(1);
  sim::Process& process = world.start_process("member");
  metrics::Registry metrics;
  const auto secrets = system_secrets();
  PasswordChecker checker({.cost = 4, .login_ttl_ns = 3600 * io::kSecond}, {&process.executor("pool")},
                          process.clock(), *secrets, metrics);
  const std::string hash = *hash_password("secret", 4, *secrets);
  io::Executor& loop = process.executor("loop");
  const auto login = [&] {
    bool done = false;
    checker.compare(hash, "secret", loop, [&](Result<> r) { done = r.has_value(); });
    world.run_until([&] { return done; }, io::kSecond);
  };
  login();
  for (auto _ : state) login();
}
BENCHMARK(BM_RepeatedLogin)->Unit(benchmark::kMicrosecond);

// A user with `roles` roles of `permissions` ranges each, none of which touch.
PermissionsRef state_of(int64_t roles, int64_t permissions) {
  auto p = std::make_shared<Permissions>();
  p->enabled = true;
  p->revision = p->serial = p->roles_serial = 1;
  wire::authpb::User user;
  user.name = "u";
  std::vector<std::string> text;
  text.reserve(static_cast<size_t>(roles * (2 * permissions + 1)));
  for (int64_t r = 0; r < roles; ++r) {
    wire::authpb::Role role;
    role.name = text.emplace_back(fmt::format("role{:04}", r));
    user.roles.push_back(role.name);
    for (int64_t i = 0; i < permissions; ++i) {
      auto& permission = role.key_permission.emplace_back();
      permission.key = text.emplace_back(fmt::format("/registry/{:04}/{:04}/a", i, r));
      permission.range_end = text.emplace_back(fmt::format("/registry/{:04}/{:04}/b", i, r));
    }
    p->roles.put(*Role::make(role.name, wire::encode_string(role)));
  }
  p->users.put(*User::read("u", wire::encode_string(user)));
  return p;
}

void BM_CheckRange(benchmark::State& state) {
  const PermissionsRef p = state_of(state.range(0), state.range(1));
  RightsCache cache;
  for (auto _ : state) {
    Access a(p, AuthInfo{"u", 1}, cache);
    while (!a.step()) {
    }
    benchmark::DoNotOptimize(a.read("/registry/0000/0000/a1", "/registry/0000/0000/a2"));
  }
}
BENCHMARK(BM_CheckRange)->Args({1, 100})->Args({100, 1})->Args({100, 100});

// One step of merging, of a user with many roles and ranges.
void BM_MergeStep(benchmark::State& state) {
  const PermissionsRef p = state_of(100, 100);
  const auto user = *p->users.find_shared("u");
  for (auto _ : state) {
    state.PauseTiming();
    Merge merge(p, user, nullptr);
    merge.step(200);
    state.ResumeTiming();
    merge.step(kStep);
  }
}
BENCHMARK(BM_MergeStep)->Unit(benchmark::kMicrosecond)->Iterations(200);

void BM_FindToken(benchmark::State& state) {
  sim::World world(1);
  metrics::Registry metrics;
  TokenTable table({}, world.start_process("member").clock(), metrics);
  table.enable();
  for (int64_t i = 0; i < state.range(0); ++i) table.assign(fmt::format("SptHktnwZqNGdxRS.{}", i), "alice");
  for (auto _ : state) benchmark::DoNotOptimize(table.find("SptHktnwZqNGdxRS.0"));
}
BENCHMARK(BM_FindToken)->Arg(1)->Arg(100'000);

std::unique_ptr<Jwt> jwt(const char* method, const char* key) {
  std::ifstream in(std::string(QUOIN_SOURCE_DIR) + "/src/auth/corpus/jwt/" + key, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  JwtOptions o;
  o.sign_method = method;
  o.private_key = text.str();
  o.ttl_ns = 300 * io::kSecond;
  return *Jwt::make(o);
}
void BM_JwtSign(benchmark::State& state, const char* method, const char* key) {
  const auto j = jwt(method, key);
  for (auto _ : state) benchmark::DoNotOptimize(j->sign("alice", 1, 0));
}
void BM_JwtVerify(benchmark::State& state, const char* method, const char* key) {
  const auto j = jwt(method, key);
  const std::string token = *j->sign("alice", 1, 0);
  for (auto _ : state) benchmark::DoNotOptimize(j->verify(token, 0));
}
BENCHMARK_CAPTURE(BM_JwtSign, RS256, "RS256", "rsa.pem")->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BM_JwtVerify, RS256, "RS256", "rsa.pem")->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BM_JwtVerify, ES256, "ES256", "ec256.pem")->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BM_JwtVerify, HS256, "HS256", "secret")->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace quoin::auth
