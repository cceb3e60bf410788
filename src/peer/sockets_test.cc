// Two transports on real loops, threads, sockets and files: what a simulation in one thread cannot show.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <list>
#include <sstream>
#include <thread>

#include "base/check.h"
#include "peer/door_connection_test.h"
#include "peer/transport.h"
#include "posix/clock.h"
#include "posix/executors.h"
#include "posix/file.h"
#include "posix/loop.h"
#include "posix/timers.h"

namespace quoin::peer {
namespace {

class Source final : public backend::SnapshotSource {
 public:
  static char at(uint64_t offset) { return static_cast<char>(offset * 7 + (offset >> 10)); }
  uint64_t size() const override { return 8u << 20; }
  Index consistent_index() const override { return {}; }
  Term consistent_term() const override { return {}; }
  const std::string& conf_state() const override { return conf_state_; }
  Result<> scan(backend::Bucket, const backend::PairVisitor&) const override { return {}; }
  Result<> read(uint64_t offset, std::span<char> out) const override {
    for (size_t i = 0; i < out.size(); ++i) out[i] = at(offset + i);
    return {};
  }

 private:
  std::string conf_state_;
};

// Counts the streams that stand.
class StreamCounter final : public log::Logger {
 public:
  bool enabled(log::Level level) const override { return level >= log::Level::kInfo; }
  void log(const log::Event& event) override {
    if (event.message == "established TCP streaming connection with remote peer") ++established;
  }
  std::atomic<int> established{0};
};

class Real final : public server::PeerHandler {
 public:
  explicit Real(uint64_t id)
      : id_(id),
        folder_(std::filesystem::temp_directory_path() / fmt::format("quoin-peer-{}-{}", ::getpid(), id)),
        fs_(posix::make_file_system(files_)),
        transport_({}, {network_, loop_, timers_, clock_, files_, registry_, log, {}}) {
    std::filesystem::create_directories(folder_);
    transport_.start(*this);
    auto listener = network_.listen({false, "127.0.0.1", 0}, {&loop_}, [this](std::unique_ptr<io::Stream> s) {
      connections_.push_back(std::make_unique<DoorConnection>(transport_.door(), std::move(s)));
    });
    CHECK(listener.has_value(), "{}", listener.error().text());
    listener_ = std::move(*listener);
  }
  ~Real() override { std::filesystem::remove_all(folder_); }
  void stop() {
    std::atomic<bool> over{false};
    transport_.stop([&] {
      connections_.clear();
      listener_.reset();
      over = true;
      over.notify_all();
    });
    over.wait(false);
    raft_.stop();
    timers_.stop();
    loop_.stop();
    files_.stop();
  }
  std::string url() const { return fmt::format("http://127.0.0.1:{}", listener_->port()); }
  Transport& transport() { return transport_; }
  MemberId id() const { return id_; }
  // Waits until `holds`, looked at whenever something happened.
  template <class F>
  bool until(F holds) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60), holds);
  }

  // ---- server::PeerHandler; taken on another thread, as raft does ----
  MemberId self() const override { return id_; }
  ClusterId cluster() const override { return ClusterId{1}; }
  bool removed(MemberId) const override { return false; }
  void received(std::vector<raft::Message> messages, server::Charge charge) override {
    raft_.post([this, messages = std::move(messages), charge = std::move(charge)]() mutable {
      {
        std::lock_guard lock(mutex_);
        for (const raft::Message& m : messages) indexes.push_back(m.index.v);
      }
      charge.reset();
      changed_.notify_all();
    });
  }
  void process(raft::Message message, server::Charge charge, io::Executor& executor,
               absl::AnyInvocable<void(Result<>)> done) override {
    raft_.post([this, message = std::move(message), charge = std::move(charge), &executor,
                done = std::move(done)]() mutable {
      executor.post([done = std::move(done)]() mutable { done({}); });
      {
        std::lock_guard lock(mutex_);
        ++processed;
      }
      changed_.notify_all();
    });
  }
  void unreachable(MemberId) override { ++unreachables; }
  void snapshot_sent(MemberId, bool failed) override {
    {
      std::lock_guard lock(mutex_);
      snapshots.push_back(!failed);
    }
    changed_.notify_all();
  }
  void found_removed() override {}
  io::FileSystem& snapshot_files() override { return *fs_; }
  io::Executor& snapshot_executor() override { return files_; }
  std::string new_snapshot_path() override { return folder_ / "tmp1"; }
  void keep_snapshot(std::string path, Index, io::Executor& executor,
                     absl::AnyInvocable<void(Result<>)> done) override {
    {
      std::lock_guard lock(mutex_);
      kept = std::move(path);
    }
    executor.post([done = std::move(done)]() mutable { done({}); });
  }

  StreamCounter log;
  std::vector<uint64_t> indexes;  // this and the next three: guarded by the mutex of until()
  std::vector<bool> snapshots;
  std::string kept;
  int processed = 0;
  std::atomic<int> unreachables{0};

 private:
  const MemberId id_;
  const std::filesystem::path folder_;
  std::mutex mutex_;
  std::condition_variable changed_;
  posix::SystemClock clock_;
  posix::ThreadTimers timers_{clock_};
  posix::UvLoop loop_{"peer"};
  posix::DiskThread files_{"files"}, raft_{"raft"};
  std::unique_ptr<io::FileSystem> fs_;
  posix::UvNetwork network_;
  metrics::Registry registry_;
  Transport transport_;
  std::unique_ptr<io::Listener> listener_;
  std::list<std::unique_ptr<DoorConnection>> connections_;
};

raft::Message append(const Real& from, const Real& to, uint64_t index) {
  raft::Message m;
  m.type = raft::MessageType::kApp;
  m.from = from.id(), m.to = to.id();
  m.term = m.log_term = Term{1};
  m.index = Index{index};
  m.entries.push_back({Term{1}, Index{index + 1}, raft::EntryType::kNormal,
                       Blob::copy(std::string(100 + index % 3 * 2000, 'x'))});
  return m;
}

TEST(Sockets, EverythingBetweenThreads) {
  Real a(1), b(2);
  a.transport().add(b.id(), {b.url()});
  b.transport().add(a.id(), {a.url()});
  while (!a.transport().active_since(b.id()) || !b.transport().active_since(a.id()))
    std::this_thread::yield();

  // From two threads, as raft may change threads: one batch after the other.
  constexpr uint64_t kMessages = 5000;
  for (uint64_t i = 0; i < kMessages;) {
    std::thread sender([&] {
      for (uint64_t end = i + 500; i < end;) {
        std::vector<raft::Message> batch;
        for (int k = 0; k < 10; ++k) batch.push_back(append(a, b, ++i));
        a.transport().send(std::move(batch));
      }
    });
    sender.join();
  }
  ASSERT_TRUE(b.until([&] { return !b.indexes.empty() && b.indexes.back() == kMessages; }));
  EXPECT_EQ(b.indexes.size(), kMessages);
  EXPECT_EQ(b.processed, 0);
  EXPECT_TRUE(std::is_sorted(b.indexes.begin(), b.indexes.end()));
  EXPECT_EQ(a.unreachables, 0);

  const auto answer = a.transport().fetch_now(b.url(), {.path = "/raft/probing"});
  ASSERT_TRUE(answer.has_value()) << answer.error().text();
  EXPECT_EQ(answer->status, 200u);

  raft::Message m = append(a, b, 0);
  m.type = raft::MessageType::kSnap;
  m.entries.clear();
  raft::Snapshot snapshot;
  snapshot.metadata.index = Index{9};
  m.snapshot = std::make_shared<const raft::Snapshot>(std::move(snapshot));
  a.transport().send_snapshot(std::move(m), std::make_shared<Source>());
  ASSERT_TRUE(a.until([&] { return a.snapshots.size() == 1; }));
  EXPECT_TRUE(a.snapshots[0]);
  std::ifstream in(b.kept, std::ios::binary);
  std::stringstream all;
  all << in.rdbuf();
  const std::string got = all.str();
  ASSERT_EQ(got.size(), Source().size());
  for (uint64_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], Source::at(i)) << i;

  a.transport().remove(b.id());
  a.transport().add(b.id(), {b.url()});
  b.stop();
  a.stop();
}

}  // namespace
}  // namespace quoin::peer
