// What a member says, told to all watchers of its broadcast.
#include "cmd/grpcproxy/watch_parts.h"
#include "wire/message.h"

namespace quoin::cmd::grpcproxy {

namespace pb = wire::etcdserverpb;

WatchProxy::Broadcast::~Broadcast() {
  *alive_ = nullptr;
  ranges_.pending_changed(-static_cast<int64_t>(pending_bytes_));
}

void WatchProxy::Broadcast::append(Watcher& watcher) {
  watcher.broadcast = this;
  watcher.place = receivers_.size();
  receivers_.push_back(&watcher);
  if (++count_ > 1) ++ranges_.coalescing_;
}

bool WatchProxy::Broadcast::add(Watcher& watcher) {
  if (over_ || next_revision_ > watcher.next_revision) return false;
  if (next_revision_ == 0 && watcher.next_revision != 0) return false;
  // The member's own news of the creation is still to come.
  if (responses_ == 0) return append(watcher), true;
  WatchResponse created;
  created.header.emplace().revision = watcher.next_revision;
  created.watch_id = watcher.id;
  created.created = true;
  append(watcher);
  watcher.stream->post(created);
  return true;
}

void WatchProxy::Broadcast::remove(Watcher& watcher) {
  receivers_[watcher.place] = nullptr;
  watcher.broadcast = nullptr;
  if (count_-- > 1) --ranges_.coalescing_;
}

bool WatchProxy::Broadcast::merge(Broadcast& other) {
  const bool idle = pending_.empty() && other.pending_.empty();
  if (!idle || over_ || responses_ == 0 || other.next_revision_ < next_revision_) return false;
  for (Watcher* w : other.receivers_) {
    if (w == nullptr) continue;
    other.remove(*w);
    append(*w);
  }
  return true;
}

void WatchProxy::Broadcast::on_response(const WatchResponse& response, std::string_view bytes) {
  auto message = std::make_unique<Message>(bytes);
  message->response = *wire::decode<WatchResponse>(message->bytes);
  if (!ranges_.prefix().empty()) ranges_.prefix().strip(message->response, message->store);
  const int64_t revision = response.header ? response.header->revision : 0;
  if (responses_ > 0 || next_revision_ == 0) next_revision_ = revision + 1;
  ++responses_;
  over_ = response.canceled;
  pending_bytes_ += bytes.size();
  ranges_.pending_changed(static_cast<int64_t>(bytes.size()));
  pending_.push_back(std::move(message));
  if (!stepping_) step();
}

void WatchProxy::Broadcast::on_lost(GrpcStatus status, std::string_view text) {
  over_ = true;
  // Their streams end: a watcher that hears nothing any more would wait for ever.
  std::vector<Watcher*> all = receivers_;
  const std::string why(text);
  for (Watcher* w : all) {
    if (w == nullptr) continue;
    remove(*w);
    w->stream->fail(status, why);
  }
  ranges_.drop(*this);
}

void WatchProxy::Broadcast::step() {
  stepping_ = false;
  size_t budget = kReceiversAStep;
  while (!pending_.empty()) {
    Message& message = *pending_.front();
    for (; told_ < receivers_.size(); ++told_) {
      if (budget-- == 0) {
        stepping_ = true;
        ranges_.context().turns.add([alive = alive_] {
          if (Broadcast* self = *alive) self->step();
        });
        return;
      }
      if (Watcher* w = receivers_[told_]) tell(*w, message);
    }
    told_ = 0;
    const bool last = message.response.canceled;
    if (count_ > 0) ranges_.context().metrics.events_coalescing.inc(count_ - 1);
    pending_bytes_ -= message.bytes.size();
    ranges_.pending_changed(-static_cast<int64_t>(message.bytes.size()));
    pending_.pop_front();
    if (!last) continue;
    for (Watcher* w : std::vector<Watcher*>(receivers_)) {
      if (w != nullptr) remove(*w);
    }
    return ranges_.drop(*this);
  }
  // Those that left make room.
  if (receivers_.size() > 2 * count_ + 16) {
    std::erase(receivers_, nullptr);
    for (size_t i = 0; i < receivers_.size(); ++i) receivers_[i]->place = i;
  }
  ranges_.coalesce(*this);
}

namespace {

Blob encode_events(const std::vector<wire::mvccpb::Event>& events, bool prev_kv) {
  WatchResponse r;
  r.events = events;
  if (!prev_kv) {
    for (auto& e : r.events) e.prev_kv.reset();
  }
  return wire::encode_blob(r);
}

int64_t mod_revision(const wire::mvccpb::Event& e) {
  const auto kv = e.kv ? wire::decode(*e.kv) : Result<wire::mvccpb::KeyValue>();
  return kv ? kv->mod_revision : 0;
}

}  // namespace

void WatchProxy::Broadcast::tell(Watcher& w, Message& message) {
  const WatchResponse& r = message.response;
  const int64_t revision = r.header ? r.header->revision : 0;
  if (message.is_progress() && !w.progress) return;
  if (!r.events.empty() && w.next_revision > revision) return;
  if (w.next_revision == 0) w.next_revision = revision + 1;

  WatchResponse head;
  head.header = r.header;
  head.watch_id = w.id;
  head.created = r.created;
  head.canceled = r.canceled;
  head.compact_revision = r.compact_revision;
  Blob tail;
  if (!r.events.empty()) {
    const int64_t last = mod_revision(r.events.back());
    const bool whole = !w.no_put && !w.no_delete && mod_revision(r.events.front()) >= w.next_revision;
    if (whole) {
      Blob& shared = w.prev_kv ? message.with_prev : message.without_prev;
      if (shared.empty()) shared = encode_events(r.events, w.prev_kv);
      tail = shared;
    } else {
      std::vector<wire::mvccpb::Event> events;
      for (const auto& e : r.events) {
        if (mod_revision(e) < w.next_revision) continue;
        const bool put = e.type == wire::mvccpb::Event::EventType::kPut;
        if (put ? w.no_put : w.no_delete) continue;
        events.push_back(e);
      }
      if (!events.empty()) tail = encode_events(events, w.prev_kv);
    }
    if (last >= w.next_revision) w.next_revision = last + 1;
    if (tail.empty() && !r.created && !r.canceled && r.compact_revision == 0) return;
  }
  w.last.header = r.header;
  if (w.last.header) w.last.header->unknown = {};
  w.stream->post(wire::encode_string(head), tail);
}

}  // namespace quoin::cmd::grpcproxy
