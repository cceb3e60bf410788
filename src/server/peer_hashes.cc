#include "server/peer_hashes.h"

#include <memory>
#include <nlohmann/json.hpp>

#include "base/coding.h"
#include "server/member_versions.h"
#include "server/stages.h"

namespace quoin::server {

namespace {

constexpr unsigned kOk = 200, kPreconditionFailed = 412;

PeerRequest hash_request(const Stages& s, int64_t revision) {
  PeerRequest request;
  request.path = "/members/hashkv";
  request.fields = {{"X-Etcd-Cluster-ID", hex(s.cluster_id.v)}};
  // Go leaves a zero out.
  request.body = revision == 0 ? std::string("{}") : fmt::format(R"({{"revision":{}}})", revision);
  request.timeout_ns = s.config.request_timeout_ns();
  return request;
}

std::vector<PeerHashAnswer> others(Stages& s) {
  std::vector<PeerHashAnswer> out;
  for (const membership::Member& m : s.apply.members()->list()) {
    if (m.id != s.self) out.push_back({m.id, m.peer_urls, Error(Code::kNotFound)});
  }
  return out;
}

void warn_unreachable(Stages& s, const PeerHashAnswer& peer, const std::string& url, int64_t revision) {
  LOG(s.env.log, kWarn, "failed to get hash kv by rev", {"remote-peer-endpoint", url},
      {"requested-revision", revision}, {"error", peer.answer.error().text()});
}

}  // namespace

Result<PeerHash> parse_peer_hash(const PeerAnswer& answer) {
  if (answer.status == kPreconditionFailed) return Error(Code::kInvalidArgument, "cluster ID mismatch");
  if (answer.status != kOk) {
    for (const Code code : {Code::kFutureRev, Code::kCompacted}) {
      if (answer.body.find(internal_text(Error(code))) != std::string::npos) return Error(code);
    }
    return make_error(Code::kIo, "unexpected http status {}: {}", answer.status, answer.body);
  }
  const auto json = nlohmann::json::parse(answer.body, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return make_error(Code::kMalformed, "no hash in \"{}\"", answer.body);
  const auto number = [](const nlohmann::json& object, const char* key) -> int64_t {
    const auto found = object.find(key);
    return found != object.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
  };
  PeerHash out;
  out.hash = static_cast<uint32_t>(number(json, "hash"));
  out.compact_revision = number(json, "compact_revision");
  if (const auto header = json.find("header"); header != json.end() && header->is_object()) {
    out.revision = number(*header, "revision");
  }
  return out;
}

void ask_peer_hashes(Stages& s, int64_t revision,
                     std::function<void(const std::vector<PeerHashAnswer>&)> done) {
  struct All {
    std::vector<PeerHashAnswer> peers;
    size_t missing = 0;
    std::function<void(const std::vector<PeerHashAnswer>&)> done;
  };
  auto all = std::make_shared<All>();
  all->peers = others(s);
  all->missing = all->peers.size();
  all->done = std::move(done);
  if (all->peers.empty()) return all->done(all->peers);
  for (size_t i = 0; i < all->peers.size(); ++i) {
    membership::Member member;
    member.peer_urls = all->peers[i].urls;
    ask_member(
        s, member, hash_request(s, revision),
        [&s, all, i, revision](const std::string& url, const Result<PeerAnswer>& answer) {
          PeerHashAnswer& peer = all->peers[i];
          peer.answer = answer ? parse_peer_hash(*answer) : Result<PeerHash>(answer.error());
          if (!answer) warn_unreachable(s, peer, url, revision);
          return answer.has_value();
        },
        [all] {
          if (--all->missing == 0) all->done(all->peers);
        });
  }
}

std::vector<PeerHashAnswer> fetch_peer_hashes(Stages& s, int64_t revision) {
  std::vector<PeerHashAnswer> peers = others(s);
  for (PeerHashAnswer& peer : peers) {
    for (const std::string& url : peer.urls) {
      const auto answer = s.peers.fetch_now(url, hash_request(s, revision));
      peer.answer = answer ? parse_peer_hash(*answer) : Result<PeerHash>(answer.error());
      if (answer) break;
      warn_unreachable(s, peer, url, revision);
    }
  }
  return peers;
}

}  // namespace quoin::server
