// A server connection with a small test service, and a client that speaks bare HTTP/2 so that it can
// misbehave.
#pragma once
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "grpc/protocol.h"
#include "grpc/server_connection.h"
#include "http2/session.h"

namespace quoin::grpc::test {

inline std::string framed(std::string_view message, int flag = 0) {
  std::string s(kPrefixBytes, '\0');
  store_prefix(s.data(), false, static_cast<uint32_t>(message.size()));
  s[0] = static_cast<char>(flag);
  return s.append(message);
}

struct CountingProbe final : Probe {
  std::vector<std::string> lines;
  std::map<Bound, int> bounds;
  void bound_reached(Bound b, std::string_view peer) override {
    EXPECT_EQ(peer, "127.0.0.1:1");
    ++bounds[b];
  }
  void started(const Method& m) override { lines.push_back("started " + m.name); }
  void handled(const Call& call, GrpcStatus s) override {
    const Method& m = call.method();
    lines.push_back(fmt::format("handled {} {}", m.name, static_cast<int>(s)));
  }
  void received(const Method& m, size_t n) override {
    lines.push_back(fmt::format("received {} {}", m.name, n));
  }
  void sent(const Method& m, size_t n) override { lines.push_back(fmt::format("sent {} {}", m.name, n)); }
};

// test.Echo: Unary answers with the request; "fail:<code>:<text>" fails; "bad" is undecodable. Later keeps
// the call for the test to answer. Down and Bidi keep their streams for the test; Bidi also echoes what does
// not begin with '-'.
struct EchoService final : UnaryHandler {
  void call(Call& call, std::string_view request) override {
    if (request.starts_with("fail:")) {
      const size_t colon = request.find(':', 5);
      const int code = std::stoi(std::string(request.substr(5, colon - 5)));
      return call.fail(static_cast<GrpcStatus>(code), request.substr(colon + 1));
    }
    if (request == "bad") return call.fail_decode("proto: integer overflow");
    call.respond(request.size(), [&](char* p) {
      if (!request.empty()) std::memcpy(p, request.data(), request.size());
    });
  }
};
struct LaterService final : UnaryHandler {
  size_t over = 0;  // calls that ended() was told of
  std::vector<CallId> calls;
  std::vector<std::string_view> requests;
  std::vector<std::pair<CallId, CancelReason>> cancels;
  void call(Call& call, std::string_view request) override {
    calls.push_back(call.id());
    requests.push_back(request);
  }
  GrpcStatus cancelled(Call& call, std::string_view, CancelReason reason) override {
    cancels.emplace_back(call.id(), reason);
    return GrpcStatus::kUnknown;
  }
  void ended(Call&, std::string_view, size_t) override { ++over; }
};
struct StreamLog {
  Call* call = nullptr;
  std::vector<std::string> events;
};
struct LoggedStream final : StreamListener {
  LoggedStream(StreamLog& l, bool e) : log(l), echo(e) {}
  StreamLog& log;
  bool echo;
  void on_message(std::string_view m) override {
    log.events.push_back("message " + std::string(m.substr(0, 40)));
    if (m == "bad") return log.call->fail_decode("unexpected EOF");
    if (m == "pause") return log.call->pause_reading();
    if (echo && !m.starts_with('-')) log.call->send({}, Blob::copy(m));
  }
  void on_half_close() override { log.events.push_back("half-close"); }
  void on_writable() override { log.events.push_back("writable"); }
  GrpcStatus on_cancelled(CancelReason r) override {
    log.events.push_back(fmt::format("cancelled {}", static_cast<int>(r)));
    return StreamListener::on_cancelled(r);
  }
};
struct StreamService final : StreamHandler {
  explicit StreamService(bool e) : echo(e) {}
  bool echo;
  std::vector<std::unique_ptr<StreamLog>> streams;
  std::unique_ptr<StreamListener> open(Call& call) override {
    streams.push_back(std::make_unique<StreamLog>());
    streams.back()->call = &call;
    if (call.metadata("refuse")) {
      call.fail(GrpcStatus::kUnavailable, "refused");
      return nullptr;
    }
    return std::make_unique<LoggedStream>(*streams.back(), echo);
  }
};

// Speaks HTTP/2 correctly and gRPC as it is told.
class RawClient final : public http2::SessionHandler {
 public:
  struct Stream final : http2::BodySource {
    std::string to_send;
    bool end = false, asleep = false;
    std::map<std::string, std::string> headers, last;  // the first block, the last one if there were two
    int blocks = 0;
    std::string body;
    bool ended = false, closed = false;
    http2::ErrorCode code{};

    Ready ready(size_t limit) override {
      const size_t n = std::min(limit, to_send.size());
      const bool done = end && n == to_send.size();
      asleep = n == 0 && !done;
      return {n, done};
    }
    void write(size_t n, http2::ByteQueue& out) override {
      out.append(std::string_view(to_send).substr(0, n));
      to_send.erase(0, n);
    }
    bool trailers() override { return false; }

    // "code text" of the status, wherever it stands.
    std::string status() const {
      const auto& from = blocks > 1 ? last : headers;
      const auto s = from.find("grpc-status");
      const auto m = from.find("grpc-message");
      if (s == from.end()) return "none";
      return s->second + " " + (m == from.end() ? "(absent)" : m->second);
    }
    bool trailers_only() const { return blocks == 1 && headers.contains("grpc-status"); }
  };
  using Headers = std::vector<std::pair<std::string, std::string>>;

  RawClient() : session(http2::Session::Role::kClient, *this, http2::Limits{}) {}

  static Headers post(std::string_view path) {
    return {{":method", "POST"},
            {":scheme", "http"},
            {":path", std::string(path)},
            {":authority", "x"},
            {"content-type", "application/grpc"},
            {"te", "trailers"}};
  }
  // `body` without `end` leaves the stream open. `end_on_headers`: END_STREAM already there.
  http2::StreamId request(const Headers& headers, std::string_view body, bool end,
                          bool end_on_headers = false) {
    names.push_back(std::make_unique<Headers>(headers));
    std::vector<http2::HeaderField> fields;
    for (const auto& [name, value] : *names.back()) fields.push_back({name, value});
    auto stream = std::make_unique<Stream>();
    stream->to_send = body;
    stream->end = end;
    auto id = session.submit_request(fields, end_on_headers ? nullptr : stream.get(), stream.get());
    EXPECT_TRUE(id);
    streams[*id] = std::move(stream);
    return *id;
  }
  void send(http2::StreamId id, std::string_view bytes, bool end) {
    Stream& s = *streams[id];
    s.to_send += bytes;
    s.end = s.end || end;
    if (s.asleep) session.resume(id);
  }

  void on_headers(http2::StreamId, void* user, http2::HeaderBlock& h, bool) override {
    auto& s = *static_cast<Stream*>(user);
    ++s.blocks;
    auto& into = s.blocks == 1 ? s.headers : s.last;
    for (size_t i = 0; i < h.size(); ++i) into[std::string(h[i].name)] = h[i].value;
  }
  void on_data(http2::StreamId id, void* user, std::string_view bytes) override {
    static_cast<Stream*>(user)->body += bytes;
    if (read) {
      session.consume_connection(bytes.size());
      session.consume_stream(id, bytes.size());
    }
  }
  void on_end_stream(http2::StreamId, void* user) override { static_cast<Stream*>(user)->ended = true; }
  void on_stream_closed(http2::StreamId, void* user, http2::ErrorCode code) override {
    static_cast<Stream*>(user)->closed = true;
    static_cast<Stream*>(user)->code = code;
  }
  void on_goaway(http2::ErrorCode code, http2::StreamId last, std::string_view debug) override {
    goaways.push_back(fmt::format("{} {} {}", static_cast<uint32_t>(code), last, debug));
  }

  bool read = true;  // gives windows back
  std::map<http2::StreamId, std::unique_ptr<Stream>> streams;
  std::vector<std::unique_ptr<Headers>> names;
  std::vector<std::string> goaways;
  http2::Session session;
};

struct Harness : ServerConnection::Notify {
  static ConnectionLimits small_limits() {
    ConnectionLimits l;
    l.max_received_message_bytes = 1 << 20;
    l.stream_queue_bytes = 1000;
    return l;
  }
  explicit Harness(ConnectionLimits limits = small_limits(), size_t memory_limit = 1 << 30)
      : memory(memory_limit), context{methods, calls, probe, memory, limits} {
    methods.add_unary("test.Echo", "Unary", echo);
    methods.add_unary("test.Echo", "Later", later);
    methods.add_stream("test.Echo", "Down", MethodKind::kServerStream, down);
    methods.add_stream("test.Echo", "Bidi", MethodKind::kBidiStream, bidi);
    server = std::make_unique<ServerConnection>(context, PeerInfo{"127.0.0.1:1", {}}, *this, now);
  }
  void output_ready() override { ++notified; }

  // Carries bytes both ways until nothing moves. The chunk size makes frames arrive in pieces.
  void run(size_t chunk = SIZE_MAX) {
    for (bool moved = true; moved;) {
      moved = false;
      http2::ByteQueue out;
      EXPECT_TRUE(client.session.produce(out, 1 << 20));
      moved |= !out.empty();
      std::string bytes = out.take_all();
      for (size_t i = 0; i < bytes.size() && server_result; i += chunk) {
        server_result = server->feed(std::string_view(bytes).substr(i, chunk), now);
        while (server_result && server->unfed()) server_result = server->feed({}, now);
      }
      if (code && server_result && server->coding()) {
        server->code(now);
        moved = true;
      }
      if (produce) {
        (void)server->produce(out, 1 << 20);
        moved |= !out.empty();
        bytes = out.take_all();
        for (size_t i = 0; i < bytes.size(); i += chunk) {
          EXPECT_TRUE(client.session.feed(std::string_view(bytes).substr(i, chunk), now));
        }
      }
    }
  }
  // The ways in which a call ends without its service.
  enum class End : uint8_t { kReset, kDeadline, kConnection, kStop };
  // Ends all calls of `ids` that way, or, by the last two, all there are. For kDeadline the calls must have
  // been made with `grpc-timeout` kTimeout.
  static constexpr const char* kTimeout = "30S";
  void end(End how, const std::vector<http2::StreamId>& ids) {
    switch (how) {
      case End::kReset:
        for (const auto id : ids) client.session.reset(id, http2::ErrorCode::kCancel);
        return run();
      case End::kDeadline:
        now += 30 * io::kSecond;
        EXPECT_TRUE(server->tick(now));
        return run();
      case End::kConnection:
        return server.reset();
      case End::kStop:
        server->shutdown(now);
        return server->close(CancelReason::kServerStopped);
    }
  }
  RawClient::Stream& call(std::string_view path, std::string_view body, bool end = true) {
    return *client.streams[client.request(RawClient::post(path), body, end)];
  }

  io::MonotonicNs now = 1'000 * io::kSecond;
  MethodTable methods;
  CallTable calls;
  CountingProbe probe;
  MemoryBudget memory;
  EchoService echo;
  LaterService later;
  StreamService down{false}, bidi{true};
  ServerContext context;
  int notified = 0;
  bool produce = true, code = true;
  Result<> server_result{};
  RawClient client;
  std::unique_ptr<ServerConnection> server;
};

}  // namespace quoin::grpc::test
