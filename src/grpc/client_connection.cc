#include "grpc/client_connection.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "base/check.h"
#include "grpc/gzip.h"
#include "grpc/message_reader.h"
#include "grpc/protocol.h"

namespace quoin::grpc {
namespace {

struct ClientCall final : http2::BodySource {
  http2::StreamId id = 0;
  ClientListener* listener = nullptr;
  http2::ByteQueue out;
  MessageReader reader;
  std::string unzipped;
  bool gzip = false, response_gzip = false;
  bool half_closed = false, asleep = false, ended = false, response_headers = false;
  bool have_status = false;
  GrpcStatus status = GrpcStatus::kUnknown;
  std::string text;

  Ready ready(size_t limit) override {
    const size_t n = std::min(limit, out.size());
    const bool end = half_closed && n == out.size();
    asleep = n == 0 && !end;
    return {n, end};
  }
  void write(size_t n, http2::ByteQueue& to) override { out.move_to(n, to); }
  bool trailers() override { return false; }

  void queue(std::string_view message) {
    if (gzip) {
      std::string packed(kPrefixBytes, '\0');
      grpc::gzip(message, packed);
      store_prefix(packed.data(), true, static_cast<uint32_t>(packed.size() - kPrefixBytes));
      out.append(packed);
      return;
    }
    store_prefix(out.grow(kPrefixBytes), false, static_cast<uint32_t>(message.size()));
    out.append(message);
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
  std::map<http2::StreamId, std::unique_ptr<ClientCall>> calls;
  std::vector<std::unique_ptr<ClientCall>> dead;  // freed once the library is done with them
  bool going_away = false;
  std::string goaway_text;
  http2::Session session;

  ClientCall* find(http2::StreamId id) {
    const auto it = calls.find(id);
    return it == calls.end() ? nullptr : it->second.get();
  }

  Result<ClientCall*> open(std::string_view path, ClientListener& listener, const CallOptions& o) {
    if (going_away) return make_error(Code::kStopped, "the server is going away: {}", goaway_text);
    std::vector<http2::HeaderField> fields = {{":method", "POST", true},
                                              {":scheme", "http", true},
                                              {":path", path},
                                              {":authority", options.authority},
                                              {"content-type", "application/grpc", true},
                                              {"user-agent", options.user_agent},
                                              {"te", "trailers", true}};
    const std::string timeout = format_timeout(o.timeout_ns);
    if (o.timeout_ns > 0) fields.push_back({"grpc-timeout", timeout});
    if (o.gzip) fields.push_back({"grpc-encoding", "gzip", true});
    auto call = std::make_unique<ClientCall>();
    // The library keeps names by pointer: those of the caller's metadata live with the connection.
    for (const auto& [name, value] : o.metadata) fields.push_back({*names_.insert(name).first, value});
    call->listener = &listener;
    call->gzip = o.gzip;
    call->reader.reset(options.max_message_bytes);
    ASSIGN_OR_RETURN(call->id, session.submit_request(fields, call.get(), call.get()));
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

  void on_headers(http2::StreamId id, void* user, http2::HeaderBlock& h, bool) override {
    auto& call = *static_cast<ClientCall*>(user);
    if (!call.response_headers) {
      call.response_headers = true;
      call.response_gzip = h.find("grpc-encoding").value_or("") == "gzip";
      session.raise_window(id, options.stream_window_bytes);
    }
    if (const auto s = h.find("grpc-status")) {
      unsigned v = 0;
      const auto r = std::from_chars(s->data(), s->data() + s->size(), v);
      call.have_status = true;
      call.status = r.ec == std::errc() && v <= 16 ? static_cast<GrpcStatus>(v) : GrpcStatus::kUnknown;
      call.text = decode_message(h.find("grpc-message").value_or(""));
    }
  }

  void on_data(http2::StreamId id, void* user, std::string_view bytes) override {
    auto& call = *static_cast<ClientCall*>(user);
    session.consume_connection(bytes.size());
    session.consume_stream(id, bytes.size());
    while (!bytes.empty() && !call.ended) {
      switch (call.reader.read(bytes)) {
        case MessageReader::Step::kMore:
          return;
        case MessageReader::Step::kTooLarge:
          return fail(call, GrpcStatus::kResourceExhausted,
                      fmt::format("grpc: received message larger than max ({} vs. {})",
                                  call.reader.announced_bytes(), options.max_message_bytes));
        case MessageReader::Step::kMessage:
          break;
      }
      std::string_view message = call.reader.message();
      if (call.reader.flag() == 1) {
        if (!call.response_gzip) {
          return fail(call, GrpcStatus::kInternal,
                      "grpc: compressed flag set with identity or empty encoding");
        }
        if (auto r = gunzip(message, options.max_message_bytes, call.unzipped); !r) {
          return fail(call, GrpcStatus::kInternal, r.error().text());
        }
        message = call.unzipped;
      }
      call.listener->on_message(id, message);
      call.reader.next();
    }
  }

  void fail(ClientCall& call, GrpcStatus status, std::string_view text) {
    end(call, status, text);
    session.reset(call.id, http2::ErrorCode::kCancel);
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
    if (code == http2::ErrorCode::kCancel) {
      end(call, GrpcStatus::kCanceled, "context canceled");
    } else {
      const auto status =
          code == http2::ErrorCode::kRefusedStream ? GrpcStatus::kUnavailable : GrpcStatus::kInternal;
      end(call, status,
          fmt::format("stream terminated by RST_STREAM with error code: {}", static_cast<uint32_t>(code)));
    }
    const auto it = calls.find(id);
    dead.push_back(std::move(it->second));
    calls.erase(it);
  }

  void on_goaway(http2::ErrorCode, http2::StreamId, std::string_view debug) override {
    going_away = true;
    goaway_text = debug;
  }

 private:
  // Never shrinks: names are few and come from the program, not from the network.
  std::set<std::string> names_;
};

ClientConnection::ClientConnection(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}
ClientConnection::~ClientConnection() = default;

Result<> ClientConnection::feed(std::string_view bytes, io::MonotonicNs now) {
  auto r = impl_->session.feed(bytes, now);
  impl_->dead.clear();
  return r;
}

Result<> ClientConnection::produce(http2::ByteQueue& out, size_t limit) {
  auto r = impl_->session.produce(out, limit);
  impl_->dead.clear();
  return r;
}

bool ClientConnection::wants_write() const {
  return impl_->session.wants_write();
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
  if (impl_->find(id)) impl_->session.reset(id, http2::ErrorCode::kCancel);
}

void ClientConnection::ping(uint64_t payload) {
  impl_->session.submit_ping(payload);
}

size_t ClientConnection::queued_bytes() const {
  size_t n = 0;
  for (const auto& [id, call] : impl_->calls) n += call->out.size();
  return n;
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

}  // namespace quoin::grpc
