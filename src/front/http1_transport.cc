#include "front/http1_transport.h"

#include <time.h>

namespace quoin::front {

std::string imf_fixdate(io::WallNs now) {
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const time_t seconds = now / io::kSecond;
  tm t;
  gmtime_r(&seconds, &t);
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", kDays[t.tm_wday], t.tm_mday, kMonths[t.tm_mon],
                     t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}

Http1Transport::Http1Transport(httpapi::Endpoints& endpoints, httpapi::Surface surface,
                               std::unique_ptr<io::Stream> stream, io::Clock& clock, io::TimerService& timers,
                               const Http1Times& times, std::string_view received, Task closed)
    : endpoints_(endpoints),
      surface_(surface),
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
  flush();
  watch_time(true);
}

void Http1Transport::on_eof() {
  eof_ = true;
  if (waiting_for_ == Wait::kLinger) return stream_->close();
  connection_.feed_eof();
  flush();
}

void Http1Transport::on_drained() {
  if (waiting_for_ == Wait::kLinger) return;
  if (stopping_ && !connection_.request_in_progress()) return end();
  connection_.output_written();
  flush();
  watch_time(false);
}

void Http1Transport::on_closed(Result<>) {
  connection_.abort();
  timer_.reset();
  *self_ = nullptr;
  if (closed_) std::exchange(closed_, nullptr)();
}

void Http1Transport::shutdown() {
  stopping_ = true;
  const bool busy = connection_.request_in_progress() || stream_->queued_bytes() > 0;
  if (!busy || waiting_for_ == Wait::kLinger) stream_->close();
}

void Http1Transport::close() {
  stream_->close();
}

void Http1Transport::on_request(const http1::Request& request) {
  httpapi::Request r;
  r.method = request.method;
  r.path = request.path;
  r.query = request.query;
  r.headers = request.fields;
  r.host = request.authority.empty() ? r.header("Host") : request.authority;
  io::Loop& loop = stream_->loop();
  endpoints_.serve(surface_, /*tls=*/false, r, [self = self_, &loop](httpapi::Response response) {
    if (loop.running_here()) {
      if (*self != nullptr) (*self)->answer(std::move(response));
      return;
    }
    loop.post([self, response = std::move(response)]() mutable {
      if (*self != nullptr) (*self)->answer(std::move(response));
    });
  });
}

void Http1Transport::answer(httpapi::Response response) {
  http1::Response out;
  out.status = static_cast<unsigned>(response.status);
  out.fields = std::move(response.headers);
  out.body = std::move(response.body);
  connection_.respond(out, imf_fixdate(clock_.wall()));
  flush();
  watch_time(false);
}

// Sets or drops the one timer by what is waited for now.
void Http1Transport::watch_time(bool heard) {
  if (waiting_for_ == Wait::kLinger) return;
  const Wait now = stream_->queued_bytes() > 0         ? Wait::kAnswer
                   : connection_.request_in_progress() ? Wait::kNothing
                   : times_.silence_ns > 0             ? Wait::kSilence
                   : connection_.receiving()           ? Wait::kRequest
                                                       : Wait::kNothing;
  // The time of a request, and of an answer, runs on.
  if (now == waiting_for_ && !(now == Wait::kSilence && heard)) return;
  waiting_for_ = now;
  timer_.reset();
  if (now == Wait::kNothing) return;
  unread_bytes_ = stream_->queued_bytes();
  const int64_t ns = now == Wait::kRequest  ? times_.request_ns
                     : now == Wait::kAnswer ? times_.answer_ns
                                            : times_.silence_ns;
  timer_ = timers_.schedule(ns, stream_->loop(), [this] { late(); });
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
  waiting_for_ = Wait::kLinger;
  timer_ = timers_.schedule(Http1Times::kLingerNs, stream_->loop(), [this] { late(); });
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
