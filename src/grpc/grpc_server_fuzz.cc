// Feeds a server connection whatever a client might send: after the preface, the input in pieces whose
// lengths come from the input's first byte. Services answer at once, later, or keep streams; time passes
// between pieces.
#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "grpc/server_connection.h"

namespace quoin::grpc {
namespace {

struct Unary final : UnaryHandler {
  CallId last;
  void call(Call& call, std::string_view request) override {
    if (!request.empty() && request[0] == 'L') {
      last = call.id();
      return;
    }
    if (!request.empty() && request[0] == 'D') return call.fail_decode("unexpected EOF");
    call.respond(request.size(), [&](char* p) { std::copy(request.begin(), request.end(), p); });
  }
};
struct Stream final : StreamHandler {
  struct Listener final : StreamListener {
    explicit Listener(Call& c) : call(c) {}
    Call& call;
    void on_message(std::string_view m) override {
      if (m.starts_with('P')) call.pause_reading();
      if (m.starts_with('E')) return call.finish(GrpcStatus::kOk, {});
      if (call.writable()) call.send(m, Blob::copy(m));
    }
    void on_half_close() override { call.resume_reading(); }
    void on_writable() override { call.resume_reading(); }
  };
  CallId last;
  std::unique_ptr<StreamListener> open(Call& call) override {
    last = call.id();
    return std::make_unique<Listener>(call);
  }
};
struct Nobody final : ServerConnection::Notify {
  void output_ready() override {}
};

}  // namespace
}  // namespace quoin::grpc

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quoin;
  using namespace quoin::grpc;
  if (size == 0) return 0;
  MethodTable methods;
  CallTable calls;
  Probe probe;
  MemoryBudget memory(1 << 20);
  Unary unary;
  Stream stream;
  Nobody nobody;
  methods.add_unary("s", "U", unary);
  methods.add_stream("s", "D", MethodKind::kServerStream, stream);
  methods.add_stream("s", "B", MethodKind::kBidiStream, stream);
  ConnectionLimits limits;
  limits.max_received_message_bytes = 100'000;
  limits.request_bytes = 200'000;
  limits.stream_queue_bytes = 1000;
  limits.header_bytes = 100'000;
  ServerContext context{methods, calls, probe, memory, limits};
  io::MonotonicNs now = io::kSecond;
  {
    ServerConnection server(context, PeerInfo{"fuzz", {}}, nobody, now);
    bool alive = bool(server.feed("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", now));
    const size_t piece = data[0] == 0 ? size : data[0];
    const std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
    for (size_t i = 0; i < input.size() && alive && !server.done(); i += piece) {
      alive = bool(server.feed(input.substr(i, piece), now));
      while (alive && server.unfed()) alive = bool(server.feed({}, now));
      now += 10 * io::kMillisecond;
      if (Call* call = calls.find(unary.last)) call->respond(Blob::copy("late"));
      if (Call* call = calls.find(stream.last)) call->resume_reading();
      http2::ByteQueue out;
      alive = alive && server.produce(out, 1 << 16) && server.tick(now);
    }
    CHECK_LT(server.held_bytes(), size * 1100 + 400'000);
  }
  CHECK_EQ(calls.size(), 0u);
  CHECK_EQ(memory.used(), 0u);
  return 0;
}
