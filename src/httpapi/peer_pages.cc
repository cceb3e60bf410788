#include "httpapi/peer_pages.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/coding.h"
#include "httpapi/path.h"
#include "membership/bounded_json.h"
#include "membership/membership.h"
#include "wire/lease.h"
#include "wire/message.h"

namespace quoin::httpapi {
namespace {

namespace pb = wire::etcdserverpb;

constexpr std::string_view kPromotePrefix = "/members/promote/";
constexpr std::string_view kBadRequest = "error unmarshalling request";
constexpr std::string_view kClusterId = "X-Etcd-Cluster-Id";
constexpr size_t kKeysAtOnce = 1000;

// Go's strconv.ParseUint(text, 10, 64).
std::optional<uint64_t> parse_decimal(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// As Go reads {"revision":5}: keys in any case, the last one counts; null, and a null value, are like nothing.
std::optional<int64_t> parse_revision(std::string_view body) {
  const auto json = membership::parse_ordered_json(body);
  if (json.is_null()) return 0;
  if (!json.is_object()) return std::nullopt;
  int64_t revision = 0;
  for (const auto& [key, value] : json.items()) {
    if (!equal_ignoring_case(key, "revision") || value.is_null()) continue;
    if (!value.is_number_integer()) return std::nullopt;
    if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
      return std::nullopt;
    revision = value.get<int64_t>();
  }
  return revision;
}

std::string hash_json(const PeerHash& h) {
  std::string header, rest;
  if (h.revision != 0) header = fmt::format("\"revision\":{}", h.revision);
  const auto add = [&](std::string_view name, int64_t value) {
    if (value != 0) rest += fmt::format(",\"{}\":{}", name, value);
  };
  add("hash", h.hash);
  add("compact_revision", h.compact_revision);
  add("hash_revision", h.hash_revision);
  return fmt::format("{{\"header\":{{{}}}{}}}", header, rest);
}

// What another module's errors are called inside etcd.
std::string_view inner_text(const Error& error) {
  std::string_view text = error.text();
  constexpr std::string_view kPrefix = "etcdserver: ";
  if (error.code() == Code::kCompacted || error.code() == Code::kFutureRev)
    text.remove_prefix(kPrefix.size());
  if (error.code() == Code::kLeaseNotFound) return "lease not found";
  if (error.code() == Code::kMemberNotFound) return refusal_text(membership::Refusal::kIdNotFound);
  if (error.code() == Code::kMemberNotLearner) return refusal_text(membership::Refusal::kNotLearner);
  return text;
}

Response failed_lease(const Error& error, int status_otherwise) {
  if (error.code() == Code::kTimeoutWaitAppliedIndex)
    return error_response(408, "waiting for node to catch up its applied index has timed out");
  return error_response(error.code() == Code::kLeaseNotFound ? 404 : status_otherwise, inner_text(error));
}

Response lease_answer(std::string body) {
  return {200, {{"Content-Type", "application/protobuf"}}, std::move(body)};
}

std::string encode_times(int64_t id, const PeerLease& lease) {
  wire::leasepb::LeaseInternalResponse r;
  pb::LeaseTimeToLiveResponse& times = r.lease_time_to_live_response.emplace();
  times.header.emplace();
  times.id = id;
  times.ttl = lease.ttl;
  times.granted_ttl = lease.granted_ttl;
  times.keys.assign(lease.keys.begin(), lease.keys.end());
  return wire::encode_string(r);
}

}  // namespace

bool PeerPages::serve(const Request& request, Reply& reply) {
  using Page = void (PeerPages::*)(const Request&, Reply);
  Page page = nullptr;
  if (request.path == "/members") {
    page = &PeerPages::members;
  } else if (request.path == "/members/hashkv") {
    page = &PeerPages::hash_kv;
  } else if (request.path.starts_with(kPromotePrefix)) {
    page = &PeerPages::promote;
  } else if (request.path == "/leases") {
    page = &PeerPages::renew_lease;
  } else if (request.path == "/leases/internal") {
    page = &PeerPages::lease_times;
  } else if (request.path == "/downgrade/enabled") {
    page = &PeerPages::downgrade_enabled;
  } else if (request.path == kPromotePrefix.substr(0, kPromotePrefix.size() - 1)) {
    reply(redirect(request, std::string(kPromotePrefix) + (request.query.empty() ? "" : "?") +
                                std::string(request.query)));
    return true;
  }
  if (page == nullptr) return false;
  (this->*page)(request, std::move(reply));
  return true;
}

void PeerPages::members(const Request& request, Reply reply) {
  if (request.method != "GET") return reply(method_not_allowed());
  reply({200,
         {{std::string(kClusterId), source_.cluster_id()}, {"Content-Type", "application/json"}},
         source_.members_json() + "\n"});
}

void PeerPages::promote(const Request& request, Reply reply) {
  if (request.method != "POST") return reply(method_not_allowed("POST"));
  const std::pair<std::string, std::string> cluster{kClusterId, source_.cluster_id()};
  const std::string_view id_text = request.path.substr(kPromotePrefix.size());
  const auto id = parse_decimal(id_text);
  if (!id) {
    Response r = error_response(404, fmt::format("member {} not found in cluster", id_text));
    r.headers.push_back(cluster);
    return reply(std::move(r));
  }
  source_.promote(
      *id, std::string(request.header("Authorization")),
      [this, id = *id, cluster, reply = std::move(reply)](Result<std::string> members) mutable {
        Response r;
        if (members) {
          r = {200, {{"Content-Type", "application/json"}}, *members + "\n"};
        } else {
          const Error& error = members.error();
          const bool known = error.code() == Code::kMemberNotFound ||
                             error.code() == Code::kMemberNotLearner ||
                             error.code() == Code::kLearnerNotReady;
          LOG(logger_, kWarn, "failed to promote a member", {"member-id", hex(id)},
              {"error", inner_text(error)});
          if (known) {
            r = error_response(error.code() == Code::kMemberNotFound ? 404 : 412, inner_text(error));
          } else {
            r = {500, {{"Content-Type", "application/json"}}, "{\"message\":\"Internal Server Error\"}"};
          }
        }
        r.headers.push_back(std::move(cluster));
        reply(std::move(r));
      });
}

void PeerPages::hash_kv(const Request& request, Reply reply) {
  if (request.method != "GET") return reply(method_not_allowed());
  std::string cluster = source_.cluster_id();
  const std::string_view asked = request.header(kClusterId);
  if (!asked.empty() && asked != cluster) return reply(error_response(412, "cluster ID mismatch"));
  const auto revision = request.body.size() > kBodyMax ? std::nullopt : parse_revision(request.body);
  if (!revision) {
    LOG(logger_, kWarn, "failed to unmarshal request", );
    return reply(error_response(400, kBadRequest));
  }
  source_.hash_kv(*revision, [this, revision = *revision, cluster = std::move(cluster),
                              reply = std::move(reply)](Result<PeerHash> hash) mutable {
    if (!hash) {
      const std::string_view text = inner_text(hash.error());
      LOG(logger_, kWarn, "failed to get hashKV", {"requested-revision", revision}, {"error", text});
      return reply(error_response(400, text));
    }
    reply({200,
           {{std::string(kClusterId), std::move(cluster)}, {"Content-Type", "application/json"}},
           hash_json(*hash)});
  });
}

void PeerPages::renew_lease(const Request& request, Reply reply) {
  if (request.method != "POST") return reply(method_not_allowed({}));
  if (request.body.size() > kBodyMax) return reply(error_response(413, "request body too large"));
  const auto asked = wire::decode<pb::LeaseKeepAliveRequest>(request.body);
  if (!asked) return reply(error_response(400, kBadRequest));
  source_.renew_lease(asked->id, [id = asked->id, reply = std::move(reply)](Result<int64_t> ttl) mutable {
    if (!ttl) return reply(failed_lease(ttl.error(), 400));
    pb::LeaseKeepAliveResponse r;
    r.id = id;
    r.ttl = *ttl;
    reply(lease_answer(wire::encode_string(r)));
  });
}

void PeerPages::lease_times(const Request& request, Reply reply) {
  if (request.method != "POST") return reply(method_not_allowed({}));
  if (request.body.size() > kBodyMax) return reply(error_response(413, "request body too large"));
  const auto asked = wire::decode<wire::leasepb::LeaseInternalRequest>(request.body);
  // etcd's handler panics on a request without a question, and closes the connection.
  if (!asked || !asked->lease_time_to_live_request) return reply(error_response(400, kBadRequest));
  const int64_t id = asked->lease_time_to_live_request->id;
  source_.lease_times(id, asked->lease_time_to_live_request->keys,
                      [this, id, reply = std::move(reply)](Result<PeerLease> lease) mutable {
                        if (lease && lease->ttl == -1 && lease->granted_ttl == 0)
                          lease = Error(Code::kLeaseNotFound);
                        if (!lease) return reply(failed_lease(lease.error(), 500));
                        const bool many = lease->keys.size() > kKeysAtOnce;
                        Task answer = [id, lease = std::move(*lease), reply = std::move(reply)]() mutable {
                          reply(lease_answer(encode_times(id, lease)));
                        };
                        if (!many || !background_) return std::move(answer)();
                        background_(std::move(answer));
                      });
}

void PeerPages::downgrade_enabled(const Request& request, Reply reply) {
  if (request.method != "GET") return reply(method_not_allowed());
  source_.linearizable_read([this, cluster = source_.cluster_id(),
                             reply = std::move(reply)](Result<> read) mutable {
    Response r =
        read ? Response{200, {{"Content-Type", "text/plain"}}, source_.downgrade_enabled() ? "true" : "false"}
             : error_response(500, fmt::format("failed linearized read: {}", read.error().text()));
    r.headers.emplace_back(kClusterId, std::move(cluster));
    reply(std::move(r));
  });
}

}  // namespace quoin::httpapi
