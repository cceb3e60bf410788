// Requests as etcd's log lines show them: protobuf's compact text form, each field followed by a blank, with
// values replaced by their size and lease requests abbreviated. Proto3 zeros are left out, members of a oneof
// are not.
//
// Threads: free functions without state. Costly: for lines that are written, not for every request.
// Source: spec operations 7.1. Unknown fields are not shown (etcd shows their numbers).
#pragma once
#include <string>

#include "wire/raft_internal.h"
#include "wire/rpc.h"

namespace quoin::server {

// `header:<ID:1901823046761126661 > put:<key:"foo" value_size:3 >`
std::string request_text(const wire::etcdserverpb::InternalRaftRequest& request);
// `key:"\000" range_end:"\000" limit:2 `
std::string request_text(const wire::etcdserverpb::RangeRequest& request);
std::string request_text(const wire::etcdserverpb::PutRequest& request);
std::string request_text(const wire::etcdserverpb::DeleteRangeRequest& request);
// `compare:<> success:<request_range:<key:"x" >  request_range:<key:"y" > > failure:<>`
std::string request_text(const wire::etcdserverpb::TxnRequest& request);

}  // namespace quoin::server
