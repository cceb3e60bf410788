#include "auth/checks.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace quoin::auth {

Access::Access(PermissionsRef permissions, std::optional<AuthInfo> info, RightsCache& cache)
    : permissions_(std::move(permissions)), info_(std::move(info)), cache_(&cache) {
  if (!permissions_->enabled || !info_) return;
  if (const auto* user = permissions_->users.find_shared(info_->user)) user_ = *user;
}

bool Access::step(size_t budget) {
  // Who is refused or allowed everything needs no ranges.
  if (rights_ != nullptr || before_keys()) return true;
  if (merge_ == nullptr) {
    rights_ = cache_->find(*permissions_, *user_);
    if (rights_ != nullptr) return true;
    merge_ = std::make_unique<Merge>(permissions_, user_, cache_->stale(user_->name));
  }
  if (!merge_->step(budget)) return false;
  rights_ = merge_->take();
  merge_.reset();
  cache_->keep(*permissions_, user_, rights_);
  return true;
}

std::optional<Result<>> Access::before_keys() const {
  if (!permissions_->enabled) return Result<>();
  if (!info_ || info_->revision == 0) return Result<>(Code::kUserEmpty);
  if (info_->revision < permissions_->revision) return Result<>(Code::kAuthOldRevision);
  if (user_ == nullptr) return Result<>(Code::kPermissionDenied);
  if (user_->root) return Result<>();
  return std::nullopt;
}

Result<> Access::covered(RangeSet Rights::*set, std::string_view key, std::string_view range_end) const {
  if (auto early = before_keys()) return *early;
  CHECK(rights_ != nullptr, "an access is asked before it is ready");
  const RangeSet& ranges = (*rights_).*set;
  const bool all = range_end.empty() ? ranges.contains(key) : ranges.covers(KeyRange::of(key, range_end));
  if (all) return {};
  return Code::kPermissionDenied;
}

Result<> Access::read(std::string_view key, std::string_view range_end) const {
  return covered(&Rights::read, key, range_end);
}

Result<> Access::write(std::string_view key, std::string_view range_end) const {
  return covered(&Rights::write, key, range_end);
}

Result<> Access::admin() const {
  if (!permissions_->enabled) return {};
  if (!info_ || info_->user.empty()) return Code::kUserEmpty;
  if (user_ == nullptr) return Code::kUserNotFound;
  if (!user_->root) return Code::kPermissionDenied;
  return {};
}

Result<> Access::authenticated() const {
  if (permissions_->enabled && !info_) return Code::kUserEmpty;
  return {};
}

Result<> Access::user_get(std::string_view user) const {
  // Without credentials the caller's name is empty, which is no user's name either: the answer is then "not found".
  if (user == (info_ ? std::string_view(info_->user) : std::string_view())) return {};
  return admin();
}

Result<> Access::role_get(std::string_view role) const {
  if (user_ != nullptr && user_->has_role(role)) return {};
  return admin();
}

Result<> Access::still_current_for_read(const Permissions& now) const {
  if (info_ && info_->revision != 0 && info_->revision != now.revision) return Code::kAuthOldRevision;
  return {};
}

Result<> Access::still_current_for_lease(const Permissions& now) const {
  if (permissions_->enabled && permissions_->revision != now.revision) return Code::kAuthOldRevision;
  return {};
}

// ---- requests of many parts ----

void RequestCheck::put(const Put& put) {
  refuse(access_.write(put.key));
  if (put.prev_kv) refuse(access_.read(put.key));
  if (put.lease != 0 && refused_) lease_write(LeaseId(put.lease));
}

void RequestCheck::delete_range(const DeleteRange& erase) {
  refuse(access_.write(erase.key, erase.range_end));
  if (erase.prev_kv) refuse(access_.read(erase.key, erase.range_end));
}

void RequestCheck::txn(const Txn& txn) {
  stack_.push_back({&txn});
}

void RequestCheck::leases_of(std::vector<LeaseId> ids, Question question) {
  lease_question_ = question;
  if (access_.admin()) return;
  // What a request does to its leases happens after the check: a lease named a hundred times in a transaction has
  // the same keys each time.
  for (const LeaseId id : ids) {
    if (ids.size() > 1 || leases_seen_.insert(id).second) lease_queue_.push_back(id);
  }
}

std::optional<Result<>> RequestCheck::step(size_t budget) {
  while (refused_ && budget > 0 && !(stack_.empty() && lease_queue_.empty())) {
    if (!lease_queue_.empty()) {
      next_of_lease(budget);
    } else {
      --budget;
      next_of(stack_.back());
    }
  }
  if (!refused_) return refused_;
  if (stack_.empty() && lease_queue_.empty()) return Result<>();
  return std::nullopt;
}

Result<> RequestCheck::run() {
  while (true) {
    if (auto answer = step()) return *answer;
  }
}

void RequestCheck::next_of_lease(size_t& budget) {
  constexpr size_t kBatch = 256;
  const size_t want = std::min(budget, kBatch);
  const std::vector<std::string> keys = leases_.keys(lease_queue_.back(), lease_from_, want);
  budget -= std::min(budget, std::max<size_t>(keys.size(), 1));
  for (const std::string& key : keys) {
    refuse((access_.*lease_question_)(key, {}));
    if (!refused_) return;
  }
  if (keys.size() < want) {
    lease_queue_.pop_back();
    lease_from_.clear();
  } else {
    lease_from_ = keys.back() + '\0';
  }
}

void RequestCheck::next_of(Frame& frame) {
  if (frame.part == 0) {
    if (frame.next < frame.txn->compare.size()) {
      const auto& compare = frame.txn->compare[frame.next++];
      return refuse(access_.read(compare.key, compare.range_end));
    }
    frame = {frame.txn, 1, 0};
  }
  const auto& branch = frame.part == 1 ? frame.txn->success : frame.txn->failure;
  if (frame.next == branch.size()) {
    if (frame.part == 2) return stack_.pop_back();
    frame = {frame.txn, 2, 0};
    return;
  }
  const wire::etcdserverpb::RequestOp& op = branch[frame.next++];
  if (const auto* range = op.request_range()) {
    refuse(access_.read(range->key, range->range_end));
  } else if (const auto* p = op.request_put()) {
    put(*p);
  } else if (const auto* d = op.request_delete_range()) {
    delete_range(*d);
  } else if (const auto* nested = op.request_txn()) {
    txn(*nested);  // `frame` is gone after this
  }
}

// ---- calls ----

Need need_of_call(std::string_view path) {
  struct Row {
    std::string_view path;
    Need need;
  };
  // Calls that are not here need nothing before apply: keys decide, or the entry is checked when it is applied.
  // MemberAdd asks for an admin itself, once its URLs are valid.
  static constexpr std::array kRows = {
      Row{"/etcdserverpb.KV/Compact", Need::kAdmin},
      Row{"/etcdserverpb.Lease/LeaseGrant", Need::kAuthenticated},
      Row{"/etcdserverpb.Lease/LeaseRevoke", Need::kAuthenticated},
      Row{"/etcdserverpb.Lease/LeaseTimeToLive", Need::kAuthenticated},
      Row{"/etcdserverpb.Lease/LeaseLeases", Need::kAuthenticated},
      Row{"/etcdserverpb.Cluster/MemberRemove", Need::kAdmin},
      Row{"/etcdserverpb.Cluster/MemberUpdate", Need::kAdmin},
      Row{"/etcdserverpb.Cluster/MemberPromote", Need::kAdmin},
      Row{"/etcdserverpb.Cluster/MemberList", Need::kAuthenticated},
      Row{"/etcdserverpb.Maintenance/Status", Need::kAuthenticated},
      Row{"/etcdserverpb.Maintenance/Defragment", Need::kAdmin},
      Row{"/etcdserverpb.Maintenance/Hash", Need::kAdmin},
      Row{"/etcdserverpb.Maintenance/HashKV", Need::kAdmin},
      Row{"/etcdserverpb.Maintenance/Snapshot", Need::kAdmin},
      Row{"/etcdserverpb.Maintenance/MoveLeader", Need::kAdmin},
      Row{"/etcdserverpb.Maintenance/Downgrade", Need::kAdmin},
  };
  for (const Row& row : kRows) {
    if (row.path == path) return row.need;
  }
  return Need::kNothing;
}

bool needs_admin_at_apply(const wire::etcdserverpb::InternalRaftRequest& r) {
  return r.auth_enable || r.auth_disable || r.auth_status || r.auth_user_add || r.auth_user_delete ||
         r.auth_user_change_password || r.auth_user_grant_role || r.auth_user_revoke_role ||
         r.auth_role_add || r.auth_role_grant_permission || r.auth_role_revoke_permission ||
         r.auth_role_delete || r.auth_user_list || r.auth_role_list;
}

Result<> check_need(const Access& access, Need need) {
  switch (need) {
    case Need::kNothing:
      return {};
    case Need::kAuthenticated:
      return access.authenticated();
    case Need::kAdmin:
      return access.admin();
  }
  return {};
}

}  // namespace quoin::auth
