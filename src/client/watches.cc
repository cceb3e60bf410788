#include "client/watches.h"

#include <algorithm>

#include "client/methods.h"
#include "wire/message.h"

namespace quoin::client {

namespace pb = wire::etcdserverpb;

Watch::~Watch() {
  if (owner_ != nullptr) owner_->stop(*this);
}

Watches::~Watches() {
  for (auto& [id, watch] : watches_) watch->owner_ = nullptr;
}

void Watches::start(Watch& watch, WatchOptions options) {
  watch.owner_ = this;
  watch.id_ = ++last_id_;
  watch.options_ = std::move(options);
  watch.there_ = watch.told_ = false;
  watches_.emplace(watch.id_, &watch);
  if (!Call::active()) {
    if (!pause_) open();
    return;
  }
  to_ask_.push_back(watch.id_);
  ask();
}

void Watches::stop(Watch& watch) {
  const bool there = watch.there_;
  const int64_t server_id = watch.server_id_;
  forget(watch);
  if (!Call::active()) return;
  if (watches_.empty()) return client_.cancel(*this);
  // One that is asked for and not there yet is cancelled when the server says its identity.
  if (there) send_cancel(server_id);
}

void Watches::forget(Watch& watch) {
  watch.owner_ = nullptr;
  watches_.erase(watch.id_);
  if (std::exchange(watch.there_, false)) by_server_.erase(watch.server_id_);
}

void Watches::hold(bool on) {
  held_ = on;
  if (Call::active()) client_.hold(*this, on);
}

void Watches::open() {
  pause_.reset();
  if (watches_.empty()) return;
  heard_ = false;
  keeps_ids_.reset();
  asked_.clear();
  to_ask_.clear();
  by_server_.clear();
  client_.open(*this, methods::kWatch, {.metadata = metadata_.empty() ? nullptr : &metadata_});
  if (held_) client_.hold(*this, true);
  for (const auto& [id, watch] : watches_) {
    watch->there_ = false;
    to_ask_.push_back(id);
  }
  ask();
}

void Watches::ask() {
  while (!to_ask_.empty() && (keeps_ids_ == true || asked_.empty())) {
    const int64_t id = to_ask_.front();
    to_ask_.pop_front();
    const auto it = watches_.find(id);
    if (it == watches_.end()) continue;
    asked_.push_back(id);
    send_create(*it->second);
  }
}

void Watches::send_create(const Watch& watch) {
  pb::WatchRequest request;
  pb::WatchCreateRequest& create = request.set_create_request();
  create.key = watch.options_.key;
  create.range_end = watch.options_.range_end;
  create.start_revision = watch.options_.start_revision;
  create.progress_notify = watch.options_.progress_notify;
  create.prev_kv = watch.options_.prev_kv;
  create.watch_id = watch.id_;
  client_.send(*this, wire::encode_string(request));
}

void Watches::send_cancel(int64_t server_id) {
  pb::WatchRequest request;
  request.set_cancel_request().watch_id = server_id;
  client_.send(*this, wire::encode_string(request));
}

// Those that are refused are told without their identity: they are the next in turn.
Watch* Watches::created(const pb::WatchResponse& r) {
  if (asked_.empty()) return nullptr;
  int64_t id = asked_.front();
  if (r.watch_id >= kFirstId) {
    id = r.watch_id;
    keeps_ids_ = true;
    std::erase(asked_, id);
  } else {
    asked_.pop_front();
    if (r.watch_id >= 0) keeps_ids_ = false;
  }
  const auto it = watches_.find(id);
  Watch* watch = it == watches_.end() ? nullptr : it->second;
  if (watch != nullptr && !r.canceled) {
    watch->there_ = true;
    watch->server_id_ = r.watch_id;
    by_server_.insert_or_assign(r.watch_id, watch);
  } else if (watch == nullptr && r.watch_id >= 0 && !r.canceled) {
    send_cancel(r.watch_id);
  }
  ask();
  return watch;
}

void Watches::on_message(std::string_view message) {
  heard_ = true;
  const auto r = wire::decode<pb::WatchResponse>(message);
  if (!r) return client_.cancel(*this);
  Watch* watch = nullptr;
  if (r->created) {
    watch = created(*r);
  } else if (const auto it = by_server_.find(r->watch_id); it != by_server_.end()) {
    watch = it->second;
  }
  if (watch == nullptr) return;
  if (r->canceled) {
    forget(*watch);
    return watch->on_response(*r, message);
  }
  int64_t& next = watch->options_.start_revision;
  if (r->created) {
    if (next == 0 && r->header) next = r->header->revision + 1;
    if (std::exchange(watch->told_, true)) return;  // on a stream before
  } else if (!r->events.empty()) {
    const auto& kv = r->events.back().kv;
    const auto last = kv ? wire::decode(*kv) : Result<wire::mvccpb::KeyValue>();
    if (last) next = std::max(next, last->mod_revision + 1);
  } else if (r->header) {
    next = std::max(next, r->header->revision + 1);
  }
  watch->on_response(*r, message);
}

void Watches::on_end(GrpcStatus status, std::string_view text) {
  if (watches_.empty()) return;
  // A cancellation of ours came before the watches that are there now.
  const bool again = status == GrpcStatus::kUnavailable || status == GrpcStatus::kInternal ||
                     (status == GrpcStatus::kCanceled && text == "context canceled");
  if (again) {
    pause_ = env_.timers.schedule(heard_ ? 0 : kPauseNs, env_.loop, [this] { open(); });
    return;
  }
  const std::string why(text);
  while (!watches_.empty()) {
    Watch& watch = *watches_.begin()->second;
    forget(watch);
    watch.on_lost(status, why);
  }
}

}  // namespace quoin::client
