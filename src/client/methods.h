// etcd's methods, with what may be done twice as its Go client has it (client/v3/retry.go).
#pragma once
#include "client/call.h"

namespace quoin::client::methods {

inline constexpr Method kRange{"/etcdserverpb.KV/Range", Retry::kRead};
inline constexpr Method kPut{"/etcdserverpb.KV/Put", Retry::kWrite};
inline constexpr Method kDeleteRange{"/etcdserverpb.KV/DeleteRange", Retry::kWrite};
inline constexpr Method kTxn{"/etcdserverpb.KV/Txn", Retry::kWrite};
inline constexpr Method kCompact{"/etcdserverpb.KV/Compact", Retry::kWrite};
inline constexpr Method kWatch{"/etcdserverpb.Watch/Watch"};
inline constexpr Method kLeaseGrant{"/etcdserverpb.Lease/LeaseGrant", Retry::kRead};
inline constexpr Method kLeaseRevoke{"/etcdserverpb.Lease/LeaseRevoke", Retry::kRead};
inline constexpr Method kLeaseTimeToLive{"/etcdserverpb.Lease/LeaseTimeToLive", Retry::kRead};
inline constexpr Method kLeaseLeases{"/etcdserverpb.Lease/LeaseLeases", Retry::kRead};
inline constexpr Method kLeaseKeepAlive{"/etcdserverpb.Lease/LeaseKeepAlive"};
inline constexpr Method kMemberList{"/etcdserverpb.Cluster/MemberList", Retry::kRead};
inline constexpr Method kMemberAdd{"/etcdserverpb.Cluster/MemberAdd", Retry::kWrite};
inline constexpr Method kMemberRemove{"/etcdserverpb.Cluster/MemberRemove", Retry::kWrite};
inline constexpr Method kMemberUpdate{"/etcdserverpb.Cluster/MemberUpdate", Retry::kWrite};
inline constexpr Method kMemberPromote{"/etcdserverpb.Cluster/MemberPromote", Retry::kWrite};
inline constexpr Method kStatus{"/etcdserverpb.Maintenance/Status", Retry::kRead};
inline constexpr Method kAlarm{"/etcdserverpb.Maintenance/Alarm", Retry::kRead};
inline constexpr Method kHash{"/etcdserverpb.Maintenance/Hash", Retry::kRead};
inline constexpr Method kHashKv{"/etcdserverpb.Maintenance/HashKV", Retry::kRead};
inline constexpr Method kDefragment{"/etcdserverpb.Maintenance/Defragment", Retry::kWrite};
inline constexpr Method kMoveLeader{"/etcdserverpb.Maintenance/MoveLeader", Retry::kRead};
inline constexpr Method kDowngrade{"/etcdserverpb.Maintenance/Downgrade"};
inline constexpr Method kSnapshot{"/etcdserverpb.Maintenance/Snapshot"};

}  // namespace quoin::client::methods
