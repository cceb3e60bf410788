#include "cmd/benchmark/watch_phases.h"

#include <algorithm>
#include <utility>

#include "client/methods.h"
#include "wire/message.h"
#include "wire/rpc.h"

namespace quoin::cmd::bench {

namespace rpc = wire::etcdserverpb;

std::unique_ptr<WatchStreams> make_streams(Engine& engine, size_t count) {
  auto streams = std::make_unique<WatchStreams>();
  for (size_t i = 0; i < count; ++i) {
    streams->push_back(std::make_unique<WatchStream>(engine.client_of(i % engine.arguments().clients), i));
  }
  return streams;
}

// ---- what they share ----

WatchPhase::~WatchPhase() {
  for (auto& s : streams_) s->listen(nullptr);
}

void WatchPhase::begin(Engine& engine) {
  engine_ = &engine;
  waiting.store(true, std::memory_order_relaxed);
  for (Report* r : reports_) r->begin(engine.now(), engine.unix_now());
  for (auto& s : streams_) s->listen(this);
  if (!stopped_) started();
}

void WatchPhase::stop() {
  if (std::exchange(stopped_, true)) return;
  for (Report* r : reports_) r->end(engine_->now());
}

void WatchPhase::finish() {
  if (stopped_) return;
  stop();
  engine_->finished();
}

void WatchPhase::on_response(WatchStream& stream, const rpc::WatchResponse& response) {
  if (stopped_) return;
  if (response.canceled) {
    return on_lost(stream, response.cancel_reason.empty() ? "the server cancelled a watcher"
                                                          : std::string(response.cancel_reason));
  }
  if (response.created) created(stream);
  if (response.events.empty()) return;
  if (response.watch_id < 0 || response.watch_id >= kWatchersMax) {
    return on_lost(stream, "the server tells of a watcher that is none");
  }
  events(stream, static_cast<size_t>(response.watch_id), response.events.size());
}

void WatchPhase::on_lost(WatchStream&, const std::string& why) {
  if (!stopped_) engine_->failed("watch: " + why);
}

// ---- creation ----

CreateWatchers::CreateWatchers(WatchStreams& streams, size_t watchers, const std::vector<std::string>& keys,
                               bool prev_kv, Report* report)
    : WatchPhase(streams, report ? std::vector<Report*>{report} : std::vector<Report*>{}),
      keys_(keys),
      prev_kv_(prev_kv),
      report_(report),
      states_(streams.size()),
      left_(streams.empty() ? 0 : watchers) {
  expected = left_;
  for (size_t i = 0; i < left_; ++i) ++states_[i % states_.size()].left;
}

void CreateWatchers::started() {
  if (left_ == 0) return finish();
  const io::MonotonicNs now = engine().now();
  for (auto& s : streams()) next(*s, now);
}

void CreateWatchers::next(WatchStream& stream, io::MonotonicNs now) {
  State& state = states_[stream.index()];
  if (state.left == 0) return;
  --state.left;
  state.started = now;
  stream.create(keys_[next_key_++ % keys_.size()], 0, prev_kv_);
}

void CreateWatchers::created(WatchStream& stream) {
  const io::MonotonicNs now = engine().now();
  if (report_ != nullptr) report_->add(states_[stream.index()].started, now);
  progress(1);
  if (--left_ == 0) return finish();
  next(stream, now);
}

// ---- watch ----

namespace {

class DataPuts final : public Requests {
 public:
  DataPuts(const std::vector<std::string>& keys, Report& report) : keys_(keys), report_(report) {}
  const client::Method& method() const override { return client::methods::kPut; }
  Report& report() override { return report_; }
  std::string_view make(uint64_t k) override {
    rpc::PutRequest request;
    request.key = keys_[k % keys_.size()];
    request.value = "data";
    buffer_.clear();
    wire::append(&buffer_, request);
    return buffer_;
  }

 private:
  const std::vector<std::string>& keys_;
  Report& report_;
  std::string buffer_;
};

}  // namespace

class WatchEvents::Puts {
 public:
  Puts(Engine& engine, const std::vector<std::string>& keys, uint64_t total, int64_t rate) {
    load_ = make_load(engine, std::make_unique<DataPuts>(keys, report_), total, rate, {&report_});
    load_->when_completed([] {});
    load_->when_failed([&engine](const std::string& why) { engine.failed("put: " + why); });
  }
  void begin(Engine& engine) { load_->begin(engine); }

 private:
  Report report_{Report::Options{}};
  std::unique_ptr<Load> load_;
};

WatchEvents::WatchEvents(Engine& engine, WatchStreams& streams, const std::vector<std::string>& keys,
                         uint64_t puts, int64_t rate, uint64_t expected_events, Report& report)
    : WatchPhase(streams, {&report}),
      report_(report),
      left_(expected_events),
      puts_(std::make_unique<Puts>(engine, keys, puts, rate)) {
  expected = expected_events;
}

WatchEvents::~WatchEvents() = default;

void WatchEvents::started() {
  if (left_ == 0) return finish();
  puts_->begin(engine());
}

void WatchEvents::events(WatchStream&, size_t, size_t count) {
  // As etcd's tool: how long it takes to count an event that has come.
  io::MonotonicNs last = engine().now();
  for (size_t i = 0; i < count && left_ > 0; ++i, --left_) {
    const io::MonotonicNs now = engine().now();
    report_.add(last, now);
    last = now;
  }
  progress(count);
  if (left_ == 0) finish();
}

// ---- watch-latency, watch-fanout ----

PutAndHear::PutAndHear(WatchStreams& streams, client::Client& client, const Options& options, Report& puts,
                       Report& events)
    : WatchPhase(streams, {&puts, &events}),
      client_(client),
      total_(options.total),
      from_start_(options.from_start),
      pace_(options.rate),
      puts_(puts),
      events_(events),
      times_(std::min<uint64_t>(options.total, 2 * kOutstandingMax)),
      watchers_(options.watchers),
      heard_(streams.size()),
      left_(options.total * options.watchers) {
  expected = left_;
  rpc::PutRequest request;
  request.key = options.key;
  request.value = options.value;
  request_ = wire::encode_string(request);
}

void PutAndHear::started() {
  if (total_ == 0) return finish();
  const io::MonotonicNs now = engine().now();
  pace_.begin(now);
  put(now);
}

void PutAndHear::put_when_due(io::MonotonicNs now) {
  paused_ = sent_ * watchers_ - events_heard_ >= kOutstandingMax;
  if (paused_) return;
  if (!pace_.limited() || pace_.due(next_) <= now) return put(now);
  timer_ = engine().after(pace_.due(next_) - now, [this] {
    if (!stopped()) put(engine().now());
  });
}

void PutAndHear::put(io::MonotonicNs now) {
  started_ = now;
  times_[next_ % times_.size()] = from_start_ ? now : 0;
  ++sent_;
  client_.unary(*this, client::methods::kPut, request_, {});
}

void PutAndHear::on_end(GrpcStatus status, std::string_view text) {
  if (stopped()) return;
  if (status != GrpcStatus::kOk) return engine().failed("put: " + error_text(status, text));
  const io::MonotonicNs now = engine().now();
  puts_.add(pace_.limited() ? pace_.due(next_) : started_, started_, now);
  if (!from_start_) times_[next_ % times_.size()] = now;
  if (++next_ < total_) return put_when_due(now);
  if (left_ == 0) finish();
}

void PutAndHear::events(WatchStream& stream, size_t watch_id, size_t count) {
  std::vector<uint64_t>& heard = heard_[stream.index()];
  if (heard.size() <= watch_id) heard.resize(watch_id + 1);
  const io::MonotonicNs now = engine().now();
  uint64_t& at = heard[watch_id];
  for (; count > 0 && at < sent_ && left_ > 0; --count, ++at, --left_, ++events_heard_) {
    const io::MonotonicNs put = times_[at % times_.size()];
    events_.add(put == 0 ? now : put, now);
    progress(1);
  }
  if (left_ == 0 && next_ == total_) return finish();
  if (paused_ && next_ < total_) put_when_due(now);
}

// ---- watch-get ----

WatchAndGet::WatchAndGet(WatchStreams& streams, client::Client& client, size_t watchers, uint64_t events_each,
                         int64_t revision, Report& gets)
    : WatchPhase(streams, {&gets}),
      client_(client),
      events_each_(events_each),
      revision_(revision),
      gets_(gets),
      states_(streams.size()),
      left_(streams.empty() ? 0 : watchers) {
  expected = left_ * events_each;
  for (size_t i = 0; i < left_; ++i) ++states_[i % states_.size()].to_create;
  rpc::RangeRequest request;
  request.key = "abc";
  request.serializable = true;
  request_ = wire::encode_string(request);
}

void WatchAndGet::started() {
  if (left_ == 0 || events_each_ == 0) return finish();
  for (auto& s : streams()) create_more(*s);
}

void WatchAndGet::create_more(WatchStream& stream) {
  State& state = states_[stream.index()];
  while (state.to_create > 0 && state.unanswered < WatchStream::kUnansweredMax) {
    --state.to_create;
    ++state.unanswered;
    stream.create("watchkey", revision_);
  }
}

void WatchAndGet::created(WatchStream& stream) {
  --states_[stream.index()].unanswered;
  create_more(stream);
  if (!std::exchange(getting_, true)) get();
}

void WatchAndGet::get() {
  get_started_ = engine().now();
  client_.unary(*this, client::methods::kRange, request_, {});
}

void WatchAndGet::on_end(GrpcStatus status, std::string_view text) {
  if (stopped()) return;
  if (status == GrpcStatus::kOk) {
    gets_.add(get_started_, engine().now());
  } else {
    gets_.add_error(error_text(status, text));
  }
  get();
}

void WatchAndGet::events(WatchStream& stream, size_t watch_id, size_t count) {
  std::vector<uint64_t>& heard = states_[stream.index()].heard;
  if (heard.size() <= watch_id) heard.resize(watch_id + 1);
  const uint64_t before = heard[watch_id];
  heard[watch_id] = before + count;
  progress(count);
  if (before < events_each_ && before + count >= events_each_ && --left_ == 0) finish();
}

}  // namespace quoin::cmd::bench
