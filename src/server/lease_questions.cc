#include "server/lease_questions.h"

#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include "server/apply_stage.h"

namespace quoin::server {

namespace {

constexpr size_t kLeasesPerTask = 1000;

struct LeaseKeys {
  ApplyStage& apply;
  const LeaseId id;
  LeaseTimes times;
  io::Executor& executor;
  absl::AnyInvocable<void(Result<LeaseTimes>)> done;

  static void step(std::unique_ptr<LeaseKeys> self) {
    Result<LeaseTimes> result = Error(Code::kServerStopped);
    if (!self->apply.stopped()) {
      std::vector<std::string>& keys = self->times.keys;
      const std::string from = keys.empty() ? std::string() : keys.back() + '\0';
      std::vector<std::string> part = self->apply.lessor().keys(self->id, from, kLeasesPerTask);
      std::move(part.begin(), part.end(), std::back_inserter(keys));
      if (part.size() == kLeasesPerTask) {
        ApplyStage& apply = self->apply;
        return apply.strand().post([self = std::move(self)]() mutable { step(std::move(self)); });
      }
      result = std::move(self->times);
    }
    io::Executor& executor = self->executor;
    executor.post(
        [done = std::move(self->done), result = std::move(result)]() mutable { done(std::move(result)); });
  }
};

struct LeaseListing {
  ApplyStage& apply;
  lease::LeaseList list;
  io::Executor& executor;
  absl::AnyInvocable<void(Result<std::vector<LeaseId>>)> done;

  static void step(std::unique_ptr<LeaseListing> self) {
    Result<std::vector<LeaseId>> ids = Error(Code::kServerStopped);
    if (!self->apply.stopped()) {
      if (!self->list.step(kLeasesPerTask)) {
        ApplyStage& apply = self->apply;
        return apply.strand().post([self = std::move(self)]() mutable { step(std::move(self)); });
      }
      ids = self->list.take();
    }
    io::Executor& executor = self->executor;
    executor.post([done = std::move(self->done), ids = std::move(ids)]() mutable { done(std::move(ids)); });
  }
};

struct LeaseCheck {
  LeaseCheck(ApplyStage& stage, LeaseRight right, std::optional<auth::AuthInfo> caller,
             std::vector<LeaseId> ids, io::Executor& to, absl::AnyInvocable<void(Result<uint64_t>)> then)
      : apply(stage),
        access(stage.auth().store().permissions(), std::move(caller), stage.auth().cache()),
        check(access, stage.auth().lease_keys()),
        executor(to),
        done(std::move(then)) {
    if (right == LeaseRight::kRead) {
      check.leases_read(std::move(ids));
    } else {
      for (const LeaseId id : ids) check.lease_write(id);
    }
  }
  ApplyStage& apply;
  auth::Access access;
  auth::RequestCheck check;
  io::Executor& executor;
  absl::AnyInvocable<void(Result<uint64_t>)> done;
  bool ready = false;

  static void step(std::unique_ptr<LeaseCheck> self) {
    Result<uint64_t> result = Error(Code::kServerStopped);
    if (!self->apply.stopped()) {
      std::optional<Result<>> verdict;
      if (!self->ready) {
        self->ready = self->access.step();
      } else {
        verdict = self->check.step();
      }
      if (!verdict) {
        ApplyStage& apply = self->apply;
        return apply.strand().post([self = std::move(self)]() mutable { step(std::move(self)); });
      }
      const auth::Permissions& permissions = self->access.permissions();
      if (*verdict) {
        result = permissions.enabled ? permissions.revision : 0;
      } else {
        result = verdict->error();
      }
    }
    io::Executor& executor = self->executor;
    executor.post(
        [done = std::move(self->done), result = std::move(result)]() mutable { done(std::move(result)); });
  }
};

}  // namespace

void collect_lease_keys(ApplyStage& apply, LeaseId id, LeaseTimes times, io::Executor& executor,
                        absl::AnyInvocable<void(Result<LeaseTimes>)> done) {
  LeaseKeys::step(
      std::unique_ptr<LeaseKeys>(new LeaseKeys{apply, id, std::move(times), executor, std::move(done)}));
}

void list_leases(ApplyStage& apply, io::Executor& executor,
                 absl::AnyInvocable<void(Result<std::vector<LeaseId>>)> done) {
  if (apply.stopped()) {
    return executor.post([done = std::move(done)]() mutable { done(Error(Code::kServerStopped)); });
  }
  LeaseListing::step(std::unique_ptr<LeaseListing>(
      new LeaseListing{apply, lease::LeaseList(apply.lessor()), executor, std::move(done)}));
}

void check_lease_rights(ApplyStage& apply, LeaseRight right, std::optional<auth::AuthInfo> caller,
                        std::vector<LeaseId> leases, io::Executor& executor,
                        absl::AnyInvocable<void(Result<uint64_t>)> done) {
  if (apply.stopped()) {
    return executor.post([done = std::move(done)]() mutable { done(Error(Code::kServerStopped)); });
  }
  LeaseCheck::step(std::make_unique<LeaseCheck>(apply, right, std::move(caller), std::move(leases), executor,
                                                std::move(done)));
}

}  // namespace quoin::server
