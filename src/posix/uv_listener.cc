#include "posix/uv_listener.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include <atomic>
#include <mutex>

#include "base/check.h"
#include "base/go_text.h"
#include "posix/uv_stream.h"

namespace quoin::posix {
namespace {

// About 20 us each; other connections of the loop wait for them.
constexpr int kAcceptsPerWakeup = 16;

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
        auto stream = make_uv_stream(*loop, fd, !s->unix_path.empty(), std::move(place));
        std::lock_guard lock(s->accept_mutex);
        (*s->accept)(std::move(stream));
      });
    }
  }

  const uint16_t port_;
  const std::string bound_;
  const std::shared_ptr<State> state_;
};

// A socket bound and listening. Errors: kIo with Go's text.
Result<int> bind_and_listen(const io::ListenAddress& address, const SocketAddress& r) {
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
  const bool v6 = address.host.find(':') != std::string::npos;
  return make_error(Code::kIo, "listen {}: bind: {}",
                    address.unix_socket ? "unix " + address.host
                                        : fmt::format(fmt::runtime(v6 ? "tcp [{}]:{}" : "tcp {}:{}"),
                                                      address.host, address.port),
                    go_errno_text(e));
}

}  // namespace

Result<std::unique_ptr<io::Listener>> make_uv_listener(
    const io::ListenAddress& address, const SocketAddress& to, std::vector<UvLoop*> loops,
    absl::AnyInvocable<void(std::unique_ptr<io::Stream>)> accept) {
  ASSIGN_OR_RETURN(const int fd, bind_and_listen(address, to));
  uint16_t port = 0;
  std::string bound_text = address.host;
  sockaddr_storage bound = {};
  socklen_t n = sizeof bound;
  if (!address.unix_socket && getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &n) == 0) {
    port = port_of(bound);
    bound_text = address_text(bound);
  }
  return std::unique_ptr<io::Listener>(std::make_unique<UvListener>(fd, port, std::move(bound_text), address,
                                                                    std::move(loops), std::move(accept)));
}

}  // namespace quoin::posix
