#include "front/member_peers.h"

#include <memory>
#include <utility>

#include "membership/member.h"
#include "server/admin.h"

namespace quoin::front {

std::string MemberPeers::members_json() {
  return membership::members_json(member_.members());
}

void MemberPeers::linearizable_read(Done<void> done) {
  port_.loop().post([this, done = std::move(done)]() mutable { port_.read_index(std::move(done)); });
}

void MemberPeers::promote(uint64_t id, std::string token, Done<std::string> done) {
  struct Wait {
    Done<std::string> done;
    std::unique_ptr<io::Timer> timeout;
    void finish(Result<std::string> r) {
      timeout.reset();
      if (done) std::exchange(done, nullptr)(std::move(r));
    }
  };
  port_.loop().post([this, id, token = std::move(token), done = std::move(done)]() mutable {
    const uint64_t call = member_.next_id();
    auto wait = std::make_shared<Wait>(Wait{std::move(done), nullptr});
    wait->timeout = timers_.schedule(member_.config().request_timeout_ns(), port_.loop(), [this, call, wait] {
      // The timer holds this task.
      const auto timer = std::move(wait->timeout);
      port_.give_up(call);
      wait->finish(Error(Code::kTimeout));
    });
    member_.admin().promote(call, MemberId(id), std::move(token), port_.loop(),
                            [wait](Result<std::vector<membership::Member>> members) {
                              if (!members) return wait->finish(members.error());
                              wait->finish(membership::members_json(*members));
                            });
  });
}

void MemberPeers::hash_kv(int64_t revision, Done<httpapi::PeerHash> done) {
  member_.hash_kv(revision, port_.loop(), [done = std::move(done)](Result<server::Member::HashKv> h) mutable {
    if (!h) return done(h.error());
    done(httpapi::PeerHash{h->revision, h->hash, h->compact_revision, h->hash_revision});
  });
}

void MemberPeers::renew_lease(int64_t id, Done<int64_t> done) {
  member_.renew_here(LeaseId(id), port_.loop(), std::move(done));
}

void MemberPeers::lease_times(int64_t id, bool keys, Done<httpapi::PeerLease> done) {
  member_.lease_times_here(LeaseId(id), keys, port_.loop(),
                           [done = std::move(done)](Result<server::LeaseTimes> t) mutable {
                             if (!t) return done(t.error());
                             done(httpapi::PeerLease{t->ttl, t->granted_ttl, std::move(t->keys)});
                           });
}

}  // namespace quoin::front
