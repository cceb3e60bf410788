#include "cmd/benchmark/lease_phase.h"

#include "client/methods.h"
#include "wire/message.h"
#include "wire/rpc.h"

namespace quoin::cmd::bench {

namespace rpc = wire::etcdserverpb;
namespace methods = client::methods;

Result<std::vector<int64_t>> grant_leases(Engine& engine, int64_t ttl_seconds) {
  rpc::LeaseGrantRequest request;
  request.ttl = ttl_seconds;
  const std::string bytes = wire::encode_string(request);
  std::vector<int64_t> out;
  for (uint64_t i = 0; i < engine.arguments().clients; ++i) {
    ASSIGN_OR_RETURN(const std::string answer, engine.call(engine.client_of(i), methods::kLeaseGrant, bytes));
    ASSIGN_OR_RETURN(const auto granted, wire::decode<rpc::LeaseGrantResponse>(answer));
    out.push_back(granted.id);
  }
  return out;
}

void revoke_leases(Engine& engine, const std::vector<int64_t>& leases) {
  constexpr int64_t kWaitNs = io::kSecond;
  for (size_t i = 0; i < leases.size(); ++i) {
    rpc::LeaseRevokeRequest request;
    request.id = leases[i];
    const auto r =
        engine.call(engine.client_of(i), methods::kLeaseRevoke, wire::encode_string(request), kWaitNs);
    if (!r) return;
  }
}

namespace {

std::string keepalive_request(int64_t lease) {
  rpc::LeaseKeepAliveRequest request;
  request.id = lease;
  return wire::encode_string(request);
}

class KeepaliveWorker final : public Worker, private client::Call {
 public:
  KeepaliveWorker(Load& load, Report& report, client::Client& client, int64_t lease)
      : load_(load), report_(report), client_(client), request_(keepalive_request(lease)) {}
  void operate(uint64_t) override {
    answered_ = false;
    client_.open(*this, methods::kLeaseKeepAlive, {});
    client_.send(*this, request_);
  }

 private:
  void on_message(std::string_view message) override {
    if (answered_) return;
    answered_ = true;
    const auto response = wire::decode<rpc::LeaseKeepAliveResponse>(message);
    alive_ = response && response->ttl > 0;
    client_.cancel(*this);
  }
  void on_end(GrpcStatus status, std::string_view text) override {
    if (!answered_) return load_.completed(*this, report_, status, text);
    if (alive_) return load_.completed(*this, report_, GrpcStatus::kOk, "");
    load_.completed(*this, report_, GrpcStatus::kNotFound, error_info(Code::kLeaseNotFound).text);
  }
  Load& load_;
  Report& report_;
  client::Client& client_;
  const std::string request_;
  bool answered_ = false, alive_ = false;
};

}  // namespace

std::unique_ptr<Load> make_keepalive_load(Engine& engine, const std::vector<int64_t>& leases, uint64_t total,
                                          Report& report) {
  auto load = std::make_unique<Load>(total, 0, std::vector<Report*>{&report});
  for (size_t i = 0; i < leases.size(); ++i) {
    load->add(std::make_unique<KeepaliveWorker>(*load, report, engine.client_of(i), leases[i]));
  }
  return load;
}

LeaseKeeper::LeaseKeeper(Engine& engine, client::Client& client, int64_t lease, int64_t every_ns)
    : engine_(engine), client_(client), lease_(lease), every_ns_(every_ns) {
  client_.open(*this, methods::kLeaseKeepAlive, {});
  ask();
}

void LeaseKeeper::ask() {
  client_.send(*this, keepalive_request(lease_));
  timer_ = engine_.after(every_ns_, [this] { ask(); });
}

void LeaseKeeper::on_end(GrpcStatus status, std::string_view text) {
  timer_.reset();
  engine_.failed("lease keepalive: " + error_text(status, text));
}

}  // namespace quoin::cmd::bench
