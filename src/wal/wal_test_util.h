// What the tests of this module share: one machine with a log directory, and an appender that is driven to
// its end.
#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/check.h"
#include "sim/machine.h"
#include "wal/appender.h"
#include "wal/wal.h"

namespace quoin::wal {

inline raft::Entry entry(uint64_t term, uint64_t index, std::string_view data = {}) {
  return {quoin::Term(term), quoin::Index(index), raft::EntryType::kNormal, Blob::copy(data)};
}
inline raft::HardState state(uint64_t term, uint64_t vote, uint64_t commit) {
  return {quoin::Term(term), MemberId(vote), quoin::Index(commit)};
}
inline SnapshotRecord snapshot(uint64_t index, uint64_t term) {
  return {quoin::Index(index), quoin::Term(term), raft::ConfState{{MemberId(7)}, {}, {}, {}, false}};
}
inline std::string text(const Result<>& r) {
  return r ? "ok" : std::string(r.error().text());
}
template <class T>
std::string text(const Result<T>& r) {
  return r ? "ok" : std::string(r.error().text());
}

class LogMachine {
 public:
  static constexpr const char* kDir = "/data/wal";

  explicit LogMachine(uint64_t seed, AppenderOptions options = {}) : machine(seed), options(options) {
    CHECK(machine.fs().make_dirs("/data", 0700).has_value());
    CHECK(machine.fs().sync_dir("/").has_value());
  }
  ~LogMachine() { machine.kill(); }

  // A new log, and an appender on it.
  void create(std::string_view metadata = "meta") {
    auto log = wal::create(machine.fs(), kDir, metadata, machine.log());
    CHECK(log.has_value(), "{}", log.error().text());
    append_to(std::move(*log));
  }
  Result<OpenedLog> open(const SnapshotRecord& start = {}, const OpenOptions& how = {}) {
    return wal::open(machine.fs(), kDir, start, how, machine.log());
  }
  Contents must_open(const SnapshotRecord& start = {}) {
    auto log = open(start);
    CHECK(log.has_value(), "{}", log.error().text());
    Contents contents = log->contents;
    append_to(std::move(*log));
    return contents;
  }
  void append_to(OpenedLog log) {
    failure.reset();
    appender =
        std::make_unique<Appender>(machine.fs(), machine.executor(), machine.process().clock(), machine.log(),
                                   probe, options, std::move(log.tail), [this](Error e) { failure = e; });
  }

  // Each waits until it is acknowledged.
  void save(const raft::HardState& hs, std::vector<raft::Entry> entries) {
    bool done = false;
    appender->save(hs, std::move(entries), [&] { done = true; });
    CHECK(machine.run_until([&] { return done; }));
  }
  void save_snapshot(const SnapshotRecord& record) {
    bool done = false;
    appender->save_snapshot(record, [&] { done = true; });
    CHECK(machine.run_until([&] { return done; }));
  }
  void close(const raft::HardState& hs = {}) {
    bool done = false;
    appender->close(hs, [&](Result<> r) { done = r.has_value(); });
    CHECK(machine.run_until([&] { return done; }));
    appender.reset();
  }
  // The process ends and the disk keeps what is seen, or what a crash leaves.
  void restart() {
    machine.kill();
    appender.reset();
    machine.restart();
  }
  void crash() {
    machine.kill();
    appender.reset();
    machine.crash();
  }

  std::string file(const std::string& name) { return machine.read_file(std::string(kDir) + "/" + name); }
  // Puts a log's file there as it is.
  void put(const std::string& name, std::string_view bytes) {
    machine.disk().put_file(std::string(kDir) + "/" + name, bytes);
  }
  std::vector<std::string> files() {
    std::vector<std::string> out;
    const auto entries = machine.fs().list(kDir);
    CHECK(entries.has_value());
    for (const io::DirEntry& e : *entries) out.push_back(e.name);
    return out;
  }

  sim::Machine machine;
  AppenderOptions options;
  metrics::Registry registry;
  Probe probe{registry};
  std::unique_ptr<Appender> appender;
  std::optional<Error> failure;
};

}  // namespace quoin::wal
