// A file system in memory for bolt's own tests, benchmarks and fuzz targets: files that lose unsynced writes,
// fail when told to, and record what was done to them. All completions wait in a queue until run() is called.
//
// Crash model: io/file.h. After crash(), each file is what was synced last, with any part of the 512-byte
// sectors written since, drawn from a generator.
// Threads: one. Mappings may be read anywhere.
#pragma once
#include <sys/mman.h>

#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/prng.h"
#include "base/task.h"
#include "io/file.h"

namespace quoin::bolt::testing {

// Address space for a file's bytes as the process sees them.
class Region {
 public:
  explicit Region(size_t bytes) : bytes_(bytes) {
    p_ = static_cast<char*>(
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    CHECK(p_ != MAP_FAILED);
  }
  ~Region() { munmap(p_, bytes_); }
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;
  char* data() const { return p_; }
  size_t bytes() const { return bytes_; }

 private:
  char* p_;
  size_t bytes_;
};

struct Inode {
  static constexpr size_t kFileBytesMax = size_t{1} << 32;
  Inode() : region(kFileBytesMax) {}

  void put(uint64_t offset, std::string_view bytes) {
    CHECK(offset + bytes.size() <= region.bytes());
    if (!bytes.empty()) std::memcpy(region.data() + offset, bytes.data(), bytes.size());
    size = std::max<uint64_t>(size, offset + bytes.size());
  }
  void resize(uint64_t n) {
    if (n < size) std::memset(region.data() + n, 0, size - n);
    size = n;
  }

  Region region;
  uint64_t size = 0;
  std::string durable;  // what a crash leaves at least
  std::vector<std::pair<uint64_t, std::string>> unsynced;
  int exclusive_locks = 0, shared_locks = 0;
};

class MemoryFs : public io::FileSystem {
 public:
  bool track_durability = true;  // off: sync costs nothing, crash() is not allowed
  // The n-th operation that changes or syncs a file fails with kIo, and all after it (0: none does).
  uint64_t fail_at = 0;
  uint64_t operations = 0;
  std::vector<std::string>* journal = nullptr;  // "write 4096 8192", "sync", ...

  // Runs what is queued, and what that queues.
  void run() {
    while (run_one()) {
    }
  }
  bool run_one() {
    if (tasks_.empty()) return false;
    Task task = std::move(tasks_.front());
    tasks_.pop_front();
    task();
    return true;
  }
  // Power fails: queued work is gone, files are as the model says. Open Files must be gone.
  void crash(Prng& prng) {
    CHECK(track_durability);
    tasks_.clear();
    for (auto& [path, inode] : files_) {
      std::string image = inode->durable;
      for (const auto& [offset, bytes] : inode->unsynced) {
        for (uint64_t at = 0; at < bytes.size(); at += 512) {
          if (prng.chance(1, 2)) continue;
          const std::string_view sector = std::string_view(bytes).substr(at, 512);
          if (image.size() < offset + at + sector.size()) image.resize(offset + at + sector.size());
          std::memcpy(image.data() + offset + at, sector.data(), sector.size());
        }
      }
      set_contents(path, image);
    }
    fail_at = 0;
  }
  void set_contents(const std::string& path, std::string_view bytes) {
    auto inode = std::make_shared<Inode>();
    inode->put(0, bytes);
    inode->durable = std::string(bytes);
    files_[path] = std::move(inode);
  }
  std::string contents(const std::string& path) const {
    const Inode& inode = *files_.at(path);
    return {inode.region.data(), inode.size};
  }

  Result<std::unique_ptr<io::File>> open(const std::string& path, io::OpenOptions options) override;
  Result<bool> exists(const std::string& path) override { return files_.count(path) > 0; }
  Result<> rename(const std::string& from, const std::string& to) override {
    files_[to] = std::move(files_.at(from));
    files_.erase(from);
    return {};
  }
  Result<> remove(const std::string& path) override {
    files_.erase(path);
    return {};
  }
  // Bolt needs no directories.
  Result<> make_dir(const std::string&, uint32_t) override { return Code::kUnsupported; }
  Result<> make_dirs(const std::string&, uint32_t) override { return Code::kUnsupported; }
  Result<std::vector<io::DirEntry>> list(const std::string&) override { return Code::kUnsupported; }
  Result<> remove_all(const std::string&) override { return Code::kUnsupported; }
  Result<> sync_dir(const std::string&) override { return Code::kUnsupported; }
  Result<uint32_t> permissions(const std::string&) override { return Code::kUnsupported; }
  void async_open(const std::string&, io::OpenOptions,
                  absl::AnyInvocable<void(Result<std::unique_ptr<io::File>>)> done) override {
    done(Code::kUnsupported);
  }
  void async_rename(const std::string&, const std::string&, io::Completion done) override {
    done(Code::kUnsupported);
  }
  void async_remove(const std::string&, io::Completion done) override { done(Code::kUnsupported); }
  void async_sync_dir(const std::string&, io::Completion done) override { done(Code::kUnsupported); }

 private:
  friend class MemoryFile;
  // Counts an operation; fails it when its turn has come.
  Result<> step(std::string what) {
    ++operations;
    if (journal) journal->push_back(what);
    if (fail_at != 0 && operations >= fail_at) return make_error(Code::kIo, "{}: made to fail", what);
    return {};
  }
  std::map<std::string, std::shared_ptr<Inode>> files_;
  std::deque<Task> tasks_;
};

class MemoryMapping : public io::Mapping {
 public:
  MemoryMapping(std::shared_ptr<Inode> inode, uint64_t reserve)
      : inode_(std::move(inode)), reserve_(reserve), size_(inode_->size) {}
  const char* data() const override { return inode_->region.data(); }
  uint64_t size() const override { return size_; }
  Result<> refresh() override {
    if (inode_->size > reserve_) return Code::kLimit;
    size_ = inode_->size;
    return {};
  }

 private:
  std::shared_ptr<Inode> inode_;
  uint64_t reserve_, size_;
};

class MemoryFile : public io::File {
 public:
  MemoryFile(MemoryFs& fs, std::string path, std::shared_ptr<Inode> inode, bool write)
      : fs_(fs), path_(std::move(path)), inode_(std::move(inode)), write_(write) {}
  ~MemoryFile() override { static_cast<void>(unlock()); }
  const std::string& path() const override { return path_; }

  Result<size_t> read_at(uint64_t offset, std::span<char> out) override {
    if (offset >= inode_->size) return size_t{0};
    const size_t n = std::min<uint64_t>(out.size(), inode_->size - offset);
    std::memcpy(out.data(), inode_->region.data() + offset, n);
    return n;
  }
  Result<> write_at(uint64_t offset, std::string_view bytes) override {
    CHECK(write_);
    auto step = fs_.step(fmt::format("write {} {}", offset, bytes.size()));
    // A failed write may have written any part; here: the first half.
    if (!step) bytes = bytes.substr(0, bytes.size() / 2);
    inode_->put(offset, bytes);
    if (fs_.track_durability) inode_->unsynced.emplace_back(offset, std::string(bytes));
    return step;
  }
  Result<> sync() override {
    TRY(fs_.step("sync"));
    if (!fs_.track_durability) return {};
    inode_->durable.assign(inode_->region.data(), inode_->size);
    inode_->unsynced.clear();
    return {};
  }
  Result<> truncate(uint64_t size) override {
    CHECK(write_);
    TRY(fs_.step(fmt::format("truncate {}", size)));
    inode_->resize(size);
    return {};
  }
  Result<> allocate(uint64_t size) override {
    TRY(fs_.step(fmt::format("allocate {}", size)));
    if (size > inode_->size) inode_->resize(size);
    return {};
  }
  Result<uint64_t> size() override { return inode_->size; }
  Result<> lock(io::LockMode mode) override {
    const bool exclusive = mode == io::LockMode::kExclusive;
    if (inode_->exclusive_locks > 0 || (exclusive && inode_->shared_locks > 0)) return Code::kLocked;
    (exclusive ? inode_->exclusive_locks : inode_->shared_locks) += 1;
    (exclusive ? exclusive_ : shared_) = true;
    return {};
  }
  Result<> lock_ofd() override { return Code::kUnsupported; }
  Result<> unlock() override {
    if (exclusive_) --inode_->exclusive_locks;
    if (shared_) --inode_->shared_locks;
    exclusive_ = shared_ = false;
    return {};
  }
  Result<std::unique_ptr<io::Mapping>> map(uint64_t reserve_bytes, bool) override {
    return std::unique_ptr<io::Mapping>(std::make_unique<MemoryMapping>(inode_, reserve_bytes));
  }

  void async_write(uint64_t offset, std::vector<std::string_view> parts, io::Completion done) override {
    fs_.tasks_.push_back([this, offset, parts = std::move(parts), done = std::move(done)]() mutable {
      std::string all;
      for (std::string_view p : parts) all += p;
      done(write_at(offset, all));
    });
  }
  void async_sync(io::Completion done) override {
    fs_.tasks_.push_back([this, done = std::move(done)]() mutable { done(sync()); });
  }
  void async_truncate(uint64_t size, io::Completion done) override {
    fs_.tasks_.push_back([this, size, done = std::move(done)]() mutable { done(truncate(size)); });
  }
  void async_allocate(uint64_t size, io::Completion done) override {
    fs_.tasks_.push_back([this, size, done = std::move(done)]() mutable { done(allocate(size)); });
  }

 private:
  MemoryFs& fs_;
  std::string path_;
  std::shared_ptr<Inode> inode_;
  bool write_, exclusive_ = false, shared_ = false;
};

inline Result<std::unique_ptr<io::File>> MemoryFs::open(const std::string& path, io::OpenOptions options) {
  auto it = files_.find(path);
  if (it == files_.end()) {
    if (!options.create) return make_error(Code::kFileNotFound, "open {}", path);
    it = files_.emplace(path, std::make_shared<Inode>()).first;
  } else if (options.exclusive) {
    return make_error(Code::kFileExists, "open {}", path);
  }
  if (options.truncate) it->second->resize(0);
  return std::unique_ptr<io::File>(std::make_unique<MemoryFile>(*this, path, it->second, options.write));
}

}  // namespace quoin::bolt::testing
