// The network of this machine: listeners and outgoing connections on libuv.
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <atomic>

#include "base/check.h"
#include "posix/address.h"
#include "posix/loop.h"
#include "posix/uv_listener.h"
#include "posix/uv_stream.h"

namespace quoin::posix {

Result<std::unique_ptr<io::Listener>> UvNetwork::listen(
    const io::ListenAddress& address, std::vector<io::Loop*> loops,
    absl::AnyInvocable<void(std::unique_ptr<io::Stream>)> accept) {
  ASSIGN_OR_RETURN(SocketAddress to, resolve(address, true));
  if (is_wildcard(address)) {
    if (const auto both = both_families(address.port)) to = *both;
  }
  std::vector<UvLoop*> uv_loops;
  for (io::Loop* l : loops) uv_loops.push_back(static_cast<UvLoop*>(l));
  return make_uv_listener(address, to, std::move(uv_loops), std::move(accept));
}

std::unique_ptr<io::Connecting> UvNetwork::connect(
    const io::ListenAddress& address, const io::ConnectOptions&, io::Loop& loop,
    absl::AnyInvocable<void(Result<std::unique_ptr<io::Stream>>)> told) {
  struct Dropped final : io::Connecting {
    std::shared_ptr<std::atomic<bool>> dropped = std::make_shared<std::atomic<bool>>(false);
    ~Dropped() override { *dropped = true; }
  };
  auto connecting = std::make_unique<Dropped>();
  absl::AnyInvocable<void(Result<std::unique_ptr<io::Stream>>)> done =
      [dropped = connecting->dropped, told = std::move(told)](Result<std::unique_ptr<io::Stream>> r) mutable {
        if (!*dropped) told(std::move(r));
      };
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
        a->done(make_uv_stream(*a->loop, a->fd, a->unix_socket));
      });
      (void)a;
    });
  });
  return connecting;
}

}  // namespace quoin::posix
