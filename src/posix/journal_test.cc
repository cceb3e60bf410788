// Lines to journald, with a socket of our own in its place.
#include "posix/journal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "posix/log_sink.h"

namespace quoin::posix {
namespace {

using log::Event;
using log::Level;

constexpr int64_t kSomeTime = 1795230169'396000000;  // 2026-11-21T03:02:49.396000Z

class LogJournal : public testing::Test {
 protected:
  LogJournal() {
    setenv("TZ", "UTC", 1);
    tzset();
    std::string pattern = testing::TempDir() + "quoin_journal_XXXXXX";
    dir_ = mkdtemp(pattern.data());
    bind_socket();
  }
  ~LogJournal() override {
    close(fd_);
    unlink(path().c_str());
    rmdir(dir_.c_str());
  }
  std::string path() const { return dir_ + "/socket"; }
  void bind_socket() {
    fd_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::memcpy(at.sun_path, path().data(), path().size());
    CHECK_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  }
  std::unique_ptr<LogSink> open() {
    LogSinkOptions o;
    o.outputs = {"systemd/journal"};
    o.journal_socket = path();
    o.wall_ns = [] { return kSomeTime; };
    return *LogSink::open(std::move(o));
  }
  // One message's fields, or those of the file that came with it.
  std::string receive() {
    std::string data(1 << 16, '\0');
    iovec part{data.data(), data.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t n = recvmsg(fd_, &message, MSG_DONTWAIT);
    if (n < 0) return "nothing";
    data.resize(static_cast<size_t>(n));
    const cmsghdr* head = CMSG_FIRSTHDR(&message);
    if (head == nullptr) return data;
    EXPECT_EQ(n, 0);
    int file = -1;
    std::memcpy(&file, CMSG_DATA(head), sizeof file);
    EXPECT_EQ(fcntl(file, F_GET_SEALS) & F_SEAL_WRITE, F_SEAL_WRITE);
    struct stat st {};
    fstat(file, &st);
    data.resize(static_cast<size_t>(st.st_size));
    EXPECT_EQ(pread(file, data.data(), data.size(), 0), st.st_size);
    close(file);
    ++files_;
    return data;
  }
  static std::string blob(std::string_view name, std::string_view value) {
    std::string out = std::string(name) + "\n";
    for (int i = 0; i < 8; ++i) out += static_cast<char>(static_cast<uint64_t>(value.size()) >> (8 * i));
    return out + std::string(value) + "\n";
  }

  std::string dir_;
  int fd_ = -1;
  int files_ = 0;
};

TEST_F(LogJournal, ALineIsAMessageWithoutStackOrSampling) {
  const auto sink = open();
  sink->log(Event{Level::kInfo, "hello", {{"n", 1}}, "/src/cmd/main.cc", 7});
  sink->log(Event{Level::kError, "broken", {}, "/src/cmd/main.cc", 8});
  sink->flush();
  const std::string tail = fmt::format("PACKAGE=cmd\nSYSLOG_IDENTIFIER={}\n", program_invocation_short_name);
  EXPECT_EQ(receive(), "PRIORITY=6\n" +
                           blob("MESSAGE",
                                "{\"level\":\"info\",\"ts\":\"2026-11-21T03:02:49.396000Z\","
                                "\"caller\":\"cmd/main.cc:7\",\"msg\":\"hello\",\"n\":1}\n") +
                           tail);
  EXPECT_EQ(receive(), "PRIORITY=3\n" +
                           blob("MESSAGE",
                                "{\"level\":\"error\",\"ts\":\"2026-11-21T03:02:49.396000Z\","
                                "\"caller\":\"cmd/main.cc:8\",\"msg\":\"broken\"}\n") +
                           tail);
  int messages = 0;
  for (int i = 0; i < 300; ++i) {
    sink->log(Event{Level::kWarn, "again", {}, "a/b.cc", 1});
    sink->flush();
    messages += receive().find("again") != std::string::npos ? 1 : 0;
  }
  EXPECT_EQ(messages, 300);
}

TEST_F(LogJournal, ALargeLineGoesAsASealedFile) {
  const auto sink = open();
  const std::string large(1 << 20, 'x');
  sink->log(Event{Level::kInfo, "big", {{"value", large}}, "a/b.cc", 1});
  sink->flush();
  const std::string got = receive();
  EXPECT_EQ(files_, 1);
  EXPECT_NE(got.find(large + "\"}\n"), std::string::npos);
  EXPECT_EQ(got.rfind("PRIORITY=6\nMESSAGE\n", 0), 0U);
}

TEST_F(LogJournal, WithoutJournaldLinesGoToStandardErrorAndBackWhenItReturns) {
  const auto sink = open();
  close(fd_);
  unlink(path().c_str());
  testing::internal::CaptureStderr();
  sink->log(Event{Level::kInfo, "nobody there", {}, "a/b.cc", 1});
  sink->flush();
  EXPECT_NE(testing::internal::GetCapturedStderr().find("nobody there"), std::string::npos);
  bind_socket();
  sink->log(Event{Level::kInfo, "there again", {}, "a/b.cc", 1});
  sink->flush();
  EXPECT_NE(receive().find("there again"), std::string::npos);
}

TEST_F(LogJournal, NoJournaldIsAnErrorInGosWords) {
  LogSinkOptions o;
  o.outputs = {"systemd/journal"};
  o.journal_socket = "/nonexistent/socket";
  EXPECT_EQ(LogSink::open(std::move(o)).error().text(),
            "can't find journal (dial unixgram /nonexistent/socket: connect: no such file or directory)");
}

}  // namespace
}  // namespace quoin::posix
