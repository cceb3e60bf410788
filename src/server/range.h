// etcdserverpb's Range as mvcc's, and back.
//
// Threads: free functions without state; read_range on any thread. Lifetime: a RangeReply's kvs are views
// into the records of the view it was read from and into its own storage; it keeps both alive. Source: spec
// api-semantics 2.3.
#pragma once
#include <deque>
#include <memory>
#include <string>

#include "base/result.h"
#include "mvcc/range.h"
#include "mvcc/read_view.h"
#include "wire/rpc.h"

namespace quoin::server {

mvcc::RangeRequest to_mvcc(const wire::etcdserverpb::RangeRequest& request);

struct RangeReply {
  wire::etcdserverpb::RangeResponse response;  // without header
  int64_t header_revision = 0;
  std::shared_ptr<const mvcc::ReadView> view;
  std::deque<std::string> stripped;  // key-only forms, for keys_only
};

// Appends one result to an answer; with keys_only without its value, and then its bytes go to `stripped`.
Result<> add_kv(std::string_view encoded, bool keys_only, wire::etcdserverpb::RangeResponse* out,
                std::deque<std::string>* stripped);

// Reads the whole answer but its header; returns the header's revision. kCompacted, kFutureRev, kCorruption.
Result<int64_t> read_range(const std::shared_ptr<const mvcc::ReadView>& view,
                           const wire::etcdserverpb::RangeRequest& request,
                           wire::etcdserverpb::RangeResponse* out, std::deque<std::string>* stripped);

Result<RangeReply> read_range(std::shared_ptr<const mvcc::ReadView> view,
                              const wire::etcdserverpb::RangeRequest& request);

}  // namespace quoin::server
