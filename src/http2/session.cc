#include "http2/session.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"

namespace quoin::http2 {
namespace {

// Refills at a rate up to a burst; time comes from the caller, so a run is a function of its input.
class TokenBucket {
 public:
  TokenBucket(uint32_t burst, uint32_t per_second) : burst_(burst), per_second_(per_second), tokens_(burst) {}
  bool take(io::MonotonicNs now) {
    const int64_t passed = std::min<int64_t>(std::max<int64_t>(now - last_, 0), 1'000 * io::kSecond);
    const int64_t gained = passed * per_second_ / io::kSecond;
    if (gained > 0) {
      tokens_ = std::min<int64_t>(burst_, tokens_ + gained);
      last_ = now;
    }
    if (tokens_ == 0) return false;
    --tokens_;
    return true;
  }

 private:
  const int64_t burst_, per_second_;
  int64_t tokens_;
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
constexpr size_t kFieldOverheadBytes = 32;  // as RFC 9113 6.5.2 counts
constexpr int64_t kYoungNs = 100 * io::kMillisecond;

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

  TokenBucket resets;
  // Streams with an id above `old_mark` are younger than kYoungNs, give or take as much again.
  StreamId old_mark = 0, mark = 0;
  io::MonotonicNs mark_time = 0;
  uint32_t empty_frames = 0;
  const char* flood = nullptr;  // what came too often; the session ends
  bool failed = false;
  bool terminating = false;
  ByteQueue* out = nullptr;  // during produce()
  size_t out_limit = 0;

  Impl(Role r, SessionHandler& h, const Limits& l)
      : role(r), handler(h), limits(l), resets(l.resets_burst, l.resets_per_second) {}
  ~Impl() { nghttp2_session_del(session); }

  void* user(StreamId id) const { return nghttp2_session_get_stream_user_data(session, id); }

  void set_time(io::MonotonicNs t) {
    now = t;
    if (now - mark_time < kYoungNs) return;
    mark_time = now;
    old_mark = std::exchange(mark, nghttp2_session_get_last_proc_stream_id(session));
  }
  void count_reset() {
    if (!flood && !resets.take(now)) flooded("stream resets");
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
    const bool carries = hd->type == NGHTTP2_HEADERS || hd->type == NGHTTP2_RST_STREAM ||
                         (hd->type == NGHTTP2_DATA && hd->length > 0);
    if (carries) {
      empty_frames = 0;
    } else if (hd->type == NGHTTP2_DATA && (hd->flags & NGHTTP2_FLAG_END_STREAM)) {
      // An empty DATA that ends a stream: as many as there are requests.
    } else if (++empty_frames > limits.empty_frames) {
      flooded("frames without content");
    }
    return flood ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
  }

  void add_header(std::string_view name, std::string_view value) {
    if (block_bad) return;  // nothing of it is kept
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
    block.add(name, value);
    if (block.bytes() + block.size() * kFieldOverheadBytes > Session::kMaxHeaderBlockBytes)
      flooded("header bytes");
  }

  void on_header_block_end(const nghttp2_frame* frame) {
    const StreamId id = frame->hd.stream_id;
    const bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    void* u = user(id);
    const bool trailers = role == Role::kServer && frame->headers.cat != NGHTTP2_HCAT_REQUEST;
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
        break;
      case NGHTTP2_DATA:
        if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
          if (void* u = user(id)) handler.on_end_stream(id, u);
        }
        break;
      case NGHTTP2_RST_STREAM:
        if (role == Role::kServer && id > old_mark) count_reset();
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
    return 0;
  }

  // ---- sending ----
  ssize_t read_body(StreamId, size_t length, uint32_t* flags, BodySource* body) {
    const BodySource::Ready r = body->ready(length);
    DCHECK(r.bytes <= length);
    if (r.bytes == 0 && !r.end) return NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
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

  int on_frame_send(const nghttp2_frame* frame) {
    switch (frame->hd.type) {
      case NGHTTP2_DATA:
        empty_frames = 0;
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
          count_reset();
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
  static int begin_headers(nghttp2_session*, const nghttp2_frame*, void* u) {
    I& i = impl(u);
    i.block.clear();
    i.block_bad = i.block_regular = false;
    i.block_pseudos = 0;
    return 0;
  }
  static int header(nghttp2_session*, const nghttp2_frame*, const uint8_t* name, size_t name_size,
                    const uint8_t* value, size_t value_size, uint8_t, void* u) {
    impl(u).add_header(view(name, name_size), view(value, value_size));
    return impl(u).flood ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
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
  static ssize_t read_body(nghttp2_session*, int32_t id, uint8_t*, size_t n, uint32_t* flags,
                           nghttp2_data_source* source, void* u) {
    return impl(u).read_body(id, n, flags, static_cast<BodySource*>(source->ptr));
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
    // The library's own limit reads a clock of its own; resets are counted in on_frame_recv instead.
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
      int flags = NGHTTP2_NV_FLAG_NO_COPY_NAME;
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
      settings.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.max_concurrent_streams});
    }
  } else {
    settings.push_back({NGHTTP2_SETTINGS_ENABLE_PUSH, 0});
  }
  CHECK_EQ(nghttp2_submit_settings(impl_->session, NGHTTP2_FLAG_NONE, settings.data(), settings.size()), 0);
}

Session::~Session() = default;

Result<> Session::feed(std::string_view bytes, io::MonotonicNs now) {
  impl_->set_time(now);
  if (impl_->failed) return make_error(Code::kMalformed, "the session has failed");
  const ssize_t n = nghttp2_session_mem_recv(impl_->session, bytes_of(bytes), bytes.size());
  if (impl_->flood) return make_error(Code::kLimit, "http2: too many {}", impl_->flood);
  if (n < 0) {
    impl_->failed = n != NGHTTP2_ERR_FLOODED;
    return make_error(n == NGHTTP2_ERR_FLOODED ? Code::kLimit : Code::kMalformed, "http2: {}",
                      nghttp2_strerror(static_cast<int>(n)));
  }
  return {};
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
    out.append(view(data, static_cast<size_t>(n)));
  }
  impl_->out = nullptr;
  return {};
}

bool Session::wants_write() const {
  return !impl_->failed && nghttp2_session_want_write(impl_->session) != 0;
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
