#include "front/member_peers.h"

#include <memory>
#include <utility>

#include "auth/common_name.h"
#include "membership/member.h"
#include "server/admin.h"
#include "server/logins.h"

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
    std::unique_ptr<io::Timer> timeout, look;
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
    Task promote = [this, id, call, token, wait] {
      if (Result<> allowed = admin(token); !allowed) return wait->finish(allowed.error());
      member_.admin().promote(call, MemberId(id), token, port_.loop(),
                              [wait](Result<std::vector<membership::Member>> members) {
                                if (!members) return wait->finish(members.error());
                                wait->finish(membership::members_json(*members));
                              });
    };
    when_token_applied(std::move(token), wait, std::move(promote));
  });
}

// The member that asks may be ahead of this one.
template <class Wait>
void MemberPeers::when_token_applied(std::string token, std::shared_ptr<Wait> wait, Task then) {
  constexpr int64_t kLookNs = 5 * io::kMillisecond;
  const auto index = member_.logins().index_of(auth::token_of(token, {}).value_or(""));
  if (!index || *index <= member_.applied()) return std::move(then)();
  if (!wait->done) return;  // too late
  Wait& w = *wait;
  w.look = timers_.schedule(
      kLookNs, port_.loop(),
      [this, token = std::move(token), wait = std::move(wait), then = std::move(then)]() mutable {
        const auto timer = std::move(wait->look);
        when_token_applied(std::move(token), std::move(wait), std::move(then));
      });
}

// As MemberPromote asks of its caller. `token` as the other member got it, empty if it got none.
Result<> MemberPeers::admin(std::string_view token) {
  const auth::PermissionsRef now = member_.logins().published().get();
  if (!now->enabled) return {};
  std::optional<auth::AuthInfo> caller;
  if (!token.empty()) {
    caller = member_.logins().whose(*auth::token_of(token, {}), *now);
    if (!caller) return Code::kInvalidAuthToken;
  }
  auth::RightsCache unused;
  return auth::Access(now, std::move(caller), unused).admin();
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
