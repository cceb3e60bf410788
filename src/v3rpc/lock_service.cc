#include "v3rpc/lock_service.h"

#include "wire/v3lock.h"

namespace quoin::v3rpc {

namespace lockpb = wire::v3lockpb;

namespace {
constexpr Contests::Kind kLock{true, [](grpc::Call& call, const Contests::Won& won) {
                                 lockpb::LockResponse response;
                                 response.key = won.key;
                                 InnerKv::answer(call, won.header, response);
                               }};
}  // namespace

LockService::LockService(InnerKv& kv, Contests& contests, Gate& gate, grpc::MethodTable& methods)
    : kv_(kv),
      contests_(contests),
      lock_(
          gate, false, [this](grpc::Call& c, std::string_view r) { lock(c, r); },
          [this](const grpc::Call& c, std::string_view, grpc::CancelReason) { contests_.cancelled(c); }),
      unlock_(gate, false, [this](grpc::Call& c, std::string_view r) { unlock(c, r); }) {
  constexpr std::string_view kService = "v3lockpb.Lock";
  methods.add_unary(kService, "Lock", lock_);
  methods.add_unary(kService, "Unlock", unlock_);
}

void LockService::lock(grpc::Call& call, std::string_view bytes) {
  const auto request = decode_or_fail<lockpb::LockRequest>(call, bytes);
  if (!request) return;
  contests_.begin(call, kLock, request->name, request->lease, {});
}

void LockService::unlock(grpc::Call& call, std::string_view bytes) {
  const auto request = decode_or_fail<lockpb::UnlockRequest>(call, bytes);
  if (!request) return;
  wire::etcdserverpb::DeleteRangeRequest erase;
  erase.key = request->key;
  kv_.delete_range(call, erase, [](grpc::Call& c, const Result<InnerKv::Written>& written) {
    if (!written) return InnerKv::fail(c, written.error());
    lockpb::UnlockResponse response;
    InnerKv::answer(c, written->header, response);
  });
}

}  // namespace quoin::v3rpc
