// What the HTTP endpoints of clients ask the member: health and versions.
//
// Threads: any; a read is confirmed on the loop of `port`. Lifetime: member and port outlive it.
#pragma once
#include "httpapi/health.h"
#include "server/member.h"

namespace quoin::front {

class MemberHealth final : public httpapi::HealthSource {
 public:
  MemberHealth(server::Member& member, server::ClientPort& port) : member_(member), port_(port) {}
  std::vector<httpapi::Alarm> alarms() override;
  bool has_leader() override { return static_cast<bool>(member_.leader()); }
  bool is_learner() override { return member_.learner(); }
  void probe_read(bool serializable, absl::AnyInvocable<void(Result<>)> done) override;
  std::string cluster_version() override { return member_.cluster_version(); }
  std::string storage_version() override { return member_.status().storage_version; }

 private:
  server::Member& member_;
  server::ClientPort& port_;
};

}  // namespace quoin::front
