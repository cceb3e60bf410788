#include "sim/tree.h"

#include <algorithm>
#include <functional>
#include <set>

#include "base/check.h"

namespace quoin::sim {

Tree::Tree() : root_(std::make_shared<Node>()) {
  root_->directory = true;
  root_->mode = 0755;
}

std::vector<std::string> Tree::split(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, slash);
    if (!part.empty() && part != ".") parts.emplace_back(part);
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return parts;
}

NodePtr Tree::find(std::string_view path) const {
  NodePtr node = root_;
  for (const std::string& part : split(path)) {
    if (!node->directory) return nullptr;
    auto it = node->visible.find(part);
    if (it == node->visible.end()) return nullptr;
    node = it->second;
  }
  return node;
}

NodePtr Tree::parent(std::string_view path, std::string* name) const {
  auto parts = split(path);
  name->clear();
  if (parts.empty()) return root_;
  *name = parts.back();
  NodePtr node = root_;
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    auto it = node->visible.find(parts[i]);
    if (it == node->visible.end() || !it->second->directory) return nullptr;
    node = it->second;
  }
  return node;
}

void Tree::link(const NodePtr& dir, const std::string& name, NodePtr node) {
  dir->pending[name].push_back({next_seq_++, node, {}, {}});
  if (node) {
    dir->visible[name] = std::move(node);
  } else {
    dir->visible.erase(name);
  }
}

void Tree::rename(const NodePtr& from_dir, const std::string& from, const NodePtr& to_dir,
                  const std::string& to) {
  if (from_dir == to_dir && from == to) return;
  NodePtr node = from_dir->visible.at(from);
  const uint64_t seq = next_seq_++;
  to_dir->pending[to].push_back({seq, node, from_dir, from});
  from_dir->pending[from].push_back({seq, nullptr, to_dir, to});
  from_dir->visible.erase(from);
  to_dir->visible[to] = std::move(node);
}

// Makes the changes of one name before `moment` durable, and the other halves of its renames with all that
// came before them.
void Tree::settle(const NodePtr& dir, const std::string& name, uint64_t moment) {
  auto it = dir->pending.find(name);
  if (it == dir->pending.end() || it->second.front().seq >= moment) return;
  auto& list = it->second;
  const auto end =
      std::find_if(list.begin(), list.end(), [&](const NameChange& c) { return c.seq >= moment; });
  std::vector<NameChange> done(std::make_move_iterator(list.begin()), std::make_move_iterator(end));
  list.erase(list.begin(), end);
  if (list.empty()) dir->pending.erase(it);
  if (done.back().node) {
    dir->durable[name] = done.back().node;
  } else {
    dir->durable.erase(name);
  }
  for (const NameChange& change : done) {
    if (NodePtr other = change.other_dir.lock()) settle(other, change.other_name, change.seq + 1);
  }
}

void Tree::sync_names(const NodePtr& dir, uint64_t moment) {
  std::vector<std::string> names;
  for (const auto& [name, list] : dir->pending) names.push_back(name);
  for (const std::string& name : names) settle(dir, name, moment);
}

void Tree::sync_names_failed(const NodePtr& dir, uint64_t moment, Prng& prng) {
  std::vector<std::string> names;
  for (const auto& [name, list] : dir->pending) names.push_back(name);
  for (const std::string& name : names) {
    if (prng.chance(1, 2)) settle(dir, name, moment);
  }
}

namespace {

// How many changes of each name a crash keeps.
using Cuts = std::map<std::pair<const Node*, std::string>, size_t>;

// Every directory that a durable or pending name leads to, in an order that depends on names alone.
std::vector<const Node*> all_dirs(const Node* root) {
  std::vector<const Node*> dirs;
  std::set<const Node*> seen;  // membership only; the order is that of `dirs`
  std::function<void(const Node*)> visit = [&](const Node* node) {
    if (!node->directory || !seen.insert(node).second) return;
    dirs.push_back(node);
    for (const auto& [name, child] : node->durable) visit(child.get());
    for (const auto& [name, list] : node->pending) {
      for (const NameChange& change : list) {
        if (change.node) visit(change.node.get());
      }
    }
  };
  visit(root);
  return dirs;
}

Cuts draw_cuts(const std::vector<const Node*>& dirs, Prng& prng) {
  Cuts cuts;
  // Now and then all or nothing, which independent draws over many names would hardly ever give.
  const uint64_t mode = prng.below(4);
  for (const Node* dir : dirs) {
    for (const auto& [name, list] : dir->pending) {
      cuts[{dir, name}] = mode == 0 ? 0 : mode == 1 ? list.size() : prng.between(0, list.size());
    }
  }
  // A rename survives with both halves or not at all: lower cuts until that holds.
  for (bool changed = true; changed;) {
    changed = false;
    for (const Node* dir : dirs) {
      for (const auto& [name, list] : dir->pending) {
        size_t& cut = cuts[{dir, name}];
        for (size_t i = 0; i < cut; ++i) {
          const NodePtr other = list[i].other_dir.lock();
          if (!other) continue;
          auto other_list = other->pending.find(list[i].other_name);
          if (other_list == other->pending.end()) continue;  // durable already
          auto other_cut = cuts.find({other.get(), list[i].other_name});
          if (other_cut == cuts.end()) continue;  // in a directory that no surviving name leads to
          const auto& changes = other_list->second;
          const uint64_t seq = list[i].seq;
          const auto half =
              std::find_if(changes.begin(), changes.end(), [&](const NameChange& c) { return c.seq == seq; });
          if (half == changes.end()) continue;
          if (other_cut->second > static_cast<size_t>(half - changes.begin())) continue;
          cut = i;
          changed = true;
          break;
        }
      }
    }
  }
  return cuts;
}

struct Copier {
  const Cuts& cuts;
  Prng* prng;  // null: the durable image alone
  std::map<const Node*, NodePtr> files;

  NodePtr copy(const Node* node) {
    if (!node->directory) {
      if (auto it = files.find(node); it != files.end()) return it->second;
    }
    auto out = std::make_shared<Node>();
    out->directory = node->directory;
    out->mode = node->mode;
    if (!node->directory) {
      out->data = prng ? *node->data.survivor(*prng) : *node->data.durable_twin();
      out->reserved_bytes = std::min(node->reserved_bytes, out->data.size());
      files[node] = out;
      return out;
    }
    std::map<std::string, const Node*> names;
    for (const auto& [name, child] : node->durable) names[name] = child.get();
    for (const auto& [name, list] : node->pending) {
      auto it = cuts.find({node, name});
      const size_t cut = it == cuts.end() ? 0 : it->second;
      if (cut == 0) continue;
      if (const NodePtr& child = list[cut - 1].node) {
        names[name] = child.get();
      } else {
        names.erase(name);
      }
    }
    for (const auto& [name, child] : names) out->durable[name] = copy(child);
    out->visible = out->durable;
    return out;
  }
};

void list_below(const Node& dir, const std::string& prefix, std::vector<std::string>* out) {
  for (const auto& [name, child] : dir.visible) {
    out->push_back(prefix + name + (child->directory ? "/" : ""));
    if (child->directory) list_below(*child, prefix + name + "/", out);
  }
}

uint64_t reserved_below(const Node& dir) {
  uint64_t sum = 0;
  for (const auto& [name, child] : dir.visible) {
    sum += child->directory ? reserved_below(*child) : child->reserved_bytes;
  }
  return sum;
}

}  // namespace

Tree Tree::survivor(Prng& prng) const {
  const Cuts cuts = draw_cuts(all_dirs(root_.get()), prng);
  Copier copier{cuts, &prng, {}};
  Tree out;
  out.root_ = copier.copy(root_.get());
  return out;
}

Tree Tree::durable_only() const {
  const Cuts cuts;
  Copier copier{cuts, nullptr, {}};
  Tree out;
  out.root_ = copier.copy(root_.get());
  return out;
}

std::vector<std::string> Tree::list_visible() const {
  std::vector<std::string> out;
  list_below(*root_, "/", &out);
  std::sort(out.begin(), out.end());
  return out;
}

uint64_t Tree::reserved_bytes() const {
  return reserved_below(*root_);
}

}  // namespace quoin::sim
