// A map from names to shared immutable values, whose copies share what they have in common: changing a copy of a
// map of a million names touches some twenty nodes, and whoever reads the old copy sees nothing of it.
//
// A treap: a search tree by name that is at the same time a heap by a hash of the name. Its depth is logarithmic
// whatever the order of insertion, so the recursions here are shallow.
//
// Threads: a NameMap is a value. Nodes are immutable; copies may be read and dropped on different threads.
// Lifetime: a pointer from find() lives as long as any copy of the map that holds it.
// V has a field `name` (std::string), its key.
#pragma once
#include <absl/hash/hash.h>
#include <absl/strings/string_view.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

namespace quoin::auth {

// For hash tables that are asked by view. Seeded per process: clients choose the names.
struct NameHash {
  using is_transparent = void;
  size_t operator()(std::string_view name) const {
    return absl::Hash<absl::string_view>()(absl::string_view(name.data(), name.size()));
  }
};

template <class V>
class NameMap {
 public:
  using Value = std::shared_ptr<const V>;

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Null if there is no such name.
  const Value* find_shared(std::string_view name) const {
    for (const Node* n = root_.get(); n != nullptr;) {
      const int c = name.compare(n->value->name);
      if (c == 0) return &n->value;
      n = c < 0 ? n->left.get() : n->right.get();
    }
    return nullptr;
  }
  const V* find(std::string_view name) const {
    const Value* v = find_shared(name);
    return v == nullptr ? nullptr : v->get();
  }

  // Adds the value, or replaces the one of the same name.
  void put(Value value) {
    if (find_shared(value->name) == nullptr) ++size_;
    const uint64_t priority = priority_of(value->name);
    root_ = put_below(root_, std::move(value), priority);
  }
  // Nothing happens if there is no such name.
  void erase(std::string_view name) {
    if (find_shared(name) == nullptr) return;
    --size_;
    root_ = erase_below(root_, name);
  }

  // Calls visit(const Value&) for the names from `from` on, ascending by bytes, until it returns false. What `from`
  // views may change within a visit: whoever goes on from the last name it saw keeps that name there.
  template <class Visit>
  void scan(std::string_view from, Visit&& visit) const {
    const std::string first(from);
    scan_below(root_.get(), first, visit);
  }

 private:
  struct Node;
  using Link = std::shared_ptr<const Node>;
  struct Node {
    Value value;
    uint64_t priority;
    Link left, right;
  };

  static uint64_t priority_of(std::string_view name) { return NameHash()(name); }
  static Link make(Value value, uint64_t priority, Link left, Link right) {
    return std::make_shared<const Node>(Node{std::move(value), priority, std::move(left), std::move(right)});
  }
  static Link put_below(const Link& at, Value value, uint64_t priority) {
    if (at == nullptr) return make(std::move(value), priority, nullptr, nullptr);
    const int c = std::string_view(value->name).compare(at->value->name);
    if (c == 0) return make(std::move(value), at->priority, at->left, at->right);
    if (c < 0) {
      Link l = put_below(at->left, std::move(value), priority);
      if (l->priority <= at->priority) return make(at->value, at->priority, std::move(l), at->right);
      return make(l->value, l->priority, l->left, make(at->value, at->priority, l->right, at->right));
    }
    Link r = put_below(at->right, std::move(value), priority);
    if (r->priority <= at->priority) return make(at->value, at->priority, at->left, std::move(r));
    return make(r->value, r->priority, make(at->value, at->priority, at->left, r->left), r->right);
  }
  static Link erase_below(const Link& at, std::string_view name) {
    const int c = name.compare(at->value->name);
    if (c == 0) return join(at->left, at->right);
    if (c < 0) return make(at->value, at->priority, erase_below(at->left, name), at->right);
    return make(at->value, at->priority, at->left, erase_below(at->right, name));
  }
  // Every name of `l` comes before every name of `r`.
  static Link join(const Link& l, const Link& r) {
    if (l == nullptr) return r;
    if (r == nullptr) return l;
    if (l->priority > r->priority) return make(l->value, l->priority, l->left, join(l->right, r));
    return make(r->value, r->priority, join(l, r->left), r->right);
  }
  template <class Visit>
  static bool scan_below(const Node* at, std::string_view from, Visit&& visit) {
    if (at == nullptr) return true;
    const bool within = std::string_view(at->value->name) >= from;
    if (within && !scan_below(at->left.get(), from, visit)) return false;
    if (within && !visit(at->value)) return false;
    return scan_below(at->right.get(), from, visit);
  }

  Link root_;
  size_t size_ = 0;
};

}  // namespace quoin::auth
