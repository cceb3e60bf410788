#include "grpc/client_connection.h"

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/check.h"
#include "base/go_text.h"
#include "grpc/client_status.h"
#include "grpc/gzip.h"
#include "grpc/message_reader.h"
#include "grpc/protocol.h"

namespace quoin::grpc {
namespace {

constexpr size_t kKeepBytes = 16 << 10;  // a call that is over leaves buffers of this size to the next one
constexpr size_t kSpareCallsMax = 1024;

struct ClientCall final : http2::BodySource {
  http2::StreamId id = 0;
  ClientListener* listener = nullptr;
  size_t* queued_all = nullptr;
  http2::ByteQueue out;
  MessageReader reader;
  std::string unzipped;
  std::string text;
  size_t held_bytes = 0;  // received on hold, not given back
  GrpcStatus status = GrpcStatus::kUnknown;
  bool gzip = false, response_gzip = false;
  bool half_closed = false, asleep = false, ended = false, response_headers = false;
  bool have_status = false, cancelled = false, on_hold = false;

  void begin(ClientListener& l, size_t max_message_bytes, bool zip) {
    id = 0;
    listener = &l;
    out.clear(kKeepBytes);
    reader.reset(max_message_bytes);
    reader.shrink(kKeepBytes);
    text.clear();
    held_bytes = 0;
    status = GrpcStatus::kUnknown;
    gzip = zip;
    response_gzip = half_closed = asleep = ended = response_headers = false;
    have_status = cancelled = on_hold = false;
  }

  Ready ready(size_t limit) override {
    const size_t n = std::min(limit, out.size());
    const bool end = half_closed && n == out.size();
    asleep = n == 0 && !end;
    return {n, end};
  }
  void write(size_t n, http2::ByteQueue& to) override {
    out.move_to(n, to);
    taken(n);
  }
  bool copy(size_t n, char* to) override {
    out.copy_to(n, to);
    taken(n);
    return true;
  }
  bool trailers() override { return false; }
  void taken(size_t n) {
    *queued_all -= n;
    if (n > 0 && out.empty() && !half_closed && !ended) listener->on_sent(id);
  }

  void queue(std::string_view message) {
    const size_t before = out.size();
    if (gzip) {
      std::string packed(kPrefixBytes, '\0');
      grpc::gzip(message, packed);
      store_prefix(packed.data(), true, static_cast<uint32_t>(packed.size() - kPrefixBytes));
      out.append(packed);
    } else {
      store_prefix(out.grow(kPrefixBytes), false, static_cast<uint32_t>(message.size()));
      out.append(message);
    }
    *queued_all += out.size() - before;
  }
};

}  // namespace

class ClientConnection::Impl final : public http2::SessionHandler {
 public:
  explicit Impl(Options o)
      : options(std::move(o)),
        session(http2::Session::Role::kClient, *this, {.client_window_bytes = options.first_window_bytes}) {
    session.raise_window(0, options.connection_window_bytes);
  }

  Options options;
  absl::flat_hash_map<http2::StreamId, std::unique_ptr<ClientCall>> calls;
  std::vector<std::unique_ptr<ClientCall>> dead;  // used again once the library is done with them
  std::vector<std::unique_ptr<ClientCall>> spare;
  size_t queued = 0;
  bool going_away = false;
  bool ready = false;
  std::string goaway_text;
  http2::Session session;

  ClientCall* find(http2::StreamId id) const {
    const auto it = calls.find(id);
    return it == calls.end() ? nullptr : it->second.get();
  }

  void bury() {
    for (auto& call : dead) {
      if (spare.size() < kSpareCallsMax) spare.push_back(std::move(call));
    }
    dead.clear();
  }

  Result<ClientCall*> open(std::string_view path, ClientListener& listener, const CallOptions& o) {
    if (going_away) return make_error(Code::kStopped, "the server is going away: {}", goaway_text);
    char timeout[16];
    fields_.clear();
    fields_.push_back({":method", "POST", true});
    fields_.push_back({":scheme", options.https ? "https" : "http", true});
    fields_.push_back({":path", path, o.constant_path});
    fields_.push_back({":authority", options.authority, true});
    fields_.push_back({"content-type", "application/grpc", true});
    fields_.push_back({"user-agent", options.user_agent, true});
    fields_.push_back({"te", "trailers", true});
    if (o.timeout_ns > 0) {
      const std::string text = format_timeout(o.timeout_ns);
      CHECK(text.size() <= sizeof timeout);
      text.copy(timeout, text.size());
      fields_.push_back({.name = "grpc-timeout", .value = {timeout, text.size()}, .no_index = true});
    }
    if (o.gzip) fields_.push_back({"grpc-encoding", "gzip", true});
    for (const auto& [name, value] : o.metadata) {
      fields_.push_back({.name = name, .value = value, .copy_name = true});
    }
    std::unique_ptr<ClientCall> call;
    if (spare.empty()) {
      call = std::make_unique<ClientCall>();
      call->queued_all = &queued;
    } else {
      call = std::move(spare.back());
      spare.pop_back();
    }
    call->begin(listener, options.max_message_bytes, o.gzip);
    ASSIGN_OR_RETURN(call->id, session.submit_request(fields_, call.get(), call.get()));
    ClientCall* raw = call.get();
    calls.emplace(raw->id, std::move(call));
    return raw;
  }

  void wake(ClientCall& call) {
    if (!call.asleep) return;
    call.asleep = false;
    session.resume(call.id);
  }

  void end(ClientCall& call, GrpcStatus status, std::string_view text) {
    if (call.ended) return;
    call.ended = true;
    call.listener->on_end(call.id, status, text);
  }

  void on_headers(http2::StreamId id, void* user, http2::HeaderBlock& h, bool end_stream) override {
    auto& call = *static_cast<ClientCall*>(user);
    if (call.ended) return;
    const auto grpc_status = h.find("grpc-status");
    if (!call.response_headers) {
      if (informational(h.find(":status")) && !end_stream) return;
      if (auto fault = head_fault(h.find(":status"), h.find("content-type"))) {
        return fail(call, fault->status, fault->text, http2::ErrorCode::kProtocolError);
      }
      call.response_headers = true;
      call.response_gzip = h.find("grpc-encoding").value_or("") == "gzip";
      if (!grpc_status) session.raise_window(id, options.stream_window_bytes);
    }
    if (!grpc_status) return;
    unsigned v = 0;
    const char* last = grpc_status->data() + grpc_status->size();
    const auto r = std::from_chars(grpc_status->data(), last, v);
    call.have_status = true;
    // Codes that have no name reach grpc-go's callers as numbers; nobody here tells them apart.
    call.status =
        r.ec == std::errc() && r.ptr == last && v <= 16 ? static_cast<GrpcStatus>(v) : GrpcStatus::kUnknown;
    call.text = decode_message(h.find("grpc-message").value_or(""));
  }

  void on_data(http2::StreamId id, void* user, std::string_view bytes) override {
    auto& call = *static_cast<ClientCall*>(user);
    session.consume_connection(bytes.size());
    if (call.on_hold) {
      call.held_bytes += bytes.size();
    } else {
      session.consume_stream(id, bytes.size());
    }
    if (!call.response_headers) return;  // of an answer that failed
    while (!bytes.empty() && !call.ended) {
      switch (call.reader.read(bytes)) {
        case MessageReader::Step::kMore:
          return;
        case MessageReader::Step::kTooLarge:
          return fail(call, GrpcStatus::kResourceExhausted,
                      fmt::format("grpc: received message larger than max ({} vs. {})",
                                  call.reader.announced_bytes(), options.max_message_bytes),
                      http2::ErrorCode::kCancel);
        case MessageReader::Step::kMessage:
          break;
      }
      std::string_view message = call.reader.message();
      if (call.reader.flag() == 1) {
        if (!call.response_gzip) {
          return fail(call, GrpcStatus::kInternal,
                      "grpc: compressed flag set with identity or empty encoding", http2::ErrorCode::kCancel);
        }
        if (auto r = gunzip(message, options.max_message_bytes, call.unzipped); !r) {
          return fail(call, GrpcStatus::kInternal, r.error().text(), http2::ErrorCode::kCancel);
        }
        message = call.unzipped;
      }
      call.listener->on_message(id, message);
      call.reader.next();
    }
  }

  void fail(ClientCall& call, GrpcStatus status, std::string_view text, http2::ErrorCode code) {
    end(call, status, text);
    session.reset(call.id, code);
  }

  void on_end_stream(http2::StreamId, void* user) override {
    auto& call = *static_cast<ClientCall*>(user);
    if (call.have_status) {
      end(call, call.status, call.text);
    } else {
      end(call, GrpcStatus::kInternal, "server closed the stream without sending trailers");
    }
  }

  void on_stream_closed(http2::StreamId id, void* user, http2::ErrorCode code) override {
    auto& call = *static_cast<ClientCall*>(user);
    if (!call.ended) {
      if (call.cancelled) {
        end(call, GrpcStatus::kCanceled, "context canceled");
      } else if (code == http2::ErrorCode::kRefusedStream) {
        call.ended = true;
        call.listener->on_refused(id, going_away ? "the connection is draining" : reset_text(code));
      } else {
        end(call, reset_status(code), reset_text(code));
      }
    }
    queued -= call.out.size();
    call.out.clear(kKeepBytes);
    const auto it = calls.find(id);
    dead.push_back(std::move(it->second));
    calls.erase(it);
  }

  void on_goaway(http2::ErrorCode, http2::StreamId, std::string_view debug) override {
    going_away = true;
    goaway_text = debug;
  }
  void on_settings() override { ready = true; }

  void close(GrpcStatus status, std::string_view text) {
    // Listeners may cancel other calls; nothing leaves the table here.
    std::vector<ClientCall*> open;
    open.reserve(calls.size());
    for (const auto& [id, call] : calls) open.push_back(call.get());
    std::sort(open.begin(), open.end(), [](const auto* a, const auto* b) { return a->id < b->id; });
    going_away = true;
    for (ClientCall* call : open) {
      call->cancelled ? end(*call, GrpcStatus::kCanceled, "context canceled") : end(*call, status, text);
    }
  }

 private:
  std::vector<http2::HeaderField> fields_;  // of the call being opened
};

ClientConnection::ClientConnection(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}
ClientConnection::~ClientConnection() = default;

Result<> ClientConnection::feed(std::string_view bytes, io::MonotonicNs now) {
  auto r = impl_->session.feed(bytes, now);
  impl_->bury();
  return r;
}

Result<> ClientConnection::produce(http2::ByteQueue& out, size_t limit) {
  auto r = impl_->session.produce(out, limit);
  impl_->bury();
  return r;
}

bool ClientConnection::wants_write() const {
  return impl_->session.wants_write();
}

void ClientConnection::close(GrpcStatus status, std::string_view text) {
  impl_->close(status, text);
}

Result<http2::StreamId> ClientConnection::open(std::string_view path, ClientListener& listener,
                                               const CallOptions& options) {
  ASSIGN_OR_RETURN(ClientCall * call, impl_->open(path, listener, options));
  return call->id;
}

Result<http2::StreamId> ClientConnection::unary(std::string_view path, std::string_view request,
                                                ClientListener& listener, const CallOptions& options) {
  ASSIGN_OR_RETURN(ClientCall * call, impl_->open(path, listener, options));
  call->queue(request);
  call->half_closed = true;
  return call->id;
}

void ClientConnection::send(http2::StreamId id, std::string_view message) {
  ClientCall* call = impl_->find(id);
  if (!call || call->half_closed) return;
  call->queue(message);
  impl_->wake(*call);
}

void ClientConnection::half_close(http2::StreamId id) {
  ClientCall* call = impl_->find(id);
  if (!call || call->half_closed) return;
  call->half_closed = true;
  impl_->wake(*call);
}

void ClientConnection::cancel(http2::StreamId id) {
  ClientCall* call = impl_->find(id);
  if (!call || call->ended) return;
  call->cancelled = true;
  impl_->session.reset(id, http2::ErrorCode::kCancel);
}

void ClientConnection::abandon(http2::StreamId id) {
  ClientCall* call = impl_->find(id);
  if (!call || call->ended) return;
  call->ended = true;
  impl_->session.reset(id, http2::ErrorCode::kCancel);
}

void ClientConnection::hold(http2::StreamId id, bool on) {
  ClientCall* call = impl_->find(id);
  if (!call || call->on_hold == on) return;
  call->on_hold = on;
  if (!on) impl_->session.consume_stream(id, std::exchange(call->held_bytes, 0));
}

void ClientConnection::ping(uint64_t payload) {
  impl_->session.submit_ping(payload);
}

size_t ClientConnection::queued_bytes() const {
  return impl_->queued;
}
size_t ClientConnection::queued_bytes(http2::StreamId id) const {
  const ClientCall* call = impl_->find(id);
  return call ? call->out.size() : 0;
}
size_t ClientConnection::open_calls() const {
  return impl_->calls.size();
}
bool ClientConnection::going_away() const {
  return impl_->going_away;
}
std::string_view ClientConnection::goaway_text() const {
  return impl_->goaway_text;
}
bool ClientConnection::ready() const {
  return impl_->ready;
}

}  // namespace quoin::grpc
