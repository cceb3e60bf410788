// The auth state of one moment as an immutable value: whether auth is on, its revision, every user and role.
//
// The store (store.h) makes a new one with every change and publishes it; readers on other threads take the
// newest and decide by it whether a request is allowed (checks.h), without asking the apply strand. Two values
// share all users and roles that are the same in both.
//
// Rights are the keys a user may read and write: the union of its roles' permissions. They are merged when a
// user is first asked about, in steps, and kept in a RightsCache of the thread that asked. A later value finds
// them again without merging unless the user or a role of it changed.
//
// Threads: Permissions, User, Role and Rights never change once published. Published: publish() on the apply
// strand, the rest on any thread. RightsCache and Merge are confined to one thread.
// Bounds: RightsCache::Options::bytes_max a cache; the rights that were unused longest are dropped, and merged
// again when they are next needed. A role's own ranges are built with the role: linear in its record, which
// every change of the role writes as a whole anyway.
// Source: spec api-semantics 6.1, 6.4; etcd's range_perm_cache.go for what is merged.
#pragma once
#include <absl/container/flat_hash_map.h>

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "auth/name_map.h"
#include "auth/range_set.h"
#include "base/result.h"
#include "wire/auth.h"

namespace quoin::auth {

constexpr std::string_view kRootUser = "root";
constexpr std::string_view kRootRole = "root";

// A user as stored.
struct User {
  std::string name;   // its key in the bucket
  std::string bytes;  // the encoded record; the views below lie in it
  wire::authpb::User record;
  bool root = false;  // has the role root

  // kCorruption if the record cannot be read.
  static Result<std::shared_ptr<const User>> read(std::string_view name, std::string bytes);
  bool has_role(std::string_view role) const;
  bool no_password() const { return record.options.has_value() && record.options->no_password; }
};

// A role as stored, and what its permissions come to.
struct Role {
  std::string name;
  std::string bytes;
  wire::authpb::Role record;
  RangeSet read, write;

  // kCorruption if the record cannot be read.
  static Result<std::shared_ptr<const Role>> make(std::string_view name, std::string bytes);
};

struct Permissions {
  bool enabled = false;
  uint64_t revision = 0;
  // Grows with every published value; two values with the same serial are the same. `roles_serial` is the one
  // at which a role was last changed.
  uint64_t serial = 0;
  uint64_t roles_serial = 0;
  NameMap<User> users;
  NameMap<Role> roles;
};
using PermissionsRef = std::shared_ptr<const Permissions>;

// Where the newest value is found.
class Published {
 public:
  Published() : newest_(std::make_shared<const Permissions>()) {}
  void publish(PermissionsRef permissions);
  PermissionsRef get() const;
  // Cheaper than get(): whether a value that is at hand is still the newest.
  uint64_t serial() const { return serial_.load(std::memory_order_acquire); }

 private:
  mutable std::mutex mutex_;
  PermissionsRef newest_;
  std::atomic<uint64_t> serial_{0};
};

// What one user may read and write.
struct Rights {
  std::vector<std::shared_ptr<const Role>> roles;  // own the bytes of the ranges
  RangeSet read, write;
  size_t bytes() const;
};

class RightsCache {
 public:
  struct Options {
    size_t bytes_max = 32u << 20;
  };
  RightsCache() : RightsCache(Options()) {}
  explicit RightsCache(const Options& options) : options_(options) {}
  RightsCache(const RightsCache&) = delete;
  RightsCache& operator=(const RightsCache&) = delete;

  // Null: they have to be merged first (Merge).
  std::shared_ptr<const Rights> find(const Permissions& permissions, const User& user);
  void keep(const Permissions& permissions, std::shared_ptr<const User> user,
            std::shared_ptr<const Rights> rights);
  // The rights last known of the user, right or not; null if there are none.
  std::shared_ptr<const Rights> stale(std::string_view user) const;
  size_t bytes() const { return bytes_; }
  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::shared_ptr<const User> user;
    uint64_t roles_serial = 0;
    std::shared_ptr<const Rights> rights;
    std::list<std::string_view>::iterator place;
  };
  const Options options_;
  absl::flat_hash_map<std::string, std::unique_ptr<Entry>, NameHash, std::equal_to<>> entries_;
  std::list<std::string_view> by_use_;  // the one used last in front
  size_t bytes_ = 0;
};

// Merges the rights of one user, in steps.
class Merge {
 public:
  // `stale`: rights the user had before, taken over if its roles turn out to be the same ones.
  Merge(PermissionsRef permissions, std::shared_ptr<const User> user, std::shared_ptr<const Rights> stale);
  // Looks at about `ranges_max` roles and ranges. True when it is done.
  bool step(size_t ranges_max);
  std::shared_ptr<const Rights> take() { return std::move(result_); }

 private:
  struct Cursor {
    uint32_t role;
    uint32_t next;
  };
  // True when nothing is left.
  bool merge_some(RangeSet Role::*from, RangeSet* into, size_t& budget);
  void fill_heap(RangeSet Role::*from);

  PermissionsRef permissions_;
  std::shared_ptr<const User> user_;
  std::shared_ptr<const Rights> stale_;
  size_t next_role_ = 0;
  enum class Part : uint8_t { kRoles, kRead, kWrite, kDone } part_ = Part::kRoles;
  std::shared_ptr<Rights> merged_ = std::make_shared<Rights>();
  std::vector<Cursor> heap_;  // the smallest begin on top
  std::shared_ptr<const Rights> result_;
};

}  // namespace quoin::auth
