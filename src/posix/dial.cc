#include "posix/dial.h"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/check.h"
#include "io/clock.h"
#include "io/dial_error.h"
#include "posix/uv_handle.h"
#include "posix/uv_stream.h"

namespace quoin::posix {
namespace {

constexpr int64_t kFallbackNs = 300 * io::kMillisecond;  // until the other family begins
constexpr int64_t kSaneMinimumNs = 2 * io::kSecond;      // for one address, if there is as much time
constexpr int kSelfConnects = 2;                         // so often it is tried again
constexpr int kKeepaliveSeconds = 30;                    // what etcd's dialers ask for

uint64_t to_ms(int64_t ns) {
  return ns <= 0 ? 0 : static_cast<uint64_t>((ns + io::kMillisecond - 1) / io::kMillisecond);
}

// One socket on its way to one address.
class Attempt {
 public:
  // An owned, connected descriptor, or why there is none. Never called within start().
  using Done = absl::AnyInvocable<void(Result<int>)>;

  ~Attempt() {
    poll_.reset();
    if (fd_ >= 0) ::close(fd_);
  }
  Result<> start(UvLoop& loop, const SocketAddress& to, const SocketAddress* from, Done done) {
    done_ = std::move(done);
    fd_ = ::socket(to.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd_ < 0) return io::call_error("socket", errno);
    if (from != nullptr && ::bind(fd_, reinterpret_cast<const sockaddr*>(&from->address), from->length) != 0)
      return io::call_error("bind", errno);
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&to.address), to.length) != 0 &&
        errno != EINPROGRESS)
      return io::call_error("connect", errno);
    poll_ = std::make_unique<UvPoll>(loop.uv(), fd_, [this](bool, bool) { ready(); });
    poll_->want(false, true);
    return {};
  }

 private:
  void ready() {
    poll_.reset();
    int error = 0;
    socklen_t n = sizeof error;
    getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &n);
    Done done = std::move(done_);
    if (error != 0) return done(io::call_error("connect", error));
    done(std::exchange(fd_, -1));
  }

  int fd_ = -1;
  std::unique_ptr<UvPoll> poll_;
  Done done_;
};

class Dial {
 public:
  using Finished = absl::AnyInvocable<void(Result<std::unique_ptr<io::Stream>>)>;
  // `finished` must not drop the dial at once.
  Dial(UvLoop& loop, io::ListenAddress address, io::ConnectOptions options, Finished finished)
      : loop_(loop),
        address_(std::move(address)),
        options_(std::move(options)),
        finished_(std::move(finished)) {}

  // `begin`: when connect() was called.
  void start(const DnsOptions& dns, io::MonotonicNs begin) {
    if (options_.timeout_ns > 0) {
      deadline_ = begin + options_.timeout_ns;
      deadline_timer_ = std::make_unique<UvTimer>(loop_.uv(), to_ms(deadline_ - TaskMeter::now()),
                                                  [this] { time_is_over(); });
    }
    if (address_.unix_socket) {
      const auto path = resolve(address_);
      if (!path) return finish(io::dial_error(true, "", address_.host, path.error()));
      return race({*path});
    }
    if (!options_.local_address.empty()) {
      local_ = numeric_address(options_.local_address, 0);
      if (!local_)
        return finish(
            make_error(Code::kInvalidArgument, "dial tcp: invalid local address {}", options_.local_address));
      local_text_ = address_text(local_->address);
    }
    // Go takes no host for this one.
    const std::string host = address_.host.empty() ? "127.0.0.1" : address_.host;
    if (const auto number = numeric_address(host, address_.port)) return race({*number});
    lookup_ =
        HostLookup::start(loop_, dns, host, address_.port, [this](Result<std::vector<SocketAddress>> found) {
          if (over_) return;
          if (!found) return finish(io::dial_error(false, "", "", found.error()));
          race(std::move(*found));
        });
  }

 private:
  // The addresses of one family, one after the other.
  struct Racer {
    std::vector<SocketAddress> addresses;
    size_t next = 0;
    int self_connects = 0;
    std::unique_ptr<Attempt> attempt;
    std::unique_ptr<UvTimer> timer;
    std::optional<Error> error;  // the first one
    bool running = false;
  };

  void race(std::vector<SocketAddress> addresses) {
    if (local_) {
      std::erase_if(addresses,
                    [&](const SocketAddress& a) { return a.address.ss_family != local_->address.ss_family; });
      if (addresses.empty()) {
        return finish(io::dial_error(
            false, "", "", make_error(Code::kIo, "address {}: no suitable address found", local_text_)));
      }
    }
    const auto first = addresses[0].address.ss_family;
    for (SocketAddress& a : addresses) racers_[a.address.ss_family == first ? 0 : 1].addresses.push_back(a);
    if (!racers_[1].addresses.empty()) {
      fallback_timer_ =
          std::make_unique<UvTimer>(loop_.uv(), to_ms(kFallbackNs), [this] { begin(racers_[1]); });
    }
    begin(racers_[0]);
  }

  void begin(Racer& racer) {
    if (over_ || racer.running || racer.next > 0) return;
    racer.running = true;
    try_next(racer);
  }

  void try_next(Racer& racer) {
    racer.timer.reset();
    while (!over_) {
      if (racer.next == racer.addresses.size()) return lost(racer);
      const SocketAddress& to = racer.addresses[racer.next];
      racer.attempt = std::make_unique<Attempt>();
      const Result<> started =
          racer.attempt->start(loop_, to, local_ ? &*local_ : nullptr, [this, &racer](Result<int> fd) {
            if (over_) {
              if (fd) ::close(*fd);
              return;
            }
            connected(racer, std::move(fd));
          });
      if (started) break;
      note(racer, started.error());
      ++racer.next;
    }
    if (over_ || options_.timeout_ns <= 0) return;
    // A fair share of what is left; the last one has all of it, which is the deadline's own.
    const auto others = static_cast<int64_t>(racer.addresses.size() - racer.next);
    if (others == 1) return;
    const int64_t left = deadline_ - TaskMeter::now();
    racer.timer = std::make_unique<UvTimer>(
        loop_.uv(), to_ms(std::max(left / others, std::min(left, kSaneMinimumNs))), [this, &racer] {
          note(racer, io::timeout_error());
          ++racer.next;
          try_next(racer);
        });
  }

  void connected(Racer& racer, Result<int> fd) {
    if (!fd) {
      note(racer, fd.error());
      ++racer.next;
      return try_next(racer);
    }
    if (!address_.unix_socket && connected_to_itself(*fd)) {
      ::close(*fd);
      if (++racer.self_connects > kSelfConnects) {
        note(racer, io::call_error("connect", ECONNREFUSED));
        ++racer.next;
      }
      return try_next(racer);
    }
    auto stream = make_uv_stream(loop_, *fd, address_.unix_socket);
    if (!address_.unix_socket)
      setsockopt(*fd, IPPROTO_TCP, TCP_KEEPIDLE, &kKeepaliveSeconds, sizeof kKeepaliveSeconds);
    finish(std::move(stream));
  }

  void note(Racer& racer, const Error& why) {
    if (!racer.error) racer.error = error_at(racer, why);
  }
  Error error_at(const Racer& racer, const Error& why) const {
    const std::string to =
        address_.unix_socket ? address_.host : address_text(racer.addresses[racer.next].address);
    return io::dial_error(address_.unix_socket, local_text_, to, why);
  }

  void lost(Racer& racer) {
    racer.running = false;
    racer.attempt.reset();
    Racer& other = racers_[1];
    if (&racer == &racers_[0] && !other.addresses.empty() && other.next == 0 && !other.running) {
      fallback_timer_.reset();
      return begin(other);
    }
    if (!racers_[0].running && !racers_[1].running) finish(*racers_[0].error);
  }

  void time_is_over() {
    if (over_) return;
    Racer& first = racers_[0];
    if (first.addresses.empty()) {
      return finish(
          make_error(Code::kContextDeadlineExceeded, "dial tcp: lookup {}: i/o timeout", address_.host));
    }
    if (!first.error) note(first, io::timeout_error());
    finish(*first.error);
  }

  // The rest of this object goes with its owner, behind what runs now.
  void finish(Result<std::unique_ptr<io::Stream>> result) {
    if (std::exchange(over_, true)) return;
    finished_(std::move(result));
  }

  UvLoop& loop_;
  const io::ListenAddress address_;
  const io::ConnectOptions options_;
  Finished finished_;
  bool over_ = false;
  io::MonotonicNs deadline_ = 0;
  std::optional<SocketAddress> local_;
  std::string local_text_;
  std::unique_ptr<HostLookup> lookup_;
  Racer racers_[2];  // the first address's family, and the other
  std::unique_ptr<UvTimer> deadline_timer_, fallback_timer_;
};

// What the caller's object and the loop's tasks share. All but `dropped` belongs to the loop.
struct Shared {
  UvLoop& loop;
  absl::AnyInvocable<void(Result<std::unique_ptr<io::Stream>>)> done;
  std::atomic<bool> dropped{false};
  std::unique_ptr<Dial> dial;

  void end() {
    dial.reset();
    done = nullptr;
  }
};

class UvConnecting final : public io::Connecting {
 public:
  explicit UvConnecting(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
  ~UvConnecting() override {
    shared_->dropped = true;
    if (shared_->loop.running_here()) {
      shared_->end();
    } else {
      shared_->loop.post([shared = shared_] { shared->end(); });
    }
  }

 private:
  const std::shared_ptr<Shared> shared_;
};

}  // namespace

bool connected_to_itself(int fd) {
  sockaddr_storage own = {}, peer = {};
  socklen_t n = sizeof own, m = sizeof peer;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&own), &n) != 0 ||
      getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &m) != 0) {
    return false;
  }
  return own.ss_family != AF_UNIX && port_of(own) == port_of(peer) && address_text(own) == address_text(peer);
}

std::unique_ptr<io::Connecting> start_dial(
    UvLoop& loop, const DnsOptions& dns, const io::ListenAddress& address, const io::ConnectOptions& options,
    absl::AnyInvocable<void(Result<std::unique_ptr<io::Stream>>)> done) {
  std::shared_ptr<Shared> shared(new Shared{loop, std::move(done), {}, {}});
  loop.post([shared, dns, address, options, begin = TaskMeter::now()] {
    if (shared->dropped) return;
    // In a task of its own: the dial is on the stack when it finishes, and `done` may drop everything.
    auto finished = [shared = shared.get(),
                     weak = std::weak_ptr(shared)](Result<std::unique_ptr<io::Stream>> result) {
      shared->loop.post([weak, result = std::move(result)]() mutable {
        const auto s = weak.lock();
        if (!s || s->dropped) return;
        s->dial.reset();
        std::exchange(s->done, nullptr)(std::move(result));
      });
    };
    shared->dial = std::make_unique<Dial>(shared->loop, address, options, std::move(finished));
    shared->dial->start(dns, begin);
  });
  return std::make_unique<UvConnecting>(shared);
}

}  // namespace quoin::posix
