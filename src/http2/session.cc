#include "http2/session.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "http2/header_guard.h"

namespace quoin::http2 {
namespace {

// Counts events against a rate. Time comes from the caller, so a run is a function of its input. The credit
// is kept in the time that an event costs, so that no fraction of an event is lost.
class RateLimit {
 public:
  explicit RateLimit(Limits::Rate rate)
      : cost_(rate.per_second > 0 ? io::kSecond / rate.per_second : io::kSecond),
        refills_(rate.per_second > 0),
        most_(cost_ * rate.burst),
        credit_(most_) {}
  bool take(io::MonotonicNs now) {
    if (refills_ && now > last_) credit_ += std::min(now - last_, most_ - credit_);
    last_ = now;
    if (credit_ < cost_) return false;
    credit_ -= cost_;
    return true;
  }
  void refill() { credit_ = most_; }

 private:
  const int64_t cost_;
  const bool refills_;
  const int64_t most_;
  int64_t credit_;
  io::MonotonicNs last_ = 0;
};

enum Pseudo : uint8_t {
  kMethod = 1,
  kScheme = 2,
  kPath = 4,
  kAuthority = 8,
  kStatus = 16,
  kUnknownPseudo = 0
};

Pseudo pseudo_of(std::string_view name) {
  if (name == ":method") return kMethod;
  if (name == ":scheme") return kScheme;
  if (name == ":path") return kPath;
  if (name == ":authority") return kAuthority;
  if (name == ":status") return kStatus;
  return kUnknownPseudo;
}

std::string_view view(const uint8_t* p, size_t n) {
  return {reinterpret_cast<const char*>(p), n};
}
uint8_t* bytes_of(std::string_view s) {
  return reinterpret_cast<uint8_t*>(const_cast<char*>(s.data()));
}

constexpr size_t kFrameHeadBytes = 9;
// Up to here copying a body once more costs less than the way around it.
constexpr size_t kCopiedBodyMax = 1024;
constexpr size_t kPieceBytes = 2048;        // about twenty requests
constexpr size_t kFieldOverheadBytes = 32;  // as RFC 9113 6.5.2 counts
// The value of MAX_CONCURRENT_STREAMS in our first frame: behind the frame's head, one entry, and its own
// identifier.
constexpr size_t kStreamLimitAt = kFrameHeadBytes + 6 + 2;

}  // namespace

struct Session::Impl {
  const Role role;
  SessionHandler& handler;
  const Limits limits;
  nghttp2_session* session = nullptr;
  io::MonotonicNs now = 0;

  HeaderBlock block;       // the one under way: blocks are never interleaved
  bool block_bad = false;  // breaks a rule of the header
  bool block_regular = false;
  uint8_t block_pseudos = 0;

  bool block_large = false;                // does not fit, or was cut: nothing of it is kept
  bool block_refused = false;              // over the limit of streams
  bool block_kept = true;                  // false: trailers, which nobody asks for
  size_t block_bytes = 0, block_room = 0;  // with kFieldOverheadBytes for each field

  size_t work = 0;           // in this feed(), as kTurnWork counts
  bool interrupted = false;  // by too much of it
  std::string rest;          // of the input, then: from rest_at on
  size_t rest_at = 0;
  HeaderGuard guard;
  RateLimit faults, empty_frames;
  size_t open_streams = 0;  // within the limit
  size_t refusals = 0;      // streams beyond the limit whose reset is not sent yet
  bool first_frame_sent = false;
  const char* flood = nullptr;  // what came too often; the session ends
  bool failed = false;
  bool terminating = false;
  ByteQueue* out = nullptr;  // during produce()
  size_t out_limit = 0;

  Impl(Role r, SessionHandler& h, const Limits& l)
      : role(r), handler(h), limits(l), faults(l.faults), empty_frames(l.empty_frames) {}
  ~Impl() { nghttp2_session_del(session); }

  void* user(StreamId id) const { return nghttp2_session_get_stream_user_data(session, id); }

  void count_fault() {
    if (!flood && !faults.take(now)) flooded("stream resets");
  }
  void count_empty_frame() {
    if (!flood && !empty_frames.take(now)) flooded("frames without content");
  }
  void flooded(const char* what) {
    if (flood) return;
    flood = what;
    terminate(ErrorCode::kEnhanceYourCalm, what);
  }
  void terminate(ErrorCode code, std::string_view debug) {
    if (terminating) return;
    terminating = true;
    nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session),
                          static_cast<uint32_t>(code), bytes_of(debug), debug.size());
  }

  // ---- receiving ----
  int on_begin_frame(const nghttp2_frame_hd* hd) {
    work += Session::kFrameWork;
    const bool carries = hd->type == NGHTTP2_HEADERS || (hd->type == NGHTTP2_DATA && hd->length > 0);
    if (carries) {
      empty_frames.refill();
    } else if (hd->type == NGHTTP2_PRIORITY || hd->type == NGHTTP2_SETTINGS ||
               hd->type == NGHTTP2_WINDOW_UPDATE ||
               // An empty DATA that ends a stream: as many as there are requests.
               (hd->type == NGHTTP2_DATA && !(hd->flags & NGHTTP2_FLAG_END_STREAM))) {
      count_empty_frame();
    }
    return flood ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
  }

  void begin_block(const nghttp2_frame* frame) {
    block.clear();
    block_bad = block_regular = block_large = false;
    block_pseudos = 0;
    block_bytes = 0;
    block_kept = role == Role::kClient || frame->headers.cat == NGHTTP2_HCAT_REQUEST;
    block_refused = role == Role::kServer && block_kept && !admit();
    block_room = Session::kMaxHeaderBlockBytes;
    if (role == Role::kServer) block_room = std::min(block_room, handler.header_room());
  }

  void add_header(std::string_view name, std::string_view value) {
    work += kFieldOverheadBytes;
    if (block_bad || block_large || block_refused) return;  // nothing of it is kept
    if (!name.empty() && name[0] == ':') {
      const Pseudo p = pseudo_of(name);
      const bool wrong_role = (p == kStatus) != (role == Role::kClient);
      block_bad = p == kUnknownPseudo || wrong_role || block_regular || (block_pseudos & p);
      block_pseudos |= p;
    } else {
      block_regular = true;
      block_bad = nghttp2_check_header_name(bytes_of(name), name.size()) == 0 || name == "connection";
    }
    block_bad = block_bad || nghttp2_check_header_value(bytes_of(value), value.size()) == 0;
    work += name.size() + value.size();
    block_bytes += name.size() + value.size() + kFieldOverheadBytes;
    if (block_bytes > block_room) {
      block_large = true;
      block.clear();
    } else if (block_kept) {
      block.add(name, value);
    }
  }

  // Whether a new stream is within the limit; otherwise it will be refused. Clients learn the limit from our
  // first frame, those that did not wait for it get here.
  bool admit() {
    const bool room = open_streams < limits.max_concurrent_streams;
    ++(room ? open_streams : refusals);
    return room;
  }

  void on_header_block_end(const nghttp2_frame* frame) {
    const StreamId id = frame->hd.stream_id;
    const bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    void* u = user(id);
    const bool trailers = role == Role::kServer && frame->headers.cat != NGHTTP2_HCAT_REQUEST;
    if (block_refused && !trailers) {
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
      handler.on_stream_refused(id);
      return;
    }
    if (guard.take_cut(id)) block_large = true;
    if (block_large && role == Role::kServer && !trailers) {
      if (!handler.on_headers_too_large(id)) {
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_FRAME_SIZE_ERROR);
      }
      return;
    }
    // A second block of a request can only be its trailers, which end it.
    if (block_bad || (trailers && !end)) {
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_PROTOCOL_ERROR);
      return;
    }
    if (!trailers && (role == Role::kServer || u)) {
      handler.on_headers(id, u, block, end);
      u = user(id);
    }
    if (end && u) handler.on_end_stream(id, u);
  }

  int on_frame_recv(const nghttp2_frame* frame) {
    const StreamId id = frame->hd.stream_id;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
        on_header_block_end(frame);
        block.clear();
        break;
      case NGHTTP2_DATA:
        if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
          if (void* u = user(id)) handler.on_end_stream(id, u);
        }
        break;
      case NGHTTP2_PING: {
        uint64_t payload;
        std::memcpy(&payload, frame->ping.opaque_data, sizeof payload);
        handler.on_ping(frame->hd.flags & NGHTTP2_FLAG_ACK, payload);
        break;
      }
      case NGHTTP2_GOAWAY:
        handler.on_goaway(static_cast<ErrorCode>(frame->goaway.error_code), frame->goaway.last_stream_id,
                          view(frame->goaway.opaque_data, frame->goaway.opaque_data_len));
        break;
      case NGHTTP2_SETTINGS:
        if (!(frame->hd.flags & NGHTTP2_FLAG_ACK)) handler.on_settings();
        break;
      default:
        break;
    }
    return flood ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
  }

  int on_data(StreamId id, std::string_view bytes) {
    if (void* u = user(id)) {
      handler.on_data(id, u, bytes);
    } else {
      // A stream that is being reset: nobody will give these bytes back.
      nghttp2_session_consume_connection(session, bytes.size());
    }
    return 0;
  }

  int on_stream_close(StreamId id, uint32_t code) {
    if (void* u = user(id)) {
      handler.on_stream_closed(id, u, static_cast<ErrorCode>(code));
      nghttp2_session_set_stream_user_data(session, id, nullptr);
    }
    // A client that itself resets with REFUSED_STREAM only swaps the two counts until both streams are closed.
    if (code == NGHTTP2_REFUSED_STREAM && refusals > 0) {
      --refusals;
    } else if (open_streams > 0) {
      --open_streams;
    }
    return 0;
  }

  // ---- sending ----
  ssize_t read_body(size_t length, char* to, uint32_t* flags, BodySource* body) {
    const BodySource::Ready r = body->ready(length);
    DCHECK(r.bytes <= length);
    if (r.bytes == 0 && !r.end) return NGHTTP2_ERR_DEFERRED;
    const bool copied = r.bytes > 0 && r.bytes <= kCopiedBodyMax && body->copy(r.bytes, to);
    if (!copied) *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (r.end) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (body->trailers()) *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    }
    return static_cast<ssize_t>(r.bytes);
  }

  int send_data(const uint8_t* frame_head, size_t length, BodySource* body) {
    if (out->size() >= out_limit) return NGHTTP2_ERR_WOULDBLOCK;
    out->append(view(frame_head, kFrameHeadBytes));
    if (length > 0) body->write(length, *out);
    return 0;
  }

  void append_frame(ByteQueue& to, std::string_view bytes) {
    const bool first = !std::exchange(first_frame_sent, true);
    if (first && role == Role::kServer && limits.max_concurrent_streams != UINT32_MAX) {
      std::string settings(bytes);
      for (int i = 0; i < 4; ++i) {
        settings.at(kStreamLimitAt + static_cast<size_t>(i)) =
            static_cast<char>(limits.max_concurrent_streams >> (24 - 8 * i));
      }
      to.append(settings);
    } else {
      to.append(bytes);
    }
  }

  int on_frame_send(const nghttp2_frame* frame) {
    switch (frame->hd.type) {
      case NGHTTP2_DATA:
        empty_frames.refill();
        [[fallthrough]];
      case NGHTTP2_HEADERS:
        handler.on_progress_sent();
        if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
          const StreamId id = frame->hd.stream_id;
          handler.on_end_sent(id, user(id), nghttp2_session_get_stream_remote_close(session, id) == 0);
        }
        break;
      case NGHTTP2_RST_STREAM: {
        // Resets that the peer's own faults drew from us cost as much as its own (CVE-2025-8671).
        const uint32_t code = frame->rst_stream.error_code;
        if (role == Role::kServer && (code == NGHTTP2_PROTOCOL_ERROR || code == NGHTTP2_FLOW_CONTROL_ERROR ||
                                      code == NGHTTP2_STREAM_CLOSED || code == NGHTTP2_FRAME_SIZE_ERROR)) {
          count_fault();
        }
        break;
      }
      default:
        break;
    }
    return 0;
  }
};

// The C callbacks: each finds the session's Impl in `user_data` and goes on there.
struct CallbackTable {
  using I = Session::Impl;
  nghttp2_session_callbacks* table = nullptr;
  nghttp2_option* server_options = nullptr;

  static I& impl(void* u) { return *static_cast<I*>(u); }
  static int begin_frame(nghttp2_session*, const nghttp2_frame_hd* hd, void* u) {
    return impl(u).on_begin_frame(hd);
  }
  static int begin_headers(nghttp2_session*, const nghttp2_frame* f, void* u) {
    impl(u).begin_block(f);
    return 0;
  }
  static int header(nghttp2_session*, const nghttp2_frame*, const uint8_t* name, size_t name_size,
                    const uint8_t* value, size_t value_size, uint8_t, void* u) {
    I& i = impl(u);
    i.add_header(view(name, name_size), view(value, value_size));
    if (i.flood) return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (i.role == Session::Role::kClient || i.work < Session::kTurnWork) return 0;
    i.interrupted = true;
    return NGHTTP2_ERR_PAUSE;
  }
  static int frame_recv(nghttp2_session*, const nghttp2_frame* f, void* u) {
    return impl(u).on_frame_recv(f);
  }
  static int data_chunk(nghttp2_session*, uint8_t, int32_t id, const uint8_t* p, size_t n, void* u) {
    return impl(u).on_data(id, view(p, n));
  }
  static int stream_close(nghttp2_session*, int32_t id, uint32_t code, void* u) {
    return impl(u).on_stream_close(id, code);
  }
  static int frame_send(nghttp2_session*, const nghttp2_frame* f, void* u) {
    return impl(u).on_frame_send(f);
  }
  static int send_data(nghttp2_session*, nghttp2_frame*, const uint8_t* head, size_t n,
                       nghttp2_data_source* source, void* u) {
    return impl(u).send_data(head, n, static_cast<BodySource*>(source->ptr));
  }
  static ssize_t read_body(nghttp2_session*, int32_t, uint8_t* to, size_t n, uint32_t* flags,
                           nghttp2_data_source* source, void* u) {
    return impl(u).read_body(n, reinterpret_cast<char*>(to), flags, static_cast<BodySource*>(source->ptr));
  }

  CallbackTable() {
    CHECK_EQ(nghttp2_session_callbacks_new(&table), 0);
    nghttp2_session_callbacks_set_on_begin_frame_callback(table, begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(table, begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(table, header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(table, frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(table, data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(table, stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(table, frame_send);
    nghttp2_session_callbacks_set_send_data_callback(table, send_data);
    CHECK_EQ(nghttp2_option_new(&server_options), 0);
    nghttp2_option_set_no_auto_window_update(server_options, 1);
    nghttp2_option_set_no_http_messaging(server_options, 1);
    nghttp2_option_set_no_closed_streams(server_options, 1);
    nghttp2_option_set_peer_max_concurrent_streams(server_options, UINT32_MAX);
    nghttp2_option_set_max_outbound_ack(server_options, Session::kMaxQueuedAcks);
    // The guard bounds a block's bytes.
    nghttp2_option_set_max_continuations(server_options, 2 * HeaderGuard::kMaxBlockBytes / 16'384);
    // The library's own limit ends clients that cancel many short calls.
    nghttp2_option_set_stream_reset_rate_limit(server_options, uint64_t{1} << 40, uint64_t{1} << 40);
  }
  ~CallbackTable() {
    nghttp2_session_callbacks_del(table);
    nghttp2_option_del(server_options);
  }
  static const CallbackTable& get() {
    static const CallbackTable t;
    return t;
  }
};

namespace {

// nghttp2's form of our fields, on the stack for the usual few.
class NameValues {
 public:
  explicit NameValues(std::span<const HeaderField> fields) : size_(fields.size()) {
    if (size_ > few_.size()) many_.resize(size_);
    nghttp2_nv* out = data();
    for (const HeaderField& f : fields) {
      int flags = f.copy_name ? 0 : NGHTTP2_NV_FLAG_NO_COPY_NAME;
      if (f.stable) flags |= NGHTTP2_NV_FLAG_NO_COPY_VALUE;
      if (f.no_index) flags |= NGHTTP2_NV_FLAG_NO_INDEX;
      *out++ = {bytes_of(f.name), bytes_of(f.value), f.name.size(), f.value.size(),
                static_cast<uint8_t>(flags)};
    }
  }
  nghttp2_nv* data() { return many_.empty() ? few_.data() : many_.data(); }
  size_t size() const { return size_; }

 private:
  size_t size_;
  std::array<nghttp2_nv, 16> few_;
  std::vector<nghttp2_nv> many_;
};

nghttp2_data_provider provider(BodySource* body) {
  nghttp2_data_provider p;
  p.source.ptr = body;
  p.read_callback = CallbackTable::read_body;
  return p;
}

}  // namespace

Session::Session(Role role, SessionHandler& handler, const Limits& limits)
    : impl_(std::make_unique<Impl>(role, handler, limits)) {
  const CallbackTable& c = CallbackTable::get();
  const int rv = role == Role::kServer
                     ? nghttp2_session_server_new2(&impl_->session, c.table, impl_.get(), c.server_options)
                     : nghttp2_session_client_new2(&impl_->session, c.table, impl_.get(), c.server_options);
  CHECK_EQ(rv, 0);
  // What Go's gRPC server says first; its client turns push off.
  std::vector<nghttp2_settings_entry> settings;
  if (role == Role::kServer) {
    settings.push_back({NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 16'384});
    if (limits.max_concurrent_streams != UINT32_MAX) {
      // The library would end the connection at the limit it knows. It gets none; produce() writes the limit
      // into the frame.
      settings.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, UINT32_MAX});
    }
  } else {
    settings.push_back({NGHTTP2_SETTINGS_ENABLE_PUSH, 0});
    if (limits.client_window_bytes != kInitialWindowBytes) {
      settings.push_back({NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.client_window_bytes});
    }
  }
  CHECK_EQ(nghttp2_submit_settings(impl_->session, NGHTTP2_FLAG_NONE, settings.data(), settings.size()), 0);
}

Session::~Session() = default;

Result<> Session::feed(std::string_view bytes, io::MonotonicNs now) {
  impl_->now = now;
  if (impl_->failed) return make_error(Code::kMalformed, "the session has failed");
  if (impl_->role == Role::kServer) {
    if (!impl_->interrupted) impl_->guard.forget_cuts();
    bytes = impl_->guard.pass(bytes);
    for (size_t n = impl_->guard.take_continuations(); n > 0; --n) impl_->count_empty_frame();
    if (impl_->guard.overflowed()) impl_->flooded("header bytes");
    if (impl_->flood) return make_error(Code::kLimit, "http2: too many {}", impl_->flood);
    // Without bytes the library would count one more CONTINUATION.
    if (bytes.empty() && !impl_->interrupted) return {};
  }
  std::string rest;
  size_t at = 0;
  if (!impl_->rest.empty()) {
    rest.swap(impl_->rest);
    at = std::exchange(impl_->rest_at, 0);
    rest.append(bytes);
    bytes = std::string_view(rest).substr(at);
  }
  impl_->work = 0;
  impl_->interrupted = false;
  size_t used = 0;
  do {
    // The library can be stopped in the middle of a header block only, so it is given little at a time.
    const std::string_view piece =
        bytes.substr(used, impl_->role == Role::kServer ? kPieceBytes : bytes.size());
    const ssize_t n = nghttp2_session_mem_recv(impl_->session, bytes_of(piece), piece.size());
    if (impl_->flood) return make_error(Code::kLimit, "http2: too many {}", impl_->flood);
    if (n < 0) {
      impl_->failed = n != NGHTTP2_ERR_FLOODED;
      return make_error(n == NGHTTP2_ERR_FLOODED ? Code::kLimit : Code::kMalformed, "http2: {}",
                        nghttp2_strerror(static_cast<int>(n)));
    }
    used += static_cast<size_t>(n);
    if (used < bytes.size() && impl_->role == Role::kServer && impl_->work >= kTurnWork)
      impl_->interrupted = true;
  } while (used < bytes.size() && !impl_->interrupted);
  if (used < bytes.size()) {
    impl_->rest_at = rest.empty() ? 0 : at + used;
    impl_->rest = rest.empty() ? std::string(bytes.substr(used)) : std::move(rest);
  }
  return {};
}

void Session::add_work(size_t work) {
  impl_->work += work;
}

Result<> Session::produce(ByteQueue& out, size_t limit) {
  if (impl_->failed) return make_error(Code::kMalformed, "the session has failed");
  impl_->out = &out;
  impl_->out_limit = limit;
  while (out.size() < limit) {
    const uint8_t* data;
    const ssize_t n = nghttp2_session_mem_send(impl_->session, &data);
    if (n < 0) {
      impl_->failed = true;
      return make_error(Code::kMalformed, "http2: {}", nghttp2_strerror(static_cast<int>(n)));
    }
    if (n == 0) break;
    impl_->append_frame(out, view(data, static_cast<size_t>(n)));
  }
  impl_->out = nullptr;
  return {};
}

bool Session::wants_write() const {
  return !impl_->failed && nghttp2_session_want_write(impl_->session) != 0;
}

bool Session::unfed() const {
  return impl_->interrupted && !impl_->failed && !impl_->flood;
}

size_t Session::unfinished_header_bytes() const {
  return impl_->block.bytes() > 0 ? impl_->block.held_bytes() : 0;
}

bool Session::done() const {
  if (impl_->failed) return true;
  if (wants_write()) return false;
  return impl_->terminating || nghttp2_session_want_read(impl_->session) == 0;
}

void Session::set_stream_user(StreamId id, void* user) {
  nghttp2_session_set_stream_user_data(impl_->session, id, user);
}

void Session::submit_response(StreamId id, std::span<const HeaderField> headers, BodySource* body) {
  NameValues nva(headers);
  const nghttp2_data_provider p = provider(body);
  const int rv = nghttp2_submit_response(impl_->session, id, nva.data(), nva.size(), body ? &p : nullptr);
  CHECK(rv == 0, "submit_response: {}", nghttp2_strerror(rv));
}

Result<StreamId> Session::submit_request(std::span<const HeaderField> headers, BodySource* body, void* user) {
  NameValues nva(headers);
  const nghttp2_data_provider p = provider(body);
  const int32_t id =
      nghttp2_submit_request(impl_->session, nullptr, nva.data(), nva.size(), body ? &p : nullptr, user);
  if (id < 0) return make_error(Code::kLimit, "http2: {}", nghttp2_strerror(id));
  return id;
}

void Session::submit_trailers(StreamId id, std::span<const HeaderField> trailers) {
  NameValues nva(trailers);
  const int rv = nghttp2_submit_trailer(impl_->session, id, nva.data(), nva.size());
  CHECK(rv == 0, "submit_trailer: {}", nghttp2_strerror(rv));
}

void Session::resume(StreamId id) {
  nghttp2_session_resume_data(impl_->session, id);
}

void Session::reset(StreamId id, ErrorCode code) {
  nghttp2_submit_rst_stream(impl_->session, NGHTTP2_FLAG_NONE, id, static_cast<uint32_t>(code));
}

void Session::consume_connection(size_t bytes) {
  nghttp2_session_consume_connection(impl_->session, bytes);
}
void Session::consume_stream(StreamId id, size_t bytes) {
  nghttp2_session_consume_stream(impl_->session, id, bytes);
}

void Session::raise_window(StreamId id, uint32_t bytes) {
  const int32_t now = id == 0 ? nghttp2_session_get_effective_local_window_size(impl_->session)
                              : nghttp2_session_get_stream_effective_local_window_size(impl_->session, id);
  const int32_t wanted = static_cast<int32_t>(std::min<uint32_t>(bytes, INT32_MAX));
  if (now < 0 || wanted <= now) return;
  nghttp2_session_set_local_window_size(impl_->session, NGHTTP2_FLAG_NONE, id, wanted);
}

void Session::submit_ping(uint64_t payload) {
  uint8_t opaque[8];
  std::memcpy(opaque, &payload, sizeof opaque);
  nghttp2_submit_ping(impl_->session, NGHTTP2_FLAG_NONE, opaque);
}

void Session::submit_shutdown_notice() {
  if (impl_->role == Role::kServer) nghttp2_submit_shutdown_notice(impl_->session);
}

void Session::submit_goaway(ErrorCode code, std::string_view debug) {
  nghttp2_submit_goaway(impl_->session, NGHTTP2_FLAG_NONE,
                        nghttp2_session_get_last_proc_stream_id(impl_->session), static_cast<uint32_t>(code),
                        bytes_of(debug), debug.size());
}

void Session::terminate(ErrorCode code, std::string_view debug) {
  impl_->terminate(code, debug);
}

}  // namespace quoin::http2
