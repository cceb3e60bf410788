#include "v3rpc/watch_service.h"

#include <atomic>
#include <deque>
#include <mutex>

#include "failpoint/failpoint.h"
#include "v3rpc/grpc_metrics.h"
#include "v3rpc/held_bytes.h"
#include "v3rpc/leader_monitor.h"

namespace quoin::v3rpc {

namespace pb = wire::etcdserverpb;

namespace {
constexpr uint32_t kWatchResponseHeaderField = 1;

// Response fields up to the events, which are field 11 and follow encoded.
std::string encode_head(const server::Member& member, const mvcc::WatchMessage& m) {
  pb::WatchResponse r;
  r.header = header(member, m.header_revision);
  r.watch_id = m.watch_id;
  r.created = m.created;
  r.canceled = m.canceled;
  r.compact_revision = m.compact_revision;
  r.cancel_reason = m.cancel_reason;
  r.fragment = m.fragment;
  return wire::encode_string(r);
}
}  // namespace

// Sinks with something for this loop.
class WatchService::Mailbox : public std::enable_shared_from_this<Mailbox> {
 public:
  explicit Mailbox(io::Loop& loop) : loop_(loop) {}
  void add(std::shared_ptr<Sink> sink);

 private:
  void drain();
  io::Loop& loop_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Sink>> waiting_;  // guarded by mutex_
};

class WatchService::Sink final : public mvcc::WatchSink, public std::enable_shared_from_this<Sink> {
 public:
  Sink(Loop& loop, std::shared_ptr<Mailbox> mailbox, StreamRef<Stream> stream)
      : stream(stream),
        member_(loop.member),
        bytes_max_(loop.limits.watch_queue_bytes),
        mailbox_(std::move(mailbox)),
        refusals_(loop.metrics.watch_queues_full),
        pending_(loop.metrics.pending_events) {}
  ~Sink() override { pending_.add(-static_cast<double>(events_.load())); }

  // ---- apply ----
  void control(mvcc::WatchMessage message) override { push({std::move(message), nullptr}); }
  bool deliver(const mvcc::WatchMessage& message) override {
    // The rest of a fragmented response always follows its beginning.
    if (!std::exchange(fragment_open_, message.fragment) && !has_room(message)) {
      fragment_open_ = false;
      return false;
    }
    push({message, nullptr});
    return true;
  }
  void catch_up(std::unique_ptr<mvcc::CatchUp> work) override { push({{}, std::move(work)}); }
  size_t header_bytes(int64_t revision) const override {
    const size_t n = encoded_size(header(member_, revision));
    return wire::length_delimited_size(kWatchResponseHeaderField, n);
  }
  mvcc::StreamId id;  // set on apply when the stream is opened

  // ---- loop ----
  struct Item {
    mvcc::WatchMessage message;
    std::unique_ptr<mvcc::CatchUp> work;  // else: message
  };
  std::vector<Item> take() {
    std::lock_guard lock(mutex_);
    return std::exchange(items_, {});
  }
  // What was taken has been written. True if apply was refused meanwhile and now has room again.
  bool release(const std::vector<mvcc::WatchMessage>& written) {
    size_t events = 0;
    for (const mvcc::WatchMessage& m : written) events += m.event_count;
    if (events > 0) {
      events_.fetch_sub(events);
      pending_.add(-static_cast<double>(events));
    }
    std::lock_guard lock(mutex_);
    for (const mvcc::WatchMessage& m : written) held_.remove(m.events);
    return held_.bytes() <= bytes_max_ / 2 && std::exchange(refused_, false);
  }
  const StreamRef<Stream> stream;

 private:
  // A single message larger than the bound still passes when nothing else waits.
  bool has_room(const mvcc::WatchMessage& message) {
    std::lock_guard lock(mutex_);
    if (held_.bytes() == 0 || held_.bytes() + held_.cost(message.events) <= bytes_max_) return true;
    // An almost empty queue announces no room later.
    refused_ = held_.bytes() > bytes_max_ / 2;
    if (refused_) refusals_.inc();
    return !refused_;
  }
  void push(Item item) {
    if (item.message.event_count > 0) {
      events_.fetch_add(item.message.event_count);
      pending_.add(static_cast<double>(item.message.event_count));
    }
    bool first;
    {
      std::lock_guard lock(mutex_);
      if (!item.work) held_.add(item.message.events);
      first = items_.empty();
      items_.push_back(std::move(item));
    }
    if (!first) return;
    // Gone with its loop: nobody reads any more.
    if (const auto mailbox = mailbox_.lock()) mailbox->add(shared_from_this());
  }

  server::Member& member_;
  const size_t bytes_max_;
  const std::weak_ptr<Mailbox> mailbox_;  // which holds the sinks that wait
  std::mutex mutex_;
  std::vector<Item> items_;        // guarded by mutex_
  HeldBytes held_;                 // guarded by mutex_: handed over and not yet written
  bool refused_ = false;           // guarded by mutex_: apply waits for room
  std::atomic<size_t> events_{0};  // of what is held
  metrics::Counter& refusals_;
  metrics::Gauge& pending_;     // the same of all streams
  bool fragment_open_ = false;  // apply: the message before is continued by the next one
};

void WatchService::Mailbox::add(std::shared_ptr<Sink> sink) {
  bool first;
  {
    std::lock_guard lock(mutex_);
    first = waiting_.empty();
    waiting_.push_back(std::move(sink));
  }
  if (first) loop_.post([self = shared_from_this()] { self->drain(); });
}

class WatchService::Stream final : public StreamBase<Stream> {
 public:
  Stream(Loop& loop, grpc::Call& call, std::shared_ptr<Mailbox> mailbox, int64_t progress_ns)
      : StreamBase(call), loop_(loop), sink_(std::make_shared<Sink>(loop, std::move(mailbox), self())) {
    loop_.member.on_apply([sink = sink_](mvcc::WatchTable& table) { sink->id = table.open_stream(*sink); });
    schedule_progress(progress_ns);
  }
  ~Stream() override { end(); }

  // ---- requests ----
  void on_message(std::string_view bytes) override {
    auto request = wire::decode<pb::WatchRequest>(bytes);
    if (!request) {
      call_.fail_decode(request.error().text());
      return end();
    }
    if (const auto* create = request->create_request()) {
      create_watch(bytes.size(), *create);
    } else if (const auto* cancel = request->cancel_request()) {
      send_to_apply(bytes.size(),
                    [id = cancel->watch_id](mvcc::WatchTable& t, mvcc::StreamId s) { t.cancel(s, id); });
    } else if (request->progress_request() != nullptr) {
      send_to_apply(bytes.size(), [](mvcc::WatchTable& t, mvcc::StreamId s) { t.request_progress(s); });
    }
    // Nothing or something unknown in the union: passed over.
  }
  void on_writable() override { pump(); }
  GrpcStatus on_cancelled(grpc::CancelReason reason) override {
    end();
    return reason == grpc::CancelReason::kDeadline ? GrpcStatus::kDeadlineExceeded : GrpcStatus::kCanceled;
  }

  // ---- responses ----
  void receive() {
    for (Sink::Item& item : sink_->take()) {
      if (item.work) {
        CHECK(catch_up_ == nullptr, "two catch-ups on one watch stream");
        catch_up_ = std::move(item.work);
        loop_.metrics.watch_catch_ups.inc();
      } else {
        // In its place among what apply sent: a watcher that takes the same id later is caught up with by
        // later work. Nothing of the catch-up goes out before this message does, since it runs while the
        // queue is empty.
        const mvcc::WatchMessage& m = item.message;
        if (m.canceled && !m.created && catch_up_) catch_up_->forget(m.watch_id);
        queue_.push_back(std::move(item.message));
      }
    }
    pump();
  }

 private:
  template <class Work>
  void send_to_apply(size_t bytes, Work work) {
    ++in_flight_;
    in_flight_bytes_ += bytes;
    if (full()) call_.pause_reading();
    loop_.member.on_apply(
        [sink = sink_, &to = loop_.port.loop(), work = std::move(work),
         done = self().then(&Stream::request_done, bytes)](mvcc::WatchTable& table) mutable {
          work(table, sink->id);
          to.post(std::move(done));
        });
  }
  void request_done(size_t bytes) {
    --in_flight_;
    in_flight_bytes_ -= bytes;
    // In portions: what was kept while the call was paused is moved by each.
    if (in_flight_ <= kRequestsInFlightMax / 2 && !full()) call_.resume_reading();
  }
  // The way in is closed while the way out is full, and while much is on its way through apply: every request
  // may be answered, and nothing bounds answers but that no more is asked for.
  bool full() const {
    return creating_ || in_flight_ >= kRequestsInFlightMax || in_flight_bytes_ >= kRequestBytesInFlightMax ||
           !queue_.empty() || !call_.writable();
  }

  void create_watch(size_t bytes, const pb::WatchCreateRequest& c) {
    mvcc::WatchRequest r;
    r.key = c.key;
    r.range_end = c.range_end;
    r.start_revision = c.start_revision;
    r.watch_id = c.watch_id;
    r.progress_notify = c.progress_notify;
    r.prev_kv = c.prev_kv;
    r.fragment = c.fragment;
    for (const auto f : c.filters) {
      if (f == pb::WatchCreateRequest::FilterType::kNoput) r.no_put = true;
      if (f == pb::WatchCreateRequest::FilterType::kNodelete) r.no_delete = true;
    }
    if (!loop_.callers->enabled()) [[likely]] {
      return send_to_apply(bytes,
                           [r = std::move(r)](mvcc::WatchTable& t, mvcc::StreamId s) { t.create(s, r); });
    }
    // Nothing else of the stream overtakes it: what was created is answered in the order of the requests.
    creating_ = true;
    call_.pause_reading();
    loop_.callers->with_access(
        call_, [self = self(), bytes, r = std::move(r)](grpc::Call&, Result<AccessRef> access) mutable {
          self.then(&Stream::create_as, bytes, std::move(r), std::move(access))();
        });
  }
  // The watch table asks in its place among the other checks.
  void create_as(size_t bytes, const mvcc::WatchRequest& r, const Result<AccessRef>& access) {
    creating_ = false;
    send_to_apply(bytes, [r, access](mvcc::WatchTable& t, mvcc::StreamId s) {
      t.create(s, r, [&access](std::string_view key, std::string_view range_end) {
        return refusal(access ? (*access)->read(key, range_end) : Result<>(access.error()));
      });
    });
    if (!full()) call_.resume_reading();
  }
  static std::optional<std::string> refusal(const Result<>& allowed) {
    if (allowed) return std::nullopt;
    switch (allowed.error().code()) {
      case Code::kInvalidAuthToken:
      case Code::kAuthOldRevision:
      case Code::kUserEmpty:
        return status_text(allowed.error());
      default:
        return status_text(Error(Code::kPermissionDenied));
    }
  }
  // As Go prints the error of a call.
  static std::string status_text(const Error& error) {
    return fmt::format("rpc error: code = {} desc = {}", code_name(error.grpc_status()), error.text());
  }

  void pump() {
    while (!call_.ended() && !queue_.empty() && call_.writable()) {
      mvcc::WatchMessage& m = written_.emplace_back(std::move(queue_.front()));
      queue_.pop_front();
      write(m);
    }
    if (!written_.empty() && sink_->release(written_)) announce_room();
    written_.clear();
    // Also while nothing can be written: one that has nothing left to say can then be handed back.
    if (!call_.ended() && catch_up_ && queue_.empty()) want_turn();
    if (!call_.ended() && !full()) call_.resume_reading();
  }

  void want_turn() {
    if (!std::exchange(turn_wanted_, true)) loop_.turns->add(self().then(&Stream::step_catch_up));
  }

  void step_catch_up() {
    turn_wanted_ = false;
    if (!catch_up_) return;
    // The client does not read; nobody knows for how long.
    if (!queue_.empty()) return catch_up_->let_go();
    auto outcome = catch_up_->step(loop_.member.view(), loop_.limits.catch_up_records,
                                   [this](const mvcc::WatchMessage& m) {
                                     if (!call_.writable() && !fragment_open_) return false;
                                     fragment_open_ = m.fragment;
                                     write(m);
                                     return true;
                                   });
    if (!outcome) {
      call_.fail(outcome.error());
      return end();
    }
    switch (*outcome) {
      case mvcc::CatchUp::Outcome::kMore:
        want_turn();
        break;
      case mvcc::CatchUp::Outcome::kBlocked:
        break;  // on_writable goes on
      case mvcc::CatchUp::Outcome::kDone: {
        // AnyInvocable takes move-only captures.
        loop_.member.on_apply([work = std::move(catch_up_)](mvcc::WatchTable& table) mutable {
          table.caught_up(std::move(work));
        });
        break;
      }
    }
  }

  void write(const mvcc::WatchMessage& m) {
    FAILPOINT(beforeSendWatchResponse);
    call_.send(encode_head(loop_.member, m), m.events);
  }
  void announce_room() {
    loop_.metrics.watch_queues_drained.inc();
    loop_.member.on_apply([sink = sink_](mvcc::WatchTable& table) { table.has_room(sink->id); });
  }

  void schedule_progress(int64_t interval_ns) {
    progress_ = loop_.timers.schedule(interval_ns, loop_.port.loop(),
                                      self().then(&Stream::progress_due, interval_ns));
  }
  void progress_due(int64_t interval_ns) {
    tick(loop_.member, sink_, INT64_MIN);
    schedule_progress(interval_ns);
  }

  // Goes over the watchers in as many tasks of apply as they take.
  static void tick(server::Member& member, std::shared_ptr<Sink> sink, int64_t from) {
    member.on_apply([&member, sink = std::move(sink), from](mvcc::WatchTable& table) mutable {
      if (const auto next = table.progress_tick(sink->id, from)) tick(member, std::move(sink), *next);
    });
  }

  // The call is over: apply forgets the stream.
  void end() {
    if (std::exchange(closed_, true)) return;
    progress_.reset();
    queue_.clear();
    catch_up_.reset();
    loop_.member.on_apply([sink = sink_](mvcc::WatchTable& table) { table.close_stream(sink->id); });
  }

  Loop& loop_;
  const std::shared_ptr<Sink> sink_;
  std::deque<mvcc::WatchMessage> queue_;
  std::vector<mvcc::WatchMessage> written_;  // of the pump under way
  std::unique_ptr<mvcc::CatchUp> catch_up_;
  std::unique_ptr<io::Timer> progress_;
  bool fragment_open_ = false;  // of the catch-up: the rest of a response must follow
  bool turn_wanted_ = false;    // a step of the catch-up waits for its turn
  bool creating_ = false;       // a request waits for its caller's rights
  bool closed_ = false;
  size_t in_flight_ = 0, in_flight_bytes_ = 0;  // requests on their way through apply
};

void WatchService::Mailbox::drain() {
  std::vector<std::shared_ptr<Sink>> all;
  {
    std::lock_guard lock(mutex_);
    all.swap(waiting_);
  }
  for (const auto& sink : all) {
    sink->stream.with(&Stream::receive);
  }
}

WatchService::WatchService(Loop& loop, Gate& gate, grpc::MethodTable& methods, uint64_t seed)
    : loop_(loop), gate_(gate), prng_(seed), mailbox_(std::make_shared<Mailbox>(loop.port.loop())) {
  methods.add_stream("etcdserverpb.Watch", "Watch", grpc::MethodKind::kBidiStream, *this);
}

WatchService::~WatchService() = default;

std::unique_ptr<grpc::StreamListener> WatchService::open(grpc::Call& call) {
  if (!gate_.admit(call, false)) return nullptr;
  loop_.leader_monitor->add(call);
  const int64_t base = std::max(loop_.member.config().watch_progress_notify_ns, 100 * io::kMillisecond);
  const int64_t jitter = static_cast<int64_t>(prng_.below(static_cast<uint64_t>(base / 10) + 1));
  return std::make_unique<Stream>(loop_, call, mailbox_, base + jitter);
}

}  // namespace quoin::v3rpc
