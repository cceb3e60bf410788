#include "cmd/etcdctl/watcher.h"

#include <thread>

#include "base/result.h"
#include "cmd/etcdctl/methods.h"

namespace quoin::ctl {
namespace {

// What a new stream may change (client/v3: isHaltErr and run).
bool is_passing(const RpcError& e) {
  if (e.is(Code::kNoLeader)) return false;
  return e.status == GrpcStatus::kUnavailable || e.status == GrpcStatus::kInternal;
}

}  // namespace

std::optional<RpcError> Watcher::open() {
  auto opened = client_.stream(kWatch, Deadline::never(), needs_leader_);
  if (!opened) return std::move(opened.error());
  pb::WatchRequest create;
  *create.mutable_create_request() = request_;
  std::shared_ptr<WatchStream> stream = std::move(*opened);
  stream->write(create);
  const std::lock_guard lock(mutex_);
  stream_ = std::move(stream);
  if (stopped_) stream_->cancel();
  return std::nullopt;
}

void Watcher::request_progress() {
  pb::WatchRequest progress;
  progress.mutable_progress_request();
  const std::lock_guard lock(mutex_);
  if (stream_) stream_->write(progress);
}

void Watcher::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  if (stream_) stream_->cancel();
}

void Watcher::pause() {
  constexpr int kPauseMsMax = 100;
  std::this_thread::sleep_for(std::chrono::milliseconds(pause_ms_));
  pause_ms_ = std::min(pause_ms_ + pause_ms_ / 4 + 1, kPauseMsMax);
}

WatchAnswer Watcher::last_answer(std::string why) {
  ended_ = true;
  WatchAnswer a;
  a.response.set_canceled(true);
  a.error = std::move(why);
  a.broken = true;
  return a;
}

std::optional<WatchAnswer> Watcher::take(pb::WatchResponse& r) {
  constexpr int64_t kNoId = -1;
  pause_ms_ = 1;
  if (r.created()) {
    if (r.watch_id() == kNoId || (r.canceled() && !r.cancel_reason().empty())) {
      return last_answer(r.cancel_reason());
    }
    // So that what comes between this answer and a lost connection is not missed.
    if (!created_ && request_.start_revision() == 0) request_.set_start_revision(r.header().revision() + 1);
    created_ = true;
    return std::nullopt;
  }
  if (r.canceled() && r.compact_revision() == 0) {
    ended_ = true;
    return std::nullopt;
  }
  request_.set_start_revision(r.header().revision() + 1);
  if (!r.events().empty()) request_.set_start_revision(r.events().rbegin()->kv().mod_revision() + 1);
  WatchAnswer a;
  r.clear_watch_id();
  a.response = std::move(r);
  if (a.response.compact_revision() != 0) {
    a.error = error_info(Code::kCompacted).text;
    ended_ = true;
  }
  return a;
}

std::optional<WatchAnswer> Watcher::next() {
  while (!ended_) {
    std::shared_ptr<WatchStream> stream;
    {
      const std::lock_guard lock(mutex_);
      if (stopped_) return std::nullopt;
      stream = stream_;
    }
    std::optional<RpcError> error;
    if (!stream) {
      error = open();
      if (!error) continue;
    } else {
      pb::WatchResponse response;
      if (stream->read(response)) {
        if (auto answer = take(response)) return answer;
        continue;
      }
      error = stream->finish();
      const std::lock_guard lock(mutex_);
      stream_.reset();
      if (stopped_) return std::nullopt;
      if (!error) return last_answer("EOF");
    }
    if (!is_passing(*error)) return last_answer(error->text());
    pause();
  }
  return std::nullopt;
}

}  // namespace quoin::ctl
