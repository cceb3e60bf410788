// A member's checks of its own data, on a simulated machine.
#include "server/corruption_check.h"

#include <gtest/gtest.h>

#include "server/member.h"
#include "sim/disk.h"
#include "sim/file_system.h"
#include "sim/log_sink.h"
#include "sim/world.h"
#include "wire/message.h"
#include "wire/raft_internal.h"

namespace quoin::server {
namespace {

namespace pb = wire::etcdserverpb;

constexpr int64_t kMaxNs = 60 * io::kSecond;

Config checking_config() {
  Config c;
  c.name = "m";
  c.data_dir = "/data";
  c.initial_advertise_peer_urls = {"http://localhost:2380"};
  c.initial_cluster = {{"m", {"http://localhost:2380"}}};
  c.initial_corrupt_check = true;
  c.corrupt_check_ns = 4 * io::kSecond;
  c.compact_hash_check = true;
  c.compact_hash_check_ns = 3 * io::kSecond;
  c.bootstrap_defrag_mib = 1;
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
    EXPECT_TRUE(started) << started.error().text();
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
  void compact(int64_t revision) {
    pb::InternalRaftRequest r;
    r.compaction.emplace().revision = revision;
    r.compaction->physical = true;
    ask(std::move(r));
  }
  sim::LogSink log;

 private:
  sim::World& world_;
  sim::Process& process_;
  sim::SimExecutor& loop_;
  sim::SimFileSystem append_fs_, file_fs_;
  metrics::Registry metrics_;
  std::unique_ptr<Member> member_;
  std::unique_ptr<ClientPort> port_;
};

TEST(CorruptionCheck, OfAMemberAlone) {
  sim::World world(5);
  sim::SimDisk disk(world);
  {
    Life life(world, disk, checking_config());
    // Not at the first start: there is nothing to check.
    EXPECT_FALSE(life.log.contains("starting initial corruption check"));
    EXPECT_EQ(life.log.count("Skipping defragmentation current-db-size-bytes="), 1u);
    EXPECT_TRUE(
        life.log.contains("experimental-bootstrap-defrag-threshold-bytes=1048576 "
                          "experimental-bootstrap-defrag-threshold=1.0 MB"));
    EXPECT_EQ(life.log.count("enabled corruption checking local-member-id="), 1u);
    for (int i = 0; i < 6; ++i) life.put("k", "v");
    life.compact(3);
    life.compact(5);
    life.pass(9 * io::kSecond);
    EXPECT_EQ(life.log.count("finished peer corruption check number-of-peers-checked=0"), 2u);
    EXPECT_FALSE(life.log.contains("found hash mismatch"));
    // Nothing confirms a hash, so every round looks at both.
    EXPECT_EQ(life.log.count("starting compact hash check local-member-id="), 3u);
    EXPECT_GE(life.log.count("finished compaction hash check number-of-hashes-checked=2"), 2u);
    life.stop();
    EXPECT_TRUE(life.log.contains("stopping kv hash's monitor"));
    EXPECT_TRUE(life.log.contains("stopping compact hash's monitor"));
  }
  Life again(world, disk, checking_config());
  EXPECT_EQ(again.log.count("starting initial corruption check"), 1u);
  EXPECT_EQ(again.log.count("initial corruption checking passed; no corruption"), 1u);
  again.stop();
}

TEST(CorruptionCheck, StopsInTheMiddleOfACheck) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    sim::World world(seed);
    sim::SimDisk disk(world);
    Config c = checking_config();
    c.corrupt_check_ns = 10 * io::kMillisecond;
    Life life(world, disk, c);
    life.put("k", "v");
    life.pass(static_cast<int64_t>(seed) * io::kMillisecond);
    life.stop();
  }
}

TEST(CorruptionCheck, TwoHashesOfOneStateMustBeEqual) {
  const mvcc::HashKvResult first{1, 5, 9};
  EXPECT_FALSE(hashes_contradict(first, {1, 5, 9}));
  EXPECT_TRUE(hashes_contradict(first, {2, 5, 9}));
  EXPECT_FALSE(hashes_contradict(first, {2, 5, 10}));  // written meanwhile
  EXPECT_FALSE(hashes_contradict(first, {2, 6, 9}));   // compacted meanwhile
}

}  // namespace
}  // namespace quoin::server
