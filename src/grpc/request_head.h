// What the headers of a gRPC request say, judged in the order in which Go's server judges them.
// Rules: spec api-semantics 1.2. Pure.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error_table.h"
#include "http2/session.h"

namespace quoin::grpc {

struct RequestHead {
  // Answered at once by one HEADERS frame with this HTTP status.
  struct Refusal {
    std::string_view http_status;
    GrpcStatus status;
    std::string text;
  };
  std::optional<Refusal> refusal;
  bool grpc = false;  // by its content type
  // Views into the block.
  std::string_view path;
  std::string_view encoding;  // grpc-encoding; empty if there was none or it is "identity"
  std::string_view subtype;   // of the content type, to be echoed
  std::optional<int64_t> timeout_ns;
};

RequestHead read_request_head(const http2::HeaderBlock& block);

}  // namespace quoin::grpc
