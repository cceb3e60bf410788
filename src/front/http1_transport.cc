#include "front/http1_transport.h"

#include "front/pages.h"

namespace quoin::front {

// A request that a door serves.
class Http1Transport::DoorExchange final : public http1::StreamExchange {
 public:
  DoorExchange(Http1Transport& transport, const http1::Request& request)
      : transport_(transport.self_),
        request_(request),
        peer_address_(transport.stream_->peer_address()),
        loop_(transport.stream_->loop()) {}
  ~DoorExchange() override {
    if (!open()) return;
    (*transport_)->exchange_ = nullptr;
    (*transport_)->close();
  }
  const http1::Request& request() const override { return request_; }
  const std::string& peer_address() const override { return peer_address_; }
  io::Loop& loop() override { return loop_; }
  void when_aborted(Task task) override { aborted_ = std::move(task); }
  void read_body(http1::BodyReader& reader, uint64_t bytes_max) override {
    if (!open()) return;
    reader_ = &reader;
    // The reader may drop this exchange within the call.
    const auto transport = transport_;
    (*transport)->connection_.read_body(bytes_max);
    if (*transport != nullptr) (*transport)->go_on();
  }
  void consumed(size_t bytes) override {
    if (!open()) return;
    (*transport_)->connection_.consumed(bytes);
    (*transport_)->go_on();
  }
  void respond(const http1::Response& response) override {
    if (!open()) return;
    (*transport_)->exchange_ = nullptr;
    (*transport_)->respond(response);
  }
  Taken take_over(unsigned status, const std::vector<std::pair<std::string, std::string>>& fields) override {
    if (!open()) return {};
    (*transport_)->exchange_ = nullptr;
    return (*transport_)->take_over(status, fields);
  }

  // ---- StreamExchange ----
  bool tls() const override { return open() && (*transport_)->security_.tls; }
  std::string_view tls_common_name() const override {
    return open() ? std::string_view((*transport_)->security_.common_name) : std::string_view();
  }
  void take_time() override { unhurried_ = true; }
  void start(unsigned status, const Fields& fields) override {
    if (!open()) return;
    (*transport_)->connection_.start(status, fields, imf_fixdate((*transport_)->clock_.wall()));
    (*transport_)->go_on();
  }
  void write(std::string bytes) override {
    if (!open()) return;
    (*transport_)->connection_.write(bytes);
    (*transport_)->go_on();
  }
  void finish() override {
    if (!open()) return;
    Http1Transport& transport = **transport_;
    transport.exchange_ = nullptr;
    transport.connection_.finish();
    transport.go_on();
  }
  size_t unsent_bytes() const override { return open() ? (*transport_)->stream_->queued_bytes() : 0; }
  void when_drained(Task task) override { drained_ = std::move(task); }

  bool unhurried() const { return unhurried_; }
  Task take_drained() { return std::exchange(drained_, nullptr); }
  http1::BodyReader* reader() { return reader_; }
  Task take_aborted() { return std::exchange(aborted_, nullptr); }

 private:
  // Not answered, and the connection is there.
  bool open() const { return *transport_ != nullptr && (*transport_)->exchange_ == this; }

  const std::shared_ptr<Http1Transport*> transport_;
  const http1::Request& request_;
  const std::string peer_address_;
  io::Loop& loop_;
  http1::BodyReader* reader_ = nullptr;
  Task aborted_, drained_;
  bool unhurried_ = false;
};

Http1Transport::Http1Transport(httpapi::Endpoints& endpoints, httpapi::Surface surface, Security security,
                               Doors doors, std::unique_ptr<io::Stream> stream, io::Clock& clock,
                               io::TimerService& timers, const Http1Times& times, std::string_view received,
                               Task closed)
    : endpoints_(endpoints),
      surface_(surface),
      security_(std::move(security)),
      doors_(doors),
      clock_(clock),
      timers_(timers),
      times_(times),
      stream_(std::move(stream)),
      closed_(std::move(closed)),
      connection_(*this, http1::Limits{}),
      self_(std::make_shared<Http1Transport*>(this)) {
  stream_->set_handler(this);
  if (!received.empty()) on_data(received);
}

Http1Transport::~Http1Transport() {
  *self_ = nullptr;
}

void Http1Transport::on_data(std::string_view bytes) {
  if (waiting_for_ == Wait::kLinger) {
    lingering_bytes_ += bytes.size();
    if (lingering_bytes_ > kLingerBytes) stream_->pause_reading();
    return;
  }
  connection_.feed(bytes);
  if (!stream_) return;
  flush();
  watch_time(true);
}

void Http1Transport::on_eof() {
  eof_ = true;
  if (waiting_for_ == Wait::kLinger) return stream_->close();
  if (exchange_ != nullptr && doors_.gateway != nullptr && !connection_.receiving()) return stream_->close();
  connection_.feed_eof();
  if (stream_) flush();
}

void Http1Transport::on_drained() {
  if (waiting_for_ == Wait::kLinger) return;
  if (stopping_ && !connection_.request_in_progress()) return end();
  connection_.output_written();
  go_on();
  if (exchange_ == nullptr) return;
  if (Task drained = exchange_->take_drained()) drained();
}

void Http1Transport::on_closed(Result<>) {
  connection_.abort();
  timer_.reset();
  *self_ = nullptr;
  if (closed_) std::exchange(closed_, nullptr)();
}

void Http1Transport::shutdown() {
  stopping_ = true;
  if (!stream_) return;
  const bool busy = connection_.request_in_progress() || stream_->queued_bytes() > 0;
  if (!busy || waiting_for_ == Wait::kLinger) stream_->close();
}

void Http1Transport::close() {
  if (stream_) stream_->close();
}

// ---- requests of the doors ----

bool Http1Transport::on_head(const http1::Request& head) {
  const bool peers = doors_.peers != nullptr && doors_.peers->serves(head.path);
  if (!peers && (doors_.gateway == nullptr || !doors_.gateway->serves(head.path))) return false;
  auto exchange = std::make_unique<DoorExchange>(*this, head);
  exchange_ = exchange.get();
  peers ? doors_.peers->on_request(std::move(exchange)) : doors_.gateway->on_request(std::move(exchange));
  return true;
}

// An exchange that was dropped meanwhile has closed the connection; what is parsed of it still comes here.
void Http1Transport::on_body(std::string_view piece) {
  if (exchange_ != nullptr) exchange_->reader()->on_body(piece);
}

void Http1Transport::on_body_end() {
  if (exchange_ != nullptr) exchange_->reader()->on_body_end();
}

void Http1Transport::on_body_failed(Error error) {
  if (exchange_ != nullptr) exchange_->reader()->on_body_failed(std::move(error));
}

void Http1Transport::on_aborted() {
  if (exchange_ == nullptr) return;
  if (Task told = std::exchange(exchange_, nullptr)->take_aborted()) told();
}

void Http1Transport::respond(const http1::Response& response) {
  connection_.respond(response, imf_fixdate(clock_.wall()));
  go_on();
}

http1::Exchange::Taken Http1Transport::take_over(
    unsigned status, const std::vector<std::pair<std::string, std::string>>& fields) {
  connection_.start(status, fields, imf_fixdate(clock_.wall()));
  stream_->write(connection_.take_output());
  const bool chunked = connection_.take_over();
  stream_->pause_reading();
  stream_->set_handler(nullptr);
  timer_.reset();
  *self_ = nullptr;
  http1::Exchange::Taken taken{std::move(stream_), chunked};
  if (closed_) std::exchange(closed_, nullptr)();
  return taken;
}

// ---- requests of the endpoints ----

void Http1Transport::on_request(const http1::Request& request) {
  serve_page(endpoints_, surface_, security_.tls, request, stream_->loop(),
             [self = self_](http1::Response response) {
               if (*self != nullptr) (*self)->respond(response);
             });
}

void Http1Transport::go_on() {
  if (!stream_ || waiting_for_ == Wait::kLinger) return;
  flush();
  watch_time(false);
}

// ---- time ----

// Notes what is waited for now, and until when.
void Http1Transport::watch_time(bool heard) {
  if (waiting_for_ == Wait::kLinger) return;
  const bool silence = times_.silence_ns > 0;
  const bool unhurried = exchange_ != nullptr && exchange_->unhurried();
  const Wait now = stream_->queued_bytes() > 0         ? Wait::kAnswer
                   : unhurried                         ? Wait::kNothing
                   : connection_.receiving()           ? (silence ? Wait::kSilence : Wait::kRequest)
                   : connection_.request_in_progress() ? Wait::kNothing
                   : silence                           ? Wait::kSilence
                                                       : Wait::kNothing;
  // The time of a request, and of an answer, runs on.
  if (now == waiting_for_ && !(now == Wait::kSilence && heard)) return;
  unread_bytes_ = stream_->queued_bytes();
  wait_for(now, now == Wait::kRequest  ? times_.request_ns
                : now == Wait::kAnswer ? times_.answer_ns
                                       : times_.silence_ns);
}

void Http1Transport::wait_for(Wait what, int64_t ns) {
  waiting_for_ = what;
  if (what == Wait::kNothing) return;
  const io::MonotonicNs now = clock_.monotonic();
  due_ = now + ns;
  if (!timer_ || timer_at_ > due_) set_timer(now);
}

void Http1Transport::set_timer(io::MonotonicNs now) {
  timer_at_ = due_;
  timer_ = timers_.schedule(due_ - now, stream_->loop(), [this] { timer_fired(); });
}

void Http1Transport::timer_fired() {
  timer_.reset();
  if (waiting_for_ == Wait::kNothing) return;
  const io::MonotonicNs now = clock_.monotonic();
  if (now < due_) return set_timer(now);
  late();
}

void Http1Transport::late() {
  if (waiting_for_ == Wait::kAnswer && stream_->queued_bytes() < unread_bytes_) {
    waiting_for_ = Wait::kNothing;
    return watch_time(false);
  }
  stream_->close();
}

// Nothing more will be written.
void Http1Transport::end() {
  if (eof_) return stream_->close();
  wait_for(Wait::kLinger, Http1Times::kLingerNs);
  stream_->shutdown();
  stream_->resume_reading();  // to see the client's end
}

void Http1Transport::flush() {
  if (connection_.has_output()) {
    stream_->write(connection_.take_output());  // on_drained follows
  } else if (connection_.closing() && stream_->queued_bytes() == 0) {
    return end();
  }
  const bool pause = !connection_.reading();
  if (pause != paused_) {
    paused_ = pause;
    pause ? stream_->pause_reading() : stream_->resume_reading();
  }
}

}  // namespace quoin::front
