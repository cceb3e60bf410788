#include "sim/file.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "base/check.h"

namespace quoin::sim {

// ---- mapping ----

class SimMapping final : public io::Mapping, public MappedView {
 public:
  SimMapping(NodePtr node, char* base, uint64_t reserved, std::shared_ptr<uint64_t> mapped_bytes)
      : node_(std::move(node)), base_(base), reserved_(reserved), mapped_bytes_(std::move(mapped_bytes)) {
    *mapped_bytes_ += reserved_;
    node_->views.push_back(this);
  }
  ~SimMapping() override {
    std::erase(node_->views, this);
    ::munmap(base_, reserved_);
    *mapped_bytes_ -= reserved_;
  }
  const char* data() const override { return base_; }
  uint64_t size() const override { return size_; }
  Result<> refresh() override {
    const uint64_t size = node_->data.size();
    if (size > reserved_) {
      return make_error(Code::kLimit, "mapping: file of {} bytes outgrew the {} reserved", size, reserved_);
    }
    const uint64_t old = std::exchange(size_, size);
    // What lies beyond the old size was never shown: it is as the kernel gave it.
    if (size > old) node_->data.read_over_zeros(old, {base_ + old, size - old});
    return {};
  }
  void changed(uint64_t offset, uint64_t bytes) override {
    if (offset >= size_) return;
    bytes = std::min(bytes, size_ - offset);
    const size_t n = node_->data.read(offset, {base_ + offset, bytes});
    if (n < bytes) std::memset(base_ + offset + n, 0, bytes - n);
  }

 private:
  NodePtr node_;
  char* const base_;
  const uint64_t reserved_;
  const std::shared_ptr<uint64_t> mapped_bytes_;
  uint64_t size_ = 0;
};

namespace {
void show(Node& node, uint64_t offset, uint64_t bytes) {
  for (MappedView* view : node.views) view->changed(offset, bytes);
}
}  // namespace

// ---- blocking ----

SimFile::SimFile(SimDisk& disk, io::Executor& executor, NodePtr node, std::string path, bool writable)
    : disk_(disk),
      executor_(executor),
      node_(std::move(node)),
      path_(std::move(path)),
      writable_(writable),
      epoch_(disk.epoch_),
      handle_(disk.next_handle_++) {}

SimFile::~SimFile() {
  queue_->closed = true;
  auto dropped = std::exchange(queue_->ops, {});
  drop_locks();
}

Result<> SimFile::check_alive(bool for_write) const {
  if (epoch_ != disk_.epoch_) return Error(Code::kStopped);
  if (for_write && !writable_) return errno_error("write", path_, EBADF);
  return {};
}

Result<size_t> SimFile::read_at(uint64_t offset, std::span<char> out) {
  TRY(check_alive(false));
  TRY(disk_.gate(kRead, path_));
  return node_->data.read(offset, out);
}

Result<> SimFile::write_parts(uint64_t offset, const std::vector<std::string_view>& parts) {
  TRY(check_alive(true));
  uint64_t total = 0;
  for (std::string_view part : parts) total += part.size();
  Result<> ok = disk_.gate(kWrite, path_);
  if (!ok && ok.error().code() == Code::kStopped) return ok;
  if (ok) ok = disk_.reserve(*node_, offset + total, "write", path_);
  uint64_t left = total;
  if (!ok) {
    // Up to a boundary of sectors, or nothing.
    const uint64_t end = disk_.prng_.between(offset, offset + total) / kSectorBytes * kSectorBytes;
    left = end - std::min(end, offset);
    if (disk_.byte_limit_ != std::numeric_limits<uint64_t>::max()) {
      left = std::min(left, node_->reserved_bytes - std::min(node_->reserved_bytes, offset));
    }
  }
  const uint64_t written = left;
  uint64_t at = offset;
  for (std::string_view part : parts) {
    part = part.substr(0, left);
    node_->data.write(at, part);
    at += part.size();
    left -= part.size();
  }
  show(*node_, offset, written);
  return ok;
}

Result<> SimFile::write_at(uint64_t offset, std::string_view bytes) {
  return write_parts(offset, {bytes});
}

Result<> SimFile::sync() {
  TRY(check_alive(false));
  Result<> ok = disk_.gate(kSync, path_);
  if (!ok && ok.error().code() == Code::kStopped) return ok;
  node_->data.end_sync(node_->data.begin_sync(), ok.has_value(), disk_.prng_);
  if (ok) ++disk_.syncs_done_;
  return ok;
}

Result<> SimFile::truncate(uint64_t size) {
  TRY(check_alive(true));
  TRY(disk_.gate(kTruncate, path_));
  const uint64_t old = node_->data.size();
  node_->data.resize(size);
  node_->reserved_bytes =
      std::min(node_->reserved_bytes, (size + kChunkBytes - 1) / kChunkBytes * kChunkBytes);
  if (size < old) show(*node_, size, old - size);
  return {};
}

Result<> SimFile::allocate(uint64_t size) {
  TRY(check_alive(true));
  TRY(disk_.gate(kAllocate, path_));
  TRY(disk_.reserve(*node_, size, "fallocate", path_));
  if (size > node_->data.size()) node_->data.resize(size);
  return {};
}

Result<uint64_t> SimFile::size() {
  TRY(check_alive(false));
  return node_->data.size();
}

Result<> SimFile::lock(io::LockMode mode) {
  TRY(check_alive(false));
  Locks& locks = node_->locks;
  const bool others_share =
      std::any_of(locks.shared.begin(), locks.shared.end(), [&](uint64_t h) { return h != handle_; });
  const bool taken = locks.exclusive != 0 && locks.exclusive != handle_;
  if (taken || (mode == io::LockMode::kExclusive && others_share)) return Error(Code::kLocked);
  std::erase(locks.shared, handle_);
  if (locks.exclusive == handle_) locks.exclusive = 0;
  if (mode == io::LockMode::kExclusive) {
    locks.exclusive = handle_;
  } else {
    locks.shared.push_back(handle_);
  }
  return {};
}

Result<> SimFile::lock_ofd() {
  TRY(check_alive(true));
  if (node_->locks.ofd != 0 && node_->locks.ofd != handle_) return Error(Code::kLocked);
  node_->locks.ofd = handle_;
  return {};
}

void SimFile::drop_locks() {
  Locks& locks = node_->locks;
  std::erase(locks.shared, handle_);
  if (locks.exclusive == handle_) locks.exclusive = 0;
  if (locks.ofd == handle_) locks.ofd = 0;
}

Result<> SimFile::unlock() {
  TRY(check_alive(false));
  drop_locks();
  return {};
}

Result<std::unique_ptr<io::Mapping>> SimFile::map(uint64_t reserve_bytes, bool) {
  TRY(check_alive(false));
  CHECK_GT(reserve_bytes, 0u);
  if (reserve_bytes > disk_.address_space_ - std::min(disk_.address_space_, *disk_.mapped_bytes_))
    return errno_error("mmap", path_, ENOMEM);
  void* base = ::mmap(nullptr, reserve_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return errno_error("mmap", path_, errno);
  auto mapping =
      std::make_unique<SimMapping>(node_, static_cast<char*>(base), reserve_bytes, disk_.mapped_bytes_);
  TRY(mapping->refresh());
  return std::unique_ptr<io::Mapping>(std::move(mapping));
}

// ---- asynchronous ----

void SimFile::submit(Pending op) {
  if (epoch_ != disk_.epoch_) return;
  queue_->ops.push_back(std::move(op));
  if (queue_->ops.size() == 1) begin_next();
}

void SimFile::begin_next() {
  Pending& op = queue_->ops.front();
  if (op.begin) op.begin();
  // `this` lives as long as the queue is not closed.
  disk_.after_latency(op.latency, op.is_sync, [this, queue = queue_] {
    if (queue->closed) return;
    Pending op = std::move(queue->ops.front());
    Result<> result = op.effect();
    if (disk_.power_lost_) return;
    queue->ops.pop_front();
    executor_.post([&disk = disk_, epoch = epoch_, queue, done = std::move(op.done),
                    result = std::move(result)]() mutable {
      if (epoch == disk.epoch_ && !queue->closed) done(std::move(result));
    });
    if (!queue->ops.empty()) begin_next();
  });
}

void SimFile::async_write(uint64_t offset, std::vector<std::string_view> parts, io::Completion done) {
  submit({disk_.latencies_.write,
          false,
          {},
          [this, offset, parts = std::move(parts)] { return write_parts(offset, parts); },
          std::move(done)});
}

void SimFile::async_sync(io::Completion done) {
  auto ticket = std::make_shared<uint64_t>(0);
  submit({disk_.latencies_.sync, true, [this, ticket] { *ticket = node_->data.begin_sync(); },
          [this, ticket]() -> Result<> {
            Result<> ok = disk_.gate(kSync, path_);
            if (!ok && ok.error().code() == Code::kStopped) return ok;
            node_->data.end_sync(*ticket, ok.has_value(), disk_.prng_);
            if (ok) ++disk_.syncs_done_;
            return ok;
          },
          std::move(done)});
}

void SimFile::async_truncate(uint64_t size, io::Completion done) {
  submit({disk_.latencies_.names, false, {}, [this, size] { return truncate(size); }, std::move(done)});
}

void SimFile::async_allocate(uint64_t size, io::Completion done) {
  submit({disk_.latencies_.names, false, {}, [this, size] { return allocate(size); }, std::move(done)});
}

}  // namespace quoin::sim
