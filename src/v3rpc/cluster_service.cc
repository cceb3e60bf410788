#include "v3rpc/cluster_service.h"

#include <string>
#include <utility>
#include <vector>

#include "membership/bootstrap.h"
#include "server/admin.h"

namespace quoin::v3rpc {

namespace pb = wire::etcdserverpb;

namespace {

using K = membership::ChangeKind;

template <class Strings>
std::vector<std::string> copied(const Strings& views) {
  return {views.begin(), views.end()};
}

// `to` views what `member` holds.
void show(const membership::Member& member, pb::Member& to) {
  to.id = member.id.v;
  to.name = member.name;
  to.peer_urls.assign(member.peer_urls.begin(), member.peer_urls.end());
  to.client_urls.assign(member.client_urls.begin(), member.client_urls.end());
  to.is_learner = member.is_learner;
}

// With a header that names no revision, as etcd's of this service.
template <class Response>
void respond_members(grpc::Call& call, const server::Member& self, Response& r,
                     const std::vector<membership::Member>& members) {
  for (const membership::Member& m : members) show(m, r.members.emplace_back());
  respond(call, self, 0, r);
}

}  // namespace

struct ClusterService::Handlers {
  Unary add, remove, update, promote, list;
};

ClusterService::ClusterService(Loop& loop, Gate& gate, grpc::MethodTable& methods) : loop_(loop) {
  using Method = void (ClusterService::*)(grpc::Call&, std::string_view);
  auto unary = [&](Method m) {
    return Unary(gate, false, [this, m](grpc::Call& c, std::string_view r) { (this->*m)(c, r); });
  };
  handlers_.reset(new Handlers{unary(&ClusterService::add), unary(&ClusterService::remove),
                               unary(&ClusterService::update), unary(&ClusterService::promote),
                               unary(&ClusterService::list)});
  constexpr std::string_view kService = "etcdserverpb.Cluster";
  methods.add_unary(kService, "MemberAdd", handlers_->add);
  methods.add_unary(kService, "MemberRemove", handlers_->remove);
  methods.add_unary(kService, "MemberUpdate", handlers_->update);
  methods.add_unary(kService, "MemberPromote", handlers_->promote);
  methods.add_unary(kService, "MemberList", handlers_->list);
}

ClusterService::~ClusterService() = default;

template <class Response, class Fill>
void ClusterService::change(grpc::Call& call, membership::Change change, Fill fill) {
  const uint64_t id = loop_.member.next_id();
  call.context = id;  // given up when the client goes (Gate::cancelled)
  loop_.member.admin().change(
      id, std::move(change), loop_.port.loop(),
      CallRef(call).then(
          [this, fill = std::move(fill)](grpc::Call& c, Result<std::vector<membership::Member>> members) {
            if (!members) return c.fail(members.error());
            Response r;
            fill(r);
            respond_members(c, loop_.member, r, *members);
          }));
}

void ClusterService::add(grpc::Call& call, std::string_view bytes) {
  auto request = decode_or_fail<pb::MemberAddRequest>(call, bytes);
  if (!request) return;
  auto urls = membership::parse_urls(copied(request->peer_urls));
  if (!urls) return call.fail(Error(Code::kMemberBadUrls));
  // The URLs are looked at before the caller.
  loop_.callers->when_admitted(call, auth::Need::kAdmin,
                               [this, learner = request->is_learner, urls = std::move(*urls)](
                                   grpc::Call& c) mutable { add_admitted(c, learner, std::move(urls)); });
}

void ClusterService::add_admitted(grpc::Call& call, bool learner, std::vector<std::string> urls) {
  membership::Change c;
  c.kind = learner ? K::kAddLearner : K::kAdd;
  c.member.id = membership::member_id(urls, "", loop_.clock.wall() / io::kSecond);
  c.member.peer_urls = std::move(urls);
  c.member.is_learner = learner;
  membership::Member added = c.member;
  change<pb::MemberAddResponse>(call, std::move(c), [added = std::move(added)](pb::MemberAddResponse& r) {
    show(added, r.member.emplace());
  });
}

void ClusterService::remove(grpc::Call& call, std::string_view bytes) {
  auto request = decode_or_fail<pb::MemberRemoveRequest>(call, bytes);
  if (!request) return;
  membership::Change c;
  c.kind = K::kRemove;
  c.member.id = MemberId(request->id);
  change<pb::MemberRemoveResponse>(call, std::move(c), [](pb::MemberRemoveResponse&) {});
}

// etcd takes any URLs here, and the other members then panic over those that are none (docs of the interop tests:
// differences.md). What is valid is kept as the client wrote it, in its order.
void ClusterService::update(grpc::Call& call, std::string_view bytes) {
  auto request = decode_or_fail<pb::MemberUpdateRequest>(call, bytes);
  if (!request) return;
  membership::Change c;
  c.kind = K::kUpdate;
  c.member.id = MemberId(request->id);
  c.member.peer_urls = copied(request->peer_urls);
  if (!membership::parse_urls(c.member.peer_urls)) return call.fail(Error(Code::kMemberBadUrls));
  change<pb::MemberUpdateResponse>(call, std::move(c), [](pb::MemberUpdateResponse&) {});
}

void ClusterService::promote(grpc::Call& call, std::string_view bytes) {
  auto request = decode_or_fail<pb::MemberPromoteRequest>(call, bytes);
  if (!request) return;
  const uint64_t id = loop_.member.next_id();
  call.context = id;
  // The leader is asked under the client's own name.
  const auto token = call.metadata("token");
  const auto authorization = token ? token : call.metadata("authorization");
  auto answer = [this](grpc::Call& c, Result<std::vector<membership::Member>> members) {
    if (!members) return c.fail(members.error());
    pb::MemberPromoteResponse r;
    respond_members(c, loop_.member, r, *members);
  };
  loop_.member.admin().promote(id, MemberId(request->id), std::string(authorization.value_or("")),
                               loop_.port.loop(), CallRef(call).then(answer));
}

void ClusterService::list(grpc::Call& call, std::string_view bytes) {
  auto request = decode_or_fail<pb::MemberListRequest>(call, bytes);
  if (!request) return;
  auto answer = [this](grpc::Call& c) {
    pb::MemberListResponse r;
    const std::vector<membership::Member> members = loop_.member.members();
    respond_members(c, loop_.member, r, members);
  };
  if (!request->linearizable) return answer(call);
  loop_.port.read_index(CallRef(call).then([answer](grpc::Call& c, const Result<>& confirmed) {
    if (!confirmed) return c.fail(confirmed.error());
    answer(c);
  }));
}

}  // namespace quoin::v3rpc
