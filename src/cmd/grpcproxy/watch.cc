#include "cmd/grpcproxy/watch.h"

#include "client/methods.h"
#include "cmd/grpcproxy/forward.h"
#include "cmd/grpcproxy/watch_parts.h"
#include "wire/message.h"

namespace quoin::cmd::grpcproxy {

namespace pb = wire::etcdserverpb;

WatchProxy::WatchProxy(Context& context, grpc::MethodTable& methods)
    : context_(context), ranges_(std::make_unique<Ranges>(context)) {
  methods.add_stream("etcdserverpb.Watch", "Watch", grpc::MethodKind::kBidiStream, *this);
}
WatchProxy::~WatchProxy() = default;

std::unique_ptr<grpc::StreamListener> WatchProxy::open(grpc::Call& call) {
  return std::make_unique<Stream>(*ranges_, call);
}

// ---- a client's stream ----

WatchProxy::Stream::~Stream() {
  for (auto& [id, watcher] : watchers_) ranges_.remove(*watcher);
}

void WatchProxy::Stream::on_message(std::string_view bytes) {
  const auto request = wire::decode<pb::WatchRequest>(bytes);
  if (!request) return call_.fail_decode(request.error().text());
  if (const auto* r = request->create_request()) return create(*r);
  if (const auto* r = request->cancel_request()) return cancel(r->watch_id);
  LOG(ranges_.context().log, kError, "not supported request type by gRPC proxy",
      {"peer", call_.peer_address()});
}

// etcd's proxy ends a stream whose client says no more.
void WatchProxy::Stream::on_half_close() {
  call_.finish(GrpcStatus::kCanceled, "context canceled");
}

void WatchProxy::Stream::refuse(std::string_view reason, bool header) {
  WatchResponse r;
  if (header) r.header.emplace();
  r.watch_id = -1;
  r.created = r.canceled = true;
  r.cancel_reason = reason;
  post(r);
}

void WatchProxy::Stream::create(const pb::WatchCreateRequest& r) {
  if (r.start_revision < 0) return refuse(error_info(Code::kCompacted).text, true);
  wanted_ = std::make_unique<Watcher>();
  wanted_->stream = this;
  wanted_->next_revision = r.start_revision;
  wanted_->progress = r.progress_notify;
  wanted_->prev_kv = r.prev_kv;
  for (const auto filter : r.filters) {
    wanted_->no_put |= filter == pb::WatchCreateRequest::FilterType::kNoput;
    wanted_->no_delete |= filter == pb::WatchCreateRequest::FilterType::kNodelete;
  }
  wanted_range_ = {std::string(r.key), std::string(r.range_end)};
  const std::string zero(1, '\0');
  Store store;
  pb::RangeRequest question;
  question.key = r.key.empty() ? zero : r.key;
  question.range_end = r.key.empty() ? zero : r.range_end;
  question.limit = 1;
  question.serializable = question.count_only = true;
  if (!ranges_.prefix().empty()) ranges_.prefix().add(question, store);
  call_.pause_reading();
  ranges_.context().client.unary(check_, client::methods::kRange, wire::encode_string(question),
                                 {.metadata = token_.empty() ? nullptr : &token_});
}

void WatchProxy::Stream::checked(GrpcStatus status, std::string_view text) {
  if (call_.ended()) return;
  std::unique_ptr<Watcher> w = std::move(wanted_);
  if (status != GrpcStatus::kOk) {
    refuse(go_error_text(status, text), true);
  } else if (const auto& [key, end] = wanted_range_;
             !end.empty() && end <= key && end != std::string(1, '\0')) {
    refuse("", false);
  } else {
    w->id = next_id_++;
    Watcher& added = *watchers_.emplace(w->id, std::move(w)).first->second;
    ranges_.add(added, wanted_range_, token_);
  }
  if (!call_.ended()) call_.resume_reading();
}

void WatchProxy::Stream::cancel(int64_t id) {
  const auto it = watchers_.find(id);
  if (it == watchers_.end()) return;
  WatchResponse r = it->second->last;
  if (!r.header) r.header.emplace();
  r.watch_id = id;
  r.canceled = true;
  ranges_.remove(*it->second);
  watchers_.erase(it);
  post(r);
}

bool WatchProxy::Stream::post(std::string_view head, const Blob& tail) {
  if (call_.ended()) return false;
  if (call_.queued_bytes() > kQueueBytes) {
    LOG(ranges_.context().log, kError,
        "failed to put a watch response on the watcher's proxy stream channel,err is timeout", );
    ranges_.context().metrics.slow_streams.inc();
    call_.finish(GrpcStatus::kCanceled, "context canceled");
    return false;
  }
  call_.send(head, tail);
  return !call_.ended();
}

bool WatchProxy::Stream::post(const WatchResponse& response) {
  return post(wire::encode_string(response), Blob());
}

void WatchProxy::Stream::fail(GrpcStatus status, std::string_view text) {
  if (!call_.ended()) call_.finish(status, text);
}

// ---- ranges ----

client::Watches& WatchProxy::Ranges::upstream(const client::Metadata& token) {
  auto& slot = upstreams_[token.empty() ? "" : token[0].second];
  if (!slot) {
    slot = std::make_unique<client::Watches>(context_.client, context_.env, token);
    slot->hold(held_);
  }
  return *slot;
}

void WatchProxy::Ranges::add(Watcher& watcher, const Broadcast::Range& range, const client::Metadata& token) {
  auto& list = broadcasts_[range];
  for (auto& b : list) {
    if (b->add(watcher)) return count();
  }
  // Those without a watch are of tokens that nobody uses any more.
  if (upstreams_.size() >= sweep_at_) {
    std::erase_if(upstreams_, [](const auto& u) { return u.second->size() == 0; });
    sweep_at_ = 2 * upstreams_.size() + 16;
  }
  list.push_back(std::make_unique<Broadcast>(*this, range, watcher.next_revision));
  Broadcast& b = *list.back();
  b.append(watcher);
  client::WatchOptions options;
  options.key = prefix_.empty() ? range.first : prefix_.key(range.first);
  options.range_end = prefix_.empty() ? range.second : prefix_.end(range.second);
  options.start_revision = watcher.next_revision;
  options.progress_notify = options.prev_kv = true;
  upstream(token).start(b, std::move(options));
}

void WatchProxy::Ranges::remove(Watcher& watcher) {
  Broadcast* b = watcher.broadcast;
  if (b == nullptr) return;
  b->remove(watcher);
  if (b->size() == 0) drop(*b);
  count();
}

void WatchProxy::Ranges::drop(Broadcast& broadcast) {
  const auto it = broadcasts_.find(broadcast.range());
  if (it == broadcasts_.end()) return;
  std::erase_if(it->second, [&](const auto& b) { return b.get() == &broadcast; });
  if (it->second.empty()) broadcasts_.erase(it);
  count();
}

void WatchProxy::Ranges::coalesce(Broadcast& broadcast) {
  if (broadcast.size() >= kPopular) return;
  const auto it = broadcasts_.find(broadcast.range());
  if (it == broadcasts_.end()) return;
  for (auto& other : it->second) {
    if (other.get() == &broadcast || !other->merge(broadcast)) continue;
    drop(broadcast);
    return count();
  }
}

// Held while too much waits; it goes on once half of that is left.
void WatchProxy::Ranges::pending_changed(int64_t bytes) {
  pending_bytes_ = static_cast<size_t>(static_cast<int64_t>(pending_bytes_) + bytes);
  const bool hold = held_ ? pending_bytes_ > kPendingBytes / 2 : pending_bytes_ > kPendingBytes;
  if (hold == std::exchange(held_, hold)) return;
  for (auto& [token, upstream] : upstreams_) upstream->hold(hold);
}

void WatchProxy::Ranges::count() {
  context_.metrics.watchers_coalescing.set(coalescing_);
}

}  // namespace quoin::cmd::grpcproxy
