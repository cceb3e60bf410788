// One life of a member on a simulated machine: a process on a disk that outlives it. MemberProcess leaves it
// to the test when the member runs and whether it may fail; Life is a member that serves.
#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "server/member.h"
#include "sim/disk.h"
#include "sim/file_system.h"
#include "sim/log_sink.h"
#include "sim/world.h"
#include "wire/message.h"
#include "wire/raft_internal.h"

namespace quoin::server {

namespace pb = wire::etcdserverpb;

inline constexpr int64_t kMaxNs = 60 * io::kSecond;

inline Config life_config() {
  Config c;
  c.name = "m";
  c.data_dir = "/data";
  c.initial_advertise_peer_urls = {"http://localhost:2380"};
  c.initial_cluster = {{"m", {"http://localhost:2380"}}};
  return c;
}

class MemberProcess {
 public:
  // Founds or opens the data directory; see `start_error`. run() is the test's.
  MemberProcess(sim::World& world, sim::SimDisk& disk, const Config& config, Peers* peers = nullptr)
      : peers_(peers),
        world_(world),
        process_(world.start_process("member")),
        loop_(process_.executor("loop")),
        append_fs_(disk, process_.executor("append")),
        file_fs_(disk, process_.executor("file")) {
    log.set_level(log::Level::kInfo);
    auto started = Member::start(config, environment());
    if (!started) {
      start_error = started.error();
    } else {
      member_ = std::move(*started);
      if (auto right = member_->check_data(); !right) start_error = right.error();
    }
  }
  ~MemberProcess() {
    process_.kill();
    member_.reset();
  }
  void run() {
    member_->run(
        loop_, [&] { ready = true; },
        [&](Error e) {
          if (failures++ == 0) failed = std::move(e);
        });
  }
  // False: it did not end in time.
  bool stop() {
    bool stopped = false;
    member_->stop(loop_, [&] { stopped = true; });
    return run_until([&] { return stopped; });
  }
  void pass(int64_t ns) {
    world_.run_until([] { return false; }, ns);
  }
  bool run_until(absl::FunctionRef<bool()> condition) { return world_.run_until(condition, kMaxNs); }

  Member& member() { return *member_; }
  sim::Process& process() { return process_; }
  sim::SimExecutor& loop() { return loop_; }
  sim::SimFileSystem& files() { return file_fs_; }

  sim::LogSink log;
  std::optional<Error> start_error;  // nothing else may be called then
  bool ready = false;                // it serves
  std::optional<Error> failed;       // what it reported first
  int failures = 0;

 protected:
  Environment environment() {
    return {process_.executor("raft"),
            process_.executor("apply"),
            process_.executor("append"),
            process_.executor("file"),
            append_fs_,
            file_fs_,
            process_.timers(),
            process_.clock(),
            log,
            metrics_,
            1,
            peers_};
  }

  Peers* const peers_;
  sim::World& world_;
  sim::Process& process_;
  sim::SimExecutor& loop_;
  sim::SimFileSystem append_fs_, file_fs_;
  metrics::Registry metrics_;
  std::unique_ptr<Member> member_;
};

class Life : public MemberProcess {
 public:
  // Serves when the constructor is done, or has failed. `may_fail`: a failure does not fail the test.
  Life(sim::World& world, sim::SimDisk& disk, const Config& config, bool may_fail = false)
      : MemberProcess(world, disk, config), may_fail_(may_fail) {
    if (start_error) return;
    run();
    EXPECT_TRUE(run_until([&] { return ready || failed; }));
    port_ = std::make_unique<ClientPort>(*member_, loop_);
  }
  ~Life() {
    if (!may_fail_ && failed) ADD_FAILURE() << failed->text();
    process_.kill();
    port_.reset();
  }
  void stop() { EXPECT_TRUE(MemberProcess::stop()); }
  void ask(pb::InternalRaftRequest request) {
    const uint64_t id = member_->next_id();
    request.header.emplace().id = id;
    bool answered = false;
    loop_.post([&, blob = wire::encode_blob(request)]() mutable {
      port_->propose(id, std::move(blob), [&](Answer a) {
        EXPECT_FALSE(a.error) << a.error->text();
        answered = true;
      });
    });
    ASSERT_TRUE(run_until([&] { return answered; }));
  }
  void put(std::string_view key, std::string_view value) {
    pb::InternalRaftRequest r;
    r.put.emplace().key = key;
    r.put->value = value;
    ask(std::move(r));
  }
  // `physical`: answered once the records are gone.
  void compact(int64_t revision, bool physical = true) {
    pb::InternalRaftRequest r;
    r.compaction.emplace().revision = revision;
    r.compaction->physical = physical;
    ask(std::move(r));
  }
  std::shared_ptr<const mvcc::ReadView> view() { return member_->view(); }
  uint64_t db_size() { return member_->status().db_size; }

  // Proposes all of it in one loop round, so that it is one batch, and waits for the answers; one that never
  // comes is empty.
  std::vector<std::optional<Answer>> propose_together(std::vector<pb::InternalRaftRequest> requests) {
    std::vector<std::optional<Answer>> answers(requests.size());
    size_t missing = requests.size();
    loop_.post([&] {
      for (size_t i = 0; i < requests.size(); ++i) {
        const uint64_t id = member_->next_id();
        if (!requests[i].header) requests[i].header.emplace();
        requests[i].header->id = id;
        port_->propose(id, wire::encode_blob(requests[i]), [&, i](Answer a) {
          answers[i] = std::move(a);
          --missing;
        });
      }
    });
    EXPECT_TRUE(run_until([&] { return missing == 0 || failed; }));
    if (failed) pass(io::kSecond);
    return answers;
  }
  // Does not wait for the answer.
  void start_proposal(pb::InternalRaftRequest request, std::function<void(Answer)> done) {
    const uint64_t id = member_->next_id();
    if (!request.header) request.header.emplace();
    request.header->id = id;
    loop_.post([this, id, blob = wire::encode_blob(request), done = std::move(done)]() mutable {
      port_->propose(id, std::move(blob), std::move(done));
    });
  }
  Answer propose(pb::InternalRaftRequest request) {
    return std::move(*propose_together({std::move(request)}).front());
  }

 private:
  const bool may_fail_;
  std::unique_ptr<ClientPort> port_;
};

}  // namespace quoin::server
