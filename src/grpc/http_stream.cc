#include "grpc/http_stream.h"

#include <algorithm>

#include "http1/target.h"
#include "http2/give_back.h"

namespace quoin::grpc {
namespace {
// What a request costs beside its bytes: libnghttp2's stream and this.
constexpr int64_t kRequestBaseBytes = 1024;
// Go names the length of an answer that its buffer holds when the handler is through.
constexpr size_t kNamedLengthMax = 4096;

http1::Response plain_text(unsigned status, std::string_view text) {
  return {status, {{"content-type", "text/plain; charset=utf-8"}}, std::string(text)};
}

std::string lower(std::string_view s) {
  std::string out(s);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return out;
}

bool bodiless(unsigned status) {
  return status < 200 || status == 204 || status == 304;
}
}  // namespace

HttpStream::HttpStream(ServerConnection::Impl& owner, http2::StreamId id, http2::HeaderBlock& headers)
    : ServerStream(owner), self_(std::make_shared<HttpStream*>(this)) {
  stream_ = id;
  headers_.swap(headers);
  headers_held_ = static_cast<int64_t>(headers_.held_bytes());
  owner_.hold_headers(headers_held_);
  request_held_ = kRequestBaseBytes;
  owner_.hold_request(request_held_);
}

HttpStream::~HttpStream() {
  abort_exchange();
  *self_ = nullptr;
  owner_.hold_request(-request_held_);
  owner_.hold_headers(-headers_held_);
  owner_.hold_answer(-answer_held_, /*unary=*/false);
}

void HttpStream::start(bool end) {
  owner_.message_under_way(*this);
  request_.version = 20;
  for (size_t i = 0; i < headers_.size(); ++i) {
    const auto [name, value] = headers_[i];
    if (name == ":method") {
      request_.method = value;
    } else if (name == ":path") {
      request_.target = value;
    } else if (name == ":authority" || (name == "host" && request_.authority.empty())) {
      request_.authority = value;
    } else if (!name.starts_with(':')) {
      request_.fields.emplace_back(name, value);
    }
  }
  head_ = request_.method == "HEAD";
  const auto target = http1::parse_target(request_.method, request_.target);
  if (!target) return respond(plain_text(400, "400 Bad Request"));
  request_.path = target->path;
  request_.query = target->query;
  if (http1::StreamDoor* door = owner_.context().http->door();
      door != nullptr && door->serves(request_.path)) {
    half_closed_ = end;
    return open_exchange(*door);
  }
  if (end) on_half_close();
}

void HttpStream::on_data(std::string_view bytes) {
  if (state_ == State::kExchange) {
    request_held_ += static_cast<int64_t>(bytes.size());
    owner_.hold_request(static_cast<int64_t>(bytes.size()));
    return hand_on(bytes);
  }
  if (state_ == State::kReceiving) {
    if (body_.size() + bytes.size() > http1::Limits{}.body_bytes) {
      respond(plain_text(413, "413 Request Entity Too Large"));
    } else {
      body_.append(bytes);
      request_held_ += static_cast<int64_t>(bytes.size());
      owner_.hold_request(static_cast<int64_t>(bytes.size()));
    }
  }
  owner_.give_credit(*this, bytes.size());
}

void HttpStream::on_half_close() {
  half_closed_ = true;
  if (state_ == State::kExchange) {
    owner_.message_complete(*this);
    if (late_answer_) return respond(std::move(*std::exchange(late_answer_, {})));
    if (reader_ != nullptr) std::exchange(reader_, nullptr)->on_body_end();
    return;
  }
  if (state_ != State::kReceiving) return;
  state_ = State::kServing;
  owner_.message_complete(*this);
  request_.body = body_;
  owner_.context().http->on_request(request_, [self = self_](http1::Response response) {
    if (*self != nullptr) (*self)->respond(std::move(response));
  });
}

void HttpStream::respond(http1::Response response) {
  if (state_ == State::kAnswered) return;
  cancel();
  const size_t length = response.body.size();
  if (!bodiless(response.status) && length <= kNamedLengthMax && (length > 0 || !head_)) {
    // In front of the date, as Go writes them.
    const auto at = std::find_if(response.fields.begin(), response.fields.end(),
                                 [](const auto& field) { return lower(field.first) == "date"; });
    response.fields.insert(at, {"content-length", fmt::format("{}", length)});
  }
  if (head_ || bodiless(response.status) || length == 0) {
    submit_head(response.status, response.fields, nullptr);
  } else {
    out_.append(response.body);
    answer_held_ = static_cast<int64_t>(length);
    owner_.hold_answer(answer_held_, /*unary=*/false);
    submit_head(response.status, response.fields, this);
  }
  owner_.output_ready();
}

void HttpStream::submit_head(unsigned status, std::vector<std::pair<std::string, std::string>>& fields,
                             http2::BodySource* body) {
  const std::string digits = fmt::format("{}", status);
  for (auto& [name, value] : fields) name = lower(name);
  std::vector<http2::HeaderField> head = {{":status", digits}};
  for (const auto& [name, value] : fields) head.push_back({.name = name, .value = value, .copy_name = true});
  owner_.session().submit_response(stream_, head, body);
}

void HttpStream::cancel() {
  abort_exchange();
  const bool served = state_ == State::kServing;
  state_ = State::kAnswered;
  served ? owner_.answered(*this) : owner_.message_complete(*this);
  *std::exchange(self_, std::make_shared<HttpStream*>(this)) = nullptr;
  http2::give_back(body_);
  owner_.hold_request(kRequestBaseBytes - request_held_);
  request_held_ = kRequestBaseBytes;
  if (unconsumed_ > 0) owner_.give_credit(*this, std::exchange(unconsumed_, 0));
}

void HttpStream::refuse() {
  cancel();
  owner_.session().reset(stream_, http2::ErrorCode::kRefusedStream);
}

void HttpStream::on_closed() {
  if (state_ != State::kAnswered) cancel();
  owner_.forget(*this);
}

http2::BodySource::Ready HttpStream::ready(size_t limit) {
  const size_t n = std::min(limit, out_.size());
  const bool end = n == out_.size() && !more_;
  asleep_ = n == 0 && !end;
  return {n, end};
}

void HttpStream::write(size_t n, http2::ByteQueue& out) {
  out_.move_to(n, out);
  answer_held_ -= static_cast<int64_t>(n);
  owner_.hold_answer(-static_cast<int64_t>(n), /*unary=*/false);
  if (out_.empty()) tell_drained();
}

}  // namespace quoin::grpc
