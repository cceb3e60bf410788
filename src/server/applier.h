// One applied entry's effect on the state machine: a function of the entry, the replicated state and nothing
// else, so that all members reach the same verdict.
//
// The chain, outermost first: CORRUPT alarm, NOSPACE alarm, the caller's rights, quota, the store. The quota refuses nothing here:
// the entry is in the log, and all members apply it, whatever the size of each one's file. Where etcd then
// tells the client "no space" for a write that is there, the outcome here says what happened to the write;
// the alarm is raised either way, and refuses the next one.
//
// Threads: apply strand. Lifetime: everything in Parts outlives the Applier.
// Source: spec raft-and-peers 27, api-semantics 2.1 (7), 2.8.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "backend/backend.h"
#include "base/log.h"
#include "base/metrics.h"
#include "lease/lessor.h"
#include "mvcc/lease_attachments.h"
#include "mvcc/store.h"
#include "server/alarms.h"
#include "server/answers.h"
#include "server/auth_apply.h"
#include "server/config.h"
#include "server/large_request.h"
#include "server/quota.h"
#include "wire/raft_internal.h"

namespace quoin::server {

// Keys on leases, between store and lessor.
class LeaseGlue final : public mvcc::LeaseAttachments, public lease::KeyDeleter {
 public:
  explicit LeaseGlue(lease::Lessor& lessor) : lessor_(lessor) {}
  void set_store(mvcc::Store* store) { store_ = store; }
  void attach(LeaseId lease, std::string_view key) override { lessor_.attach(lease, key); }
  void detach(LeaseId lease, std::string_view key) override { lessor_.detach(lease, key); }
  LeaseId lease_of(std::string_view key) const override { return lessor_.lease_of(key); }
  void delete_keys(std::span<const std::string> keys) override;
  // The error that stopped delete_keys(), if one did since the last call.
  std::optional<Error> take_fault() { return std::exchange(fault_, std::nullopt); }

 private:
  lease::Lessor& lessor_;
  mvcc::Store* store_ = nullptr;
  std::optional<Error> fault_;
};

class Applier {
 public:
  struct Parts {
    const Config& config;
    MemberId self;
    backend::Backend& backend;
    mvcc::Store& store;
    lease::Lessor& lessor;
    LeaseGlue& glue;
    Alarms& alarms;
    AuthApply& auth;
    const Quota& quota;
    log::Logger& log;
    metrics::Registry& metrics;
    // The cluster version is 3.6 or later, or the gate says so: checkpoints are stored.
    std::function<bool()> persist_checkpoints;
  };
  explicit Applier(Parts parts);
  ~Applier();

  // The outcome of a request.
  struct Outcome {
    Answer answer;
    // The answer comes later, by `later`; `answer` is empty.
    bool deferred = false;
    // The database grew past the quota by this request: raise NOSPACE, then answer.
    bool raise_nospace = false;
    // This member's storage failed or the request is none that this version knows, so that the state may hold
    // a part of it: the member must stop and commit nothing of it.
    std::optional<Error> fault;
    // Which header etcd's response has at this moment, for the lines about slow requests.
    enum class Shown : uint8_t { kNoResponse, kNoHeader, kRevision, kFullHeader } shown = Shown::kNoResponse;
  };
  using Later = std::function<void(Answer)>;
  // `wanted`: somebody here waits for the answer; without it answers are not encoded. A deferred answer comes
  // by `later` on the apply strand. A request that is refused leaves the state as if it had not been. `entry`: its
  // index.
  Outcome apply(const wire::etcdserverpb::InternalRaftRequest& request, Index entry, bool wanted,
                Later later);

  // ---- requests that may touch very many keys ----
  // About how many keys it looks at or changes, in the newest state; large values count as more. More than
  // kKeysPerStep is more than a task should do: to be applied by begin_large() and step_large().
  // Where the check of the caller's rights takes more than a step, it is more as well. What is found out about them
  // is kept for the apply() of this request that comes next.
  size_t work_of(const wire::etcdserverpb::InternalRaftRequest& request);
  static bool large(size_t work) { return work > kKeysPerStep; }
  // The request outlives its last step. Between the steps nothing is applied, published or frozen.
  void begin_large(const wire::etcdserverpb::InternalRaftRequest& request, Index entry, bool wanted);
  // At most about kKeysPerStep keys of it. The outcome, with the last step.
  std::optional<Outcome> step_large();
  static constexpr size_t kKeysPerStep = 128;

 private:
  struct Probe;
  using Request = wire::etcdserverpb::InternalRaftRequest;
  size_t keys_of_request(const Request& request, bool wanted = true) const;
  // Makes what applies the request in steps, where it is large itself.
  std::unique_ptr<LargeRequest> large_request(const Request& request, bool wanted);
  // The verdict about the caller of a request that is applied in one go.
  Result<> check(const Request& request);
  Outcome dispatch(const Request& request, Index entry, bool wanted, Later& later);
  std::optional<Error> refused_by_alarm(const Request& request) const;
  // Whether the request is over the quota as the file is now.
  bool over_quota(const Request& request) const;
  // Adds to an outcome what follows from the quota and from faults.
  void conclude(bool over, Outcome* out) const;
  Answer put(const wire::etcdserverpb::PutRequest& r, bool wanted);
  Answer delete_range(const wire::etcdserverpb::DeleteRangeRequest& r, bool wanted);
  Answer txn(const wire::etcdserverpb::TxnRequest& r, bool wanted);
  Answer range(const wire::etcdserverpb::RangeRequest& r, bool wanted);
  Outcome compact(const wire::etcdserverpb::CompactionRequest& r, Later& later);
  Answer lease_grant(const wire::etcdserverpb::LeaseGrantRequest& r);
  Answer lease_revoke(const wire::etcdserverpb::LeaseRevokeRequest& r);
  Answer lease_checkpoint(const wire::etcdserverpb::LeaseCheckpointRequest& r);
  Answer alarm(const wire::etcdserverpb::AlarmRequest& r);

  const Parts p_;
  const std::function<bool(LeaseId)> lease_exists_;
  // The large request being applied; empty otherwise.
  struct Large {
    const Request& request;
    Index entry;
    bool wanted;
    bool over = false;
    std::unique_ptr<AuthApply::Check> check;  // until it is over
    std::unique_ptr<LargeRequest> steps;  // once the caller may; null: nothing of the request itself is large
    std::optional<Outcome> refused;
  };
  std::optional<Large> large_;
  // Of the request that work_of() looked at last.
  struct Checked {
    const Request* request = nullptr;
    Result<> verdict;
  };
  Checked checked_;
  std::unique_ptr<Probe> probe_;
  const std::shared_ptr<int> alive_ = std::make_shared<int>(0);  // for what may come after the end
};

}  // namespace quoin::server
