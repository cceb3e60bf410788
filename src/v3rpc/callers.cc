#include "v3rpc/callers.h"

#include "auth/common_name.h"
#include "v3rpc/gate.h"

namespace quoin::v3rpc {

namespace {
// No lease is looked at by a Range or a transaction that only reads.
class NoLeases final : public auth::LeaseKeys {
 public:
  std::vector<std::string> keys(LeaseId, std::string_view, size_t) const override { return {}; }
};
}  // namespace

Callers::Callers(Loop& loop)
    : loop_(loop), logins_(loop.member.logins()), permissions_(logins_.published().get()) {}

const auth::PermissionsRef& Callers::permissions() {
  if (logins_.published().serial() != permissions_->serial) [[unlikely]]
    permissions_ = logins_.published().get();
  return permissions_;
}

// ---- who ----

std::optional<std::string_view> Callers::token_of(const grpc::Call& call) const {
  return auth::token_of(call.metadata(auth::kTokenKey), call.metadata(auth::kAuthorizationKey));
}

std::optional<Result<Who>> Callers::who(const grpc::Call& call) {
  const auth::Permissions& now = *permissions();
  if (now.enabled) {
    if (const auto token = token_of(call)) {
      const auto index = logins_.index_of(*token);
      if (index && *index > loop_.member.applied()) return std::nullopt;
      return by_token(*token);
    }
  }
  if (!logins_.client_cert_auth()) return Result<Who>(Who());
  return Result<Who>(
      auth::common_name_info(now, call.tls_common_name(), call.metadata(auth::kGatewayKey).has_value()));
}

Result<Who> Callers::by_token(std::string_view token) {
  auto info = logins_.whose(token, *permissions());
  if (!info) return Error(Code::kInvalidAuthToken);
  return Who(std::move(*info));
}

void Callers::when_known(grpc::Call& call, OnKnown f) {
  if (auto known = who(call)) return f(call, std::move(*known));
  wait_for(*logins_.index_of(*token_of(call)), call, std::move(f));
}

void Callers::wait_for(Index index, grpc::Call& call, OnKnown f) {
  waiting_.emplace(Place(index, next_place_++), Waiting{CallRef(call), std::move(f)});
  if (!timer_) timer_ = loop_.timers.schedule(kLookNs, loop_.port.loop(), [this] { look(); });
}

void Callers::look() {
  const auto timer = std::move(timer_);  // holds this task
  const Index applied = loop_.member.applied();
  for (size_t n = 0; n < kDuePerLook && !waiting_.empty() && waiting_.begin()->first.first <= applied; ++n) {
    Waiting due = std::move(waiting_.extract(waiting_.begin()).mapped());
    due.call.with([&](grpc::Call& call) {
      // Auth may be off by now.
      auto known = who(call);
      due.then(call, known ? std::move(*known) : Result<Who>(Code::kInvalidAuthToken));
    });
  }
  auto it = waiting_.lower_bound(swept_);
  for (size_t n = 0; n < kSweptPerLook && it != waiting_.end(); ++n) {
    it = it->second.call.ended() ? waiting_.erase(it) : std::next(it);
  }
  swept_ = it == waiting_.end() ? Place() : it->first;
  if (waiting_.empty() || timer_) return;
  const bool more = waiting_.begin()->first.first <= applied;
  timer_ = loop_.timers.schedule(more ? 0 : kLookNs, loop_.port.loop(), [this] { look(); });
}

// ---- what they may ----

void Callers::when_admitted(grpc::Call& call, auth::Need need, OnAdmitted f) {
  if (need == auth::Need::kNothing || !enabled()) return f(call);
  when_known(call, [this, need, f = std::move(f)](grpc::Call& c, Result<Who> who) mutable {
    if (!who) return c.fail(who.error());
    const auth::Access access(permissions(), std::move(*who), rights_);
    if (Result<> ok = auth::check_need(access, need); !ok) return c.fail(ok.error());
    f(c);
  });
}

void Callers::with_access(grpc::Call& call, OnAccess f) {
  when_known(call, [this, f = std::move(f)](grpc::Call& c, Result<Who> who) mutable {
    if (!who) return f(c, who.error());
    auto access = std::make_shared<auth::Access>(permissions(), std::move(*who), rights_);
    if (access->step()) return f(c, std::move(access));
    merge(CallRef(c), std::move(access), std::move(f));
  });
}

void Callers::merge(const CallRef& call, AccessRef access, OnAccess f) {
  loop_.turns->add([this, call, access = std::move(access), f = std::move(f)]() mutable {
    if (call.ended()) return;
    if (!access->step()) return merge(call, std::move(access), std::move(f));
    call.with([&](grpc::Call& c) { f(c, std::move(access)); });
  });
}

namespace {
struct TxnCheck {
  AccessRef access;
  NoLeases leases;
  auth::RequestCheck check;
  TxnCheck(AccessRef a, const wire::etcdserverpb::TxnRequest& txn)
      : access(std::move(a)), check(*access, leases) {
    check.txn(txn);
  }
  static void step(Loop& loop, const CallRef& call, std::unique_ptr<TxnCheck> self, Callers::OnAccess f) {
    if (const auto verdict = self->check.step()) {
      return call.with([&](grpc::Call& c) {
        if (!*verdict) return f(c, verdict->error());
        f(c, std::move(self->access));
      });
    }
    loop.turns->add([&loop, call, self = std::move(self), f = std::move(f)]() mutable {
      if (!call.ended()) step(loop, call, std::move(self), std::move(f));
    });
  }
};
}  // namespace

void Callers::with_txn_access(grpc::Call& call, const wire::etcdserverpb::TxnRequest& txn, OnAccess f) {
  with_access(call, [this, &txn, f = std::move(f)](grpc::Call& c, Result<AccessRef> access) mutable {
    if (!access) return f(c, access.error());
    TxnCheck::step(loop_, CallRef(c), std::make_unique<TxnCheck>(std::move(*access), txn), std::move(f));
  });
}

}  // namespace quoin::v3rpc
