// A stream's exchange with the handler's door: the part of HttpStream that serves requests in pieces.
#include <algorithm>
#include <utility>

#include "grpc/http_stream.h"
#include "http2/give_back.h"
#include "io/loop.h"

namespace quoin::grpc {

class HttpStream::DoorExchange final : public http1::StreamExchange {
 public:
  explicit DoorExchange(HttpStream& stream)
      : stream_(stream.self_),
        peer_address_(stream.owner_.peer().address),
        loop_(*stream.owner_.context().http->loop()) {}
  ~DoorExchange() override {
    if (!open()) return;
    HttpStream& s = **stream_;
    s.exchange_ = nullptr;
    s.cancel();
    s.owner_.session().reset(s.stream_, http2::ErrorCode::kInternalError);
    s.owner_.output_ready();
  }
  const http1::Request& request() const override { return (*stream_)->request_; }
  const std::string& peer_address() const override { return peer_address_; }
  io::Loop& loop() override { return loop_; }
  void when_aborted(Task task) override { aborted_ = std::move(task); }
  void read_body(http1::BodyReader& reader, uint64_t bytes_max) override {
    if (open()) (*stream_)->read_body(reader, bytes_max);
  }
  void consumed(size_t bytes) override {
    if (open()) (*stream_)->consume(bytes);
  }
  void respond(const http1::Response& response) override {
    if (!open()) return;
    HttpStream& s = **stream_;
    s.exchange_ = nullptr;
    http1::Response dated = response;
    dated.fields.emplace_back("date", s.owner_.context().http->date());
    s.respond_behind_body(std::move(dated));
  }
  Taken take_over(unsigned, const Fields&) override { return {}; }

  bool tls() const override { return true; }
  std::string_view tls_common_name() const override {
    if (!open()) return {};
    const auto& name = (*stream_)->owner_.peer().tls_common_name;
    return name ? std::string_view(*name) : std::string_view();
  }
  // Not the youngest of the requests under way, which are refused when they hold too much: it has no end.
  void take_time() override {
    if (open()) (*stream_)->owner_.message_complete(**stream_);
  }
  void start(unsigned status, const Fields& fields) override {
    if (open()) (*stream_)->start_answer(status, fields);
  }
  void write(std::string bytes) override {
    if (open()) (*stream_)->write_answer(bytes);
  }
  void finish() override {
    if (!open()) return;
    HttpStream& s = **stream_;
    s.exchange_ = nullptr;
    s.finish_answer();
  }
  size_t unsent_bytes() const override { return open() ? (*stream_)->out_.size() : 0; }
  void when_drained(Task task) override { drained_ = std::move(task); }

  Task take_aborted() { return std::exchange(aborted_, nullptr); }
  // Not within libnghttp2's sending: what is told may write.
  void tell_drained() {
    if (!drained_) return;
    loop_.post([stream = stream_, self = this] {
      if (*stream == nullptr || (*stream)->exchange_ != self) return;
      if (Task task = std::exchange(self->drained_, nullptr)) task();
    });
  }

 private:
  bool open() const { return *stream_ != nullptr && (*stream_)->exchange_ == this; }

  const std::shared_ptr<HttpStream*> stream_;
  const std::string peer_address_;
  io::Loop& loop_;
  Task aborted_, drained_;
};

void HttpStream::open_exchange(http1::StreamDoor& door) {
  state_ = State::kExchange;
  if (half_closed_) owner_.message_complete(*this);
  auto exchange = std::make_unique<DoorExchange>(*this);
  exchange_ = exchange.get();
  door.on_request(std::move(exchange));
}

void HttpStream::abort_exchange() {
  reader_ = nullptr;
  if (exchange_ == nullptr) return;
  if (Task told = std::exchange(exchange_, nullptr)->take_aborted()) told();
}

void HttpStream::tell_drained() {
  if (exchange_ != nullptr) exchange_->tell_drained();
}

// ---------------------------------------------------------------- the body

void HttpStream::read_body(http1::BodyReader& reader, uint64_t bytes_max) {
  reader_ = &reader;
  body_max_ = bytes_max;
  std::string early;
  early.swap(body_);
  if (!early.empty()) hand_on(early);
  if (half_closed_ && reader_ != nullptr) std::exchange(reader_, nullptr)->on_body_end();
}

void HttpStream::hand_on(std::string_view piece) {
  unconsumed_ += piece.size();
  if (reader_ == nullptr && body_max_ == 0) {
    body_.append(piece);
    return;
  }
  // Behind the end of what anybody wants.
  if (reader_ == nullptr) {
    consume(piece.size());
    dropped_ += piece.size();
    if (late_answer_ && dropped_ > http1::kDiscardedBodyMax)
      respond(std::move(*std::exchange(late_answer_, {})));
    return;
  }
  body_bytes_ += piece.size();
  if (body_bytes_ > body_max_) {
    consume(piece.size());
    return std::exchange(reader_, nullptr)
        ->on_body_failed(Error(Code::kLimit, "http: request body too large"));
  }
  reader_->on_body(piece);
}

void HttpStream::consume(size_t bytes) {
  bytes = std::min(bytes, unconsumed_);
  unconsumed_ -= bytes;
  request_held_ -= static_cast<int64_t>(bytes);
  owner_.hold_request(-static_cast<int64_t>(bytes));
  owner_.give_credit(*this, bytes);
  owner_.output_ready();
}

// ---------------------------------------------------------------- the answer

// A client may take the reset that follows an answer in front of its body's end for a failure (curl does). So a body
// that is short is read to its end first, as over HTTP/1.1.
void HttpStream::respond_behind_body(http1::Response response) {
  if (half_closed_) return respond(std::move(response));
  late_answer_ = std::move(response);
  reader_ = nullptr;
  body_max_ = std::max<uint64_t>(body_max_, 1);
  if (const size_t n = unconsumed_; n > 0) {
    http2::give_back(body_);
    consume(n);
  }
}

void HttpStream::start_answer(unsigned status, std::vector<std::pair<std::string, std::string>> fields) {
  fields.emplace_back("date", owner_.context().http->date());
  more_ = true;
  submit_head(status, fields, this);
  owner_.output_ready();
}

void HttpStream::write_answer(std::string_view bytes) {
  out_.append(bytes);
  answer_held_ += static_cast<int64_t>(bytes.size());
  owner_.hold_answer(static_cast<int64_t>(bytes.size()), /*unary=*/false);
  wake_output();
}

void HttpStream::finish_answer() {
  more_ = false;
  cancel();
  wake_output();
}

void HttpStream::wake_output() {
  if (std::exchange(asleep_, false)) owner_.session().resume(stream_);
  owner_.output_ready();
}

}  // namespace quoin::grpc
