// Calls that wait until a key of theirs is the oldest under a prefix: Lock and Campaign.
//
// A contest is a small state machine per call:
//   granting    a lease, if the request names none
//   entering    the transaction that creates the key <name>/<lease in hex>, unless it is there already
//   proclaiming the key was there with another value (Campaign)
//   waiting     the youngest of the older keys is searched, and then watched until it is deleted; and again
//   checking    the own key is read once more: it may have gone with its lease (Lock)
// So each contest watches one key, and a hand-over wakes one, which knows nearly always by what those before
// it have found whether it is in front now (elders.h). Keys older than the own one can only disappear, hence
// what this member has applied is enough to see that there are none left: waiting depends on no leader.
//
// A call that ends before it has won gives its key up (InnerKv::release), also if the transaction that
// creates it is still on its way. A key that was there before that transaction is another call's until then.
// Errors while waiting: Lock gives its key up; Campaign keeps its key, hence its place, as in etcd. The error
// is told once the key is gone: the client may ask again with its lease at once, and must not find a key that
// then goes.
//
// Threads: confined to its loop. Bound: about a kilobyte for each call in progress, which its connection
// bounds, and an Elders for each prefix with one that was woken. Source: spec api-semantics 7.
#pragma once
#include <absl/container/flat_hash_map.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "v3rpc/elders.h"
#include "v3rpc/inner_kv.h"

namespace quoin::v3rpc {

class Contests final : public InnerWatch::Owner {
 public:
  struct Won {
    wire::etcdserverpb::ResponseHeader header;
    std::string_view name, key;
    int64_t revision = 0;  // at which the key was created
    LeaseId lease;
  };
  // What tells a Lock from a Campaign.
  struct Kind {
    bool lock;
    void (*answer)(grpc::Call&, const Won&);  // ends the call
  };

  explicit Contests(InnerKv& kv);
  ~Contests() override;

  // `name` and `value` live as long as the call.
  void begin(grpc::Call& call, const Kind& kind, std::string_view name, int64_t lease,
             std::string_view value);
  // The call ended before it was answered; nothing happens if it had no contest.
  void cancelled(const grpc::Call& call);
  size_t size() const { return contests_.size(); }

 private:
  struct Contest;
  void watch_ready(grpc::Call& call) override;
  void enter(grpc::Call& call, Contest& contest);
  void entered(uint64_t call_id, grpc::Call* call, const Result<InnerKv::Written>& written);
  void proclaim(grpc::Call& call, Contest& contest);
  void wait(grpc::Call& call, Contest& contest);
  void decide(grpc::Call& call, Contest& contest);
  void learn(grpc::Call& call, Contest& contest);
  void search(grpc::Call& call, Contest& contest);
  void reached(grpc::Call& call, Contest& contest);
  void watch(grpc::Call& call, std::string_view key, int64_t revision);
  std::unique_ptr<Contest> take_out(uint64_t call_id);
  void check(grpc::Call& call, Contest& contest);
  void won(grpc::Call& call);
  void waiting_failed(grpc::Call& call, const Error& error);
  void give_up(grpc::Call& call, const Error& error);
  void fail(grpc::Call& call, const Error& error);
  Contest& of(const grpc::Call& call);

  InnerKv& kv_;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Contest>> contests_;  // by id of the call
  struct Front {
    std::unique_ptr<Elders> elders;  // once one was woken
    size_t contests = 0;             // that wait or have waited, and are not over
  };
  std::map<std::string, Front, std::less<>> fronts_;  // by prefix
};

}  // namespace quoin::v3rpc
