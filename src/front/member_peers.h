// What other members ask of this one over HTTP (httpapi/peer_pages.h).
//
// Threads: any; the work is handed over through `port` and answered on its loop, which is that of the peers where they
// have one. Nothing waits longer than etcd's request timeout, for whoever asks has given up by then.
// Lifetime: what is given outlives it.
#pragma once
#include <string>

#include "httpapi/peer_pages.h"
#include "io/timer.h"
#include "server/member.h"

namespace quoin::front {

class MemberPeers final : public httpapi::PeerSource {
 public:
  MemberPeers(server::Member& member, server::ClientPort& port, io::TimerService& timers)
      : member_(member), port_(port), timers_(timers) {}
  std::string cluster_id() override { return fmt::format("{:x}", member_.cluster_id().v); }
  std::string members_json() override;
  bool downgrade_enabled() override { return member_.status().downgrade_enabled; }
  void linearizable_read(Done<void> done) override;
  void promote(uint64_t id, std::string token, Done<std::string> done) override;
  void hash_kv(int64_t revision, Done<httpapi::PeerHash> done) override;
  void renew_lease(int64_t id, Done<int64_t> done) override;
  void lease_times(int64_t id, bool keys, Done<httpapi::PeerLease> done) override;

 private:
  template <class Wait>
  void when_token_applied(std::string token, std::shared_ptr<Wait> wait, Task then);
  Result<> admin(std::string_view token);
  server::Member& member_;
  server::ClientPort& port_;
  io::TimerService& timers_;
};

}  // namespace quoin::front
