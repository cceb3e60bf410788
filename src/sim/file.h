// io::File and io::Mapping over a node of a SimDisk. Internal to sim; made by SimFileSystem.
#pragma once
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "io/file.h"
#include "sim/disk.h"

namespace quoin::sim {

class SimFile final : public io::File {
 public:
  SimFile(SimDisk& disk, io::Executor& executor, NodePtr node, std::string path, bool writable);
  ~SimFile() override;
  const std::string& path() const override { return path_; }

  Result<size_t> read_at(uint64_t offset, std::span<char> out) override;
  Result<> write_at(uint64_t offset, std::string_view bytes) override;
  Result<> sync() override;
  Result<> truncate(uint64_t size) override;
  Result<> allocate(uint64_t size) override;
  Result<uint64_t> size() override;
  Result<> lock(io::LockMode mode) override;
  Result<> lock_ofd() override;
  Result<> unlock() override;
  Result<std::unique_ptr<io::Mapping>> map(uint64_t reserve_bytes, bool prefault) override;

  void async_write(uint64_t offset, std::vector<std::string_view> parts, io::Completion done) override;
  void async_sync(io::Completion done) override;
  void async_truncate(uint64_t size, io::Completion done) override;
  void async_allocate(uint64_t size, io::Completion done) override;

 private:
  struct Pending {
    Latency latency;
    bool is_sync;
    absl::AnyInvocable<void()> begin;  // may be empty
    absl::AnyInvocable<Result<>()> effect;
    io::Completion done;
  };
  struct Queue {
    std::deque<Pending> ops;
    bool closed = false;
  };
  Result<> check_alive(bool for_write) const;
  Result<> write_parts(uint64_t offset, const std::vector<std::string_view>& parts);
  void submit(Pending op);
  void begin_next();
  void drop_locks();

  SimDisk& disk_;
  io::Executor& executor_;
  NodePtr node_;
  const std::string path_;
  const bool writable_;
  const uint64_t epoch_;
  const uint64_t handle_;
  std::shared_ptr<Queue> queue_ = std::make_shared<Queue>();
};

}  // namespace quoin::sim
