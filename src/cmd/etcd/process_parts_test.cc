// The parts of the process's life that can be tried alone: the data directory's listing, the init daemon's
// socket, descriptors.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "cmd/etcd/data_dir.h"
#include "cmd/etcd/descriptors.h"
#include "cmd/etcd/notify.h"
#include "cmd/etcd/signals.h"
#include "cmd/etcd/stop_guard.h"
#include "posix/executors.h"
#include "posix/file.h"
#include "posix/log_sink.h"

namespace quoin::cmd {
namespace {

class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/quoin-cmd-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

// "warn: message key=value ..."; a fatal or panic line does not end the test.
class Lines final : public log::Logger {
 public:
  bool enabled(log::Level) const override { return true; }
  void log(const log::Event& e) override {
    static constexpr const char* kNames[] = {"debug", "info", "warn", "error", "", "panic", "fatal"};
    std::string line = fmt::format("{}: {}", kNames[static_cast<int>(e.level) + 1], e.message);
    for (const log::Field& f : e.fields) {
      line += fmt::format(" {}=", f.key);
      if (const auto* text = std::get_if<std::string_view>(&f.value)) line += *text;
      if (const auto* number = std::get_if<uint64_t>(&f.value)) line += std::to_string(*number);
    }
    lines.push_back(line);
  }
  std::vector<std::string> lines;
};

TEST(DataDir, SaysWhatIsThere) {
  TempDir dir;
  posix::DiskThread thread("t");
  const auto fs = posix::make_file_system(thread);
  const auto identify = [&](const std::string& path, DataDir what) {
    Lines log;
    EXPECT_EQ(identify_data_dir(path, *fs, log), what);
    return log.lines;
  };
  using Log = std::vector<std::string>;
  const std::string d = dir.path();
  EXPECT_EQ(identify(d + "/none", DataDir::kEmpty),
            (Log{"info: Initialize and start etcd server data-dir=" + d + "/none dir-type=empty"}));
  EXPECT_EQ(identify(d, DataDir::kEmpty),
            (Log{"info: Initialize and start etcd server data-dir=" + d + " dir-type=empty"}));
  std::ofstream(dir / "notes") << "x";
  std::filesystem::create_directory(dir / "member");
  EXPECT_EQ(identify(d, DataDir::kMember),
            (Log{"warn: found invalid file under data directory filename=notes data-dir=" + d,
                 "info: server has already been initialized data-dir=" + d + " dir-type=member"}));
  std::filesystem::create_directory(dir / "proxy");
  EXPECT_EQ(identify(d, DataDir::kBoth),
            (Log{"warn: found invalid file under data directory filename=notes data-dir=" + d,
                 "fatal: invalid datadir; both member and proxy directories exist"}));
  std::filesystem::remove(dir / "member");
  std::filesystem::remove(dir / "notes");
  EXPECT_EQ(identify(d, DataDir::kProxy),
            (Log{"info: server has already been initialized data-dir=" + d + " dir-type=proxy",
                 "panic: v2 http proxy has already been deprecated in 3.6 dir-type=proxy"}));
  std::ofstream(dir / "file") << "x";
  EXPECT_EQ(identify(d + "/file", DataDir::kUnreadable),
            (Log{"fatal: failed to list data directory dir=" + d + "/file error=readdirent " + d +
                 "/file: not a directory"}));
}

// A clock that is told the time.
class FakeClock final : public io::Clock {
 public:
  io::MonotonicNs monotonic() const override { return now; }
  io::WallNs wall() const override { return 0; }
  std::atomic<int64_t> now{0};
};

TEST(DataDir, ADatabaseSomebodyElseHasLockedIsWaitedFor) {
  TempDir dir;
  posix::DiskThread thread("t");
  const auto fs = posix::make_file_system(thread);
  FakeClock clock;
  Lines log;
  wait_for_database(dir / "db", *fs, clock, log);  // not there
  std::ofstream(dir / "db") << "x";
  wait_for_database(dir / "db", *fs, clock, log);  // nobody's
  auto other = *fs->open(dir / "db", {});
  ASSERT_TRUE(other->lock(io::LockMode::kExclusive));
  std::atomic<bool> done{false};
  std::thread waiter([&] {
    wait_for_database(dir / "db", *fs, clock, log);
    done = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(120));
  EXPECT_FALSE(done);
  clock.now = 11 * io::kSecond;
  std::this_thread::sleep_for(std::chrono::milliseconds(120));
  EXPECT_FALSE(done);
  other.reset();
  waiter.join();
  ASSERT_EQ(log.lines.size(), 1U);
  EXPECT_EQ(log.lines[0].rfind("info: db file is flocked by another process, or taking too long path=", 0),
            0U);
}

TEST(Notify, ReadyGoesToTheSocketByNameOrAbstractName) {
  TempDir dir;
  for (const std::string& name : {dir / "socket", fmt::format("@quoin-test-{}", getpid())}) {
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    memcpy(at.sun_path, name.data(), name.size());
    if (name[0] == '@') at.sun_path[0] = '\0';
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&at), length), 0);
    Lines log;
    notify_init(name, log);
    char got[100];
    ASSERT_EQ(recv(fd, got, sizeof got, MSG_DONTWAIT), 7);
    EXPECT_EQ(std::string(got, 7), "READY=1");
    EXPECT_EQ(log.lines, (std::vector<std::string>{"info: notifying init daemon",
                                                   "info: successfully notified init daemon"}));
    close(fd);
  }
}

TEST(Notify, NobodyThereIsAnErrorAndNoSocketIsNone) {
  Lines none, failed;
  notify_init("", none);
  EXPECT_EQ(none.lines.back(), "info: successfully notified init daemon");
  notify_init("/nonexistent/socket", failed);
  EXPECT_EQ(failed.lines.back(),
            "error: failed to notify systemd for readiness error=dial unixgram /nonexistent/socket: connect: "
            "no such file or directory");
  EXPECT_FALSE(send_ready(std::string(200, 'x')));
}

TEST(Descriptors, RoomForClientsAndTheWarning) {
  EXPECT_EQ(DescriptorLimit{1024}.connections_max(), 874U);
  EXPECT_EQ(DescriptorLimit{151}.connections_max(), 1U);
  EXPECT_EQ(DescriptorLimit{150}.connections_max(), 0U);
  Lines log;
  warn_of_descriptors(799, 1000, log);
  EXPECT_TRUE(log.lines.empty());
  warn_of_descriptors(800, 1000, log);
  EXPECT_EQ(log.lines,
            (std::vector<std::string>{"warn: 80% of file descriptors are used used=800 limit=1000"}));
}

TEST(Descriptors, CountedAndRaised) {
  const uint64_t before = count_descriptors();
  const int fd = dup(0);
  EXPECT_EQ(count_descriptors(), before + 1);
  close(fd);
  rlimit saved{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &saved), 0);
  rlimit low = saved;
  low.rlim_cur = std::min<rlim_t>(saved.rlim_max, 200);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  EXPECT_EQ(descriptor_limit().open_max, low.rlim_cur);
  raise_descriptor_limit();
  EXPECT_EQ(descriptor_limit().open_max, saved.rlim_max);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &saved), 0);
}

// Before anybody handles them they kill at once, as if they had not been asked for.
// Each of these ended the member; etcd goes on.
[[noreturn]] void raise_harmless() {
  ignore_harmless_signals();
  for (const int number : {SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU, SIGXFSZ, SIGIO, SIGPWR,
                           SIGPIPE, SIGRTMIN + 1, SIGRTMAX}) {
    raise(number);
  }
  _exit(7);
}
[[noreturn]] void raise_hangup() {
  ignore_harmless_signals();
  raise(SIGHUP);
  _exit(7);
}

TEST(SignalsDeathTest, WhatGoSurvivesIsIgnored) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(raise_harmless(), testing::ExitedWithCode(7), "");
  EXPECT_EXIT(raise_hangup(), testing::KilledBySignal(SIGHUP), "");
}

[[noreturn]] void start_without_descriptors() {
  close(0);
  close(1);
  close(2);
  open_standard_descriptors();
  for (const char* fd : {"/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"}) {
    char path[32] = {};
    if (readlink(fd, path, sizeof path - 1) < 0 || std::string(path) != "/dev/null") _exit(1);
  }
  _exit(open("/dev/zero", O_RDONLY) > 2 ? 7 : 2);
}

TEST(DescriptorsDeathTest, ClosedStandardOnesAreOpenedOnDevNull) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(start_without_descriptors(), testing::ExitedWithCode(7), "");
}

[[noreturn]] void hang() {
  for (;;) pause();
}

[[noreturn]] void hang_in_a_stop() {
  auto log = *posix::LogSink::open({});
  StopGuard guard(*log, [&] { log->flush(); });
  guard.waits_for("clients");
  guard.begin(20 * io::kMillisecond, [] { EndingSignals::die_by(SIGTERM); });
  guard.begin(0, [] { _exit(1); });  // the first counts
  hang();
}

// The log's reader may be what hangs: its pipe is full.
class StuckLog final : public log::Logger {
 public:
  bool enabled(log::Level) const override { return true; }
  void log(const log::Event&) override { hang(); }
};

[[noreturn]] void hang_with_the_log() {
  StuckLog log;
  StopGuard guard(log, {});
  guard.begin(io::kMillisecond, [] { _exit(7); });
  hang();
}

TEST(StopGuardDeathTest, EndsTheProcessAndSaysWhatItWaitedFor) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(hang_in_a_stop(), testing::KilledBySignal(SIGTERM),
              "the stop took too long.*waiting-for.*clients");
  EXPECT_EXIT(hang_with_the_log(), testing::ExitedWithCode(7), "");
}

TEST(StopGuard, AStopInTimeEndsNothing) {
  Lines log;
  StopGuard guard(log, {});
  std::atomic<bool> ended{false};
  guard.begin(20 * io::kMillisecond, [&] { ended = true; });
  guard.cancel();
  std::this_thread::sleep_for(std::chrono::milliseconds(40));
  EXPECT_FALSE(ended);
  EXPECT_TRUE(log.lines.empty());
}

TEST(SignalsDeathTest, KillAtOnceUntilTheyAreHandled) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        EndingSignals signals;
        signals.watch();
        kill(getpid(), SIGTERM);
        sleep(20);
      },
      testing::KilledBySignal(SIGTERM), "");
}

TEST(SignalsDeathTest, AreToldOnceHandled) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        EndingSignals signals;
        signals.watch();
        signals.handle([](int number) { _exit(number == SIGINT ? 42 : 43); });
        kill(getpid(), SIGINT);
        sleep(20);
      },
      testing::ExitedWithCode(42), "");
}

}  // namespace
}  // namespace quoin::cmd
