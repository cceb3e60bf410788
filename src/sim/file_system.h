// io::FileSystem over a SimDisk. Several may stand on one disk, each bound to an executor of its own.
//
// A File destroyed with operations outstanding drops them: those not yet begun do not happen, and no
// completion runs. The same holds for the FileSystem and its own operations.
// Mapping: reserved address space (costs memory only where the file has bytes) that shows what the process
// sees; bytes written within size() appear at once, growth with refresh().
#pragma once
#include "io/file.h"
#include "sim/disk.h"
#include "sim/world.h"

namespace quoin::sim {

class SimFileSystem final : public io::FileSystem {
 public:
  // Both outlive this. After a crash of the disk every call returns kStopped.
  SimFileSystem(SimDisk& disk, io::Executor& executor);

  Result<std::unique_ptr<io::File>> open(const std::string& path, io::OpenOptions options) override;
  Result<> make_dir(const std::string& path, uint32_t mode) override;
  Result<> make_dirs(const std::string& path, uint32_t mode) override;
  Result<std::vector<io::DirEntry>> list(const std::string& path) override;
  Result<bool> exists(const std::string& path) override;
  Result<> rename(const std::string& from, const std::string& to) override;
  Result<> remove(const std::string& path) override;
  Result<> remove_all(const std::string& path) override;
  Result<> sync_dir(const std::string& path) override;
  Result<uint32_t> permissions(const std::string& path) override;

  void async_open(const std::string& path, io::OpenOptions options,
                  absl::AnyInvocable<void(Result<std::unique_ptr<io::File>>)> done) override;
  void async_rename(const std::string& from, const std::string& to, io::Completion done) override;
  void async_remove(const std::string& path, io::Completion done) override;
  void async_sync_dir(const std::string& path, io::Completion done) override;

 private:
  Result<> check_alive() const;
  void async(const Latency& latency, absl::AnyInvocable<Result<>()> effect, io::Completion done);
  void finish(io::Completion done, Result<> result);
  void remove_tree(const NodePtr& dir);

  SimDisk& disk_;
  io::Executor& executor_;
  const uint64_t epoch_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);  // operations outstanding are dropped with this
};

}  // namespace quoin::sim
