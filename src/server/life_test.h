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
  Life(sim::World& world, sim::SimDisk& disk, const Config& config)
      : world_(world),
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
        loop_, [&] { ready = true; }, [](Error e) { ADD_FAILURE() << e.text(); });
    EXPECT_TRUE(world_.run_until([&] { return ready; }, kMaxNs));
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

  sim::LogSink log;
  std::optional<Error> start_error;  // nothing else may be called then

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
