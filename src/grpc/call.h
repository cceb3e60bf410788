// One call as a service sees it, and what a service implements.
//
// Threads: a Call and everything here but CallId is confined to the loop of its connection. Work that leaves
// the loop takes the CallId along; when the answer comes back to the loop, CallTable::find() gives the Call
// again, or nullptr if it has ended meanwhile (answered, cancelled, reset, deadline over, connection lost).
//
// A Call ends exactly once: by respond(), finish() or fail(), or by cancellation. After that it takes no
// further action and no handler method is called for it; a reference is good until the handler method that
// holds it returns.
//
// The JSON gateway makes calls of its own over the same services, so Call is an interface:
// server_connection.h has the one for gRPC.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/blob.h"
#include "base/result.h"
#include "grpc/method_table.h"
#include "io/clock.h"

namespace quoin::grpc {

// Names a call for good: never used for another one. 0 names none. May be carried through any thread.
struct CallId {
  uint64_t v = 0;
  friend bool operator==(CallId, CallId) = default;
  explicit operator bool() const { return v != 0; }
};

enum class CancelReason : uint8_t {
  kClientReset,  // RST_STREAM
  kDeadline,     // grpc-timeout is over; the stream has been reset with CANCEL
  kConnectionLost,
  kServerStopped,  // close() of the connection by this side
  kBadMessage,     // a stream's client sent what is no message; the call has ended with that error
};

constexpr io::MonotonicNs kNoDeadline = INT64_MAX;
// A message of a gRPC stream is at most this long (spec api-semantics 1.2, max sent message).
constexpr size_t kMaxSentMessageBytes = (size_t{1} << 31) - 1;

class CallTable;

class Call {
 public:
  CallId id() const { return id_; }
  CallTable& table() const { return *table_; }
  const Method& method() const { return *method_; }
  // kNoDeadline if the client set none.
  io::MonotonicNs deadline() const { return deadline_; }
  bool ended() const { return ended_; }
  // When the bytes came that completed a unary call's request, or opened a stream.
  io::MonotonicNs started() const { return started_; }

  // First value of a request header in lower case ("token", "hasleader"); the view lives as long as the call.
  // Headers of the protocol itself (grpc-timeout, content-type, te, ...) are not visible; :authority and
  // user-agent are.
  virtual std::optional<std::string_view> metadata(std::string_view key) const = 0;
  // "127.0.0.1:51234".
  virtual std::string_view peer_address() const = 0;
  // Common name of the client's verified certificate, which may be empty; none without a certificate.
  virtual std::optional<std::string_view> tls_common_name() const = 0;

  // ---- one message ----
  // Encodes a message in place: begin_message() returns room for `size` bytes, which the caller fills before
  // end_message(). Nothing else of this call may be called in between. size <= kMaxSentMessageBytes.
  virtual char* begin_message(size_t size) = 0;
  virtual void end_message() = 0;
  // A message that is `head` followed by `tail`. A large tail is shared, not copied.
  virtual void send(std::string_view head, const Blob& tail) = 0;
  // The same with the tail in pieces.
  virtual void send(std::string_view head, std::span<const Blob> parts) = 0;
  // Bytes of an answer under construction: they count in the bounds of the connection and of the process
  // until the answer is sent or the call is over. The whole amount, not a difference.
  virtual void hold_prepared(size_t bytes) = 0;
  // Ends the call: status, trailers. A unary call with kOk must have sent its one message.
  virtual void finish(GrpcStatus status, std::string_view text) = 0;
  // The request's bytes are no message: ends the call with code 13 and the text of its kind (`grpc: error
  // unmarshalling request: <detail>`, of a stream `grpc: failed to unmarshal the received message:
  // <detail>`). Such a unary call never counts as started (metrics), because its handler was never reached.
  virtual void fail_decode(std::string_view detail) = 0;

  // Encodes with `fill(char*)` and ends the call well.
  template <class Fill>
  void respond(size_t size, Fill&& fill) {
    if (!send_message(size, static_cast<Fill&&>(fill))) return;
    finish(GrpcStatus::kOk, {});
  }
  void respond(const Blob& message) {
    if (!fits(message.size())) return;
    send({}, message);
    finish(GrpcStatus::kOk, {});
  }
  // `bytes`: of all parts. More than they hold, and too many, if the answer was too long to be kept.
  void respond(std::string_view head, std::span<const Blob> parts, size_t bytes) {
    if (!fits(head.size() + bytes)) return;
    send(head, parts);
    finish(GrpcStatus::kOk, {});
  }
  // One message of a stream. False if it was too large, and the call has been ended for it, or the call is
  // over.
  template <class Fill>
  bool send_message(size_t size, Fill&& fill) {
    if (!fits(size)) return false;
    fill(begin_message(size));
    end_message();
    return true;
  }
  void fail(const Error& error) { finish(error.grpc_status(), error.text()); }
  void fail(GrpcStatus status, std::string_view text) { finish(status, text); }

  // ---- streams: bounds ----
  // Bytes handed over and not yet sent. While writable() is false a stream sends nothing more than what it
  // can't hold back; StreamListener::on_writable() tells when the queue has fallen to half its bound.
  virtual size_t queued_bytes() const = 0;
  virtual bool writable() const = 0;
  // No on_message() until resumed; the client runs into its window.
  virtual void pause_reading() = 0;
  virtual void resume_reading() = 0;

  // A reference for work that is done for this call elsewhere (in queues, callbacks). The work keeps it and
  // drops it at its end, on any thread. A cancelled call is over at once, but what was begun for it is not: a
  // connection with too many such calls is not read from until there are less (server_connection.h, Bounds).
  // May be null.
  virtual std::shared_ptr<const void> work() const { return nullptr; }

  // A number for the service's own use, which links the call to what it waits for.
  uint64_t context = 0;

 protected:
  Call() = default;
  virtual ~Call() = default;
  // False, and the call has failed with code 8, if the message is longer than kMaxSentMessageBytes.
  bool fits(size_t size);

  CallId id_;
  CallTable* table_ = nullptr;
  const Method* method_ = nullptr;
  io::MonotonicNs deadline_ = kNoDeadline;
  io::MonotonicNs started_ = 0;
  bool ended_ = false;

  friend class CallTable;
};

// Calls in progress on one loop, by id. Outlives the loop's connections.
class CallTable {
 public:
  // Gives `call` an id that finds it.
  void add(Call& call);
  // The id finds nothing from now on. Once per add().
  void remove(Call& call);
  Call* find(CallId id) const {
    const uint32_t slot = static_cast<uint32_t>(id.v);
    if (slot >= slots_.size() || slots_[slot].generation != id.v >> 32) return nullptr;
    return slots_[slot].call;
  }
  size_t size() const { return size_; }

 private:
  struct Slot {
    Call* call = nullptr;
    uint32_t generation = 1;
    uint32_t next_free = 0;
  };
  std::vector<Slot> slots_;
  uint32_t free_ = UINT32_MAX;
  size_t size_ = 0;
};

class UnaryHandler {
 public:
  virtual ~UnaryHandler() = default;
  // The request is complete. Answer now or later. `request` stays valid until the call ends.
  virtual void call(Call& call, std::string_view request) = 0;
  // The call ended before it was answered. Returns the status under which metrics count it (what the method
  // would have returned).
  virtual GrpcStatus cancelled(Call& call, std::string_view request, CancelReason reason);
  // The last thing that is told of a call that reached call(), however it ended; nothing may be done with it
  // any more. `response_bytes`: length of its message, 0 without one. Not told of undecodable requests.
  virtual void ended(Call& /*call*/, std::string_view /*request*/, size_t /*response_bytes*/) {}
};

// What one open stream tells its service; made by StreamHandler::open(), destroyed soon after the call has
// ended.
class StreamListener {
 public:
  virtual ~StreamListener() = default;
  // `message` lives during the call. A server stream gets exactly one, after the client's half-close.
  virtual void on_message(std::string_view message) = 0;
  // The client will send no more (a bidi stream; a server stream is half-closed from the start).
  virtual void on_half_close() {}
  virtual void on_writable() {}
  // The stream is over without this side's doing. As UnaryHandler::cancelled().
  virtual GrpcStatus on_cancelled(CancelReason reason);
};

class StreamHandler {
 public:
  virtual ~StreamHandler() = default;
  // A stream was opened: `call` lives at least as long as the listener. To refuse, end the call and return
  // nullptr or a listener that is then never called.
  virtual std::unique_ptr<StreamListener> open(Call& call) = 0;
};

// The bounds of a connection, and what happens when one is reached.
enum class Bound : uint8_t {
  kOutput,    // the client does not read: its input is not read either
  kWork,      // too much work for calls that are over: its input is not read
  kHeaders,   // a call's metadata did not fit: it failed with code 8
  kRequests,  // unfinished requests hold too much: the youngest was refused
  kAnswers,   // unread answers hold too much: a call waits for its turn
  kStreams,   // a stream over the limit was refused
  kFlood,     // the connection was ended with ENHANCE_YOUR_CALM
  kSilence,   // the connection was closed: a keepalive ping was not answered
  kDrain,     // the connection was closed: a stop or a farewell took too long
};
constexpr size_t kBounds = 9;
std::string_view bound_name(Bound bound);  // "output", "work", ...

// Counts what metrics show. One object may serve all loops.
class Probe {
 public:
  virtual ~Probe() = default;
  virtual void started(const Method&) {}
  virtual void handled(const Call&, GrpcStatus) {}
  // Message lengths without framing, uncompressed.
  virtual void received(const Method&, size_t /*bytes*/) {}
  virtual void sent(const Method&, size_t /*bytes*/) {}
  // `peer`: the client's address.
  virtual void bound_reached(Bound, std::string_view /*peer*/) {}
};

}  // namespace quoin::grpc
