#include "posix/uv_stream.h"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <uv.h>

#include <atomic>
#include <deque>

#include "base/check.h"
#include "io/clock.h"
#include "posix/address.h"

namespace quoin::posix {
namespace {

constexpr size_t kReadBufferBytes = 64 * 1024;
// Of one write. Over the loopback the kernel also does the receiver's work in it, so this many bytes may take half a
// millisecond.
constexpr size_t kBuffersPerWrite = 64;
constexpr size_t kBytesPerWrite = 128 * 1024;

std::atomic<size_t> g_queued{0};

Error uv_error(std::string_view what, int code) {
  return make_error(code == UV_ENOENT ? Code::kFileNotFound : Code::kIo, "{}: {}", what, uv_strerror(code));
}

// uv_tcp_keepalive() probes every second and gives up after ten: a network that fails for so long would end
// every idle connection.
void set_keepalive(int fd) {
  const int on = 1, seconds = 15, probes = 9;
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

class UvStream final : public io::Stream {
 public:
  // Takes over a connected, non-blocking descriptor. On the loop's thread. `place` is dropped once the
  // descriptor is closed.
  UvStream(UvLoop& loop, int fd, bool unix_socket, std::shared_ptr<void> place = nullptr)
      : loop_(loop), core_(new Core), is_unix_(unix_socket) {
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
      set_keepalive(fd);
    }
    core_->stream()->data = core_;
  }
  ~UvStream() override {
    handler_ = nullptr;
    core_->owner = nullptr;
    count_sent(queued_);
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
    count_queued(bytes.size());
    Chunk& c = out_.emplace_back();
    c.text = std::move(bytes);
    c.is_text = true;
    schedule_flush();
  }
  void write(Blob bytes) override {
    if (closing_ || bytes.empty()) return;
    count_queued(bytes.size());
    out_.emplace_back().blob = std::move(bytes);
    schedule_flush();
  }
  size_t queued_bytes() const override { return queued_; }
  void shutdown() override {
    shutdown_wanted_ = true;
    schedule_flush();
  }
  void close() override { finish({}); }
  void set_unacknowledged_timeout(int64_t ns) override {
    uv_os_fd_t fd;
    if (is_unix_ || uv_fileno(reinterpret_cast<uv_handle_t*>(core_->stream()), &fd) != 0) return;
    const auto ms = static_cast<unsigned>(ns / io::kMillisecond);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
  }
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

  void count_queued(size_t n) {
    queued_ += n;
    g_queued += n;
  }
  void count_sent(size_t n) {
    queued_ -= n;
    g_queued -= n;
  }

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
            meter.took(begin, TaskMeter::now());
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

  // One write. What is left waits until the others of the loop had their turn.
  void flush() {
    if (!out_.empty()) {
      uv_buf_t bufs[kBuffersPerWrite];
      size_t n = 0, bytes = 0;
      for (auto it = out_.begin(); it != out_.end() && n < kBuffersPerWrite && bytes < kBytesPerWrite;
           ++it, ++n) {
        const std::string_view v = it->rest().substr(0, kBytesPerWrite - bytes);
        bufs[n] = uv_buf_init(const_cast<char*>(v.data()), static_cast<unsigned>(v.size()));
        bytes += v.size();
      }
      const int written = uv_try_write(core_->stream(), bufs, static_cast<unsigned>(n));
      if (written == UV_EAGAIN || written == 0) return wait_writable(n);
      if (written < 0) return finish(uv_error("write", written));
      consume(out_, written);
      if (!out_.empty()) return schedule_flush();
    }
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
                             self->count_sent(sent);
                             if (status != 0) return self->finish(uv_error("write", status));
                             TaskMeter& meter = self->loop_.own_meter();
                             const io::MonotonicNs begin = TaskMeter::now();
                             self->flush();
                             meter.took(begin, TaskMeter::now());
                           });
    if (r != 0) {
      write_pending_ = false;
      finish(uv_error("write", r));
    }
  }

  void consume(std::deque<Chunk>& q, size_t n) {
    count_sent(n);
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
    count_sent(queued_);
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
  const bool is_unix_;
  io::StreamHandler* handler_ = nullptr;
  std::string peer_, local_;
  std::deque<Chunk> out_;
  size_t queued_ = 0;
  bool paused_ = false, closing_ = false, flush_scheduled_ = false, write_pending_ = false,
       shutdown_wanted_ = false;
  const std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace

std::unique_ptr<io::Stream> make_uv_stream(UvLoop& loop, int fd, bool unix_socket,
                                           std::shared_ptr<void> place) {
  return std::make_unique<UvStream>(loop, fd, unix_socket, std::move(place));
}

size_t queued_output_bytes() {
  return g_queued;
}

}  // namespace quoin::posix
