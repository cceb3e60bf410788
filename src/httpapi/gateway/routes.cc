#include "httpapi/gateway/routes.h"

#include <google/protobuf/descriptor.h>

#include <map>

#include "base/check.h"
#include "pb/rpc.pb.h"
#include "pb/v3election.pb.h"
#include "pb/v3lock.pb.h"

namespace quoin::httpapi::gateway {
namespace {

struct Row {
  std::string_view path, service, method;
};

constexpr Row kRows[] = {
    {"kv/range", "etcdserverpb.KV", "Range"},
    {"kv/put", "etcdserverpb.KV", "Put"},
    {"kv/deleterange", "etcdserverpb.KV", "DeleteRange"},
    {"kv/txn", "etcdserverpb.KV", "Txn"},
    {"kv/compaction", "etcdserverpb.KV", "Compact"},
    {"watch", "etcdserverpb.Watch", "Watch"},
    {"lease/grant", "etcdserverpb.Lease", "LeaseGrant"},
    {"lease/revoke", "etcdserverpb.Lease", "LeaseRevoke"},
    {"kv/lease/revoke", "etcdserverpb.Lease", "LeaseRevoke"},
    {"lease/keepalive", "etcdserverpb.Lease", "LeaseKeepAlive"},
    {"lease/timetolive", "etcdserverpb.Lease", "LeaseTimeToLive"},
    {"kv/lease/timetolive", "etcdserverpb.Lease", "LeaseTimeToLive"},
    {"lease/leases", "etcdserverpb.Lease", "LeaseLeases"},
    {"kv/lease/leases", "etcdserverpb.Lease", "LeaseLeases"},
    {"cluster/member/add", "etcdserverpb.Cluster", "MemberAdd"},
    {"cluster/member/remove", "etcdserverpb.Cluster", "MemberRemove"},
    {"cluster/member/update", "etcdserverpb.Cluster", "MemberUpdate"},
    {"cluster/member/list", "etcdserverpb.Cluster", "MemberList"},
    {"cluster/member/promote", "etcdserverpb.Cluster", "MemberPromote"},
    {"maintenance/alarm", "etcdserverpb.Maintenance", "Alarm"},
    {"maintenance/status", "etcdserverpb.Maintenance", "Status"},
    {"maintenance/defragment", "etcdserverpb.Maintenance", "Defragment"},
    {"maintenance/hash", "etcdserverpb.Maintenance", "Hash"},
    {"maintenance/hashkv", "etcdserverpb.Maintenance", "HashKV"},
    {"maintenance/snapshot", "etcdserverpb.Maintenance", "Snapshot"},
    {"maintenance/transfer-leadership", "etcdserverpb.Maintenance", "MoveLeader"},
    {"maintenance/downgrade", "etcdserverpb.Maintenance", "Downgrade"},
    {"auth/enable", "etcdserverpb.Auth", "AuthEnable"},
    {"auth/disable", "etcdserverpb.Auth", "AuthDisable"},
    {"auth/status", "etcdserverpb.Auth", "AuthStatus"},
    {"auth/authenticate", "etcdserverpb.Auth", "Authenticate"},
    {"auth/user/add", "etcdserverpb.Auth", "UserAdd"},
    {"auth/user/get", "etcdserverpb.Auth", "UserGet"},
    {"auth/user/list", "etcdserverpb.Auth", "UserList"},
    {"auth/user/delete", "etcdserverpb.Auth", "UserDelete"},
    {"auth/user/changepw", "etcdserverpb.Auth", "UserChangePassword"},
    {"auth/user/grant", "etcdserverpb.Auth", "UserGrantRole"},
    {"auth/user/revoke", "etcdserverpb.Auth", "UserRevokeRole"},
    {"auth/role/add", "etcdserverpb.Auth", "RoleAdd"},
    {"auth/role/get", "etcdserverpb.Auth", "RoleGet"},
    {"auth/role/list", "etcdserverpb.Auth", "RoleList"},
    {"auth/role/delete", "etcdserverpb.Auth", "RoleDelete"},
    {"auth/role/grant", "etcdserverpb.Auth", "RoleGrantPermission"},
    {"auth/role/revoke", "etcdserverpb.Auth", "RoleRevokePermission"},
    {"lock/lock", "v3lockpb.Lock", "Lock"},
    {"lock/unlock", "v3lockpb.Lock", "Unlock"},
    {"election/campaign", "v3electionpb.Election", "Campaign"},
    {"election/proclaim", "v3electionpb.Election", "Proclaim"},
    {"election/leader", "v3electionpb.Election", "Leader"},
    {"election/observe", "v3electionpb.Election", "Observe"},
    {"election/resign", "v3electionpb.Election", "Resign"},
};

using Table = std::map<std::string, Route, std::less<>>;

Table make_table() {
  // Named, so that a linker that leaves out what nobody names keeps their descriptors.
  (void)etcdserverpb::RangeRequest::descriptor();
  (void)v3lockpb::LockRequest::descriptor();
  (void)v3electionpb::LeaderRequest::descriptor();
  const auto& pool = *google::protobuf::DescriptorPool::generated_pool();
  Table table;
  for (const Row& row : kRows) {
    const auto* method = pool.FindMethodByName(fmt::format("{}.{}", row.service, row.method));
    CHECK(method != nullptr, "{}.{}", row.service, row.method);
    const auto kind = method->client_streaming()   ? grpc::MethodKind::kBidiStream
                      : method->server_streaming() ? grpc::MethodKind::kServerStream
                                                   : grpc::MethodKind::kUnary;
    std::string path = fmt::format("/v3/{}", row.path);
    table.emplace(path, Route{path, fmt::format("/{}/{}", row.service, row.method), kind,
                              &schema_of(*method->input_type()), &schema_of(*method->output_type())});
  }
  return table;
}

}  // namespace

const Route* find_route(std::string_view path) {
  static const Table table = make_table();
  const auto it = table.find(path);
  return it == table.end() ? nullptr : &it->second;
}

}  // namespace quoin::httpapi::gateway
