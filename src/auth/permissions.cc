#include "auth/permissions.h"

#include <algorithm>

#include "wire/message.h"

namespace quoin::auth {
namespace {

using Type = wire::authpb::Permission::Type;

void append_sorted(std::vector<KeyRange> ranges, RangeSet* set) {
  const auto before = [](const KeyRange& a, const KeyRange& b) { return a.begin < b.begin; };
  // Stored in this order, but for data that something else wrote.
  if (!std::is_sorted(ranges.begin(), ranges.end(), before)) std::sort(ranges.begin(), ranges.end(), before);
  for (const KeyRange& r : ranges) set->append(r);
}

}  // namespace

Result<std::shared_ptr<const User>> User::read(std::string_view name, std::string bytes) {
  auto user = std::make_shared<User>();
  user->name = name;
  user->bytes = std::move(bytes);
  if (auto r = wire::decode(user->bytes, &user->record); !r) {
    return make_error(Code::kCorruption, "user record {}: {}", name, r.error().text());
  }
  const auto& roles = user->record.roles;
  // As etcd looks for it: in roles that are sorted.
  user->root = std::binary_search(roles.begin(), roles.end(), kRootRole);
  return std::shared_ptr<const User>(std::move(user));
}

bool User::has_role(std::string_view role) const {
  return std::find(record.roles.begin(), record.roles.end(), role) != record.roles.end();
}

Result<std::shared_ptr<const Role>> Role::make(std::string_view name, std::string bytes) {
  auto role = std::make_shared<Role>();
  role->name = name;
  role->bytes = std::move(bytes);
  if (auto r = wire::decode(role->bytes, &role->record); !r) {
    return make_error(Code::kCorruption, "role record {}: {}", name, r.error().text());
  }
  std::vector<KeyRange> read, write;
  for (const auto& p : role->record.key_permission) {
    const KeyRange range = KeyRange::of(p.key, p.range_end);
    // Another type than these three is stored and shown, and grants nothing.
    if (p.perm_type == Type::kRead || p.perm_type == Type::kReadwrite) read.push_back(range);
    if (p.perm_type == Type::kWrite || p.perm_type == Type::kReadwrite) write.push_back(range);
  }
  append_sorted(std::move(read), &role->read);
  append_sorted(std::move(write), &role->write);
  return std::shared_ptr<const Role>(std::move(role));
}

// ---- publishing ----

void Published::publish(PermissionsRef permissions) {
  const uint64_t serial = permissions->serial;
  {
    const std::lock_guard lock(mutex_);
    newest_.swap(permissions);
  }
  serial_.store(serial, std::memory_order_release);
  // The old value is dropped here, outside the lock.
}

PermissionsRef Published::get() const {
  const std::lock_guard lock(mutex_);
  return newest_;
}

// ---- rights ----

size_t Rights::bytes() const {
  return sizeof(Rights) + roles.size() * sizeof(roles[0]) +
         (read.ranges().size() + write.ranges().size()) * sizeof(KeyRange);
}

std::shared_ptr<const Rights> RightsCache::find(const Permissions& permissions, const User& user) {
  const auto it = entries_.find(user.name);
  if (it == entries_.end()) return nullptr;
  Entry& entry = *it->second;
  if (entry.user.get() != &user || entry.roles_serial != permissions.roles_serial) return nullptr;
  by_use_.splice(by_use_.begin(), by_use_, entry.place);
  return entry.rights;
}

std::shared_ptr<const Rights> RightsCache::stale(std::string_view user) const {
  const auto it = entries_.find(user);
  return it == entries_.end() ? nullptr : it->second->rights;
}

void RightsCache::keep(const Permissions& permissions, std::shared_ptr<const User> user,
                       std::shared_ptr<const Rights> rights) {
  const auto cost = [](const Entry& e) { return sizeof(Entry) + e.user->name.size() + e.rights->bytes(); };
  auto [it, fresh] = entries_.try_emplace(user->name);
  if (fresh) {
    it->second = std::make_unique<Entry>();
  } else {
    bytes_ -= cost(*it->second);
    by_use_.erase(it->second->place);
  }
  Entry& entry = *it->second;
  entry.user = std::move(user);
  entry.roles_serial = permissions.roles_serial;
  entry.rights = std::move(rights);
  by_use_.push_front(entry.user->name);
  entry.place = by_use_.begin();
  bytes_ += cost(entry);
  while (bytes_ > options_.bytes_max && entries_.size() > 1) {
    const auto last = entries_.find(by_use_.back());
    bytes_ -= cost(*last->second);
    by_use_.pop_back();
    entries_.erase(last);
  }
}

Merge::Merge(PermissionsRef permissions, std::shared_ptr<const User> user,
             std::shared_ptr<const Rights> stale)
    : permissions_(std::move(permissions)), user_(std::move(user)), stale_(std::move(stale)) {}

bool Merge::step(size_t budget) {
  if (part_ == Part::kRoles) {
    const auto& names = user_->record.roles;
    for (; next_role_ < names.size() && budget > 0; ++next_role_, --budget) {
      // The role root can be granted without there being one.
      if (const auto* role = permissions_->roles.find_shared(names[next_role_])) {
        merged_->roles.push_back(*role);
      }
    }
    if (next_role_ < names.size()) return false;
    if (stale_ != nullptr && stale_->roles == merged_->roles) {
      result_ = std::move(stale_);
      part_ = Part::kDone;
      return true;
    }
    fill_heap(&Role::read);
    part_ = Part::kRead;
  }
  if (part_ == Part::kRead) {
    if (!merge_some(&Role::read, &merged_->read, budget)) return false;
    fill_heap(&Role::write);
    part_ = Part::kWrite;
  }
  if (part_ == Part::kWrite) {
    if (!merge_some(&Role::write, &merged_->write, budget)) return false;
    result_ = std::move(merged_);
    part_ = Part::kDone;
  }
  return true;
}

void Merge::fill_heap(RangeSet Role::*from) {
  heap_.clear();
  for (uint32_t i = 0; i < merged_->roles.size(); ++i) {
    if (!((*merged_->roles[i]).*from).ranges().empty()) heap_.push_back({i, 0});
  }
  const auto later = [&](const Cursor& a, const Cursor& b) {
    return ((*merged_->roles[a.role]).*from).ranges()[a.next].begin >
           ((*merged_->roles[b.role]).*from).ranges()[b.next].begin;
  };
  std::make_heap(heap_.begin(), heap_.end(), later);
}

bool Merge::merge_some(RangeSet Role::*from, RangeSet* into, size_t& budget) {
  const auto ranges = [&](const Cursor& c) -> const std::vector<KeyRange>& {
    return ((*merged_->roles[c.role]).*from).ranges();
  };
  const auto later = [&](const Cursor& a, const Cursor& b) {
    return ranges(a)[a.next].begin > ranges(b)[b.next].begin;
  };
  while (!heap_.empty() && budget > 0) {
    --budget;
    std::pop_heap(heap_.begin(), heap_.end(), later);
    Cursor& c = heap_.back();
    into->append(ranges(c)[c.next]);
    if (++c.next == ranges(c).size()) {
      heap_.pop_back();
    } else {
      std::push_heap(heap_.begin(), heap_.end(), later);
    }
  }
  return heap_.empty();
}

}  // namespace quoin::auth
