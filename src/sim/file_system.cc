#include "sim/file_system.h"

#include <cerrno>

#include "base/check.h"
#include "sim/file.h"

namespace quoin::sim {

SimFileSystem::SimFileSystem(SimDisk& disk, io::Executor& executor)
    : disk_(disk), executor_(executor), epoch_(disk.epoch_) {}

Result<> SimFileSystem::check_alive() const {
  if (epoch_ != disk_.epoch_) return Error(Code::kStopped);
  return {};
}

Result<std::unique_ptr<io::File>> SimFileSystem::open(const std::string& path, io::OpenOptions options) {
  TRY(check_alive());
  TRY(disk_.gate(options.write ? kOpen : kRead, path));
  std::string name;
  const NodePtr dir = disk_.tree_.parent(path, &name);
  if (!dir) return errno_error("open", path, ENOENT);
  NodePtr node;
  if (auto it = dir->visible.find(name); it != dir->visible.end()) node = it->second;
  if (node && node->directory) return errno_error("open", path, EISDIR);
  if (node && options.create && options.exclusive) return errno_error("open", path, EEXIST);
  if (!node) {
    if (!options.write || !options.create) return errno_error("open", path, ENOENT);
    if (name.empty()) return errno_error("open", path, EISDIR);
    node = std::make_shared<Node>();
    node->mode = options.mode & 0777 & ~0022u;  // a customary umask
    disk_.tree_.link(dir, name, node);
  }
  if (options.write && options.truncate) {
    const uint64_t old = node->data.size();
    node->data.resize(0);
    node->reserved_bytes = 0;
    for (MappedView* view : node->views) view->changed(0, old);
  }
  return std::unique_ptr<io::File>(std::make_unique<SimFile>(disk_, executor_, node, path, options.write));
}

Result<> SimFileSystem::make_dir(const std::string& path, uint32_t mode) {
  TRY(check_alive());
  TRY(disk_.gate(kMakeDir, path));
  std::string name;
  const NodePtr dir = disk_.tree_.parent(path, &name);
  if (!dir) return errno_error("mkdir", path, ENOENT);
  if (name.empty()) return {};
  if (auto it = dir->visible.find(name); it != dir->visible.end()) {
    if (!it->second->directory) return errno_error("mkdir", path, EEXIST);
    return {};
  }
  auto node = std::make_shared<Node>();
  node->directory = true;
  node->mode = mode & 0777 & ~0022u;
  disk_.tree_.link(dir, name, node);
  return {};
}

Result<> SimFileSystem::make_dirs(const std::string& path, uint32_t mode) {
  std::string partial;
  for (const std::string& part : Tree::split(path)) {
    partial += "/" + part;
    TRY(make_dir(partial, mode));
  }
  return {};
}

Result<std::vector<io::DirEntry>> SimFileSystem::list(const std::string& path) {
  TRY(check_alive());
  TRY(disk_.gate(kList, path));
  const NodePtr dir = disk_.tree_.find(path);
  if (!dir) return errno_error("opendir", path, ENOENT);
  if (!dir->directory) return errno_error("opendir", path, ENOTDIR);
  std::vector<io::DirEntry> out;
  for (const auto& [name, node] : dir->visible) out.push_back({name, node->directory});
  return out;
}

Result<bool> SimFileSystem::exists(const std::string& path) {
  TRY(check_alive());
  TRY(disk_.gate(kRead, path));
  return disk_.tree_.find(path) != nullptr;
}

Result<> SimFileSystem::rename(const std::string& from, const std::string& to) {
  TRY(check_alive());
  TRY(disk_.gate(kRename, from));
  std::string from_name, to_name;
  const NodePtr from_dir = disk_.tree_.parent(from, &from_name);
  const NodePtr to_dir = disk_.tree_.parent(to, &to_name);
  if (!from_dir || !to_dir) return errno_error("rename", from, ENOENT);
  auto source = from_dir->visible.find(from_name);
  if (source == from_dir->visible.end()) return errno_error("rename", from, ENOENT);
  if (auto it = to_dir->visible.find(to_name); it != to_dir->visible.end()) {
    const Node& target = *it->second;
    if (it->second == source->second) return {};
    if (target.directory && !source->second->directory) return errno_error("rename", from, EISDIR);
    if (!target.directory && source->second->directory) return errno_error("rename", from, ENOTDIR);
    if (target.directory && !target.visible.empty()) return errno_error("rename", from, ENOTEMPTY);
  }
  disk_.tree_.rename(from_dir, from_name, to_dir, to_name);
  return {};
}

Result<> SimFileSystem::remove(const std::string& path) {
  TRY(check_alive());
  TRY(disk_.gate(kRemove, path));
  std::string name;
  const NodePtr dir = disk_.tree_.parent(path, &name);
  if (!dir) return errno_error("unlink", path, ENOENT);
  auto it = dir->visible.find(name);
  if (it == dir->visible.end()) return errno_error("unlink", path, ENOENT);
  if (it->second->directory) return errno_error("unlink", path, EISDIR);
  disk_.tree_.unlink(dir, name);
  return {};
}

void SimFileSystem::remove_tree(const NodePtr& dir) {
  while (!dir->visible.empty()) {
    const auto& [name, node] = *dir->visible.begin();
    if (node->directory) remove_tree(NodePtr(node));
    disk_.tree_.unlink(dir, std::string(name));
  }
}

Result<> SimFileSystem::remove_all(const std::string& path) {
  TRY(check_alive());
  TRY(disk_.gate(kRemove, path));
  std::string name;
  const NodePtr dir = disk_.tree_.parent(path, &name);
  if (!dir || name.empty()) return {};
  auto it = dir->visible.find(name);
  if (it == dir->visible.end()) return {};
  if (it->second->directory) remove_tree(NodePtr(it->second));
  disk_.tree_.unlink(dir, name);
  return {};
}

Result<> SimFileSystem::sync_dir(const std::string& path) {
  TRY(check_alive());
  const NodePtr dir = disk_.tree_.find(path);
  if (!dir || !dir->directory) return errno_error("fsync", path, dir ? ENOTDIR : ENOENT);
  if (auto ok = disk_.gate(kSyncDir, path); !ok) {
    if (ok.error().code() != Code::kStopped) {
      disk_.tree_.sync_names_failed(dir, disk_.tree_.moment(), disk_.prng_);
    }
    return ok;
  }
  disk_.tree_.sync_names(dir, disk_.tree_.moment());
  ++disk_.syncs_done_;
  return {};
}

Result<uint32_t> SimFileSystem::permissions(const std::string& path) {
  TRY(check_alive());
  const NodePtr node = disk_.tree_.find(path);
  if (!node) return errno_error("stat", path, ENOENT);
  return node->mode;
}

void SimFileSystem::finish(io::Completion done, Result<> result) {
  executor_.post(
      [&disk = disk_, epoch = epoch_, done = std::move(done), result = std::move(result)]() mutable {
        if (epoch == disk.epoch_) done(std::move(result));
      });
}

void SimFileSystem::async(const Latency& latency, absl::AnyInvocable<Result<>()> effect,
                          io::Completion done) {
  if (!check_alive()) return;
  disk_.after_latency(latency, false,
                      [this, alive = std::weak_ptr<int>(alive_), effect = std::move(effect),
                       done = std::move(done)]() mutable {
                        if (alive.expired()) return;
                        Result<> result = effect();
                        if (disk_.power_lost_) return;
                        finish(std::move(done), std::move(result));
                      });
}

void SimFileSystem::async_open(const std::string& path, io::OpenOptions options,
                               absl::AnyInvocable<void(Result<std::unique_ptr<io::File>>)> done) {
  if (!check_alive()) return;
  disk_.after_latency(
      disk_.latencies_.names, false,
      [this, alive = std::weak_ptr<int>(alive_), path, options, done = std::move(done)]() mutable {
        if (alive.expired()) return;
        auto result = open(path, options);
        if (disk_.power_lost_) return;
        executor_.post(
            [&disk = disk_, epoch = epoch_, done = std::move(done), result = std::move(result)]() mutable {
              if (epoch == disk.epoch_) done(std::move(result));
            });
      });
}

void SimFileSystem::async_rename(const std::string& from, const std::string& to, io::Completion done) {
  async(
      disk_.latencies_.names, [this, from, to] { return rename(from, to); }, std::move(done));
}

void SimFileSystem::async_remove(const std::string& path, io::Completion done) {
  async(
      disk_.latencies_.names, [this, path] { return remove(path); }, std::move(done));
}

void SimFileSystem::async_sync_dir(const std::string& path, io::Completion done) {
  if (!check_alive()) return;
  // What it covers is settled when it is submitted.
  const NodePtr dir = disk_.tree_.find(path);
  const uint64_t moment = disk_.tree_.moment();
  disk_.after_latency(
      disk_.latencies_.sync, true,
      [this, alive = std::weak_ptr<int>(alive_), path, dir, moment, done = std::move(done)]() mutable {
        if (alive.expired()) return;
        Result<> result;
        if (!dir || !dir->directory) {
          result = errno_error("fsync", path, dir ? ENOTDIR : ENOENT);
        } else if (result = disk_.gate(kSyncDir, path); !result) {
          if (disk_.power_lost_) return;
          disk_.tree_.sync_names_failed(dir, moment, disk_.prng_);
        } else {
          disk_.tree_.sync_names(dir, moment);
          ++disk_.syncs_done_;
        }
        finish(std::move(done), std::move(result));
      });
}

}  // namespace quoin::sim
