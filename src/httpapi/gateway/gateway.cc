#include "httpapi/gateway/gateway.h"

#include <algorithm>

#include "base/utf8.h"
#include "httpapi/gateway/call.h"
#include "httpapi/gateway/metadata.h"

namespace quoin::httpapi::gateway {
namespace {
// Longer ones leave Go's HTTP/1.1 server before their length is known.
constexpr size_t kNamedLengthMax = 2048;
constexpr std::string_view kCommonNameText =
    "CommonName of client sending a request against gateway will be ignored and not used as expected";
constexpr std::string_view kForm = "application/x-www-form-urlencoded";

Request view_of(const http1::Request& request) {
  Request r;
  r.method = request.method;
  r.path = request.path;
  r.query = request.query;
  r.headers = request.fields;
  r.host = request.authority.empty() ? r.header("Host") : request.authority;
  return r;
}
}  // namespace

unsigned http_status(GrpcStatus status) {
  switch (status) {
    case GrpcStatus::kOk:
      return 200;
    case GrpcStatus::kCanceled:
      return 499;
    case GrpcStatus::kInvalidArgument:
    case GrpcStatus::kFailedPrecondition:
    case GrpcStatus::kOutOfRange:
      return 400;
    case GrpcStatus::kDeadlineExceeded:
      return 504;
    case GrpcStatus::kNotFound:
      return 404;
    case GrpcStatus::kAlreadyExists:
    case GrpcStatus::kAborted:
      return 409;
    case GrpcStatus::kPermissionDenied:
      return 403;
    case GrpcStatus::kUnauthenticated:
      return 401;
    case GrpcStatus::kResourceExhausted:
      return 429;
    case GrpcStatus::kUnimplemented:
      return 501;
    case GrpcStatus::kUnavailable:
      return 503;
    case GrpcStatus::kUnknown:
    case GrpcStatus::kInternal:
    case GrpcStatus::kDataLoss:
      return 500;
  }
  return 500;
}

std::string error_json(GrpcStatus status, std::string_view text, Escapes escapes) {
  std::string out = "{";
  if (status != GrpcStatus::kOk) out += fmt::format("\"code\":{}", static_cast<unsigned>(status));
  if (!text.empty()) {
    out += out.size() > 1 ? ",\"message\":" : "\"message\":";
    if (!append_json_string(text, escapes, out))
      return R"({"code": 13, "message": "failed to marshal error message"})";
  }
  return out + "}";
}

Response error_answer(const Headers& cors, GrpcStatus status, std::string_view text) {
  Response r{static_cast<int>(http_status(status)), cors, error_json(status, text, Escapes::kPlain)};
  if (!valid_utf8(text)) r.status = 500;
  r.headers.emplace_back("Content-Type", "application/json");
  if (status == GrpcStatus::kUnauthenticated) r.headers.emplace_back("Www-Authenticate", text);
  return r;
}

void give_answer(http1::StreamExchange& exchange, Response response) {
  const auto status = static_cast<unsigned>(response.status);
  if (exchange.request().version == 20 || exchange.request().method == "HEAD" ||
      response.body.size() <= kNamedLengthMax) {
    return exchange.respond({status, std::move(response.headers), std::move(response.body)});
  }
  exchange.start(status, response.headers);
  exchange.write(std::move(response.body));
  exchange.finish();
}

Gateway::Gateway(Context context)
    : context_(std::move(context)),
      websockets_(context_.loop, context_.timers),
      self_(std::make_shared<Gateway*>(this)) {}

Gateway::~Gateway() {
  *self_ = nullptr;
}

void Gateway::on_request(std::unique_ptr<http1::StreamExchange> exchange) {
  const http1::Request& request = exchange->request();
  const Request r = view_of(request);
  if (exchange->tls() && !exchange->tls_common_name().empty() && context_.refuses_common_names &&
      context_.refuses_common_names()) {
    return give_answer(*exchange, error_response(400, kCommonNameText));
  }
  Endpoints::Admitted admitted = context_.endpoints.admit(exchange->tls(), r);
  if (admitted.answer) return give_answer(*exchange, std::move(*admitted.answer));
  std::string method(request.method);
  if (WebSockets::asked(request)) {
    exchange = websockets_.accept(std::move(exchange), admitted.cors);
    if (exchange == nullptr) return;
    method = "POST";
  }
  // A form may name another method; nothing but POST is served.
  const Request seen = view_of(exchange->request());
  if (const auto other = seen.header("X-HTTP-Method-Override");
      !other.empty() && method == "POST" && seen.header("Content-Type") == kForm) {
    method = other;
    std::transform(method.begin(), method.end(), method.begin(),
                   [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  }
  const Route* route = find_route(admitted.path);
  if (route == nullptr)
    return give_answer(*exchange, error_answer(admitted.cors, GrpcStatus::kNotFound, "Not Found"));
  if (method != "POST") {
    return give_answer(*exchange,
                       error_answer(admitted.cors, GrpcStatus::kUnimplemented, "Method Not Allowed"));
  }
  begin(std::move(exchange), *route, std::move(admitted.cors));
}

void Gateway::begin(std::unique_ptr<http1::StreamExchange> exchange, const Route& route, Headers cors) {
  Result<Metadata> metadata = read_metadata(exchange->request().fields);
  if (!metadata) {
    return give_answer(*exchange, error_answer(cors, GrpcStatus::kInvalidArgument, metadata.error().text()));
  }
  if (left_behind_->load(std::memory_order_relaxed) >
      static_cast<int64_t>(grpc::ServerConnection::kWorkAfterCalls)) {
    context_.probe.bound_reached(grpc::Bound::kWork, exchange->peer_address());
    return give_answer(*exchange,
                       error_answer(cors, GrpcStatus::kUnavailable, error_info(Code::kTooManyRequests).text));
  }
  calls_.push_back(std::make_unique<GatewayCall>(*this, std::move(exchange), route, std::move(cors),
                                                 std::move(*metadata)));
  GatewayCall& call = *calls_.back();
  call.start(std::prev(calls_.end()));
}

void Gateway::remove(GatewayCall& call) {
  context_.loop.post([self = self_, place = call.place()] {
    if (*self != nullptr) (*self)->calls_.erase(place);
  });
}

}  // namespace quoin::httpapi::gateway
