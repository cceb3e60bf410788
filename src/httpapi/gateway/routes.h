// The paths of the gateway, and the calls they lead to (spec api-semantics 8.1).
//
// Threads: any; built at the first use, then only read.
#pragma once
#include <string>
#include <string_view>

#include "grpc/method_table.h"
#include "httpapi/gateway/schema.h"

namespace quoin::httpapi::gateway {

struct Route {
  std::string path;    // "/v3/kv/range"
  std::string method;  // "/etcdserverpb.KV/Range"
  grpc::MethodKind kind;
  const MessageType* request;
  const MessageType* response;
};

// Null: no such path. `path` is decoded.
const Route* find_route(std::string_view path);

}  // namespace quoin::httpapi::gateway
