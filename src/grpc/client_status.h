// What an answer means to a client that is not a gRPC status: heads of other servers, resets.
// Source: grpc-go's internal/transport (HTTPStatusConvTab, http2ErrConvTab, operateHeaders). Pure; any
// thread.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/error_table.h"
#include "http2/session.h"

namespace quoin::grpc {

// A head of status 1xx, which another one follows.
bool informational(std::optional<std::string_view> http_status);

struct HeadFault {
  GrpcStatus status;
  std::string text;
};
// Nothing if the first head of an answer is gRPC's: status 200 and its content type.
std::optional<HeadFault> head_fault(std::optional<std::string_view> http_status,
                                    std::optional<std::string_view> content_type);

// Of a stream that the server reset.
GrpcStatus reset_status(http2::ErrorCode code);
std::string reset_text(http2::ErrorCode code);

}  // namespace quoin::grpc
