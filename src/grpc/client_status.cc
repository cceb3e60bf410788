#include "grpc/client_status.h"

#include <fmt/format.h>

#include <charconv>

#include "base/go_text.h"
#include "grpc/protocol.h"

namespace quoin::grpc {
namespace {

// Go's http.StatusText, of what a proxy or another server may say.
std::string_view http_status_text(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 303:
      return "See Other";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 411:
      return "Length Required";
    case 413:
      return "Request Entity Too Large";
    case 414:
      return "Request URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 421:
      return "Misdirected Request";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "";
  }
}

GrpcStatus status_of_http(int status) {
  switch (status) {
    case 400:
      return GrpcStatus::kInternal;
    case 401:
      return GrpcStatus::kUnauthenticated;
    case 403:
      return GrpcStatus::kPermissionDenied;
    case 404:
      return GrpcStatus::kUnimplemented;
    case 429:
    case 502:
    case 503:
    case 504:
      return GrpcStatus::kUnavailable;
    default:
      return GrpcStatus::kUnknown;
  }
}

std::optional<int> number(std::optional<std::string_view> text) {
  int v = 0;
  if (!text) return std::nullopt;
  const auto r = std::from_chars(text->data(), text->data() + text->size(), v);
  if (r.ec != std::errc() || r.ptr != text->data() + text->size()) return std::nullopt;
  return v;
}

std::string_view error_name(http2::ErrorCode code) {
  constexpr std::string_view kNames[] = {"NO_ERROR",
                                         "PROTOCOL_ERROR",
                                         "INTERNAL_ERROR",
                                         "FLOW_CONTROL_ERROR",
                                         "SETTINGS_TIMEOUT",
                                         "STREAM_CLOSED",
                                         "FRAME_SIZE_ERROR",
                                         "REFUSED_STREAM",
                                         "CANCEL",
                                         "COMPRESSION_ERROR",
                                         "CONNECT_ERROR",
                                         "ENHANCE_YOUR_CALM",
                                         "INADEQUATE_SECURITY",
                                         "HTTP_1_1_REQUIRED"};
  const auto i = static_cast<size_t>(code);
  return i < std::size(kNames) ? kNames[i] : std::string_view();
}

}  // namespace

bool informational(std::optional<std::string_view> http_status) {
  const auto status = number(http_status);
  return status && *status >= 100 && *status < 200;
}

std::optional<HeadFault> head_fault(std::optional<std::string_view> http_status,
                                    std::optional<std::string_view> content_type) {
  const bool is_grpc = content_type && content_subtype(*content_type);
  const auto status = number(http_status);
  if (is_grpc && status == 200) return std::nullopt;
  HeadFault fault{status ? status_of_http(*status) : GrpcStatus::kInternal, ""};
  if (!status) {
    fault.text = "malformed header: missing HTTP status";
  } else if (*status != 200) {
    fault.text = fmt::format("unexpected HTTP status code received from server: {} ({})", *status,
                             http_status_text(*status));
  }
  if (!is_grpc) {
    if (!fault.text.empty()) fault.text += "; ";
    fault.text += content_type
                      ? fmt::format("transport: received unexpected content-type {}", go_quote(*content_type))
                      : "malformed header: missing HTTP content-type";
  }
  return fault;
}

GrpcStatus reset_status(http2::ErrorCode code) {
  switch (code) {
    case http2::ErrorCode::kFlowControlError:
    case http2::ErrorCode::kEnhanceYourCalm:
      return GrpcStatus::kResourceExhausted;
    case http2::ErrorCode::kRefusedStream:
      return GrpcStatus::kUnavailable;
    case http2::ErrorCode::kCancel:
      return GrpcStatus::kCanceled;
    case http2::ErrorCode::kInadequateSecurity:
      return GrpcStatus::kPermissionDenied;
    default:
      return static_cast<uint32_t>(code) <= 13 ? GrpcStatus::kInternal : GrpcStatus::kUnknown;
  }
}

std::string reset_text(http2::ErrorCode code) {
  const std::string_view name = error_name(code);
  return fmt::format("stream terminated by RST_STREAM with error code: {}",
                     name.empty() ? fmt::format("unknown error code 0x{:x}", static_cast<uint32_t>(code))
                                  : std::string(name));
}

}  // namespace quoin::grpc
