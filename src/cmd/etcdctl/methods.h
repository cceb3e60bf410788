// The methods of etcd's services that the commands call. Which may be sent again follows client/v3/retry.go.
#pragma once
#include "cmd/etcdctl/rpc.h"
#include "pb/rpc.pb.h"

namespace quoin::ctl {

namespace pb = ::etcdserverpb;

inline constexpr Method<pb::RangeRequest, pb::RangeResponse> kRange{"/etcdserverpb.KV/Range", true};
inline constexpr Method<pb::PutRequest, pb::PutResponse> kPut{"/etcdserverpb.KV/Put"};
inline constexpr Method<pb::DeleteRangeRequest, pb::DeleteRangeResponse> kDeleteRange{
    "/etcdserverpb.KV/DeleteRange"};
inline constexpr Method<pb::TxnRequest, pb::TxnResponse> kTxn{"/etcdserverpb.KV/Txn"};
// A transaction that only reads.
inline constexpr Method<pb::TxnRequest, pb::TxnResponse> kReadTxn{"/etcdserverpb.KV/Txn", true};
inline constexpr Method<pb::CompactionRequest, pb::CompactionResponse> kCompact{"/etcdserverpb.KV/Compact"};
inline constexpr Method<pb::WatchRequest, pb::WatchResponse> kWatch{"/etcdserverpb.Watch/Watch"};

inline constexpr Method<pb::LeaseGrantRequest, pb::LeaseGrantResponse> kLeaseGrant{
    "/etcdserverpb.Lease/LeaseGrant", true};
inline constexpr Method<pb::LeaseRevokeRequest, pb::LeaseRevokeResponse> kLeaseRevoke{
    "/etcdserverpb.Lease/LeaseRevoke", true};
inline constexpr Method<pb::LeaseTimeToLiveRequest, pb::LeaseTimeToLiveResponse> kLeaseTimeToLive{
    "/etcdserverpb.Lease/LeaseTimeToLive", true};
inline constexpr Method<pb::LeaseLeasesRequest, pb::LeaseLeasesResponse> kLeaseLeases{
    "/etcdserverpb.Lease/LeaseLeases", true};
inline constexpr Method<pb::LeaseKeepAliveRequest, pb::LeaseKeepAliveResponse> kLeaseKeepAlive{
    "/etcdserverpb.Lease/LeaseKeepAlive", true};

inline constexpr Method<pb::MemberAddRequest, pb::MemberAddResponse> kMemberAdd{
    "/etcdserverpb.Cluster/MemberAdd"};
inline constexpr Method<pb::MemberRemoveRequest, pb::MemberRemoveResponse> kMemberRemove{
    "/etcdserverpb.Cluster/MemberRemove"};
inline constexpr Method<pb::MemberUpdateRequest, pb::MemberUpdateResponse> kMemberUpdate{
    "/etcdserverpb.Cluster/MemberUpdate"};
inline constexpr Method<pb::MemberPromoteRequest, pb::MemberPromoteResponse> kMemberPromote{
    "/etcdserverpb.Cluster/MemberPromote"};
inline constexpr Method<pb::MemberListRequest, pb::MemberListResponse> kMemberList{
    "/etcdserverpb.Cluster/MemberList", true};

inline constexpr Method<pb::AlarmRequest, pb::AlarmResponse> kAlarm{"/etcdserverpb.Maintenance/Alarm", true};
inline constexpr Method<pb::StatusRequest, pb::StatusResponse> kStatus{"/etcdserverpb.Maintenance/Status",
                                                                       true};
inline constexpr Method<pb::DefragmentRequest, pb::DefragmentResponse> kDefragment{
    "/etcdserverpb.Maintenance/Defragment"};
inline constexpr Method<pb::HashKVRequest, pb::HashKVResponse> kHashKv{"/etcdserverpb.Maintenance/HashKV",
                                                                       true};
inline constexpr Method<pb::SnapshotRequest, pb::SnapshotResponse> kSnapshot{
    "/etcdserverpb.Maintenance/Snapshot", true};
inline constexpr Method<pb::MoveLeaderRequest, pb::MoveLeaderResponse> kMoveLeader{
    "/etcdserverpb.Maintenance/MoveLeader", true};
inline constexpr Method<pb::DowngradeRequest, pb::DowngradeResponse> kDowngrade{
    "/etcdserverpb.Maintenance/Downgrade"};

inline constexpr Method<pb::AuthEnableRequest, pb::AuthEnableResponse> kAuthEnable{
    "/etcdserverpb.Auth/AuthEnable"};
inline constexpr Method<pb::AuthDisableRequest, pb::AuthDisableResponse> kAuthDisable{
    "/etcdserverpb.Auth/AuthDisable"};
inline constexpr Method<pb::AuthStatusRequest, pb::AuthStatusResponse> kAuthStatus{
    "/etcdserverpb.Auth/AuthStatus"};
inline constexpr Method<pb::AuthenticateRequest, pb::AuthenticateResponse> kAuthenticate{
    "/etcdserverpb.Auth/Authenticate"};
inline constexpr Method<pb::AuthUserAddRequest, pb::AuthUserAddResponse> kUserAdd{
    "/etcdserverpb.Auth/UserAdd"};
inline constexpr Method<pb::AuthUserGetRequest, pb::AuthUserGetResponse> kUserGet{
    "/etcdserverpb.Auth/UserGet", true};
inline constexpr Method<pb::AuthUserListRequest, pb::AuthUserListResponse> kUserList{
    "/etcdserverpb.Auth/UserList", true};
inline constexpr Method<pb::AuthUserDeleteRequest, pb::AuthUserDeleteResponse> kUserDelete{
    "/etcdserverpb.Auth/UserDelete"};
inline constexpr Method<pb::AuthUserChangePasswordRequest, pb::AuthUserChangePasswordResponse>
    kUserChangePassword{"/etcdserverpb.Auth/UserChangePassword"};
inline constexpr Method<pb::AuthUserGrantRoleRequest, pb::AuthUserGrantRoleResponse> kUserGrantRole{
    "/etcdserverpb.Auth/UserGrantRole"};
inline constexpr Method<pb::AuthUserRevokeRoleRequest, pb::AuthUserRevokeRoleResponse> kUserRevokeRole{
    "/etcdserverpb.Auth/UserRevokeRole"};
inline constexpr Method<pb::AuthRoleAddRequest, pb::AuthRoleAddResponse> kRoleAdd{
    "/etcdserverpb.Auth/RoleAdd"};
inline constexpr Method<pb::AuthRoleGetRequest, pb::AuthRoleGetResponse> kRoleGet{
    "/etcdserverpb.Auth/RoleGet", true};
inline constexpr Method<pb::AuthRoleListRequest, pb::AuthRoleListResponse> kRoleList{
    "/etcdserverpb.Auth/RoleList", true};
inline constexpr Method<pb::AuthRoleDeleteRequest, pb::AuthRoleDeleteResponse> kRoleDelete{
    "/etcdserverpb.Auth/RoleDelete"};
inline constexpr Method<pb::AuthRoleGrantPermissionRequest, pb::AuthRoleGrantPermissionResponse>
    kRoleGrantPermission{"/etcdserverpb.Auth/RoleGrantPermission"};
inline constexpr Method<pb::AuthRoleRevokePermissionRequest, pb::AuthRoleRevokePermissionResponse>
    kRoleRevokePermission{"/etcdserverpb.Auth/RoleRevokePermission"};

}  // namespace quoin::ctl
