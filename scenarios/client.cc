#include "scenarios/client.h"

#include <fmt/format.h>

namespace quoin::scenarios {

namespace {
constexpr size_t kOutputHigh = 64 << 10;  // handed to the stream at a time
}  // namespace

Client::Client(sim::World& world, sim::SimHost& host, io::Loop& loop, const Pace& pace, uint64_t seed,
               Edges& edges)
    : world_(world),
      host_(host),
      loop_(loop),
      pace_(pace),
      prng_(seed),
      edges_(edges),
      connection_({.first_window_bytes = pace.window_bytes,
                   .stream_window_bytes = pace.window_bytes,
                   .connection_window_bytes = 65'535}) {}

// ---- the connection ----

void Client::connect(const io::ListenAddress& address) {
  connecting_ = host_.connect(address, {}, loop_,
                              [self = shared_from_this()](Result<std::unique_ptr<io::Stream>> stream) {
                                self->connected(std::move(stream));
                              });
}

void Client::connected(Result<std::unique_ptr<io::Stream>> stream) {
  const auto self = shared_from_this();  // what runs this may hold the last other reference
  connecting_.reset();
  if (over_) return;
  if (!stream) {
    edges_.met("connection refused");
    return end(std::string(stream.error().text()));
  }
  stream_ = std::move(*stream);
  stream_->set_handler(this);
  flush();
}

void Client::on_data(std::string_view bytes) {
  const auto self = shared_from_this();
  if (Result<> fed = connection_.feed(bytes, world_.now()); !fed) {
    problem_ = fmt::format("bytes that are no HTTP/2: {}", fed.error().text());
    return cut();
  }
  if (!hurried_ && prng_.chance(1, pace_.pause_one_in)) pause();
  schedule_flush();
}

void Client::on_eof() {
  edges_.met("connection ended by the member's stop");
  end("the member closed the connection");
}

void Client::on_closed(Result<> error) {
  if (over_) return;
  edges_.met("connection reset");
  end(error ? "closed" : std::string(error.error().text()));
}

void Client::schedule_flush() {
  if (std::exchange(flush_scheduled_, true)) return;
  loop_.post([self = shared_from_this()] {
    self->flush_scheduled_ = false;
    self->flush();
  });
}

void Client::flush() {
  if (over_ || !stream_) return;
  const auto self = shared_from_this();
  while (stream_->queued_bytes() < kOutputHigh) {
    http2::ByteQueue out;
    if (Result<> made = connection_.produce(out, kOutputHigh); !made) {
      problem_ = fmt::format("the client's own HTTP/2: {}", made.error().text());
      return cut();
    }
    if (out.empty()) break;
    stream_->write(out.take_all());
  }
  for (auto& [id, call] : calls_) call.flushed = true;
  // One whose member is about to stop goes when its last call is over.
  if (connection_.going_away() && calls_.empty()) cut();
}

void Client::pause() {
  edges_.met("client stops reading");
  paused_ = true;
  stream_->pause_reading();
  const int64_t ns = static_cast<int64_t>(prng_.below(static_cast<uint64_t>(pace_.pause_ns_max))) + 1;
  world_.after(ns, [self = shared_from_this(), number = ++pauses_] {
    self->loop_.post([self, number] {
      if (self->pauses_ != number || self->over_) return;
      self->paused_ = false;
      self->stream_->resume_reading();
    });
  });
}

void Client::hurry(bool on) {
  hurried_ = on;
  if (!on || over_ || !paused_) return;
  ++pauses_;
  paused_ = false;
  stream_->resume_reading();
}

void Client::cut() {
  if (over_) return;
  edges_.met("connection cut");
  end("the client closed the connection");
}

std::string Client::describe() const {
  std::string out;
  for (const auto& [id, call] : calls_) {
    out += fmt::format("\n    {} {}{}{}", call.method, id, call.flushed ? " sent" : "",
                       call.told ? ", with messages" : "");
  }
  if (out.empty()) return out;
  return fmt::format("\n  a connection{}{}{}, {} bytes to be written:{}", stream_ ? "" : " not made",
                     paused_ ? " paused" : "", connection_.going_away() ? " going away" : "",
                     stream_ ? stream_->queued_bytes() : 0, out);
}

void Client::drop() {
  const auto self = shared_from_this();
  over_ = true;
  connecting_.reset();
  stream_.reset();
  by_stream_.clear();
  const auto calls = std::exchange(calls_, {});
}

void Client::end(const std::string& why) {
  if (std::exchange(over_, true)) return;
  if (stream_) stream_->close();
  by_stream_.clear();
  auto calls = std::make_shared<std::map<CallId, Call>>(std::move(calls_));
  calls_.clear();
  loop_.post([self = shared_from_this(), calls, why] {
    for (auto& [id, call] : *calls) call.handler->end(GrpcStatus::kUnavailable, why);
  });
}

// ---- calls ----

Client::CallId Client::call(std::string_view method, std::string_view request, Handler handler,
                            const CallOptions& options) {
  const CallId id = next_call_++;
  Call call{0, std::string(method), std::make_shared<Handler>(std::move(handler))};
  const std::string path = fmt::format("/etcdserverpb.{}", method);
  Result<http2::StreamId> stream = Error(Code::kStopped);
  if (!over_) {
    const grpc::ClientConnection::CallOptions wire_options{.timeout_ns = options.timeout_ns};
    if (options.half_close) {
      stream = connection_.unary(path, request, *this, wire_options);
    } else {
      stream = connection_.open(path, *this, wire_options);
      if (stream) connection_.send(*stream, request);
    }
  }
  if (!stream) {
    loop_.post([self = shared_from_this(), handler = call.handler] {
      handler->end(GrpcStatus::kUnavailable, "the connection is gone");
    });
    return id;
  }
  call.stream = *stream;
  call.deadline = options.timeout_ns > 0;
  by_stream_[*stream] = id;
  calls_.emplace(id, std::move(call));
  schedule_flush();
  return id;
}

void Client::send(CallId id, std::string_view message) {
  const auto it = calls_.find(id);
  if (it == calls_.end()) return;
  connection_.send(it->second.stream, message);
  schedule_flush();
}

void Client::half_close(CallId id) {
  const auto it = calls_.find(id);
  if (it == calls_.end()) return;
  connection_.half_close(it->second.stream);
  schedule_flush();
}

void Client::cancel(CallId id) {
  const auto it = calls_.find(id);
  if (it == calls_.end()) return;
  edges_.met("cancelled " + it->second.method);
  if (!it->second.flushed && stream_) edges_.met("cancelled with its request in one packet");
  if (it->second.method == "Maintenance/Snapshot" && it->second.told) {
    edges_.met("snapshot cut off in the middle");
  }
  const http2::StreamId stream = it->second.stream;
  loop_.post([self = shared_from_this(), handler = it->second.handler] {
    handler->end(GrpcStatus::kCanceled, "cancelled");
  });
  by_stream_.erase(stream);
  calls_.erase(it);
  connection_.cancel(stream);
  schedule_flush();
}

std::map<Client::CallId, Client::Call>::iterator Client::find(http2::StreamId stream) {
  const auto it = by_stream_.find(stream);
  return it == by_stream_.end() ? calls_.end() : calls_.find(it->second);
}

void Client::on_message(http2::StreamId stream, std::string_view message) {
  const auto it = find(stream);
  if (it == calls_.end()) return;
  it->second.told = true;
  const std::shared_ptr<Handler> handler = it->second.handler;
  if (handler->message) handler->message(message);
}

void Client::on_end(http2::StreamId stream, GrpcStatus status, std::string_view text) {
  const auto it = find(stream);
  if (it == calls_.end()) return;
  // The member may end the stream with either.
  const bool late = status == GrpcStatus::kDeadlineExceeded || status == GrpcStatus::kCanceled;
  if (it->second.deadline && late) edges_.met("deadline passed");
  if (status == GrpcStatus::kInternal || status == GrpcStatus::kUnimplemented) {
    problem_ = fmt::format("{} ended with {}: {}", it->second.method, static_cast<int>(status), text);
  }
  const std::shared_ptr<Handler> handler = it->second.handler;
  by_stream_.erase(stream);
  calls_.erase(it);
  handler->end(status, text);
}

}  // namespace quoin::scenarios
