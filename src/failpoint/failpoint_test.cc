#include <gtest/gtest.h>

#include <thread>

#include "failpoint/control.h"
#include "failpoint/registry.h"
#include "failpoint/terms.h"

namespace quoin::failpoint {
namespace {

// ---- terms ----

// What two firings do, as "act value", or "refused".
std::string twice(std::string_view text) {
  auto terms = Terms::parse(text);
  if (!terms) return "refused";
  constexpr std::string_view kActs[] = {"off", "return", "sleep", "panic", "print"};
  Prng prng(1);
  std::string out;
  for (int i = 0; i < 2; ++i) {
    const auto fired = terms->fire(prng);
    if (i > 0) out += ", ";
    out += fired ? fmt::format("{} {}", kActs[static_cast<int>(fired->act)], value_text(fired->value))
                 : "nothing";
  }
  return out;
}

// gofail 0.2.0 says the same of each, but of those below the line, where it fails later or counts the bytes wrongly.
TEST(FailpointTerms, AsGofailReadsThem) {
  const std::pair<std::string_view, std::string_view> rows[] = {
      {"panic", "panic {}, panic {}"},
      {"panic()", "panic {}, panic {}"},
      {"panic(\"x\")", "panic x, panic x"},
      {"panic(3)", "panic 3, panic 3"},
      {"1*panic->off", "panic {}, off {}"},
      {"return(\"a b\")", "return a b, return a b"},
      {"return(`raw`)", "return raw, return raw"},
      {"return(-5)", "return -5, return -5"},
      {"return(true)", "return true, return true"},
      {"return(false)", "return false, return false"},
      {"off->", "off {}, off {}"},
      {"1*return(1)->1*return(2)", "return 1, return 2"},
      {"1*return(1)", "return 1, nothing"},
      {"0*off", "nothing, nothing"},
      {"25.%off->print", "print {}, print {}"},
      {"100.0%return(1)", "return 1, return 1"},
      {"0.0%return(1)->return(2)", "return 2, return 2"},
      {"1*100.0%print", "print {}, nothing"},
      {"sleep(\"250ms\")", "sleep 250ms, sleep 250ms"},
      {"", "refused"},
      {"off->x", "refused"},
      {"->off", "refused"},
      {"off ", "refused"},
      {"offreturn", "refused"},
      {"25%off", "refused"},
      {"return(007)", "refused"},
      {"return( 5)", "refused"},
      {"99999999999999999999*off", "refused"},
      // ----
      {"return(\"a\\tb\\x41\\u00e9\\101\")", "return a\tbA\u00e9A, return a\tbA\u00e9A"},
      {"break", "refused"},
      {"3*", "refused"},
      {"(5)", "refused"},
      {"return(t)", "refused"},
      {"return(\"x\"", "refused"},
      {"return(\"x\"z", "refused"},
      {"return(\"\\q\")", "refused"},
      {"return(\"\\ud800\")", "refused"},
  };
  for (const auto& [text, expected] : rows) EXPECT_EQ(twice(text), expected) << text;
  EXPECT_EQ(twice(fmt::format("print(\"{}\")", std::string(kTermsBytesMax, 'x'))), "refused");
}

TEST(FailpointTerms, ProbabilityHolds) {
  auto terms = Terms::parse("25.0%print->off");
  Prng prng(7);
  int printed = 0;
  for (int i = 0; i < 10'000; ++i) printed += terms->fire(prng)->act == Act::kPrint ? 1 : 0;
  EXPECT_NEAR(printed, 2500, 150);
  EXPECT_EQ(terms->count(), 10'000u);
}

TEST(FailpointTerms, SleepTakesMillisecondsAndGoDurations) {
  const std::pair<Value, std::optional<int64_t>> rows[] = {
      {int64_t{5}, 5'000'000},
      {int64_t{-5}, -5'000'000},
      {std::string("1h2m3.5s"), 3'723'500'000'000},
      {std::string("250ms"), 250'000'000},
      {std::string("1.5us"), 1'500},
      {std::string("2\u00b5s"), 2'000},
      {std::string("-3ns"), -3},
      {std::string("0"), 0},
      {std::string("5"), std::nullopt},
      {std::string("ms"), std::nullopt},
      {std::string("1x"), std::nullopt},
      {std::string("999999999h"), std::nullopt},
      {int64_t{1} << 62, std::nullopt},
      {true, std::nullopt},
      {NoValue(), std::nullopt},
  };
  for (const auto& [value, expected] : rows) EXPECT_EQ(sleep_ns(value), expected) << value_text(value);
}

// ---- places ----

struct Seen final : Effects {
  std::vector<std::string> lines;
  std::atomic<bool> dead{false};
  void sleep(int64_t ns) override { lines.push_back(fmt::format("sleep {}", ns)); }
  void print(std::string_view line) override { lines.emplace_back(line); }
  void die(std::string_view line) override {
    lines.push_back(fmt::format("die {}", line));
    dead = true;
  }
};

struct Rig {
  Seen seen;
  Registry registry;
  Point sync{registry, "walBeforeSync"}, copy{registry, "defragdbFail"};
  Rig() { registry.use(seen, 1); }
};

TEST(FailpointRegistry, ReachingAPlaceDoesWhatIsSet) {
  Rig rig;
  rig.sync.reach();
  EXPECT_EQ(rig.copy.text(), std::nullopt);
  EXPECT_EQ(rig.registry.set("walBeforeSync", "1*sleep(3)->1*print->1*panic->panic(\"now\")"), Status::kOk);
  for (int i = 0; i < 4; ++i) rig.sync.reach();
  EXPECT_EQ(rig.registry.setting("walBeforeSync").count, 4u);
  EXPECT_EQ(rig.registry.clear("walBeforeSync"), Status::kOk);
  rig.sync.reach();
  EXPECT_EQ(rig.registry.clear("walBeforeSync"), Status::kDisabled);
  EXPECT_EQ(rig.registry.clear("x"), Status::kDoesNotExist);
  EXPECT_EQ(rig.registry.set("x", "off"), Status::kDoesNotExist);
  EXPECT_EQ(rig.seen.lines,
            (std::vector<std::string>{"sleep 3000000", "failpoint print: walBeforeSync",
                                      "die failpoint panic: walBeforeSync", "die failpoint panic: now"}));
}

TEST(FailpointRegistry, AValueIsForThePlaceThatUnderstandsIt) {
  Rig rig;
  rig.registry.set("defragdbFail", "1*return(\"no room\")->1*return(5)->print");
  EXPECT_EQ(rig.copy.text(), "no room");
  EXPECT_EQ(rig.copy.text(), std::nullopt);
  EXPECT_EQ(rig.copy.text(), std::nullopt);
  rig.registry.set("walBeforeSync", "1*return->return(true)");
  rig.sync.reach();
  rig.sync.reach();
  rig.registry.set("walBeforeSync", "1*sleep->sleep(\"x\")");
  rig.sync.reach();
  rig.sync.reach();
  EXPECT_EQ(rig.registry.set("walBeforeSync", "x"), Status::kBadTerms);
  EXPECT_EQ(rig.seen.lines,
            (std::vector<std::string>{
                "failpoint: \"defragdbFail\" got value 5 of type \"int\" but expected type \"string\"",
                "failpoint print: defragdbFail",
                "failpoint: \"walBeforeSync\" got value true of type \"bool\" but expected type \"struct{}\"",
                "failpoint: ignoring sleep({}) on walBeforeSync",
                "failpoint: could not parse sleep(x) on walBeforeSync",
                "failed to enable \"walBeforeSync=x\" (failpoint: could not parse terms)"}));
}

TEST(FailpointRegistry, APanicWaitsForTheAnswer) {
  Rig rig;
  rig.registry.set("walBeforeSync", "panic");
  auto held = rig.registry.hold_panics();
  std::thread reacher([&] { rig.sync.reach(); });
  // The other thread may be anywhere before the end of it.
  EXPECT_FALSE(rig.seen.dead);
  EXPECT_EQ(rig.registry.set("walBeforeSync", "panic"), Status::kOk);
  EXPECT_FALSE(rig.seen.dead);
  held.unlock();
  reacher.join();
  EXPECT_TRUE(rig.seen.dead);
}

// ---- answers ----

std::string ask(Rig& rig, std::string_view method, std::string_view target, std::string_view body = {}) {
  const Answer a = answer(rig.registry, method, target, body);
  return fmt::format("{} {}", a.status, a.body);
}

TEST(FailpointControl, Answers) {
  Rig rig;
  const std::string missing = "failpoint: failpoint does not exist\n",
                    off = "failpoint: failpoint is disabled\n";
  EXPECT_EQ(ask(rig, "GET", "/"), "200 defragdbFail=\nwalBeforeSync=\n");
  EXPECT_EQ(ask(rig, "GET", "/x"), "404 failed to GET: " + missing + "\n");
  EXPECT_EQ(ask(rig, "GET", "/walBeforeSync"), "404 failed to GET: " + off + "\n");
  EXPECT_EQ(ask(rig, "GET", "/walBeforeSync/count"), "500 failed to GET: " + off);
  EXPECT_EQ(ask(rig, "GET", "/x/count"), "404 failed to GET: " + missing);
  EXPECT_EQ(ask(rig, "PUT", "/x", "off"), "400 fail to set failpoint: " + missing);
  EXPECT_EQ(ask(rig, "PUT", "/walBeforeSync", "x"),
            "400 fail to set failpoint: failpoint: could not parse terms\n");
  EXPECT_EQ(ask(rig, "PUT", "/walBeforeSync", "sleep(1)"), "204 ");
  rig.sync.reach();
  EXPECT_EQ(ask(rig, "GET", "/walBeforeSync"), "200 sleep(1)\n");
  EXPECT_EQ(ask(rig, "GET", "/walBeforeSync/count"), "200 1");
  EXPECT_EQ(ask(rig, "PUT", "/failpoints", "defragdbFail=print;;walBeforeSync=off"), "204 ");
  EXPECT_EQ(ask(rig, "PUT", "/failPoints", "defragdbFail=off"), "204 ");
  EXPECT_EQ(ask(rig, "GET", "/"), "200 defragdbFail=off\nwalBeforeSync=off\n");
  EXPECT_EQ(ask(rig, "GET", "/walBeforeSync/count"), "200 0");
  EXPECT_EQ(ask(rig, "PUT", "/failpoints", "a=b=c"),
            "400 fail to parse failpoint: bad failpoint \"a=b=c\"\n");
  EXPECT_EQ(ask(rig, "PUT", "/failpoints", "a"), "400 fail to parse failpoint: bad failpoint \"a\"\n");
  EXPECT_EQ(ask(rig, "PUT", "/failpoints", "a=off"), "400 fail to set failpoint: " + missing);
  EXPECT_EQ(ask(rig, "DELETE", "/walBeforeSync"), "204 ");
  EXPECT_EQ(ask(rig, "DELETE", "/walBeforeSync"), "400 failed to delete failpoint " + off);
  EXPECT_EQ(ask(rig, "DELETE", "/x"), "400 failed to delete failpoint " + missing);
  EXPECT_EQ(ask(rig, "POST", "/walBeforeSync"), "405 Method not allowed\n");
  EXPECT_EQ(answer(rig.registry, "HEAD", "/", {}).allowed, "PUT");
  EXPECT_EQ(ask(rig, "GET", "http://h/x"), "400 malformed request URI\n");
}

}  // namespace
}  // namespace quoin::failpoint
