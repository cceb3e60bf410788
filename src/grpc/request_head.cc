#include "grpc/request_head.h"

#include "base/go_text.h"
#include "grpc/protocol.h"
#include "io/clock.h"

namespace quoin::grpc {
namespace {
using Refusal = RequestHead::Refusal;

// A shorter one is over before a server has read it.
constexpr int64_t kLeastTimeoutNs = io::kMicrosecond;

// A binary header must be base64, whatever its name.
std::optional<Refusal> check_binary(std::string_view name, std::string_view value) {
  const auto at = base64_error(value);
  if (!at) return std::nullopt;
  return Refusal{
      "400", GrpcStatus::kInternal,
      fmt::format("malformed binary metadata {} in header {}: illegal base64 data at input byte {}",
                  go_quote(value), go_quote(name), *at)};
}
}  // namespace

RequestHead read_request_head(const http2::HeaderBlock& block) {
  RequestHead head;
  std::string_view method, content_type;
  std::optional<std::string_view> subtype;
  std::optional<Refusal> malformed;
  size_t hosts = 0, authorities = 0;
  // By length first: one comparison for most fields.
  for (size_t i = 0; i < block.size(); ++i) {
    const auto [name, value] = block[i];
    switch (name.size()) {
      case 4:
        if (name == "host") ++hosts;
        break;
      case 5:
        if (name == ":path") head.path = value;
        break;
      case 7:
        if (name == ":method") method = value;
        break;
      case 10:
        if (name == ":authority") ++authorities;
        break;
      case 12:
        if (name == "content-type") {
          content_type = value;
          subtype = content_subtype(value);
        } else if (name == "grpc-timeout") {
          if (auto t = parse_timeout(value)) {
            head.timeout_ns = *t;
          } else {
            malformed = Refusal{"400", GrpcStatus::kInternal,
                                fmt::format("malformed grpc-timeout: {}", t.error().text())};
          }
        }
        break;
      case 13:
        if (name == "grpc-encoding") head.encoding = value;
        break;
      default:
        break;
    }
    if (name.ends_with("-bin")) {
      if (auto refusal = check_binary(name, value)) malformed = std::move(refusal);
    }
  }
  if (head.encoding == "identity") head.encoding = {};
  head.grpc = subtype.has_value();
  if (subtype) head.subtype = *subtype;

  if (hosts > 1 || authorities > 1) {
    head.refusal =
        Refusal{"400", GrpcStatus::kInternal,
                fmt::format("num values of :authority: {}, num values of host: {}, both must only have 1 "
                            "value as per HTTP/2 spec",
                            authorities, hosts)};
  } else if (!subtype) {
    head.refusal = Refusal{"415", GrpcStatus::kInvalidArgument,
                           fmt::format("invalid gRPC request content-type {}", go_quote(content_type))};
  } else if (malformed) {
    head.refusal = std::move(malformed);
  } else if (hosts + authorities == 0) {
    head.refusal = Refusal{"400", GrpcStatus::kInternal, "no host or :authority header present"};
  } else if (method != "POST") {
    head.refusal = Refusal{
        "405", GrpcStatus::kInternal,
        fmt::format("Received a HEADERS frame with :method {} which should be POST", go_quote(method))};
  } else if (head.timeout_ns && *head.timeout_ns < kLeastTimeoutNs) {
    head.refusal = Refusal{"200", GrpcStatus::kDeadlineExceeded, "context deadline exceeded"};
  }
  return head;
}

}  // namespace quoin::grpc
