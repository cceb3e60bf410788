// One life of a member on a simulated machine: a process on a disk that outlives it.
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

// One life of a member.
class Life {
 public:
  // `may_fail`: a failure is kept in `failed` and does not fail the test.
  Life(sim::World& world, sim::SimDisk& disk, const Config& config, bool may_fail = false)
      : may_fail(may_fail),
        world_(world),
        process_(world.start_process("member")),
        loop_(process_.executor("loop")),
        append_fs_(disk, process_.executor("append")),
        file_fs_(disk, process_.executor("file")) {
    log.set_level(log::Level::kInfo);
    auto started = Member::start(config, {process_.executor("raft"), process_.executor("apply"),
                                          process_.executor("append"), process_.executor("file"), append_fs_,
                                          file_fs_, process_.timers(), process_.clock(), log, metrics_, 1});
    if (!started) {
      start_error = started.error();
      return;
    }
    member_ = std::move(*started);
    bool ready = false;
    member_->run(
        loop_, [&] { ready = true; },
        [this](Error e) {
          if (!this->may_fail) ADD_FAILURE() << e.text();
          failed = e;
        });
    EXPECT_TRUE(world_.run_until([&] { return ready || failed; }, kMaxNs));
    port_ = std::make_unique<ClientPort>(*member_, loop_);
  }
  ~Life() {
    process_.kill();
    port_.reset();
    member_.reset();
  }
  void stop() {
    bool stopped = false;
    member_->stop(loop_, [&] { stopped = true; });
    EXPECT_TRUE(world_.run_until([&] { return stopped; }, kMaxNs));
  }
  void pass(int64_t ns) {
    bool over = false;
    auto timer = process_.timers().schedule(ns, loop_, [&] { over = true; });
    EXPECT_TRUE(world_.run_until([&] { return over; }, 2 * ns));
  }
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
    ASSERT_TRUE(world_.run_until([&] { return answered; }, kMaxNs));
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
  sim::SimFileSystem& files() { return file_fs_; }

  // Proposes all of it in one loop round, so that it is one batch, and waits for the answers; one that never
  // comes is empty.
  std::vector<std::optional<Answer>> propose_together(std::vector<pb::InternalRaftRequest> requests) {
    std::vector<std::optional<Answer>> answers(requests.size());
    size_t missing = requests.size();
    loop_.post([&] {
      for (size_t i = 0; i < requests.size(); ++i) {
        const uint64_t id = member_->next_id();
        requests[i].header.emplace().id = id;
        port_->propose(id, wire::encode_blob(requests[i]), [&, i](Answer a) {
          answers[i] = std::move(a);
          --missing;
        });
      }
    });
    EXPECT_TRUE(world_.run_until([&] { return missing == 0 || failed; }, kMaxNs));
    if (failed) pass(io::kSecond);
    return answers;
  }
  // Does not wait for the answer.
  void start_proposal(pb::InternalRaftRequest request, std::function<void(Answer)> done) {
    const uint64_t id = member_->next_id();
    request.header.emplace().id = id;
    loop_.post([this, id, blob = wire::encode_blob(request), done = std::move(done)]() mutable {
      port_->propose(id, std::move(blob), std::move(done));
    });
  }
  Answer propose(pb::InternalRaftRequest request) {
    return std::move(*propose_together({std::move(request)}).front());
  }
  Member& member() { return *member_; }
  sim::SimExecutor& loop() { return loop_; }
  bool run_until(const std::function<bool()>& condition) { return world_.run_until(condition, kMaxNs); }

  sim::LogSink log;
  std::optional<Error> start_error;  // nothing else may be called then
  const bool may_fail;
  std::optional<Error> failed;

 private:
  sim::World& world_;
  sim::Process& process_;
  sim::SimExecutor& loop_;
  sim::SimFileSystem append_fs_, file_fs_;
  metrics::Registry metrics_;
  std::unique_ptr<Member> member_;
  std::unique_ptr<ClientPort> port_;
};

}  // namespace quoin::server
