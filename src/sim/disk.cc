#include "sim/disk.h"

#include <algorithm>
#include <cerrno>

#include "base/check.h"

namespace quoin::sim {

SimDisk::SimDisk(World& world) : world_(world), prng_(world.prng().fork()) {}

void SimDisk::set_syncs_stuck(bool stuck) {
  syncs_stuck_ = stuck;
  if (stuck) return;
  for (Task& effect : std::exchange(stuck_, {})) after_latency(latencies_.sync, true, std::move(effect));
}

bool SimDisk::flip_bit(std::string_view path, uint64_t offset, int bit, bool cached) {
  const NodePtr node = tree_.find(path);
  return node && !node->directory && node->data.flip_bit(offset, bit, cached);
}

void SimDisk::flip_random_bits(std::string_view path, int n) {
  const NodePtr node = tree_.find(path);
  CHECK(node && !node->directory && node->data.size() > 0, "{}", path);
  for (int i = 0; i < n; ++i) {
    node->data.flip_bit(prng_.below(node->data.size()), static_cast<int>(prng_.below(8)), false);
  }
}

void SimDisk::crash() {
  Tree survivor = tree_.survivor(prng_);
  tree_ = std::move(survivor);
  ++epoch_;
  faults_.clear();
  error_per_million_ = 0;
  syncs_stuck_ = power_armed_ = power_lost_ = false;
  auto dropped = std::exchange(stuck_, {});
}

std::unique_ptr<SimDisk> SimDisk::crash_image(Prng& prng) const {
  auto out = std::make_unique<SimDisk>(world_);
  out->tree_ = tree_.survivor(prng);
  out->latencies_ = latencies_;
  return out;
}

Result<std::string> SimDisk::visible_bytes(std::string_view path) const {
  const NodePtr node = tree_.find(path);
  if (!node || node->directory) return errno_error("open", path, ENOENT);
  return node->data.visible_bytes();
}

Result<std::string> SimDisk::durable_bytes(std::string_view path) const {
  const NodePtr node = tree_.find(path);
  if (!node || node->directory) return errno_error("open", path, ENOENT);
  return node->data.durable_bytes();
}

void SimDisk::put_file(std::string_view path, std::string_view bytes) {
  const auto parts = Tree::split(path);
  CHECK(!parts.empty());
  NodePtr dir = tree_.root();
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    auto it = dir->visible.find(parts[i]);
    if (it == dir->visible.end()) {
      auto child = std::make_shared<Node>();
      child->directory = true;
      child->mode = 0755;
      tree_.link(dir, parts[i], child);
      it = dir->visible.find(parts[i]);
    }
    tree_.sync_names(dir, tree_.moment());
    dir = it->second;
    CHECK(dir->directory, "{}", path);
  }
  auto file = std::make_shared<Node>();
  file->mode = 0600;
  file->data.write(0, bytes);
  file->data.end_sync(file->data.begin_sync(), true, prng_);
  file->reserved_bytes = bytes.size();
  tree_.link(dir, parts.back(), file);
  tree_.sync_names(dir, tree_.moment());
}

Result<> SimDisk::gate(Op op, std::string_view path) {
  if (power_lost_) return Error(Code::kStopped);
  if (op & kChangingOps) {
    if (hook_) hook_(op, path);
    if (power_armed_ && power_ops_left_-- == 0) {
      power_lost_ = true;
      return Error(Code::kStopped);
    }
    ++ops_done_;
  }
  static constexpr std::pair<Op, std::string_view> kNames[] = {
      {kOpen, "open"},          {kRead, "read"},          {kWrite, "write"},   {kSync, "fdatasync"},
      {kTruncate, "ftruncate"}, {kAllocate, "fallocate"}, {kRename, "rename"}, {kRemove, "unlink"},
      {kSyncDir, "fsync"},      {kList, "readdir"},       {kMakeDir, "mkdir"}};
  const auto name =
      std::find_if(std::begin(kNames), std::end(kNames), [&](auto& n) { return n.first == op; });
  for (Fault& fault : faults_) {
    if (!(fault.ops & op) || fault.times == 0) continue;
    if (!fault.path_contains.empty() && path.find(fault.path_contains) == std::string_view::npos) continue;
    if (fault.skip > 0) {
      --fault.skip;
      continue;
    }
    if (fault.times != Fault::kForever) --fault.times;
    return errno_error(name->second, path, fault.error);
  }
  if ((error_ops_ & op) && error_per_million_ && prng_.chance(error_per_million_, 1'000'000)) {
    return errno_error(name->second, path, EIO);
  }
  return {};
}

Result<> SimDisk::reserve(Node& node, uint64_t end, std::string_view operation, std::string_view path) {
  end = (end + kChunkBytes - 1) / kChunkBytes * kChunkBytes;
  if (end <= node.reserved_bytes) return {};
  if (byte_limit_ != std::numeric_limits<uint64_t>::max() &&
      tree_.reserved_bytes() + (end - node.reserved_bytes) > byte_limit_) {
    return errno_error(operation, path, ENOSPC);
  }
  node.reserved_bytes = end;
  return {};
}

int64_t SimDisk::draw_latency(const Latency& latency) {
  int64_t ns = latency.min_ns +
               static_cast<int64_t>(prng_.below(static_cast<uint64_t>(latency.max_ns - latency.min_ns) + 1));
  if (latencies_.slow_one_in && prng_.chance(1, latencies_.slow_one_in)) ns *= latencies_.slow_factor;
  return ns;
}

void SimDisk::after_latency(const Latency& latency, bool is_sync, Task effect) {
  world_.after(draw_latency(latency), [this, is_sync, epoch = epoch_, alive = std::weak_ptr<int>(alive_),
                                       effect = std::move(effect)]() mutable {
    if (alive.expired() || epoch != epoch_) return;
    if (is_sync && syncs_stuck_) {
      stuck_.push_back(std::move(effect));
    } else {
      effect();
    }
  });
}

}  // namespace quoin::sim
