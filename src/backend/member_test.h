// A backend in a simulated process, over either engine, that can be crashed and opened again.
#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "backend/bolt_engine.h"
#include "backend/memory_engine_test.h"
#include "bolt/db.h"
#include "sim/disk.h"
#include "sim/file_system.h"
#include "sim/log_sink.h"
#include "sim/world.h"

namespace quoin::backend {

enum class Kind { kMemory, kBolt };
inline std::string kind_name(const ::testing::TestParamInfo<Kind>& info) {
  return info.param == Kind::kMemory ? "memory" : "bolt";
}

class Member {
 public:
  Member(Kind kind, uint64_t seed) : world(seed), disk(world), kind_(kind) {
    options.path = "/data/member/snap/db";
    options.map_bytes = 1u << 30;
    sim::Process& p = world.start_process("mkdir");
    sim::SimFileSystem fs(disk, p.executor("x"));
    CHECK(fs.make_dirs("/data/member/snap", 0700).has_value());
    for (const char* dir : {"/", "/data", "/data/member"}) CHECK(fs.sync_dir(dir).has_value());
  }
  ~Member() { crash(); }

  Result<> try_open() {
    process = &world.start_process("member");
    apply = &process->executor("apply");
    file = &process->executor("file");
    fs = std::make_unique<sim::SimFileSystem>(disk, *file);
    metrics = std::make_unique<metrics::Registry>();
    ASSIGN_OR_RETURN(backend, open_with_engine(options, factory(), *fs, *apply, *file, process->timers(),
                                               process->clock(), *metrics, log));
    failure.reset();
    backend->set_failure_callback([this](Error e) { failure = e; });
    return {};
  }
  // Of the process that runs.
  std::unique_ptr<EngineFactory> factory() {
    if (kind_ == Kind::kMemory) return std::make_unique<MemoryFactory>(states, *fs, world, *file);
    return bolt_engine_factory(options, *fs, *file, process->clock());
  }
  void open() {
    auto r = try_open();
    ASSERT_TRUE(r) << r.error().text();
  }
  void crash() {
    if (process != nullptr) process->kill();
    disk.crash();
    backend.reset();
    fs.reset();
    process = nullptr;
    check_file();
  }
  // Whatever a test did: the file is valid in every page.
  void check_file() {
    if (kind_ != Kind::kBolt) return;
    sim::Process& p = world.start_process("check");
    sim::SimFileSystem checking(disk, p.executor("x"));
    if (!*checking.exists(options.path)) return;
    bolt::Options o;
    o.create = false;
    o.read_only = true;
    o.check_all = true;
    auto db = bolt::Db::open(checking, options.path, o);
    ASSERT_TRUE(db) << db.error().text();
    EXPECT_TRUE((*db)->check().empty()) << (*db)->check().front();
    EXPECT_TRUE((*db)->close_blocking(false));
  }
  // Runs `what` as a task of apply and lets it finish.
  void on_apply(std::function<void()> what) {
    bool ran = false;
    apply->post([&] {
      what();
      ran = true;
    });
    ASSERT_TRUE(world.run_until([&] { return ran; }, io::kSecond));
  }
  void wait(const std::function<bool()>& done) {
    ASSERT_TRUE(world.run_until([&] { return done(); }, 600 * io::kSecond));
  }
  void commit() {
    bool durable = false;
    on_apply([&] { backend->commit([&] { durable = true; }); });
    wait([&] { return durable; });
  }
  void close() {
    std::optional<Result<>> closed;
    on_apply([&] { backend->close([&](Result<> r) { closed = std::move(r); }); });
    wait([&] { return closed.has_value(); });
    ASSERT_TRUE(*closed) << closed->error().text();
    backend.reset();
    process->kill();
    check_file();
  }

  sim::World world;
  sim::SimDisk disk;
  std::shared_ptr<MemoryStates> states = std::make_shared<MemoryStates>();
  Options options;
  sim::LogSink log;
  sim::Process* process = nullptr;
  sim::SimExecutor* apply = nullptr;
  sim::SimExecutor* file = nullptr;
  std::unique_ptr<sim::SimFileSystem> fs;
  std::unique_ptr<metrics::Registry> metrics;
  std::unique_ptr<Backend> backend;
  std::optional<Error> failure;

 private:
  Kind kind_;
};

}  // namespace quoin::backend
