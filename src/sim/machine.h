// One world, one disk, one process with one executor: what most tests of a module start from.
//
//   sim::Machine m(seed);
//   ... m.fs() ... m.executor() ... m.run_until([&] { return done; });
//   m.crash();   // destroy what used fs() and the executor first, or right after m.kill()
//   ... m.fs() is a new file system on what survived, m.executor() a new executor ...
#pragma once
#include <absl/functional/function_ref.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/check.h"
#include "sim/disk.h"
#include "sim/file_system.h"
#include "sim/log_sink.h"
#include "sim/world.h"

namespace quoin::sim {

class Machine {
 public:
  explicit Machine(uint64_t seed) : world_(seed), disk_(world_) { start(); }
  ~Machine() { process_->kill(); }

  World& world() { return world_; }
  SimDisk& disk() { return disk_; }
  Process& process() { return *process_; }
  SimExecutor& executor() { return *executor_; }
  SimFileSystem& fs() { return *fs_; }
  LogSink& log() { return log_; }

  // Virtual time is generous, so that only what hangs fails.
  bool run_until(absl::FunctionRef<bool()> done, int64_t max_ns = 60 * io::kSecond) {
    return world_.run_until(done, max_ns);
  }

  // Ends the process: its tasks and timers are gone. The disk keeps what is seen.
  void kill() { process_->kill(); }
  // kill(), then a crash of the disk, then a new process.
  void crash() {
    kill();
    disk_.crash();
    start();
  }
  // kill() and a new process; the disk keeps what is seen (the operating system lived on).
  void restart() {
    kill();
    start();
  }

  // Blocking helpers; a failure is a bug of the test.
  void write_file(const std::string& path, std::string_view bytes) {
    auto file = fs_->open(path, {.write = true, .create = true, .truncate = true});
    CHECK(file.has_value(), "{}", file.error().text());
    const auto ok = (*file)->write_at(0, bytes);
    CHECK(ok.has_value(), "{}", ok.error().text());
  }
  std::string read_file(const std::string& path) {
    auto bytes = disk_.visible_bytes(path);
    CHECK(bytes.has_value(), "{}", bytes.error().text());
    return std::move(*bytes);
  }

 private:
  void start() {
    process_ = &world_.start_process("member");
    executor_ = &process_->executor("main");
    retired_.push_back(std::move(fs_));  // operations of the old process may still name it
    fs_ = std::make_unique<SimFileSystem>(disk_, *executor_);
  }

  World world_;
  SimDisk disk_;
  LogSink log_;
  Process* process_ = nullptr;
  SimExecutor* executor_ = nullptr;
  std::vector<std::unique_ptr<SimFileSystem>> retired_;
  std::unique_ptr<SimFileSystem> fs_;
};

}  // namespace quoin::sim
