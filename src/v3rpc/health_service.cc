#include "v3rpc/health_service.h"

#include "v3rpc/leader_monitor.h"
#include "wire/health.h"

namespace quoin::v3rpc {

namespace pb = wire::health;
using Status = pb::HealthCheckResponse::ServingStatus;

namespace {
template <class Response>
void send(grpc::Call& call, const Response& r) {
  const size_t size = encoded_size(r);
  call.send_message(size, [&](char* out) { wire::encode(r, out, size); });
}
}  // namespace

HealthService::HealthService(Loop& loop, Gate& gate, grpc::MethodTable& methods)
    : loop_(loop),
      gate_(gate),
      check_(gate, false,
             [](grpc::Call& call, std::string_view bytes) {
               auto request = decode_or_fail<pb::HealthCheckRequest>(call, bytes);
               if (!request) return;
               if (!request->service.empty()) return call.fail(GrpcStatus::kNotFound, "unknown service");
               pb::HealthCheckResponse r;
               r.status = Status::kServing;
               send(call, r);
               call.finish(GrpcStatus::kOk, {});
             }),
      list_(gate, false, [](grpc::Call& call, std::string_view bytes) {
        if (!decode_or_fail<pb::HealthListRequest>(call, bytes)) return;
        pb::HealthListResponse r;
        r.statuses.emplace_back().value.status = Status::kServing;
        send(call, r);
        call.finish(GrpcStatus::kOk, {});
      }) {
  constexpr std::string_view kService = "grpc.health.v1.Health";
  methods.add_unary(kService, "Check", check_);
  methods.add_unary(kService, "List", list_);
  methods.add_stream(kService, "Watch", grpc::MethodKind::kServerStream, *this);
}

class HealthService::Watch final : public grpc::StreamListener {
 public:
  Watch(Loop& loop, Gate& gate, grpc::Call& call) : loop_(loop), gate_(gate), call_(call) {}
  void on_message(std::string_view bytes) override {
    auto request = wire::decode<pb::HealthCheckRequest>(bytes);
    if (!request) return call_.fail_decode(request.error().text());
    if (!gate_.admit(call_, false)) return;
    loop_.leader_monitor->add(call_, GrpcStatus::kCanceled, "Stream has ended.");
    pb::HealthCheckResponse r;
    r.status = request->service.empty() ? Status::kServing : Status::kServiceUnknown;
    send(call_, r);  // the stream stays open
  }

 private:
  Loop& loop_;
  Gate& gate_;
  grpc::Call& call_;
};

std::unique_ptr<grpc::StreamListener> HealthService::open(grpc::Call& call) {
  return std::make_unique<Watch>(loop_, gate_, call);
}

}  // namespace quoin::v3rpc
