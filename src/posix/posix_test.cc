#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <future>

#include "posix/clock.h"
#include "posix/executors.h"
#include "posix/file.h"
#include "posix/loop.h"
#include "posix/timers.h"

namespace quoin::posix {
namespace {

class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/quoin-posix-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

TEST(InlineStrand, RunsInThePosterAndNeverNested) {
  DiskThread fallback("fallback");
  InlineStrand a(fallback), b(fallback);
  std::vector<std::string> order;
  a.post([&] {
    EXPECT_TRUE(a.running_here());
    b.post([&] {
      order.push_back("b");
      EXPECT_FALSE(a.running_here());
      a.post([&] { order.push_back("a2"); });
    });
    order.push_back("a");
  });
  EXPECT_EQ(order, (std::vector<std::string>{"a", "b", "a2"}));
  EXPECT_FALSE(a.running_here());
}

// What was posted to it has run: a strand may go once nobody runs it.
void wait_for(DiskThread& thread) {
  std::promise<void> done;
  thread.post([&] { done.set_value(); });
  done.get_future().wait();
}

TEST(InlineStrand, ManyPostersOneOrderNoLoss) {
  DiskThread fallback("fallback");
  InlineStrand strand(fallback);
  int64_t plain_counter = 0;  // unprotected on purpose: the strand is its protection
  std::vector<std::thread> posters;
  for (int t = 0; t < 4; ++t) {
    posters.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) strand.post([&] { ++plain_counter; });
    });
  }
  for (auto& p : posters) p.join();
  std::promise<int64_t> result;
  strand.post([&] { result.set_value(plain_counter); });
  EXPECT_EQ(result.get_future().get(), 20000);
  wait_for(fallback);
}

TEST(InlineStrand, DiskThreadWithBacklogHandsOver) {
  DiskThread disk("disk"), fallback("fallback");
  InlineStrand strand(fallback);
  std::promise<bool> ran_on_fallback;
  std::promise<void> go;
  disk.post([&, wait = go.get_future().share()] {
    wait.wait();
    strand.post([&] { ran_on_fallback.set_value(fallback.running_here()); });
  });
  disk.post([] {});
  go.set_value();
  EXPECT_TRUE(ran_on_fallback.get_future().get());
  wait_for(fallback);
}

// Only the poster's thread or the fallback ran a waiting strand once: while apply works on one request for
// seconds, raft's clock must go on.
TEST(InlineStrand, WaitingBehindALongTaskIsTakenOverByThePoster) {
  DiskThread fallback("fallback"), busy("busy"), other("other");
  InlineStrand apply(fallback), raft(fallback);
  std::promise<void> posted, ticked;
  std::future<void> tick = ticked.get_future();
  std::promise<std::future_status> seen;
  std::vector<int> order;
  busy.post([&] {
    apply.post([&] {
      raft.post([&] { order.push_back(1); });
      posted.set_value();
      seen.set_value(tick.wait_for(std::chrono::seconds(20)));
    });
  });
  posted.get_future().wait();
  other.post([&] {
    raft.post([&] {
      order.push_back(2);
      ticked.set_value();
    });
  });
  EXPECT_EQ(seen.get_future().get(), std::future_status::ready);
  busy.stop();
  other.stop();
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST(InlineStrand, TimersThreadRunsOnlyWhatAllowsIt) {
  SystemClock clock;
  DiskThread fallback("fallback");
  ThreadTimers timers(clock);
  InlineStrand apply(fallback), raft(fallback, {.in_timers_thread = true});
  std::promise<bool> raft_on_fallback, apply_on_fallback, woken_on_fallback;
  auto t1 = timers.schedule(0, raft, [&] {
    raft_on_fallback.set_value(fallback.running_here());
    // Woken by raft, apply must not follow it on this thread either.
    apply.post([&] { woken_on_fallback.set_value(fallback.running_here()); });
  });
  EXPECT_FALSE(raft_on_fallback.get_future().get());
  EXPECT_TRUE(woken_on_fallback.get_future().get());
  auto t2 = timers.schedule(0, apply, [&] { apply_on_fallback.set_value(fallback.running_here()); });
  EXPECT_TRUE(apply_on_fallback.get_future().get());
  timers.stop();
  fallback.stop();
}

// Disk work that arrives while a strand runs on the disk's thread waits for one task, not for all.
TEST(InlineStrand, DiskWorkThatArrivesMeanwhileEndsTheInlineRun) {
  DiskThread disk("disk"), fallback("fallback");
  InlineStrand strand(fallback);
  std::promise<std::pair<bool, bool>> where;
  disk.post([&] {
    strand.post([&] {
      const bool first = disk.running_here();
      disk.post([] {});
      strand.post([&, first] { where.set_value({first, fallback.running_here()}); });
    });
  });
  EXPECT_EQ(where.get_future().get(), std::pair(true, true));
  disk.stop();
  fallback.stop();
}

TEST(InlineStrand, LongRunMovesToTheFallback) {
  DiskThread fallback("fallback");
  InlineStrand strand(fallback);
  std::promise<bool> second_on_fallback;
  strand.post([&] {
    const io::MonotonicNs begin = TaskMeter::now();
    while (TaskMeter::now() - begin < 2 * io::kMillisecond) {
    }
    strand.post([&] { second_on_fallback.set_value(fallback.running_here()); });
  });
  EXPECT_TRUE(second_on_fallback.get_future().get());
  fallback.stop();
  EXPECT_GE(strand.meter().longest_ns(), 2 * io::kMillisecond);
  EXPECT_GE(strand.meter().over_limit(), 1u);
}

// Works until this thread has used so much processor time.
void use_processor(int64_t ns) {
  const auto used = [] {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * io::kSecond + t.tv_nsec;
  };
  const int64_t begin = used();
  while (used() - begin < ns) {
  }
}

TEST(TaskMeter, TellsWorkFromWaiting) {
  DiskThread fallback("fallback");
  InlineStrand waits(fallback), works(fallback), inner(fallback);
  waits.post([] { std::this_thread::sleep_for(std::chrono::milliseconds(20)); });
  EXPECT_GE(waits.meter().longest_ns(), 20 * io::kMillisecond);
  EXPECT_LT(waits.meter().longest_on_processor_ns(), 10 * io::kMillisecond);
  works.post([] { use_processor(5 * io::kMillisecond); });
  EXPECT_GE(works.meter().longest_on_processor_ns(), 5 * io::kMillisecond);
  EXPECT_LE(works.meter().longest_on_processor_ns(), works.meter().longest_ns());
  // What the thread did before is not the task's.
  InlineStrand later(fallback);
  use_processor(20 * io::kMillisecond);
  later.post([] { std::this_thread::sleep_for(std::chrono::milliseconds(20)); });
  EXPECT_LT(later.meter().longest_on_processor_ns(), 10 * io::kMillisecond);
  fallback.stop();
}

// A loop's task in which a strand runs several of its own: all of it is the loop's.
TEST(TaskMeter, ATaskHasWhatWasMeasuredInside) {
  UvLoop loop("loop");
  InlineStrand strand(loop);
  std::promise<void> done;
  loop.post([&] {
    for (int i = 0; i < 4; ++i) strand.post([] { use_processor(3 * io::kMillisecond); });
    loop.post([&] { done.set_value(); });
  });
  done.get_future().wait();
  EXPECT_GE(strand.meter().longest_on_processor_ns(), 3 * io::kMillisecond);
  EXPECT_GE(loop.meter().longest_on_processor_ns(), 12 * io::kMillisecond);
  loop.stop();
}

TEST(Timers, FireInOrderAndCancelledOnesDoNot) {
  SystemClock clock;
  DiskThread thread("t");
  ThreadTimers timers(clock);
  std::vector<int> order;
  std::promise<void> done;
  auto t3 = timers.schedule(3 * io::kMillisecond, thread, [&] {
    order.push_back(3);
    done.set_value();
  });
  auto t1 = timers.schedule(1 * io::kMillisecond, thread, [&] { order.push_back(1); });
  auto t2 = timers.schedule(2 * io::kMillisecond, thread, [&] { order.push_back(2); });
  t2->cancel();
  done.get_future().wait();
  EXPECT_EQ(order, (std::vector<int>{1, 3}));
}

TEST(File, WriteReadLockMapAndGrow) {
  TempDir dir;
  DiskThread thread("disk");
  auto fs = make_file_system(thread);
  auto file = *fs->open(dir / "f", {.write = true, .create = true});
  ASSERT_TRUE(file->write_at(0, "hello"));
  ASSERT_TRUE(file->allocate(10000));
  EXPECT_EQ(*file->size(), 10000u);
  auto mapping = *file->map(1 << 20, true);
  EXPECT_EQ(std::string_view(mapping->data(), 5), "hello");
  EXPECT_EQ(mapping->size(), 10000u);
  const char* base = mapping->data();

  std::promise<void> wrote;
  thread.post([&] {
    file->async_write(20000, {"abc", "", "def"}, [&](Result<> r) {
      EXPECT_TRUE(r);
      file->async_sync([&](Result<> s) {
        EXPECT_TRUE(s);
        wrote.set_value();
      });
    });
  });
  wrote.get_future().wait();
  ASSERT_TRUE(mapping->refresh());
  EXPECT_EQ(mapping->data(), base);
  EXPECT_EQ(std::string_view(base + 20000, 6), "abcdef");

  auto other = *fs->open(dir / "f", {.write = true});
  ASSERT_TRUE(file->lock(io::LockMode::kExclusive));
  EXPECT_EQ(other->lock(io::LockMode::kShared).error().code(), Code::kLocked);
  ASSERT_TRUE(file->lock_ofd());
  EXPECT_EQ(other->lock_ofd().error().text(), "file already locked");
  EXPECT_EQ(fs->open(dir / "none", {}).error().code(), Code::kFileNotFound);
  EXPECT_EQ(fs->open(dir / "f", {.write = true, .create = true, .exclusive = true}).error().code(),
            Code::kFileExists);
  EXPECT_EQ((*fs->list(dir / ""))[0].name, "f");
}

// A server that sends back what it gets, and a client that sends much more than the socket takes at once.
class Echo : public io::StreamHandler {
 public:
  explicit Echo(std::unique_ptr<io::Stream> s) : stream(std::move(s)) { stream->set_handler(this); }
  void on_data(std::string_view bytes) override { stream->write(std::string(bytes)); }
  void on_eof() override { stream->shutdown(); }
  void on_drained() override {}
  void on_closed(Result<>) override {}
  std::unique_ptr<io::Stream> stream;
};
class Collect : public io::StreamHandler {
 public:
  void on_data(std::string_view bytes) override { got += bytes; }
  void on_eof() override { done.set_value(); }
  void on_drained() override {}
  void on_closed(Result<>) override {}
  std::string got;
  std::promise<void> done;
};

void echo_over(const io::ListenAddress& where) {
  UvLoop loop0("loop0"), loop1("loop1");
  UvNetwork network;
  std::vector<std::unique_ptr<Echo>> servers;
  auto listener = network.listen(where, {&loop0}, [&](std::unique_ptr<io::Stream> s) {
    servers.push_back(std::make_unique<Echo>(std::move(s)));
  });
  ASSERT_TRUE(listener) << listener.error().text();
  io::ListenAddress to = where;
  if (!where.unix_socket) to.port = (*listener)->port();
  Collect client;
  std::unique_ptr<io::Stream> stream;
  std::string sent;
  for (int i = 0; i < 300000; ++i) sent += std::to_string(i);
  const auto attempt = network.connect(to, {}, loop1, [&](Result<std::unique_ptr<io::Stream>> s) {
    ASSERT_TRUE(s) << s.error().text();
    stream = std::move(*s);
    stream->set_handler(&client);
    stream->write(sent.substr(0, 1000));
    stream->write(Blob::copy(std::string_view(sent).substr(1000)));
    stream->shutdown();
  });
  client.done.get_future().wait();
  EXPECT_EQ(client.got.size(), sent.size());
  EXPECT_TRUE(client.got == sent);
  std::promise<void> closed;
  loop1.post([&] {
    stream.reset();
    closed.set_value();
  });
  closed.get_future().wait();
  std::promise<void> gone;
  loop0.post([&] {
    servers.clear();
    gone.set_value();
  });
  gone.get_future().wait();
  listener->reset();
  loop1.stop();
  loop0.stop();
}

// What a loop posts to itself runs after what others have posted, and sockets, had their turn.
TEST(Loop, APostedChainLetsOthersIn) {
  UvLoop loop("loop");
  std::mutex mutex;
  std::condition_variable changed;
  int steps = 0, seen_by_other = -1;
  bool over = false;
  std::function<void()> step = [&] {
    std::unique_lock lock(mutex);
    if (++steps == 1) changed.notify_all();
    // The second step waits until the other thread has posted, so that its task is there before the third.
    if (steps == 2) changed.wait(lock, [&] { return over; });
    if (steps < 10) loop.post(step);
    if (steps == 10) changed.notify_all();
  };
  loop.post(step);
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return steps >= 1; });
  }
  loop.post([&] {
    std::lock_guard lock(mutex);
    seen_by_other = steps;
  });
  {
    std::unique_lock lock(mutex);
    over = true;
    changed.notify_all();
    changed.wait(lock, [&] { return steps == 10; });
  }
  EXPECT_GE(seen_by_other, 1);
  EXPECT_LE(seen_by_other, 3);
}

TEST(Network, EchoOverTcp) {
  echo_over({.host = "127.0.0.1", .port = 0});
}
TEST(Network, EchoOverUnixSocket) {
  TempDir dir;
  echo_over({.unix_socket = true, .host = dir / "sock"});
}

TEST(Network, SecondListenerOnAPortIsRefused) {
  UvLoop loop("loop");
  UvNetwork network;
  auto first = network.listen({.host = "127.0.0.1"}, {&loop}, [](std::unique_ptr<io::Stream>) {});
  ASSERT_TRUE(first);
  auto second = network.listen({.host = "127.0.0.1", .port = (*first)->port()}, {&loop},
                               [](std::unique_ptr<io::Stream>) {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().text(),
            fmt::format("listen tcp 127.0.0.1:{}: bind: address already in use", (*first)->port()));
  first->reset();
  loop.stop();
}

}  // namespace
}  // namespace quoin::posix
