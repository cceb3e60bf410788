#include "cmd/etcdctl/lease_session.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <thread>

#include "base/check.h"
#include "cmd/etcdctl/kv_requests.h"
#include "cmd/etcdctl/lease_keeper.h"
#include "cmd/etcdctl/methods.h"

namespace quoin::ctl {
namespace {

// The handler writes a byte into this pipe. One per program.
int signal_pipe[2] = {-1, -1};

void on_signal(int) {
  const int kept = errno;
  [[maybe_unused]] const auto n = write(signal_pipe[1], "s", 1);
  errno = kept;
}

}  // namespace

Rpc<std::shared_ptr<LeaseSession>> LeaseSession::open(std::shared_ptr<Client> client, int64_t ttl) {
  pb::LeaseGrantRequest request;
  request.set_ttl(ttl);
  const auto granted = client->call(kLeaseGrant, request, Deadline::never());
  if (!granted) return tl::unexpected(granted.error());
  const std::shared_ptr<LeaseSession> s(new LeaseSession(std::move(client), granted->id()));
  std::thread([s] {
    LeaseKeeper keeper(*s->client_, s->lease_);
    while (keeper.next()) {
    }
    const std::lock_guard lock(s->mutex_);
    s->lease_lost_ = true;
    s->changed_.notify_all();
  }).detach();
  return s;
}

std::string LeaseSession::key_under(const std::string& prefix) const {
  return fmt::format("{}{:x}", prefix, static_cast<uint64_t>(lease_));
}

void LeaseSession::catch_signals() {
  CHECK(pipe2(signal_pipe, O_CLOEXEC) == 0, "no pipe");
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::thread([s = shared_from_this()] {
    char c = 0;
    while (read(signal_pipe[0], &c, 1) < 0 && errno == EINTR) {
    }
    s->cancel();
  }).detach();
}

void LeaseSession::cancel() {
  const std::lock_guard lock(mutex_);
  canceled_ = true;
  if (watcher_) watcher_->stop();
  changed_.notify_all();
}

bool LeaseSession::canceled() {
  const std::lock_guard lock(mutex_);
  return canceled_;
}

bool LeaseSession::run(std::function<void()> work) {
  const auto done = std::make_shared<bool>(false);  // guarded by mutex_
  std::thread([s = shared_from_this(), done, work = std::move(work)] {
    work();
    const std::lock_guard lock(s->mutex_);
    *done = true;
    s->changed_.notify_all();
  }).detach();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return *done || canceled_; });
  return !canceled_;
}

bool LeaseSession::wait_for_signal() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return canceled_ || lease_lost_; });
  return canceled_;
}

std::shared_ptr<Watcher> LeaseSession::watch(pb::WatchCreateRequest request) {
  const std::lock_guard lock(mutex_);
  if (canceled_) return nullptr;
  watcher_ = std::make_shared<Watcher>(*client_, std::move(request), false);
  return watcher_;
}

std::optional<std::string> LeaseSession::wait_for_delete(const std::string& key, int64_t revision) {
  pb::WatchCreateRequest request;
  request.set_key(key);
  request.set_start_revision(revision);
  const auto watcher = watch(std::move(request));
  if (!watcher) return kCanceled;
  while (const auto answer = watcher->next()) {
    if (!answer->error.empty()) return answer->error;
    for (const auto& e : answer->response.events()) {
      if (e.type() == mvccpb::Event::DELETE) return std::nullopt;
    }
  }
  return canceled() ? kCanceled : "lost watcher waiting for delete";
}

std::optional<std::string> LeaseSession::wait_for_deletes(const std::string& prefix, int64_t revision) {
  for (;;) {
    const auto r = client_->call(kRange, last_created(prefix, revision), Deadline::never());
    if (canceled()) return kCanceled;
    if (!r) return r.error().text();
    if (r->kvs().empty()) return std::nullopt;
    if (auto e = wait_for_delete(r->kvs(0).key(), r->header().revision())) return e;
  }
}

pb::RangeRequest first_created(const std::string& prefix) {
  pb::RangeRequest r;
  r.set_key(prefix);
  r.set_range_end(prefix_end(prefix));
  r.set_sort_target(pb::RangeRequest::CREATE);
  r.set_sort_order(pb::RangeRequest::ASCEND);
  r.set_limit(1);
  return r;
}

pb::RangeRequest last_created(const std::string& prefix, int64_t max_revision) {
  pb::RangeRequest r = first_created(prefix);
  r.set_sort_order(pb::RangeRequest::DESCEND);
  r.set_max_create_revision(max_revision);
  return r;
}

}  // namespace quoin::ctl
