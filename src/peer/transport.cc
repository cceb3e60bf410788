#include "peer/transport.h"

#include <chrono>
#include <condition_variable>
#include <list>

#include "base/check.h"
#include "peer/call.h"
#include "peer/peer_set.h"
#include "raft/codec.h"

namespace quoin::peer {

namespace {
constexpr int64_t kLoopGraceNs = io::kSecond;
}

class Transport::Core : public std::enable_shared_from_this<Core> {
 public:
  Core(Options options, const Environment& e)
      : set_(Context{std::move(options), e.network, e.loop, e.timers, e.clock, e.files, e.log,
                     Probe(e.metrics), e.tls}),
        inbox_dropped_(e.metrics.counter("quoin_peer_inbox_dropped_total",
                                         "Messages dropped since the peer loop did not take them over.")) {}

  PeerSet& set() { return set_; }
  Context& context() { return set_.context(); }
  io::Loop& loop() { return context().loop; }

  void send(std::vector<raft::Message> messages);
  void fetch(std::string url, server::PeerRequest request, io::Executor& executor, server::PeerAnswered done);
  void stop();

 private:
  struct Outgoing {
    raft::Message message;
    size_t bytes;
  };
  struct Fetch {
    std::unique_ptr<Call> call;
    io::Executor& executor;
    server::PeerAnswered done;
  };
  // Messages handed on in one task.
  static constexpr size_t kBatch = 1024;

  void take_inbox();
  void fetched(std::list<Fetch>::iterator fetch, Result<server::PeerAnswer> answer);

  PeerSet set_;
  std::list<Fetch> fetches_;
  bool stopped_ = false;

  std::mutex mutex_;  // guards what follows
  std::vector<Outgoing> inbox_;
  size_t inbox_bytes_ = 0;
  bool inbox_posted_ = false;
  metrics::Counter& inbox_dropped_;

  std::vector<Outgoing> taken_;  // of the inbox, on the loop
  size_t next_taken_ = 0;
};

// ---- messages ----

void Transport::Core::send(std::vector<raft::Message> messages) {
  std::vector<MemberId> dropped;
  bool post = false;
  {
    std::lock_guard lock(mutex_);
    const size_t before = inbox_bytes_;
    for (raft::Message& m : messages) {
      const size_t bytes = raft::encoded_size(m);
      if (inbox_bytes_ > 0 && inbox_bytes_ + bytes > context().options.inbox_bytes_max) {
        dropped.push_back(m.to);
        continue;
      }
      inbox_bytes_ += bytes;
      inbox_.push_back({std::move(m), bytes});
    }
    context().probe.inbox_bytes.add(static_cast<double>(inbox_bytes_ - before));
    post = !inbox_.empty() && !std::exchange(inbox_posted_, true);
  }
  for (MemberId to : dropped) {
    inbox_dropped_.inc();
    context().handler->unreachable(to);
  }
  if (post) loop().post([core = shared_from_this()] { core->take_inbox(); });
}

void Transport::Core::take_inbox() {
  if (next_taken_ == taken_.size()) {
    taken_.clear();
    next_taken_ = 0;
    std::lock_guard lock(mutex_);
    taken_.swap(inbox_);
  }
  const size_t end = std::min(taken_.size(), next_taken_ + kBatch);
  size_t bytes = 0;
  for (; next_taken_ < end; ++next_taken_) {
    Outgoing& o = taken_[next_taken_];
    bytes += o.bytes;
    set_.send(std::move(o.message), o.bytes);
  }
  context().probe.inbox_bytes.add(-static_cast<double>(bytes));
  bool more;
  {
    std::lock_guard lock(mutex_);
    inbox_bytes_ -= bytes;
    more = next_taken_ < taken_.size() || !inbox_.empty();
    if (!more) inbox_posted_ = false;
  }
  if (more) loop().post([core = shared_from_this()] { core->take_inbox(); });
}

// ---- questions ----

void Transport::Core::fetch(std::string url, server::PeerRequest request, io::Executor& executor,
                            server::PeerAnswered done) {
  const auto fetch = fetches_.insert(fetches_.end(), Fetch{nullptr, executor, std::move(done)});
  if (stopped_) return fetched(fetch, Error(Code::kStopped));
  http1::ClientRequest r;
  r.method = std::move(request.method);
  r.target = std::move(request.path);
  r.fields = std::move(request.fields);
  const CallLimits limits{.dial_ns = context().options.dial_timeout_ns,
                          .timeout_ns = request.timeout_ns,
                          .answer_bytes_max = request.answer_bytes_max};
  fetch->call = std::make_unique<Call>(
      context(), url, std::move(r), std::move(request.body), limits,
      [this, fetch](Result<server::PeerAnswer> answer) { fetched(fetch, std::move(answer)); });
}

void Transport::Core::fetched(std::list<Fetch>::iterator fetch, Result<server::PeerAnswer> answer) {
  io::Executor& executor = fetch->executor;
  executor.post(
      [done = std::move(fetch->done), answer = std::move(answer)]() mutable { done(std::move(answer)); });
  fetches_.erase(fetch);
}

void Transport::Core::stop() {
  stopped_ = true;
  while (!fetches_.empty()) fetched(fetches_.begin(), Error(Code::kStopped));
  set_.stop();
}

// ---- Transport ----

Transport::Transport(Options options, const Environment& environment)
    : core_(std::make_shared<Core>(std::move(options), environment)), wait_(environment.wait) {}

Transport::~Transport() = default;

void Transport::start(server::PeerHandler& handler) {
  Context& context = core_->context();
  context.self = handler.self();
  context.cluster = handler.cluster();
  // Read on the loop only after a task that is posted later, or after the front has begun to serve.
  context.handler = &handler;
}

http1::Door& Transport::door() {
  return core_->set().door();
}

void Transport::stop(Task done) {
  core_->loop().post([core = core_, done = std::move(done)]() mutable {
    core->stop();
    if (done) done();
  });
}

void Transport::on_loop(absl::AnyInvocable<void(PeerSet&)> task) {
  core_->loop().post([core = core_, task = std::move(task)]() mutable { task(core->set()); });
}

void Transport::send(std::vector<raft::Message> messages) {
  core_->send(std::move(messages));
}

void Transport::send_snapshot(raft::Message message, std::shared_ptr<backend::SnapshotSource> source) {
  on_loop([message = std::move(message), source = std::move(source)](PeerSet& set) mutable {
    set.send_snapshot(std::move(message), std::move(source));
  });
}

void Transport::add(MemberId id, std::vector<std::string> urls) {
  on_loop([id, urls = std::move(urls)](PeerSet& set) mutable { set.add(id, std::move(urls)); });
}

void Transport::add_remote(MemberId id, std::vector<std::string> urls) {
  on_loop([id, urls = std::move(urls)](PeerSet& set) mutable { set.add_remote(id, std::move(urls)); });
}

void Transport::update(MemberId id, std::vector<std::string> urls) {
  on_loop([id, urls = std::move(urls)](PeerSet& set) mutable { set.update(id, std::move(urls)); });
}

void Transport::remove(MemberId id) {
  on_loop([id](PeerSet& set) { set.remove(id); });
}

void Transport::remove_all() {
  on_loop([](PeerSet& set) { set.remove_all(); });
}

std::optional<io::MonotonicNs> Transport::active_since(MemberId id) const {
  return core_->set().active_since(id);
}

void Transport::fetch(std::string url, server::PeerRequest request, io::Executor& executor,
                      server::PeerAnswered done) {
  core_->loop().post([core = core_, url = std::move(url), request = std::move(request), &executor,
                      done = std::move(done)]() mutable {
    core->fetch(std::move(url), std::move(request), executor, std::move(done));
  });
}

Result<server::PeerAnswer> Transport::fetch_now(std::string url, server::PeerRequest request) {
  CHECK(!core_->loop().running_here());
  struct Waiter {
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<Result<server::PeerAnswer>> answer;
  };
  const auto waiter = std::make_shared<Waiter>();
  if (request.timeout_ns <= 0) request.timeout_ns = server::PeerRequest().timeout_ns;
  const auto patience = std::chrono::nanoseconds(request.timeout_ns + kLoopGraceNs);
  fetch(std::move(url), std::move(request), core_->loop(), [waiter](Result<server::PeerAnswer> answer) {
    std::lock_guard lock(waiter->mutex);
    waiter->answer = std::move(answer);
    waiter->changed.notify_all();
  });
  const auto over = [&] {
    std::lock_guard lock(waiter->mutex);
    return waiter->answer.has_value();
  };
  if (wait_) {
    wait_(over);
  } else {
    std::unique_lock lock(waiter->mutex);
    // The loop ends the call in its time. Where no loop runs any more, this does.
    waiter->changed.wait_for(lock, patience, [&] { return waiter->answer.has_value(); });
    if (!waiter->answer) return Error(Code::kContextDeadlineExceeded);
  }
  if (!over()) return Error(Code::kStopped);
  return std::move(*waiter->answer);
}

}  // namespace quoin::peer
