#include "peer/raft_door.h"

#include "base/check.h"
#include "base/coding.h"
#include "base/go_text.h"
#include "base/version.h"
#include "peer/context.h"
#include "peer/http_answers.h"
#include "peer/peer.h"
#include "peer/prober.h"

namespace quoin::peer {
namespace {

constexpr std::string_view kPost = "/raft", kSnapshot = "/raft/snapshot", kProbing = "/raft/probing",
                           kStream = "/raft/stream", kStreams = "/raft/stream/";

// Without empty parts, "." and "..".
bool clean(std::string_view path) {
  while (!path.empty()) {
    path.remove_prefix(1);  // '/'
    const std::string_view part = path.substr(0, path.find('/'));
    path.remove_prefix(part.size());
    if (part == "." || part == ".." || (part.empty() && !path.empty())) return false;
  }
  return true;
}

std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> out;
  while (true) {
    const size_t comma = list.find(',');
    out.emplace_back(list.substr(0, comma));
    if (comma == std::string_view::npos) return out;
    list.remove_prefix(comma + 1);
  }
}

}  // namespace

RaftDoor::RaftDoor(Context& context, Members& members)
    : context_(context), members_(members), posts_(context), snapshots_(context) {}

RaftDoor::~RaftDoor() = default;

void RaftDoor::stop() {
  stopped_ = true;
  posts_.stop();
  snapshots_.stop();
}

bool RaftDoor::serves(std::string_view path) const {
  return path == kPost || path == kSnapshot || path == kProbing || path == kStream ||
         (path.starts_with(kStreams) && clean(path));
}

void RaftDoor::on_request(std::unique_ptr<http1::Exchange> exchange) {
  CHECK(&exchange->loop() == &context_.loop);
  if (stopped_ || context_.handler == nullptr) return;  // closed without a word
  const http1::Request& request = exchange->request();
  if (request.path == kPost) return post(std::move(exchange));
  if (request.path == kSnapshot) return snapshot(std::move(exchange));
  if (request.path == kProbing) {
    return exchange->respond(
        {200, {{"Content-Type", "text/plain; charset=utf-8"}}, probing_answer(context_.clock.wall())});
  }
  if (request.path != kStream) return stream(std::move(exchange));
  // Go's ServeMux knows only what is below it.
  std::string location(kStreams);
  if (!request.query.empty()) location.append("?").append(request.query);
  exchange->respond(redirect_answer(request.method, location));
}

bool RaftDoor::compatible(http1::Exchange& exchange, const Fields& fields) {
  switch (check_compatibility(context_, exchange.request())) {
    case Compatibility::kOk:
      return true;
    case Compatibility::kIncompatible:
      exchange.respond(error_answer(412, kIncompatibleVersion, fields));
      return false;
    case Compatibility::kOtherCluster:
      exchange.respond(error_answer(412, kClusterIdMismatch, fields));
      return false;
    case Compatibility::kNoVersion:
      return false;  // closed without a word
  }
  return false;
}

void RaftDoor::remember_sender(const http1::Request& request) {
  uint64_t from = 0;
  const std::string_view urls = request.field("X-Peerurls").value_or("");
  if (urls.empty() || !parse_hex(request.field("X-Server-From").value_or(""), &from)) return;
  members_.add_remote(MemberId{from}, split(urls));
}

// ---- the three kinds ----

void RaftDoor::post(std::unique_ptr<http1::Exchange> exchange) {
  if (exchange->request().method != "POST") return exchange->respond(method_not_allowed("POST"));
  Fields fields{{"X-Etcd-Cluster-Id", hex(context_.cluster.v)}};
  if (!compatible(*exchange, fields)) return;
  remember_sender(exchange->request());
  posts_.take(std::move(exchange), std::move(fields));
}

void RaftDoor::snapshot(std::unique_ptr<http1::Exchange> exchange) {
  const auto count_refusal = [this] {
    context_.probe.snapshot_receive_failures.of("UNKNOWN_SNAPSHOT_SENDER").inc();
  };
  if (exchange->request().method != "POST") {
    count_refusal();
    return exchange->respond(method_not_allowed("POST"));
  }
  Fields fields{{"X-Etcd-Cluster-Id", hex(context_.cluster.v)}};
  if (!compatible(*exchange, fields)) return count_refusal();
  remember_sender(exchange->request());
  snapshots_.take(std::move(exchange), std::move(fields));
}

void RaftDoor::stream(std::unique_ptr<http1::Exchange> exchange) {
  const http1::Request& request = exchange->request();
  if (request.method != "GET") return exchange->respond(method_not_allowed("GET"));
  Fields fields{{"X-Server-Version", std::string(kEtcdVersion)},
                {"X-Etcd-Cluster-Id", hex(context_.cluster.v)}};
  const auto refuse = [&](unsigned status, std::string_view text) {
    exchange->respond(error_answer(status, text, std::move(fields)));
  };
  if (!compatible(*exchange, fields)) return;

  const size_t slash = request.path.rfind('/');
  const std::string_view folder = request.path.substr(0, slash), name = request.path.substr(slash + 1);
  StreamKind kind;
  if (folder == endpoint_of(StreamKind::kMsgApp)) {
    kind = StreamKind::kMsgApp;
  } else if (folder == endpoint_of(StreamKind::kMessage)) {
    kind = StreamKind::kMessage;
  } else {
    LOG(context_.log, kDebug, "ignored unexpected streaming request path",
        {"local-member-id", log::Hex{context_.self.v}},
        {"remote-peer-id-stream-handler", log::Hex{context_.self.v}}, {"path", request.path});
    return refuse(404, "invalid path");
  }
  uint64_t id = 0;
  if (!parse_hex(name, &id)) {
    // Of a path that ends in a slash Go takes the part before it.
    const std::string_view shown = name.empty() ? folder.substr(folder.rfind('/') + 1) : name;
    const bool hex_digits = shown.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
    LOG(context_.log, kWarn, "failed to parse path into ID", {"local-member-id", log::Hex{context_.self.v}},
        {"remote-peer-id-stream-handler", log::Hex{context_.self.v}}, {"path", shown},
        {"error", fmt::format("strconv.ParseUint: parsing {}: {}", go_quote(shown),
                              hex_digits ? "value out of range" : "invalid syntax")});
    return refuse(404, "invalid from");
  }
  const MemberId from{id};
  if (context_.handler->removed(from)) {
    LOG(context_.log, kWarn, "rejected stream from remote peer because it was removed",
        {"local-member-id", log::Hex{context_.self.v}},
        {"remote-peer-id-stream-handler", log::Hex{context_.self.v}}, {"remote-peer-id-from", log::Hex{id}});
    return refuse(410, "removed member");
  }
  Peer* const peer = members_.find(from);
  if (peer == nullptr) {
    // Of another cluster with the same id, or one that joined after what this member has applied so far.
    const std::string_view urls = request.field("X-Peerurls").value_or("");
    if (!urls.empty()) members_.add_remote(from, split(urls));
    LOG(context_.log, kWarn, "failed to find remote peer in cluster",
        {"local-member-id", log::Hex{context_.self.v}},
        {"remote-peer-id-stream-handler", log::Hex{context_.self.v}}, {"remote-peer-id-from", log::Hex{id}},
        {"cluster-id", log::Hex{context_.cluster.v}});
    return refuse(404, "error sender not found");
  }
  const std::string_view to = request.field("X-Raft-To").value_or("");
  if (to != hex(context_.self.v)) {
    LOG(context_.log, kWarn, "ignored streaming request; ID mismatch",
        {"local-member-id", log::Hex{context_.self.v}},
        {"remote-peer-id-stream-handler", log::Hex{context_.self.v}}, {"remote-peer-id-header", to},
        {"remote-peer-id-from", log::Hex{id}}, {"cluster-id", log::Hex{context_.cluster.v}});
    return refuse(412, "to field mismatch");
  }
  http1::Exchange::Taken taken = exchange->take_over(200, fields);
  if (taken.stream != nullptr) peer->attach(kind, std::move(taken.stream), taken.chunked);
}

}  // namespace quoin::peer
