// A call as the commands see it: which method, until when, and how it failed. Without a line of grpc++.
//
// Threads: values.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "base/error_table.h"

namespace quoin::ctl {

using SteadyTime = std::chrono::steady_clock::time_point;

// Go's context with a deadline: without one a call waits for ever.
struct Deadline {
  std::optional<SteadyTime> at;
  static Deadline never() { return {}; }
  static Deadline after(int64_t ns) {
    return {std::chrono::steady_clock::now() + std::chrono::nanoseconds(ns)};
  }
  bool passed() const { return at && std::chrono::steady_clock::now() >= *at; }
};

struct RpcError {
  GrpcStatus status = GrpcStatus::kUnknown;
  std::string message;
  // The call's own deadline passed: Go's context error, which stands in for the status.
  bool by_deadline = false;

  // As etcdctl shows it: etcd's own errors bare, others as gRPC words them (client/v3: ContextError).
  std::string text() const;
  // "rpc error: code = Unavailable desc = ...", whatever the error is.
  std::string grpc_text() const;
  // One of etcd's own errors (api/v3rpc/rpctypes).
  bool is_etcd() const;
  bool is(Code code) const;
};

template <class T>
using Rpc = tl::expected<T, RpcError>;

// gRPC's name of a status: "Unavailable".
std::string_view status_name(GrpcStatus status);

// A method of etcd's services, with its messages.
template <class Request, class Response>
struct Method {
  const char* path;
  bool repeatable = false;  // a read, which may be sent again when the server was unavailable
};

}  // namespace quoin::ctl
