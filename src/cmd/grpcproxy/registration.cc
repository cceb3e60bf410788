#include "cmd/grpcproxy/registration.h"

#include <algorithm>

#include "client/methods.h"
#include "cmd/grpcproxy/forward.h"
#include "cmd/grpcproxy/key_prefix.h"
#include "wire/message.h"

namespace quoin::cmd::grpcproxy {

namespace pb = wire::etcdserverpb;

void Registration::start() {
  timer_.reset();
  pb::LeaseGrantRequest request;
  request.ttl = options_.resolver_ttl_s;
  question_.step = Step::kGrant;
  context_.client.unary(question_, client::methods::kLeaseGrant, wire::encode_string(request), {});
}

void Registration::later() {
  timer_ = context_.env.timers.schedule(kRetryNs, context_.env.loop, [this] { start(); });
}

void Registration::answered(GrpcStatus status, std::string_view text) {
  if (status != GrpcStatus::kOk) {
    LOG(context_.log, kWarn, "failed to create a session", {"error", go_error_text(status, text)});
    return later();
  }
  if (question_.step == Step::kPut) {
    LOG(context_.log, kInfo, "registered session with lease", {"addr", options_.advertise_client_url},
        {"lease-ttl", options_.resolver_ttl_s});
    return look();
  }
  const auto granted = wire::decode<pb::LeaseGrantResponse>(question_.answer);
  if (!granted) return later();
  lease_ = granted->id;
  alive_until_ = context_.env.clock.monotonic() + granted->ttl * io::kSecond;
  put();
}

void Registration::put() {
  const KeyPrefix prefix(context_.prefix);
  const std::string key = prefix.key(options_.resolver_prefix + "/" + options_.advertise_client_url);
  const std::string value = registration_json(options_.advertise_client_url, options_.host_name);
  pb::TxnRequest txn;
  pb::PutRequest& put = txn.success.emplace_back().set_request_put();
  put.key = key;
  put.value = value;
  put.lease = lease_;
  question_.step = Step::kPut;
  context_.client.unary(question_, client::methods::kTxn, wire::encode_string(txn), {});
}

void Registration::look() {
  timer_.reset();
  if (context_.env.clock.monotonic() >= alive_until_) return expired();
  if (!keep_alive_.active()) context_.client.open(keep_alive_, client::methods::kLeaseKeepAlive, {});
  pb::LeaseKeepAliveRequest request;
  request.id = lease_;
  // One that waits for a connection is enough.
  if (context_.client.queued_bytes(keep_alive_) == 0) {
    context_.client.send(keep_alive_, wire::encode_string(request));
  }
  const int64_t third = std::max<int64_t>(options_.resolver_ttl_s * io::kSecond / 3, io::kSecond / 2);
  timer_ = context_.env.timers.schedule(third, context_.env.loop, [this] { look(); });
}

void Registration::kept_alive(std::string_view bytes) {
  const auto r = wire::decode<pb::LeaseKeepAliveResponse>(bytes);
  if (!r || r->id != lease_) return;
  if (r->ttl <= 0) return expired();
  alive_until_ = context_.env.clock.monotonic() + r->ttl * io::kSecond;
}

void Registration::expired() {
  LOG(context_.log, kWarn, "session expired; possible network partition or server restart", );
  LOG(context_.log, kWarn, "creating a new session to rejoin", );
  context_.client.cancel(keep_alive_);
  later();
}

}  // namespace quoin::cmd::grpcproxy
