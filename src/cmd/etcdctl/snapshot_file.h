// A saved snapshot on its way to disk: `<path>.part`, readable by its owner only, which takes its name when it is whole
// and durable. However the program ends before that, there is no file under the name itself.
//
// Threads: one; all blocks. Errors: in the words of Go's os package: "open s.db.part: permission denied".
// Source: etcd's client/v3/snapshot/v3_snapshot.go.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace quoin::ctl {

class SnapshotFile {
 public:
  explicit SnapshotFile(std::string path) : path_(std::move(path)), part_(path_ + ".part") {}
  // Removes the part, if it has not been renamed.
  ~SnapshotFile();
  SnapshotFile(const SnapshotFile&) = delete;
  SnapshotFile& operator=(const SnapshotFile&) = delete;

  const std::string& part() const { return part_; }
  uint64_t size() const { return size_; }
  // Each returns why it failed, or nothing.
  std::optional<std::string> open();
  std::optional<std::string> append(std::string_view bytes);
  std::optional<std::string> sync();
  std::optional<std::string> close();
  std::optional<std::string> rename();

 private:
  std::string reason(std::string_view call) const;

  const std::string path_, part_;
  int fd_ = -1;
  bool made_ = false;
  uint64_t size_ = 0;
};

}  // namespace quoin::ctl
