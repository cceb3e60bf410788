// TCP and unix sockets on libuv. Listening sockets are polled on the first loop and accepted here, so that
// the new descriptor can be handed to any loop before libuv ties it to one.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include <atomic>
#include <deque>
#include <mutex>
#include <system_error>

#include "base/check.h"
#include "posix/loop.h"

namespace quoin::posix {
namespace {

constexpr size_t kReadBufferBytes = 64 * 1024;
constexpr int kAcceptsPerWakeup = 64;
constexpr size_t kBuffersPerWrite = 64;
constexpr unsigned kKeepAliveSeconds = 30;  // finds half-open connections

Error uv_error(std::string_view what, int code) {
  return make_error(code == UV_ENOENT ? Code::kFileNotFound : Code::kIo, "{}: {}", what, uv_strerror(code));
}

std::string address_text(const sockaddr_storage& a) {
  char host[INET6_ADDRSTRLEN] = {};
  if (a.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(a);
    inet_ntop(AF_INET, &v4.sin_addr, host, sizeof host);
    return fmt::format("{}:{}", host, ntohs(v4.sin_port));
  }
  if (a.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(a);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {  // a client of a socket for both families
      inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], host, sizeof host);
      return fmt::format("{}:{}", host, ntohs(v6.sin6_port));
    }
    inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host);
    return fmt::format("[{}]:{}", host, ntohs(v6.sin6_port));
  }
  return "@";
}

class UvStream final : public io::Stream {
 public:
  // Takes over a connected, non-blocking descriptor. On the loop's thread. `place` is dropped once the
  // descriptor is closed.
  UvStream(UvLoop& loop, int fd, bool unix_socket, std::shared_ptr<void> place = nullptr)
      : loop_(loop), core_(new Core) {
    core_->owner = this;
    core_->place = std::move(place);
    sockaddr_storage a = {};
    socklen_t n = sizeof a;
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&a), &n) == 0) peer_ = address_text(a);
    a = {};
    n = sizeof a;
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&a), &n) == 0) local_ = address_text(a);
    if (unix_socket) {
      uv_pipe_init(loop.uv(), &core_->handle.pipe, 0);
      uv_pipe_open(&core_->handle.pipe, fd);
    } else {
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      uv_tcp_init(loop.uv(), &core_->handle.tcp);
      uv_tcp_open(&core_->handle.tcp, fd);
      uv_tcp_keepalive(&core_->handle.tcp, 1, kKeepAliveSeconds);
    }
    core_->stream()->data = core_;
  }
  ~UvStream() override {
    handler_ = nullptr;
    core_->owner = nullptr;
    if (core_->handle_closed) {
      delete core_;
    } else {
      close_handle();
    }
  }

  void set_handler(io::StreamHandler* handler) override {
    handler_ = handler;
    if (handler_ != nullptr && !paused_) start_reading();
  }
  void pause_reading() override {
    paused_ = true;
    if (!closing_) uv_read_stop(core_->stream());
  }
  void resume_reading() override {
    paused_ = false;
    if (handler_ != nullptr) start_reading();
  }
  void write(std::string bytes) override {
    if (closing_ || bytes.empty()) return;
    queued_ += bytes.size();
    Chunk& c = out_.emplace_back();
    c.text = std::move(bytes);
    c.is_text = true;
    schedule_flush();
  }
  void write(Blob bytes) override {
    if (closing_ || bytes.empty()) return;
    queued_ += bytes.size();
    out_.emplace_back().blob = std::move(bytes);
    schedule_flush();
  }
  size_t queued_bytes() const override { return queued_; }
  void shutdown() override {
    shutdown_wanted_ = true;
    schedule_flush();
  }
  void close() override { finish({}); }
  const std::string& peer_address() const override { return peer_; }
  const std::string& local_address() const override { return local_; }
  io::Loop& loop() override { return loop_; }

 private:
  struct Chunk {
    std::string text;
    Blob blob;
    bool is_text = false;
    size_t sent = 0;
    std::string_view rest() const {
      std::string_view v = is_text ? std::string_view(text) : blob.view();
      return v.substr(sent);
    }
  };
  // Lives until libuv has closed the handle and the stream object is gone, whichever comes last.
  struct Core {
    union {
      uv_tcp_t tcp;
      uv_pipe_t pipe;
    } handle;
    uv_write_t write_request;
    UvStream* owner = nullptr;  // null once the stream object is gone
    bool handle_closed = false;
    std::deque<Chunk> in_flight;  // what an unfinished uv_write points into
    std::shared_ptr<void> place;  // among its listener's connections
    uv_stream_t* stream() { return reinterpret_cast<uv_stream_t*>(&handle); }
  };

  void start_reading() {
    if (closing_) return;
    uv_read_start(
        core_->stream(),
        [](uv_handle_t*, size_t, uv_buf_t* buf) {
          // on_data is synchronous, so one buffer a thread serves all its connections.
          thread_local std::unique_ptr<char[]> shared(new char[kReadBufferBytes]);
          *buf = uv_buf_init(shared.get(), kReadBufferBytes);
        },
        [](uv_stream_t* s, ssize_t n, const uv_buf_t* buf) {
          UvStream* self = static_cast<Core*>(s->data)->owner;
          if (self == nullptr || self->closing_ || n == 0) return;
          if (n > 0) {
            TaskMeter& meter = self->loop_.own_meter();
            const io::MonotonicNs begin = TaskMeter::now();
            if (self->handler_ != nullptr) self->handler_->on_data({buf->base, static_cast<size_t>(n)});
            meter.took(TaskMeter::now() - begin);
          } else if (n == UV_EOF) {
            uv_read_stop(s);
            if (self->handler_ != nullptr) self->handler_->on_eof();
          } else {
            self->finish(uv_error("read", static_cast<int>(n)));
          }
        });
  }

  void schedule_flush() {
    if (flush_scheduled_ || closing_ || write_pending_) return;
    flush_scheduled_ = true;
    loop_.at_end_of_round([this, alive = std::weak_ptr<int>(alive_)] {
      if (alive.expired()) return;
      flush_scheduled_ = false;
      if (!closing_) flush();
    });
  }

  void flush() {
    while (!out_.empty() && !closing_) {
      uv_buf_t bufs[kBuffersPerWrite];
      size_t n = 0;
      for (auto it = out_.begin(); it != out_.end() && n < kBuffersPerWrite; ++it, ++n) {
        const std::string_view v = it->rest();
        bufs[n] = uv_buf_init(const_cast<char*>(v.data()), static_cast<unsigned>(v.size()));
      }
      const int written = uv_try_write(core_->stream(), bufs, static_cast<unsigned>(n));
      if (written == UV_EAGAIN || written == 0) return wait_writable(n);
      if (written < 0) return finish(uv_error("write", written));
      consume(out_, written);
    }
    if (closing_) return;
    if (shutdown_wanted_) {
      shutdown_wanted_ = false;
      uv_os_fd_t fd;
      if (uv_fileno(reinterpret_cast<uv_handle_t*>(core_->stream()), &fd) == 0) ::shutdown(fd, SHUT_WR);
    }
    if (handler_ != nullptr) handler_->on_drained();
  }

  // The socket is full: libuv waits for it with the first chunks.
  void wait_writable(size_t n) {
    for (size_t i = 0; i < n; ++i) {
      core_->in_flight.push_back(std::move(out_.front()));
      out_.pop_front();
    }
    uv_buf_t bufs[kBuffersPerWrite];
    for (size_t i = 0; i < n; ++i) {
      const std::string_view v = core_->in_flight[i].rest();
      bufs[i] = uv_buf_init(const_cast<char*>(v.data()), static_cast<unsigned>(v.size()));
    }
    write_pending_ = true;
    core_->write_request.data = core_;
    const int r = uv_write(&core_->write_request, core_->stream(), bufs, static_cast<unsigned>(n),
                           [](uv_write_t* req, int status) {
                             Core* core = static_cast<Core*>(req->data);
                             UvStream* self = core->owner;
                             size_t sent = 0;
                             for (const Chunk& c : core->in_flight) sent += c.rest().size();
                             core->in_flight.clear();
                             if (self == nullptr || self->closing_) return;
                             self->write_pending_ = false;
                             self->queued_ -= sent;
                             if (status != 0) return self->finish(uv_error("write", status));
                             self->flush();
                           });
    if (r != 0) {
      write_pending_ = false;
      finish(uv_error("write", r));
    }
  }

  void consume(std::deque<Chunk>& q, size_t n) {
    queued_ -= n;
    while (n > 0) {
      const size_t rest = q.front().rest().size();
      if (n < rest) {
        q.front().sent += n;
        return;
      }
      n -= rest;
      q.pop_front();
    }
  }

  void finish(Result<> why) {
    if (closing_) return;
    close_handle();
    out_.clear();
    queued_ = 0;
    loop_.post([this, alive = std::weak_ptr<int>(alive_), why = std::move(why)]() mutable {
      if (alive.expired()) return;
      if (io::StreamHandler* h = std::exchange(handler_, nullptr)) h->on_closed(std::move(why));
    });
  }

  void close_handle() {
    if (std::exchange(closing_, true)) return;
    auto* handle = reinterpret_cast<uv_handle_t*>(core_->stream());
    // At shutdown the loop closes every handle itself and this core is freed with the process.
    if (uv_is_closing(handle)) return;
    uv_close(handle, [](uv_handle_t* h) {
      auto* core = static_cast<Core*>(h->data);
      core->handle_closed = true;
      core->place.reset();
      if (core->owner == nullptr) delete core;
    });
  }

  UvLoop& loop_;
  Core* const core_;
  io::StreamHandler* handler_ = nullptr;
  std::string peer_, local_;
  std::deque<Chunk> out_;
  size_t queued_ = 0;
  bool paused_ = false, closing_ = false, flush_scheduled_ = false, write_pending_ = false,
       shutdown_wanted_ = false;
  const std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

// The accepting socket lives on loops[0]: polling, pausing and closing happen there.
class UvListener final : public io::Listener {
 public:
  UvListener(int fd, uint16_t port, std::string bound, const io::ListenAddress& address,
             std::vector<UvLoop*> loops, absl::AnyInvocable<void(std::unique_ptr<io::Stream>)> accept)
      : port_(port), bound_(std::move(bound)), state_(std::make_shared<State>()) {
    state_->fd = fd;
    if (address.unix_socket) state_->unix_path = address.host;
    state_->connections_max = address.connections_max;
    state_->loops = std::move(loops);
    state_->accept = std::make_shared<Accept>(std::move(accept));
    if (!address.wait) start();
  }
  ~UvListener() override {
    state_->loops[0]->post([s = state_] {
      if (s->fd < 0) return;
      if (s->handles != nullptr) {
        uv_close(reinterpret_cast<uv_handle_t*>(&s->handles->poll), handle_closed);
        uv_close(reinterpret_cast<uv_handle_t*>(&s->handles->pause), handle_closed);
        s->handles = nullptr;
      }
      ::close(s->fd);
      if (!s->unix_path.empty()) unlink(s->unix_path.c_str());
      s->fd = -1;
    });
  }
  uint16_t port() const override { return port_; }
  std::string address() const override { return bound_; }
  void start() override {
    state_->loops[0]->post([s = state_] {
      if (s->fd < 0 || s->handles != nullptr) return;
      s->handles = new Handles{{}, {}, s, 2};
      uv_poll_init(s->loops[0]->uv(), &s->handles->poll, s->fd);
      uv_timer_init(s->loops[0]->uv(), &s->handles->pause);
      s->handles->poll.data = s->handles->pause.data = s->handles;
      poll(*s);
    });
  }

 private:
  using Accept = absl::AnyInvocable<void(std::unique_ptr<io::Stream>)>;
  struct State;
  struct Handles {
    uv_poll_t poll;
    uv_timer_t pause;
    std::shared_ptr<State> state;
    int open;
  };
  struct State {
    int fd = -1;
    std::string unix_path;
    size_t connections_max = 0;
    Handles* handles = nullptr;  // null before start() and after the end; freed when both are closed
    std::vector<UvLoop*> loops;
    size_t next = 0;
    std::atomic<size_t> connections{0};
    std::mutex accept_mutex;  // `accept` runs on whichever loop got the connection
    std::shared_ptr<Accept> accept;
  };
  // One connection's share of connections_max, dropped on any thread. The one that makes room resumes
  // accepting.
  class Place {
   public:
    explicit Place(std::shared_ptr<State> state) : state_(std::move(state)) { ++state_->connections; }
    ~Place() {
      if (state_->connections.fetch_sub(1) != state_->connections_max) return;
      io::Loop& loop = *state_->loops[0];
      loop.post([s = std::move(state_)] { poll(*s); });
    }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

   private:
    std::shared_ptr<State> state_;
  };

  static void handle_closed(uv_handle_t* h) {
    auto* handles = static_cast<Handles*>(h->data);
    if (--handles->open == 0) delete handles;
  }

  static void poll(State& s) {
    if (s.handles == nullptr) return;
    uv_timer_stop(&s.handles->pause);
    uv_poll_start(&s.handles->poll, UV_READABLE, [](uv_poll_t* p, int status, int) {
      if (status == 0) on_readable(static_cast<Handles*>(p->data)->state);
    });
  }

  // The socket stays readable while connections wait: without a pause the loop would spin.
  static void pause(State& s) {
    constexpr uint64_t kPauseMs = 100;
    uv_poll_stop(&s.handles->poll);
    uv_timer_start(
        &s.handles->pause, [](uv_timer_t* t) { poll(*static_cast<Handles*>(t->data)->state); }, kPauseMs, 0);
  }

  static void on_readable(const std::shared_ptr<State>& s) {
    for (int i = 0; i < kAcceptsPerWakeup; ++i) {
      if (s->connections_max > 0 && s->connections.load() >= s->connections_max) {
        // Whoever leaves from now on sees the full count and resumes.
        uv_poll_stop(&s->handles->poll);
        return;
      }
      const int fd = accept4(s->fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) {
        // EAGAIN, or a connection that was gone before it was accepted: the poll tells of the next one.
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) pause(*s);
        return;
      }
      auto place = std::make_shared<Place>(s);
      UvLoop* loop = s->loops[s->next++ % s->loops.size()];
      loop->post([s, loop, fd, place = std::move(place)]() mutable {
        auto stream = std::make_unique<UvStream>(*loop, fd, !s->unix_path.empty(), std::move(place));
        std::lock_guard lock(s->accept_mutex);
        (*s->accept)(std::move(stream));
      });
    }
  }

  const uint16_t port_;
  const std::string bound_;
  const std::shared_ptr<State> state_;
};

struct Resolved {
  sockaddr_storage address = {};
  socklen_t length = 0;
};

Result<Resolved> resolve(const io::ListenAddress& a, bool passive) {
  Resolved r;
  if (a.unix_socket) {
    auto& un = reinterpret_cast<sockaddr_un&>(r.address);
    un.sun_family = AF_UNIX;
    if (a.host.size() >= sizeof un.sun_path)
      return make_error(Code::kInvalidArgument, "{}: path too long", a.host);
    std::memcpy(un.sun_path, a.host.data(), a.host.size());
    r.length = sizeof(sockaddr_un);
    return r;
  }
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = passive ? AI_PASSIVE : 0;
  addrinfo* found = nullptr;
  const std::string port = std::to_string(a.port);
  const int e = getaddrinfo(a.host.empty() ? nullptr : a.host.c_str(), port.c_str(), &hints, &found);
  if (e != 0) return make_error(Code::kIo, "lookup {}: {}", a.host, gai_strerror(e));
  // A name that has addresses of both families means the IPv4 one, as in Go: "localhost" is 127.0.0.1.
  const addrinfo* chosen = found;
  while (chosen != nullptr && chosen->ai_family != AF_INET) chosen = chosen->ai_next;
  if (chosen == nullptr) chosen = found;
  std::memcpy(&r.address, chosen->ai_addr, chosen->ai_addrlen);
  r.length = chosen->ai_addrlen;
  freeaddrinfo(found);
  return r;
}

}  // namespace

namespace {

bool is_wildcard(const io::ListenAddress& a) {
  return !a.unix_socket && (a.host.empty() || a.host == "0.0.0.0" || a.host == "::");
}

// A socket bound and listening. Errors: kIo with Go's text.
Result<int> bind_and_listen(const io::ListenAddress& address, const Resolved& r) {
  const int fd = socket(r.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno_error("listen", address.host, errno);
  const int on = 1, off = 0;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address.reuse_port) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  if (r.address.ss_family == AF_INET6)
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, is_wildcard(address) ? &off : &on, sizeof on);
  if (address.unix_socket) unlink(address.host.c_str());
  if (bind(fd, reinterpret_cast<const sockaddr*>(&r.address), r.length) == 0 && ::listen(fd, SOMAXCONN) == 0)
    return fd;
  const int e = errno;
  ::close(fd);
  std::string why = std::generic_category().message(e);
  if (!why.empty() && why[0] >= 'A' && why[0] <= 'Z') why[0] = static_cast<char>(why[0] + 32);
  const bool v6 = address.host.find(':') != std::string::npos;
  return make_error(Code::kIo, "listen {}: bind: {}",
                    address.unix_socket ? "unix " + address.host
                                        : fmt::format(fmt::runtime(v6 ? "tcp [{}]:{}" : "tcp {}:{}"),
                                                      address.host, address.port),
                    why);
}

}  // namespace

Result<std::unique_ptr<io::Listener>> UvNetwork::listen(
    const io::ListenAddress& address, std::vector<io::Loop*> loops,
    absl::AnyInvocable<void(std::unique_ptr<io::Stream>)> accept) {
  ASSIGN_OR_RETURN(Resolved r, resolve(address, true));
  if (is_wildcard(address)) {
    // One socket for both families, where the machine knows IPv6.
    Resolved both;
    auto& v6 = reinterpret_cast<sockaddr_in6&>(both.address);
    v6.sin6_family = AF_INET6;
    v6.sin6_addr = in6addr_any;
    v6.sin6_port = htons(address.port);
    both.length = sizeof v6;
    const int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (probe >= 0) {
      ::close(probe);
      r = both;
    }
  }
  const Result<int> fd = bind_and_listen(address, r);
  if (!fd) return fd.error();
  uint16_t port = 0;
  std::string bound_text = address.host;
  sockaddr_storage bound = {};
  socklen_t n = sizeof bound;
  if (!address.unix_socket && getsockname(*fd, reinterpret_cast<sockaddr*>(&bound), &n) == 0) {
    port = ntohs(bound.ss_family == AF_INET ? reinterpret_cast<sockaddr_in&>(bound).sin_port
                                            : reinterpret_cast<sockaddr_in6&>(bound).sin6_port);
    bound_text = address_text(bound);
  }
  std::vector<UvLoop*> uv_loops;
  for (io::Loop* l : loops) uv_loops.push_back(static_cast<UvLoop*>(l));
  return std::unique_ptr<io::Listener>(std::make_unique<UvListener>(*fd, port, std::move(bound_text), address,
                                                                    std::move(uv_loops), std::move(accept)));
}

void UvNetwork::connect(const io::ListenAddress& address, io::Loop& loop,
                        absl::AnyInvocable<void(Result<std::unique_ptr<io::Stream>>)> done) {
  auto& uv_loop = static_cast<UvLoop&>(loop);
  struct Attempt {
    uv_poll_t poll;
    int fd;
    bool unix_socket;
    UvLoop* loop;
    absl::AnyInvocable<void(Result<std::unique_ptr<io::Stream>>)> done;
  };
  loop.post([address, &uv_loop, done = std::move(done)]() mutable {
    auto r = resolve(address, false);
    if (!r) return done(r.error());
    const int fd = socket(r->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return done(errno_error("connect", address.host, errno));
    if (::connect(fd, reinterpret_cast<sockaddr*>(&r->address), r->length) != 0 && errno != EINPROGRESS) {
      const int e = errno;
      ::close(fd);
      return done(errno_error("connect", address.host, e));
    }
    auto* attempt = new Attempt{{}, fd, address.unix_socket, &uv_loop, std::move(done)};
    attempt->poll.data = attempt;
    uv_poll_init(uv_loop.uv(), &attempt->poll, fd);
    uv_poll_start(&attempt->poll, UV_WRITABLE, [](uv_poll_t* p, int, int) {
      auto* a = static_cast<Attempt*>(p->data);
      uv_poll_stop(p);
      // The poll handle must be closed before libuv may open the same descriptor as a stream.
      uv_close(reinterpret_cast<uv_handle_t*>(p), [](uv_handle_t* h) {
        std::unique_ptr<Attempt> a(static_cast<Attempt*>(h->data));
        int error = 0;
        socklen_t n = sizeof error;
        getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &error, &n);
        if (error != 0) {
          ::close(a->fd);
          return a->done(errno_error("connect", "", error));
        }
        a->done(std::unique_ptr<io::Stream>(std::make_unique<UvStream>(*a->loop, a->fd, a->unix_socket)));
      });
      (void)a;
    });
  });
}

}  // namespace quoin::posix
