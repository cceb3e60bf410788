#include "server/leader_lease.h"

#include "server/leader_question.h"
#include "server/stages.h"
#include "wire/lease.h"
#include "wire/message.h"
#include "wire/rpc.h"

namespace quoin::server {

namespace pb = wire::etcdserverpb;

namespace {

constexpr int64_t kPauseNs = 50 * io::kMillisecond;
// A lease may have very many keys.
constexpr size_t kTimesBytesMax = 512u << 20;
constexpr unsigned kOk = 200, kNotFound = 404;

PeerRequest request_to(std::string path, std::string body) {
  PeerRequest request;
  request.method = "POST";
  request.path = std::move(path);
  request.fields = {{"Content-Type", "application/protobuf"}};
  request.body = std::move(body);
  return request;
}

}  // namespace

void renew_at_leader(Stages& s, LeaseId id, std::function<void(Result<int64_t>)> done) {
  pb::LeaseKeepAliveRequest ask;
  ask.id = id.v;
  LeaderQuestion::ask(
      s, request_to("/leases", wire::encode_string(ask)), s.config.request_timeout_ns(), kPauseNs,
      [id, done](const PeerAnswer& answer) {
        if (answer.status == kNotFound) {
          done(Error(Code::kLeaseNotFound));
          return true;
        }
        if (answer.status != kOk) return false;
        const auto renewed = wire::decode<pb::LeaseKeepAliveResponse>(answer.body);
        if (!renewed || renewed->id != id.v) return false;
        done(renewed->ttl);
        return true;
      },
      [done](Error error) { done(std::move(error)); });
}

void lease_times_at_leader(Stages& s, LeaseId id, bool keys, std::function<void(Result<LeaseTimes>)> done) {
  wire::leasepb::LeaseInternalRequest ask;
  auto& question = ask.lease_time_to_live_request.emplace();
  question.id = id.v;
  question.keys = keys;
  PeerRequest request = request_to("/leases/internal", wire::encode_string(ask));
  request.answer_bytes_max = kTimesBytesMax;
  LeaderQuestion::ask(
      s, std::move(request), s.config.request_timeout_ns(), kPauseNs,
      [done](const PeerAnswer& answer) {
        if (answer.status == kNotFound) {
          done(LeaseTimes{});  // there is none
          return true;
        }
        if (answer.status != kOk) return false;
        const auto decoded = wire::decode<wire::leasepb::LeaseInternalResponse>(answer.body);
        if (!decoded || !decoded->lease_time_to_live_response) return false;
        const pb::LeaseTimeToLiveResponse& r = *decoded->lease_time_to_live_response;
        LeaseTimes times;
        times.ttl = r.ttl;
        times.granted_ttl = r.granted_ttl;
        times.keys.assign(r.keys.begin(), r.keys.end());
        done(std::move(times));
        return true;
      },
      [done](Error error) { done(std::move(error)); });
}

}  // namespace quoin::server
