// Requests as 3.4 and 3.5 wrote them to the log in their v2 form. Two of them still mean something. A quorum read (QGET)
// means nothing: 3.4 proposed one for each GET of /health, so that a log of 3.4 is full of them where anybody probed it.
// etcd 3.6 does not start on such a log; Quoin does. Any other request ends the member, as in etcd 3.6
// (`--v2-deprecation=write-only`).
//
// Lifetime: the request holds views into `storage` of the same object and into the bytes given.
// Errors: kCorruption with etcd's text. Source: spec raft-and-peers 26, storage-formats 3.8.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "wire/raft_internal.h"

namespace quoin::server {

struct OldRequest {
  uint64_t id = 0;
  wire::etcdserverpb::InternalRaftRequest request;
  std::shared_ptr<std::vector<std::string>> storage;
  bool quorum_read = false;  // nothing is to be applied
};

Result<OldRequest> translate_old_request(std::string_view bytes);
Result<OldRequest> translate_old_request(const wire::etcdserverpb::Request& r);

// Whether every member of a cluster finds something to apply in these bytes, old or new; else applying them ends a member
// (a quorum read ends a real 3.6).
Result<> check_request(std::string_view bytes);

}  // namespace quoin::server
