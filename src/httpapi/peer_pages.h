// What members ask each other over HTTP beside raft's protocol: who the members are, whether a learner may be promoted,
// a hash of the data, the renewal and the times of leases, whether a downgrade is under way.
//
//   GET  /members                    the members as JSON
//   POST /members/promote/<decimal>  the members after the promotion; asked of the leader, who alone knows whether the
//                                    learner has caught up, and passed on to it by others
//   GET  /members/hashkv             with a JSON body {"revision":5}
//   POST /leases, /leases/internal   protobuf both ways; answered by the primary alone
//   GET  /downgrade/enabled          "true" or "false", by a linearizable read
//
// Answers are those of etcd, byte for byte: Go members act on their texts.
//
// Threads: as httpapi.h. Bounds: a request's body, kBodyMax. Source: spec raft-and-peers 25.
#pragma once
#include <absl/functional/any_invocable.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "base/task.h"
#include "httpapi/http.h"

namespace quoin::httpapi {

struct PeerHash {
  int64_t revision = 0;  // of the store now
  uint32_t hash = 0;
  int64_t compact_revision = 0, hash_revision = 0;
};
struct PeerLease {
  int64_t ttl = -1;  // seconds left; -1: no such lease
  int64_t granted_ttl = 0;
  std::vector<std::string> keys;
};

// What the pages ask the member. Each `done` is called once, on any thread.
class PeerSource {
 public:
  template <class T>
  using Done = absl::AnyInvocable<void(Result<T>)>;
  virtual ~PeerSource() = default;
  virtual std::string cluster_id() = 0;  // hex
  // The members as a JSON list.
  virtual std::string members_json() = 0;
  virtual bool downgrade_enabled() = 0;
  virtual void linearizable_read(Done<void> done) = 0;
  // The members afterwards, as a JSON list. `token`: of the caller.
  virtual void promote(uint64_t id, std::string token, Done<std::string> done) = 0;
  virtual void hash_kv(int64_t revision, Done<PeerHash> done) = 0;
  // The granted TTL, kLeaseNotFound, kNotPrimary, kTimeoutWaitAppliedIndex, kServerStopped.
  virtual void renew_lease(int64_t id, Done<int64_t> done) = 0;
  // kNotPrimary, kTimeoutWaitAppliedIndex, kServerStopped.
  virtual void lease_times(int64_t id, bool keys, Done<PeerLease> done) = 0;
};

class PeerPages {
 public:
  static constexpr size_t kBodyMax = 64 << 10;

  // `background`: where an answer is made that takes long (a lease with very many keys).
  PeerPages(PeerSource& source, log::Logger& logger, std::function<void(Task)> background)
      : source_(source), logger_(logger), background_(std::move(background)) {}

  // True if the path is one of these; then the reply is or will be called.
  bool serve(const Request& request, Reply& reply);

 private:
  void members(const Request& request, Reply reply);
  void promote(const Request& request, Reply reply);
  void hash_kv(const Request& request, Reply reply);
  void renew_lease(const Request& request, Reply reply);
  void lease_times(const Request& request, Reply reply);
  void downgrade_enabled(const Request& request, Reply reply);

  PeerSource& source_;
  log::Logger& logger_;
  const std::function<void(Task)> background_;
};

}  // namespace quoin::httpapi
