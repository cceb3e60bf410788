// Files and names of a simulated disk: for each directory the names that the process sees, the names that are
// durable, and the changes between them.
//
// A change (creation, removal, rename) belongs to a name and has a place in one global order. A rename is one
// unit of two changes. sync makes a prefix of a directory's changes durable; a crash keeps, for each name by
// itself, a prefix of its changes, but never one half of a rename.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/prng.h"
#include "sim/file_data.h"

namespace quoin::sim {

struct Node;
using NodePtr = std::shared_ptr<Node>;

struct NameChange {
  uint64_t seq;
  NodePtr node;  // null: the name is gone
  // The other half of a rename.
  std::weak_ptr<Node> other_dir;
  std::string other_name;
};

// A mapping of a file; told which bytes have changed.
class MappedView {
 public:
  virtual ~MappedView() = default;
  virtual void changed(uint64_t offset, uint64_t bytes) = 0;
};

struct Locks {  // of one node; the values are handle numbers
  std::vector<uint64_t> shared;
  uint64_t exclusive = 0;
  uint64_t ofd = 0;
};

struct Node {
  bool directory = false;
  uint32_t mode = 0;
  // Files.
  FileData data;
  uint64_t reserved_bytes = 0;  // counted against the disk's limit
  Locks locks;
  std::vector<MappedView*> views;
  // Directories. `pending` holds no empty list; a list is ordered by seq.
  std::map<std::string, NodePtr> visible, durable;
  std::map<std::string, std::vector<NameChange>> pending;
};

class Tree {
 public:
  Tree();
  // Components of a path; "/a//b/./c" and "a/b/c" are the same.
  static std::vector<std::string> split(std::string_view path);

  // Null if missing.
  NodePtr find(std::string_view path) const;
  // The directory that holds the last component (null if missing) and that component ("" for the root).
  NodePtr parent(std::string_view path, std::string* name) const;

  void link(const NodePtr& dir, const std::string& name, NodePtr node);
  void unlink(const NodePtr& dir, const std::string& name) { link(dir, name, nullptr); }
  void rename(const NodePtr& from_dir, const std::string& from, const NodePtr& to_dir, const std::string& to);

  // Moment up to which a sync that starts now makes names durable.
  uint64_t moment() const { return next_seq_; }
  void sync_names(const NodePtr& dir, uint64_t moment);
  // As a failed sync_names(): any part of it happened.
  void sync_names_failed(const NodePtr& dir, uint64_t moment, Prng& prng);

  // What a crash now may leave.
  Tree survivor(Prng& prng) const;
  // A tree whose visible image is this one's durable image.
  Tree durable_only() const;

  // "path" of every file and "path/" of every directory, sorted.
  std::vector<std::string> list_visible() const;
  uint64_t reserved_bytes() const;
  const NodePtr& root() const { return root_; }

 private:
  void settle(const NodePtr& dir, const std::string& name, uint64_t moment);
  NodePtr root_;
  uint64_t next_seq_ = 1;
};

}  // namespace quoin::sim
