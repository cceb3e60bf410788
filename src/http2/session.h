// One HTTP/2 connection without a socket, over libnghttp2, in either role: bytes in, events to a handler,
// bytes out.
//
// Threads: confined to its owner's loop; no locks, no clock (callers pass `now`).
// Lifetime: the handler outlives the session. A BodySource must live until on_stream_closed of its stream.
// Re-entrance: handler methods may call any method of the session except feed(), produce() and the
// destructor. Output is only made in produce(), so everything that one round of input causes leaves together.
//
// Header rules are checked here, not by libnghttp2, because its rules are not Go's: a missing :authority or a
// :path without a slash are for the layer above to judge (spec api-semantics 1.2). What remains here: names
// in lower case and of token characters, values without control characters, pseudo fields first, known and
// not repeated, and no `connection` field; a violation resets the stream with PROTOCOL_ERROR.
//
// Flow control: windows are given back by hand. Every byte told to on_data() must be returned once by
// consume().
//
// Bounds. A header block is kept as long as it fits SessionHandler::header_room(), at most
// kMaxHeaderBlockBytes once decompressed (a few bytes may name a large table entry again and again). A larger
// one is decompressed and dropped, and on_headers_too_large() is told: it costs its stream, not the
// connection. On the wire a block may have HeaderGuard::kMaxBlockBytes. Streams beyond
// Limits::max_concurrent_streams are refused one by one. Acknowledgements that wait: kMaxQueuedAcks. Frames
// that carry nothing, and resets that a peer's own faults draw from us: a rate each (Limits), beyond which
// the connection ends with ENHANCE_YOUR_CALM. Resets by the peer are not counted: what a stream costs after
// its end is known to the layer above only.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "http2/byte_queue.h"
#include "io/clock.h"

namespace quoin::http2 {

using StreamId = int32_t;

enum class ErrorCode : uint32_t {
  kNoError = 0,
  kProtocolError = 1,
  kInternalError = 2,
  kFlowControlError = 3,
  kSettingsTimeout = 4,
  kStreamClosed = 5,
  kFrameSizeError = 6,
  kRefusedStream = 7,
  kCancel = 8,
  kCompressionError = 9,
  kConnectError = 10,
  kEnhanceYourCalm = 11,
  kInadequateSecurity = 12,
  kHttp11Required = 13,
};

// A field to send. The bytes of a `stable` one must live as long as the session (constants); others are
// copied.
struct HeaderField {
  std::string_view name;  // stable, unless `copy_name`
  std::string_view value;
  bool stable = false;     // the value is stable too
  bool no_index = false;   // keep it out of the compression table: it will not come again
  bool copy_name = false;  // the name is not stable
};

// A received header block: all fields in order, bytes in one buffer. Views end when the block is changed.
class HeaderBlock {
 public:
  struct Field {
    std::string_view name, value;
  };
  static constexpr size_t kKeepBytes = 2048;
  size_t size() const { return fields_.size(); }
  Field operator[](size_t i) const {
    const Ref& r = fields_[i];
    const std::string_view all(bytes_);
    return {all.substr(r.at, r.name), all.substr(r.at + r.name, r.value)};
  }
  size_t bytes() const { return bytes_.size(); }
  // What it occupies.
  size_t held_bytes() const { return bytes_.capacity() + fields_.capacity() * sizeof(Ref); }
  // Value of the first field of that name.
  std::optional<std::string_view> find(std::string_view name) const;

  void add(std::string_view name, std::string_view value);
  // Empties it; a buffer larger than kKeepBytes is given back.
  void clear();
  void swap(HeaderBlock& o) noexcept {
    bytes_.swap(o.bytes_);
    fields_.swap(o.fields_);
  }

 private:
  struct Ref {
    uint32_t at, name, value;  // offset; lengths
  };
  std::string bytes_;
  std::vector<Ref> fields_;
};

// What a stream sends after its headers. Asked when the peer's windows have room.
class BodySource {
 public:
  struct Ready {
    size_t bytes = 0;  // that can be sent now, at most the `limit` asked for
    bool end = false;  // nothing follows these bytes but trailers
  };
  virtual ~BodySource() = default;
  // With {0, false} the stream sleeps until Session::resume().
  virtual Ready ready(size_t limit) = 0;
  // Moves exactly `n` bytes, announced by ready(), to `out`.
  virtual void write(size_t n, ByteQueue& out) = 0;
  // The same for few bytes, to memory; false if it can't: then write() follows. A frame of a few bytes is sent
  // with fewer steps this way.
  virtual bool copy(size_t, char*) { return false; }
  // Called once after ready() told the end. Either calls Session::submit_trailers() and returns true, or
  // false: then the last DATA frame ends the stream.
  virtual bool trailers() = 0;
};

class SessionHandler {
 public:
  virtual ~SessionHandler() = default;
  // A header block ended: the request (server) or the response or trailers (client). The handler may swap it
  // away. `user` is what set_stream_user() said, null before.
  virtual void on_headers(StreamId id, void* user, HeaderBlock& headers, bool end_stream) = 0;
  // A request's header block was too large to be kept; nothing more is told of its stream. The default resets
  // it with FRAME_SIZE_ERROR, as Go does. Returns true if it did something else.
  virtual bool on_headers_too_large(StreamId) { return false; }
  // How large the next request's header block may be; asked when it begins.
  virtual size_t header_room() { return SIZE_MAX; }
  // A stream over the limit is refused.
  virtual void on_stream_refused(StreamId) {}
  virtual void on_data(StreamId id, void* user, std::string_view bytes) = 0;
  // The peer half-closed (after the on_headers or on_data that carried the flag).
  virtual void on_end_stream(StreamId id, void* user) = 0;
  // The stream is over, whoever ended it; kNoError after a regular end. Last event of the stream.
  virtual void on_stream_closed(StreamId id, void* user, ErrorCode code) = 0;
  // The frame that ended our side has been put into the output; `remote_open` if the peer has not
  // half-closed.
  virtual void on_end_sent(StreamId, void* /*user*/, bool /*remote_open*/) {}
  // A PING of the peer (already acknowledged), or its acknowledgement of one of ours.
  virtual void on_ping(bool /*ack*/, uint64_t /*payload*/) {}
  // Any HEADERS or DATA frame was put into the output (keepalive strikes are forgiven then).
  virtual void on_progress_sent() {}
  virtual void on_goaway(ErrorCode, StreamId /*last*/, std::string_view /*debug*/) {}
  virtual void on_settings() {}
};

struct Limits {
  // SETTINGS_MAX_CONCURRENT_STREAMS; 2^32-1 sends no such entry. Each stream beyond is refused with
  // REFUSED_STREAM.
  uint32_t max_concurrent_streams = UINT32_MAX;
  // A burst, and then a rate in events a second; 0: the burst and no more.
  struct Rate {
    uint32_t burst, per_second;
  };
  // Resets that the peer's breaches of the protocol draw from us (CVE-2025-8671).
  Rate faults = {2'000, 200};
  // Frames that carry nothing: PRIORITY, empty DATA, WINDOW_UPDATE, SETTINGS, CONTINUATION (CVE-2019-9512 to
  // 9518, CVE-2024-27316). Unknown types are dropped unseen, pings are judged above. A HEADERS, a DATA with
  // bytes and a DATA of ours fill the burst again.
  Rate empty_frames = {10'000, 1'000};
  // SETTINGS_INITIAL_WINDOW_SIZE of a client: what a stream may be sent before raise_window().
  uint32_t client_window_bytes = 65'535;
};

class Session {
 public:
  enum class Role : uint8_t { kServer, kClient };
  // Acknowledgements of SETTINGS and PING that may wait for the peer to read them.
  static constexpr size_t kMaxQueuedAcks = 1000;
  // As Go counts: names, values and 32 bytes a field.
  static constexpr size_t kMaxHeaderBlockBytes = 16 << 20;
  // What one call of feed() does before it leaves the rest for the next: about 0.1 ms. The unit is a byte of
  // a header that is unpacked; a frame and a field count as kFrameWork more. What the handler does with a
  // frame it says by add_work().
  static constexpr size_t kTurnWork = 32 << 10;
  static constexpr size_t kFrameWork = 32;
  static constexpr uint32_t kInitialWindowBytes = 65'535;

  Session(Role role, SessionHandler& handler, const Limits& limits);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Takes received bytes, all of them. If they make more work than kTurnWork, a server is interrupted and
  // keeps the rest, so that other connections of the loop have their turn: while unfed() is true nothing more
  // should be read, and feed({}) goes on. After an error (kMalformed with libnghttp2's words, kLimit for a
  // flood) call produce() once more for the GOAWAY, then close.
  Result<> feed(std::string_view bytes, io::MonotonicNs now);
  bool unfed() const;
  // For the handler, from within feed(): what it was told made this much work beside.
  void add_work(size_t work);
  // Appends what can be sent to `out` until it holds at least `limit` bytes or nothing is left. kMalformed if
  // the session has failed.
  Result<> produce(ByteQueue& out, size_t limit);
  // True while produce() would make bytes.
  bool wants_write() const;
  // What is held of a header block that has not ended.
  size_t unfinished_header_bytes() const;
  // Nothing more is expected in either direction: a GOAWAY was sent and all streams are over.
  bool done() const;

  void set_stream_user(StreamId id, void* user);

  // Server: answers with headers; without `body` they end the stream. Client: submit_request() opens a
  // stream.
  void submit_response(StreamId id, std::span<const HeaderField> headers, BodySource* body);
  Result<StreamId> submit_request(std::span<const HeaderField> headers, BodySource* body, void* user);
  void submit_trailers(StreamId id, std::span<const HeaderField> trailers);
  // The body has bytes (or its end) again.
  void resume(StreamId id);
  void reset(StreamId id, ErrorCode code);

  // Gives received bytes back: to the connection's window, the stream's, or both. Streams that are gone are
  // ignored.
  void consume_connection(size_t bytes);
  void consume_stream(StreamId id, size_t bytes);
  // Lets a stream (or, with id 0, the connection) hold `bytes` in flight; never shrinks.
  void raise_window(StreamId id, uint32_t bytes);

  void submit_ping(uint64_t payload);
  // Graceful: first a notice that new streams will be refused soon, then, with the last id taken, the order.
  void submit_shutdown_notice();
  void submit_goaway(ErrorCode code, std::string_view debug = {});
  // GOAWAY and no more streams; wants_write() falls once it is out.
  void terminate(ErrorCode code, std::string_view debug = {});

 private:
  friend struct CallbackTable;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quoin::http2
