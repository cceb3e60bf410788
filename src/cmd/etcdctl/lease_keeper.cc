#include "cmd/etcdctl/lease_keeper.h"

#include <thread>

#include "base/result.h"
#include "cmd/etcdctl/methods.h"

namespace quoin::ctl {
namespace {

// What another attempt may change (client/v3: isHaltErr).
bool is_passing(const RpcError& e) {
  return !e.by_deadline && (e.status == GrpcStatus::kUnavailable || e.status == GrpcStatus::kInternal);
}

Rpc<pb::LeaseKeepAliveResponse> beat(Client& client, int64_t lease, Deadline deadline) {
  auto stream = client.stream(kLeaseKeepAlive, deadline);
  if (!stream) return tl::unexpected(std::move(stream.error()));
  pb::LeaseKeepAliveRequest request;
  request.set_id(lease);
  (*stream)->write(request);
  pb::LeaseKeepAliveResponse response;
  if ((*stream)->read(response)) return response;
  auto error = (*stream)->finish();
  return tl::unexpected(error ? std::move(*error) : RpcError{GrpcStatus::kUnknown, "EOF", false});
}

constexpr auto kPause = std::chrono::milliseconds(500);

}  // namespace

Rpc<pb::LeaseKeepAliveResponse> keep_alive_once(Client& client, int64_t lease, Deadline deadline) {
  for (;;) {
    auto r = beat(client, lease, deadline);
    if (r && r->ttl() <= 0) {
      const ErrorInfo& info = error_info(Code::kLeaseNotFound);
      return tl::unexpected(RpcError{info.grpc, std::string(info.text), false});
    }
    if (r || !is_passing(r.error())) return r;
    std::this_thread::sleep_for(kPause / 10);
  }
}

LeaseKeeper::LeaseKeeper(Client& client, int64_t lease) : client_(client), lease_(lease) {
  next_beat_ = std::chrono::steady_clock::now();
  constexpr auto kMore = std::chrono::seconds(1);
  const auto limit = std::chrono::nanoseconds(client.config().dial_timeout_ns);
  constexpr auto kWithoutLimit = std::chrono::seconds(60);
  deadline_ = next_beat_ + (limit.count() > 0 ? std::chrono::nanoseconds(limit + kMore) : kWithoutLimit);
}

bool LeaseKeeper::wait_until(SteadyTime at) {
  std::unique_lock lock(mutex_);
  return !stopping_.wait_until(lock, at, [&] { return stopped_; });
}

void LeaseKeeper::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  stopping_.notify_all();
}

std::optional<pb::LeaseKeepAliveResponse> LeaseKeeper::next() {
  if (!wait_until(next_beat_)) return std::nullopt;
  for (;;) {
    auto r = beat(client_, lease_, {deadline_});
    const auto now = std::chrono::steady_clock::now();
    if (r) {
      if (r->ttl() <= 0) return std::nullopt;
      const std::chrono::nanoseconds ttl = std::chrono::seconds(r->ttl());
      next_beat_ = now + ttl / 3;
      deadline_ = now + ttl;
      return std::move(*r);
    }
    if (now + kPause >= deadline_ || !wait_until(now + kPause)) return std::nullopt;
  }
}

}  // namespace quoin::ctl
