#include "posix/log_sink.h"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <future>
#include <sstream>
#include <thread>

#include "base/check.h"
#include "posix/log_duration.h"
#include "posix/log_render.h"

namespace quoin::posix {
namespace {

using log::Event;
using log::Level;

// 2026-11-21T03:02:49.396000Z
constexpr int64_t kSomeTime = 1795230169'396000000;

class TempDir {
 public:
  TempDir() {
    std::string pattern = testing::TempDir() + "quoin_log_XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TempDir() {
    for (const std::string& f : files()) unlink((path_ + "/" + f).c_str());
    rmdir(path_.c_str());
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  std::vector<std::string> files() const {
    std::vector<std::string> out;
    DIR* d = opendir(path_.c_str());
    while (const dirent* e = readdir(d)) {
      if (e->d_name[0] != '.') out.emplace_back(e->d_name);
    }
    closedir(d);
    std::sort(out.begin(), out.end());
    return out;
  }

 private:
  std::string path_;
};

std::string slurp(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}
int count_lines(const std::string& s) {
  return static_cast<int>(std::count(s.begin(), s.end(), '\n'));
}

std::string render(const Event& e, bool json = true, std::string_view name = {}, int64_t at = kSomeTime) {
  std::string record, out;
  encode_event(record, e, name);
  (json ? render_json : render_console)(out, record, e.level, at, true);
  return out;
}

class Utc : public testing::Test {
 protected:
  Utc() {
    setenv("TZ", "UTC", 1);
    tzset();
  }
};
using LogRender = Utc;
using LogSinkTest = Utc;
using LogRotate = Utc;

TEST_F(LogRender, JsonAsZap) {
  EXPECT_EQ(render({Level::kInfo, "f95b01a52768b4b4 became leader at term 2", {}, "src/raft/raft.cc", 970},
                   true, "raft"),
            "{\"level\":\"info\",\"ts\":\"2026-11-21T03:02:49.396000Z\",\"logger\":\"raft\",\"caller\":"
            "\"raft/raft.cc:970\","
            "\"msg\":\"f95b01a52768b4b4 became leader at term 2\"}\n");
  const std::vector<std::string> urls = {"http://a", "b\"c"};
  EXPECT_EQ(render({Level::kWarn,
                    "m",
                    {{"s", "x<>&\\\"\n\r\t\x01\xff ü"},
                     {"i", -5},
                     {"u", uint64_t{18446744073709551615U}},
                     {"b", true},
                     {"d", 0.9},
                     {"big", 1e21},
                     {"took", log::Duration{1'500'000'000}},
                     {"id", log::Hex{0xf95b01a52768b4b4}},
                     {"json", log::JsonText{"{\"a\":1}"}},
                     {"list", urls}},
                    "x.cc",
                    1}),
            "{\"level\":\"warn\",\"ts\":\"2026-11-21T03:02:49.396000Z\",\"caller\":\"x.cc:1\",\"msg\":\"m\","
            "\"s\":\"x<>&\\\\\\\"\\n\\r\\t\\u0001\\ufffd "
            "ü\",\"i\":-5,\"u\":18446744073709551615,\"b\":true,\"d\":0.9,"
            "\"big\":1000000000000000000000,\"took\":\"1.5s\",\"id\":\"f95b01a52768b4b4\",\"json\":{\"a\":1},"
            "\"list\":[\"http://a\",\"b\\\"c\"]}\n");
  EXPECT_EQ(
      render({Level::kError, "e", {{"error", "why"}}, "/a/b/c.cc", 7}),
      "{\"level\":\"error\",\"ts\":\"2026-11-21T03:02:49.396000Z\",\"caller\":\"b/c.cc:7\",\"msg\":\"e\","
      "\"error\":\"why\",\"stacktrace\":\"quoin\\n\\tb/c.cc:7\"}\n");
}

TEST_F(LogRender, SizesAsPeopleReadThem) {
  const auto text = [](uint64_t bytes) {
    const std::string out = render(Event{Level::kInfo, "m", {{"size", log::Size{bytes}}}, "a/b.cc", 1});
    const size_t at = out.find("\"size\":\"") + 8;
    return out.substr(at, out.find('"', at) - at);
  };
  EXPECT_EQ(text(0), "0 B");
  EXPECT_EQ(text(9), "9 B");
  EXPECT_EQ(text(999), "999 B");
  EXPECT_EQ(text(1000), "1.0 kB");
  EXPECT_EQ(text(20480), "20 kB");
  EXPECT_EQ(text(10'485'760), "10 MB");
  EXPECT_EQ(text(2'147'483'648), "2.1 GB");
  EXPECT_EQ(text(9'000'000'000), "9.0 GB");
  EXPECT_EQ(text(UINT64_MAX), "18 EB");
}

TEST_F(LogRender, ConsoleAsZap) {
  EXPECT_EQ(render({Level::kInfo, "m", {}, "src/a/b.cc", 3}, false),
            "2026-11-21T03:02:49.396000Z\tinfo\ta/b.cc:3\tm\n");
  const std::vector<std::string> two = {"x", "y"};
  EXPECT_EQ(render({Level::kInfo, "m", {{"k", "v"}, {"k2", 1}, {"l", two}}, "src/a/b.cc", 3}, false, "raft"),
            "2026-11-21T03:02:49.396000Z\tinfo\traft\ta/b.cc:3\tm\t{\"k\": \"v\", \"k2\": 1, \"l\": [\"x\", "
            "\"y\"]}\n");
  EXPECT_EQ(render({Level::kError, "m", {{"k", true}}, "src/a/b.cc", 3}, false),
            "2026-11-21T03:02:49.396000Z\terror\ta/b.cc:3\tm\t{\"k\": true}\nquoin\n\ta/b.cc:3\n");
}

TEST_F(LogRender, LocalTimeZone) {
  setenv("TZ", "XXX-01:30", 1);
  tzset();
  EXPECT_NE(render({Level::kInfo, "m", {}, "b.cc", 3}).find("\"ts\":\"2026-11-21T04:32:49.396000+0130\""),
            std::string::npos);
}

TEST(LogDuration, AsGo) {
  struct Row {
    int64_t ns;
    std::string_view text;
  };
  for (const Row& r :
       {Row{0, "0s"}, Row{1, "1ns"}, Row{1100, "1.1µs"}, Row{100'000'000, "100ms"}, Row{2'200'000, "2.2ms"},
        Row{1'000'000'000, "1s"}, Row{65'001'000'000, "1m5.001s"}, Row{7200'000'000'000, "2h0m0s"},
        Row{-20'000, "-20µs"}, Row{INT64_MAX, "2562047h47m16.854775807s"},
        Row{INT64_MIN, "-2562047h47m16.854775808s"}, Row{999'999'999, "999.999999ms"}}) {
    EXPECT_EQ(duration_text(r.ns), r.text);
  }
}

TEST_F(LogSinkTest, WritesInOrderWithLevelsAndNames) {
  const TempDir dir;
  LogSinkOptions o;
  o.outputs = {dir / "x.log"};
  o.wall_ns = [] { return kSomeTime; };
  {
    auto sink = *LogSink::open(o);
    EXPECT_FALSE(sink->enabled(Level::kDebug));
    LOG(*sink, kDebug, "no");
    LOG(*sink, kInfo, "one", {"a", 1});
    LOG(sink->named("raft"), kWarn, "two");
    sink->flush();
    EXPECT_EQ(count_lines(slurp(dir / "x.log")), 2);
    LOG(*sink, kInfo, "three");
  }
  const std::string text = slurp(dir / "x.log");
  EXPECT_EQ(count_lines(text), 3);
  EXPECT_NE(text.find("\"logger\":\"raft\",\"caller\":\"posix/log_sink_test.cc:"), std::string::npos);
  EXPECT_LT(text.find("one"), text.find("two"));
  EXPECT_LT(text.find("two"), text.find("three"));
  // A second sink appends.
  { LOG(**LogSink::open(o), kInfo, "four"); }
  EXPECT_EQ(count_lines(slurp(dir / "x.log")), 4);
}

TEST_F(LogSinkTest, Outputs) {
  LogSinkOptions o;
  o.outputs = {"/nonexistent/x.log"};
  const auto failed = LogSink::open(o);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().text(),
            "open sink \"/nonexistent/x.log\": open /nonexistent/x.log: no such file or directory");

  const TempDir dir;
  o.outputs = {dir / "x.log", "/dev/null"};
  { LOG(**LogSink::open(o), kInfo, "nowhere"); }
  EXPECT_TRUE(dir.files().empty());
  o.outputs = {dir / "x.log", dir / "y.log", dir / "x.log"};
  { LOG(**LogSink::open(o), kInfo, "both"); }
  EXPECT_EQ(count_lines(slurp(dir / "x.log")), 1);
  EXPECT_EQ(count_lines(slurp(dir / "y.log")), 1);
}

TEST_F(LogSinkTest, SamplesPerSecondLevelAndText) {
  const TempDir dir;
  int64_t now = kSomeTime;
  LogSinkOptions o;
  o.outputs = {dir / "x.log"};
  o.wall_ns = [&now] { return now; };
  auto sink = *LogSink::open(o);
  for (int i = 0; i < 350; ++i) LOG(*sink, kInfo, "same");
  for (int i = 0; i < 50; ++i) LOG(*sink, kInfo, "other");
  for (int i = 0; i < 50; ++i) LOG(*sink, kWarn, "same");
  sink->flush();
  EXPECT_EQ(count_lines(slurp(dir / "x.log")), 100 + 2 + 50 + 50);  // the 200th and 300th
  now += 1'000'000'000;
  LOG(*sink, kInfo, "same");
  sink->flush();
  EXPECT_EQ(count_lines(slurp(dir / "x.log")), 203);
}

TEST_F(LogSinkTest, FatalIsWrittenBeforeTheStop) {
  const TempDir dir;
  LogSinkOptions o;
  o.outputs = {dir / "x.log"};
  std::vector<std::string> stops;
  o.stop = [&](Level level, std::string_view message) {
    stops.push_back(fmt::format("{} {} {}", level_name(level), message, count_lines(slurp(dir / "x.log"))));
  };
  auto sink = *LogSink::open(o);
  LOG(*sink, kInfo, "before");
  LOG(*sink, kFatal, "end");
  LOG(*sink, kPanic, "oops");
  EXPECT_EQ(stops, (std::vector<std::string>{"fatal end 2", "panic oops 3"}));
}

TEST_F(LogSinkTest, FatalEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        auto sink = *LogSink::open({});
        LOG(*sink, kFatal, "discovery failed", {"error", "x"});
      },
      testing::ExitedWithCode(1), "\"level\":\"fatal\".*\"msg\":\"discovery failed\",\"error\":\"x\"");
  EXPECT_EXIT(
      {
        auto sink = *LogSink::open({});
        LOG(*sink, kPanic, "failed to commit tx");
      },
      testing::ExitedWithCode(2), "panic: failed to commit tx");
}

// A sink whose output is a pipe that nobody reads: the writer is stuck, as on a stopped terminal.
class StuckSink {
 public:
  explicit StuckSink(size_t queue_bytes_max) {
    CHECK_EQ(pipe(fds_), 0);
    LogSinkOptions o;
    o.outputs = {fmt::format("/dev/fd/{}", fds_[1])};
    o.sampling = false;
    o.queue_bytes_max = queue_bytes_max;
    sink_ = std::move(*LogSink::open(o));
    // Fill the pipe, so that the next write blocks.
    fcntl(fds_[1], F_SETPIPE_SZ, 4096);
    const int flags = fcntl(fds_[1], F_GETFL);
    fcntl(fds_[1], F_SETFL, flags | O_NONBLOCK);
    const std::string block(4096, '\n');
    while (write(fds_[1], block.data(), block.size()) > 0) {
    }
    fcntl(fds_[1], F_SETFL, flags);
  }
  ~StuckSink() {
    release();
    sink_.reset();
    close(fds_[1]);
    reader_.join();
    close(fds_[0]);
  }
  LogSink& operator*() { return *sink_; }
  // Reads all from now on.
  void release() {
    if (reader_.joinable()) return;
    reader_ = std::thread([this] {
      char buffer[65536];
      for (ssize_t n = 0; (n = read(fds_[0], buffer, sizeof buffer)) > 0;)
        text_.append(buffer, static_cast<size_t>(n));
    });
  }
  const std::string& text() const { return text_; }

 private:
  int fds_[2];
  std::unique_ptr<LogSink> sink_;
  std::thread reader_;
  std::string text_;
};

TEST_F(LogSinkTest, FullRingDropsInfoAndKeepsWarnings) {
  const std::string payload(1000, 'x');
  StuckSink stuck(64 << 10);
  uint64_t info = 0;
  for (; (*stuck).dropped() == 0; ++info) LOG(*stuck, kInfo, "i", {"p", payload});
  EXPECT_GT(info, 30U);
  EXPECT_LT(info, 80U);
  // The reserve still takes warnings.
  LOG(*stuck, kWarn, "w", {"p", payload});
  EXPECT_EQ((*stuck).dropped(), 1U);
  // A thread that must not wait loses them once the reserve is full.
  LogSink::forbid_waiting();
  for (int i = 0; i < 100; ++i) LOG(*stuck, kError, "e", {"p", payload});
  EXPECT_GT((*stuck).dropped(), 50U);
  LogSink::forbid_waiting(false);

  // Any other thread waits, and gets its line in.
  const uint64_t dropped = (*stuck).dropped();
  std::thread waiter([&] { LOG(*stuck, kError, "patient", {"p", payload}); });
  stuck.release();
  waiter.join();
  (*stuck).flush();
  EXPECT_EQ((*stuck).dropped(), dropped);
}

TEST_F(LogSinkTest, DropsAreReported) {
  const TempDir dir;
  // A queue so small that nearly everything written in a burst is dropped.
  LogSinkOptions o;
  o.outputs = {dir / "x.log"};
  o.sampling = false;
  o.queue_bytes_max = 1000;
  auto sink = *LogSink::open(o);
  for (int i = 0; i < 100000 && sink->dropped() == 0; ++i)
    LOG(*sink, kInfo, "burst", {"payload", std::string(200, 'y')});
  ASSERT_GT(sink->dropped(), 0U);
  sink->flush();
  LOG(*sink, kWarn, "after");
  sink->flush();
  const std::string text = slurp(dir / "x.log");
  EXPECT_NE(text.find("\"msg\":\"dropped log lines; the queue was full\",\"lines\":"), std::string::npos);
}

TEST_F(LogSinkTest, ManyThreads) {
  const TempDir dir;
  LogSinkOptions o;
  o.outputs = {dir / "x.log"};
  o.sampling = false;
  auto sink = *LogSink::open(o);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&sink, t] {
      for (int i = 0; i < 2000; ++i) LOG(*sink, kWarn, "m", {"t", t}, {"i", i});
    });
  }
  for (std::thread& t : threads) t.join();
  sink->flush();
  const std::string text = slurp(dir / "x.log");
  EXPECT_EQ(count_lines(text), 8000);
  // Each thread's lines stand in its order.
  for (int t = 0; t < 4; ++t) {
    size_t at = 0;
    for (int i = 0; i < 2000; i += 500) {
      const size_t found = text.find(fmt::format("\"t\":{},\"i\":{}}}", t, i), at);
      ASSERT_NE(found, std::string::npos);
      at = found;
    }
  }
}

class Rotation {
 public:
  explicit Rotation(LogRotateOptions options) : options_(std::move(options)) {}
  RotatingFile open() {
    return RotatingFile(dir_ / "x.log", options_, [this] { return now_; });
  }
  TempDir dir_;
  int64_t now_ = kSomeTime;
  LogRotateOptions options_;
};

const std::string kHalfMib(512 << 10, 'a');

TEST_F(LogRotate, NamesAndModes) {
  Rotation r({.max_size_mib = 1});
  {
    RotatingFile f = r.open();
    ASSERT_TRUE(f.write(kHalfMib));
    struct stat st {};
    ASSERT_EQ(stat((r.dir_ / "x.log").c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777U, 0600U);
    chmod((r.dir_ / "x.log").c_str(), 0640);
    ASSERT_TRUE(f.write(kHalfMib));  // exactly full is not over
    EXPECT_EQ(r.dir_.files().size(), 1U);
    ASSERT_TRUE(f.write("b\n"));
    EXPECT_EQ(r.dir_.files(), (std::vector<std::string>{"x-2026-11-21T03-02-49.396.log", "x.log"}));
    EXPECT_EQ(slurp(r.dir_ / "x.log"), "b\n");
    ASSERT_EQ(stat((r.dir_ / "x.log").c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777U, 0640U);
    // Within the same millisecond the backup still gets a name of its own.
    ASSERT_TRUE(f.write(kHalfMib));
    ASSERT_TRUE(f.write(kHalfMib));
    EXPECT_EQ(r.dir_.files().size(), 3U);
  }
  const auto too_long = r.open().write(kHalfMib + kHalfMib + "x");
  ASSERT_FALSE(too_long);
  EXPECT_EQ(too_long.error().code(), Code::kLimit);
}

TEST_F(LogRotate, ContinuesAnExistingFile) {
  Rotation r({.max_size_mib = 1});
  ASSERT_TRUE(r.open().write("one\n"));
  ASSERT_TRUE(r.open().write("two\n"));
  EXPECT_EQ(slurp(r.dir_ / "x.log"), "one\ntwo\n");
  ASSERT_TRUE(r.open().write(kHalfMib));
  ASSERT_TRUE(r.open().write(kHalfMib));  // would pass the limit: moved aside first
  EXPECT_EQ(r.dir_.files().size(), 2U);
  EXPECT_EQ(slurp(r.dir_ / "x.log"), kHalfMib);
}

TEST_F(LogRotate, KeepsByNumberAndAge) {
  Rotation r({.max_size_mib = 1, .max_backups = 2});
  RotatingFile f = r.open();
  for (int i = 0; i < 10; ++i) {
    r.now_ += 1'000'000'000;
    ASSERT_TRUE(f.write(kHalfMib));
    ASSERT_TRUE(f.write(kHalfMib));
  }
  f.wait_clean_up();
  EXPECT_EQ(r.dir_.files(), (std::vector<std::string>{"x-2026-11-21T03-02-58.396.log",
                                                      "x-2026-11-21T03-02-59.396.log", "x.log"}));
  std::ofstream(r.dir_ / "x-other.log") << "not ours";
  Rotation old({.max_size_mib = 1, .max_age_days = 1});
  RotatingFile g = old.open();
  for (int day = 0; day < 3; ++day) {
    old.now_ += int64_t{86400} * 1'000'000'000 + 1'000'000'000;
    ASSERT_TRUE(g.write(kHalfMib));
    ASSERT_TRUE(g.write(kHalfMib));
    ASSERT_TRUE(g.write("x"));
  }
  g.wait_clean_up();
  // The last day's write rotates twice; what is older than a day went.
  EXPECT_EQ(old.dir_.files(), (std::vector<std::string>{"x-2026-11-24T03-02-52.396.log",
                                                        "x-2026-11-24T03-02-52.397.log", "x.log"}));
}

TEST_F(LogRotate, CompressesAndUsesLocalTime) {
  setenv("TZ", "XXX-02", 1);
  tzset();
  Rotation r({.max_size_mib = 1, .local_time = true, .compress = true, .gzip = [] {
                return [size = size_t{0}](std::string_view piece, bool last, std::string& out) mutable {
                  size += piece.size();
                  if (last) out = fmt::format("packed {}", size);
                };
              }});
  RotatingFile f = r.open();
  ASSERT_TRUE(f.write(kHalfMib));
  ASSERT_TRUE(f.write(kHalfMib));
  ASSERT_TRUE(f.write("x"));
  f.wait_clean_up();
  EXPECT_EQ(r.dir_.files(), (std::vector<std::string>{"x-2026-11-21T05-02-49.396.log.gz", "x.log"}));
  EXPECT_EQ(slurp(r.dir_ / "x-2026-11-21T05-02-49.396.log.gz"), "packed 1048576");
}

// A file of many gigabytes is compressed at some time; lines are written meanwhile.
TEST_F(LogRotate, WritingGoesOnWhileAFileIsCompressed) {
  std::promise<void> go;
  auto may_go = go.get_future().share();
  std::atomic<size_t> largest{0};
  Rotation r({.max_size_mib = 1, .compress = true, .gzip = [&] {
                return [&largest, may_go](std::string_view piece, bool, std::string&) {
                  may_go.wait();
                  largest = std::max(largest.load(), piece.size());
                };
              }});
  RotatingFile f = r.open();
  for (int i = 0; i < 9; ++i) {
    r.now_ += 1'000'000'000;
    ASSERT_TRUE(f.write(kHalfMib));
  }
  EXPECT_EQ(slurp(r.dir_ / "x.log"), kHalfMib);
  go.set_value();
  f.wait_clean_up();
  EXPECT_EQ(r.dir_.files().size(), 5U);
  for (const std::string& name : r.dir_.files())
    EXPECT_TRUE(name == "x.log" || name.ends_with(".gz")) << name;
  EXPECT_LE(largest, size_t{256 << 10});
}

TEST_F(LogRotate, AnEndCutsACompressionShort) {
  std::promise<void> begun;
  std::atomic<int> pieces{0};
  Rotation r({.max_size_mib = 1, .compress = true, .gzip = [&] {
                return [&](std::string_view, bool, std::string& out) {
                  out = "x";
                  if (++pieces > 1) return;
                  begun.set_value();
                  std::this_thread::sleep_for(std::chrono::milliseconds(50));
                };
              }});
  {
    RotatingFile f = r.open();
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(f.write(kHalfMib));
    begun.get_future().wait();
  }
  EXPECT_EQ(r.dir_.files(), (std::vector<std::string>{"x-2026-11-21T03-02-49.396.log", "x.log"}));
}

TEST_F(LogRotate, NumbersTooLargeToCountWithMeanNoLimit) {
  Rotation r({.max_size_mib = INT64_MAX, .max_age_days = INT64_MAX});
  ASSERT_TRUE(r.open().write(kHalfMib));
  ASSERT_TRUE(r.open().write(kHalfMib));
  EXPECT_EQ(r.dir_.files(), std::vector<std::string>{"x.log"});
}

TEST_F(LogRotate, ThroughTheSink) {
  const TempDir dir;
  LogSinkOptions o;
  o.outputs = {dir / "x.log"};
  o.rotation = LogRotateOptions{.max_size_mib = 1};
  o.wall_ns = [] { return kSomeTime; };
  o.sampling = false;
  {
    auto sink = *LogSink::open(o);
    const std::string payload(10000, 'p');
    for (int i = 0; i < 150; ++i) LOG(*sink, kWarn, "line", {"p", payload});
  }
  ASSERT_EQ(dir.files().size(), 2U);
  int lines = 0;
  for (const std::string& f : dir.files()) {
    const std::string text = slurp(dir / f);
    lines += count_lines(text);
    EXPECT_EQ(text.back(), '\n');  // whole lines only
  }
  EXPECT_EQ(lines, 150);
  o.rotation->compress = true;
  EXPECT_FALSE(LogSink::open(o));
}

}  // namespace
}  // namespace quoin::posix
