#include "cmd/etcd/failpoints.h"

#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <list>
#include <random>
#include <thread>
#include <vector>

#include "base/go_text.h"
#include "failpoint/control.h"
#include "http1/server_connection.h"

namespace quoin::cmd {

namespace {

constexpr size_t kRequestBytesMax = 64 << 10;
constexpr int kSendWaitMs = 1000;

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

void write_line(int fd, std::string line) {
  line += '\n';
  std::string_view rest = line;
  while (!rest.empty()) {
    const ssize_t n = ::write(fd, rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;  // nobody reads it
    rest.remove_prefix(static_cast<size_t>(n));
  }
}

class ProcessEffects final : public failpoint::Effects {
 public:
  void sleep(int64_t ns) override { std::this_thread::sleep_for(std::chrono::nanoseconds(ns)); }
  void print(std::string_view line) override { write_line(STDOUT_FILENO, std::string(line)); }
  // With the status of a Go program that panics.
  void die(std::string_view line) override {
    write_line(STDERR_FILENO, fmt::format("panic: {}\n", line));
    ::_exit(2);
  }
};

struct Connection final : http1::RequestHandler {
  Connection(Descriptor fd, failpoint::Registry& known)
      : socket(std::move(fd)),
        registry(known),
        http(*this, {.header_bytes = kRequestBytesMax, .body_bytes = kRequestBytesMax}) {}

  void on_request(const http1::Request& request) override {
    const failpoint::Answer answer =
        failpoint::answer(registry, request.method, request.target, request.body);
    http1::Response response;
    response.status = answer.status;
    response.body = answer.body;
    if (!answer.body.empty()) response.fields.emplace_back("Content-Type", "text/plain; charset=utf-8");
    if (answer.error) response.fields.emplace_back("X-Content-Type-Options", "nosniff");
    if (!answer.allowed.empty()) response.fields.emplace_back("Allow", answer.allowed);
    http.respond(response, {});
  }

  // False: the connection is over.
  bool readable() {
    char bytes[16 << 10];
    const ssize_t n = ::recv(socket.get(), bytes, sizeof bytes, 0);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    // Whoever sets a panic gets the answer before the panic comes.
    const auto held = registry.hold_panics();
    if (n == 0) {
      http.feed_eof();
    } else {
      http.feed({bytes, static_cast<size_t>(n)});
    }
    while (http.has_output()) {
      if (!send_all(http.take_output())) return false;
      http.output_written();
    }
    return n > 0 && !http.closing();
  }
  bool send_all(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n > 0) {
        bytes.remove_prefix(static_cast<size_t>(n));
        continue;
      }
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return false;
      pollfd room{socket.get(), POLLOUT, 0};
      if (::poll(&room, 1, kSendWaitMs) <= 0) return false;  // nobody reads it
    }
    return true;
  }

  Descriptor socket;
  failpoint::Registry& registry;
  http1::ServerConnection http;
};

Error listen_error(std::string_view address, std::string_view step, std::string_view why) {
  return make_error(Code::kIo, "listen tcp {}: {}{}", address, step, why);
}

Result<Descriptor> listen_on(std::string_view address, uint16_t* port) {
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos)
    return make_error(Code::kIo, "listen tcp: address {}: missing port in address", address);
  std::string host(address.substr(0, colon));
  const std::string service(address.substr(colon + 1));
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int failed =
          ::getaddrinfo(host.empty() ? nullptr : host.c_str(), service.c_str(), &hints, &found)) {
    return listen_error(address, "lookup: ", ::gai_strerror(failed));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);
  // An address of version 4 where there is one, as Go takes it.
  const addrinfo* chosen = found;
  for (const addrinfo* a = found; a != nullptr && !host.empty(); a = a->ai_next) {
    if (a->ai_family != AF_INET) continue;
    chosen = a;
    break;
  }
  Descriptor socket(::socket(chosen->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (socket.get() < 0) return listen_error(address, "socket: ", go_errno_text(errno));
  const int on = 1;
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(socket.get(), chosen->ai_addr, chosen->ai_addrlen) != 0)
    return listen_error(address, "bind: ", go_errno_text(errno));
  if (::listen(socket.get(), SOMAXCONN) != 0) return listen_error(address, "listen: ", go_errno_text(errno));
  sockaddr_storage bound{};
  socklen_t length = sizeof bound;
  char digits[NI_MAXSERV] = "0";
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound), &length) == 0) {
    (void)::getnameinfo(reinterpret_cast<sockaddr*>(&bound), length, nullptr, 0, digits, sizeof digits,
                        NI_NUMERICSERV);
  }
  *port = static_cast<uint16_t>(std::stoul(digits));
  return socket;
}

}  // namespace

class FailpointPort::Thread {
 public:
  Thread(Descriptor listener, Descriptor stop, failpoint::Registry& registry)
      : listener_(std::move(listener)),
        stop_(std::move(stop)),
        registry_(registry),
        thread_([this] { run(); }) {}
  ~Thread() {
    const uint64_t one = 1;
    (void)!::write(stop_.get(), &one, sizeof one);
    thread_.join();
  }

 private:
  void run() {
    for (;;) {
      std::vector<pollfd> waiting;
      waiting.push_back({stop_.get(), POLLIN, 0});
      const bool room = connections_.size() < kConnectionsMax;
      waiting.push_back({listener_.get(), static_cast<short>(room ? POLLIN : 0), 0});
      for (const Connection& c : connections_) waiting.push_back({c.socket.get(), POLLIN, 0});
      if (::poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) return;
      if (waiting[0].revents != 0) return;
      size_t i = 2;
      for (auto c = connections_.begin(); c != connections_.end(); ++i) {
        c = waiting[i].revents == 0 || c->readable() ? std::next(c) : connections_.erase(c);
      }
      if (waiting[1].revents == 0) continue;
      Descriptor accepted(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (accepted.get() >= 0) connections_.emplace_back(std::move(accepted), registry_);
    }
  }

  const Descriptor listener_, stop_;
  failpoint::Registry& registry_;
  std::list<Connection> connections_;
  std::thread thread_;  // the last: it uses the others
};

FailpointPort::FailpointPort(std::unique_ptr<Thread> thread, uint16_t port)
    : thread_(std::move(thread)), port_(port) {}
FailpointPort::~FailpointPort() = default;

Result<std::unique_ptr<FailpointPort>> FailpointPort::open(std::string_view address,
                                                           failpoint::Registry& registry) {
  uint16_t port = 0;
  ASSIGN_OR_RETURN(Descriptor listener, listen_on(address, &port));
  Descriptor stop(::eventfd(0, EFD_CLOEXEC));
  if (stop.get() < 0) return listen_error(address, "eventfd: ", go_errno_text(errno));
  auto thread = std::make_unique<Thread>(std::move(listener), std::move(stop), registry);
  return std::unique_ptr<FailpointPort>(new FailpointPort(std::move(thread), port));
}

std::optional<std::string> start_failpoints(const Environment& environment) {
  const auto value = [&environment](std::string_view name) {
    for (const std::string& e : environment) {
      if (e.starts_with(name) && e.size() > name.size() && e[name.size()] == '=')
        return e.substr(name.size() + 1);
    }
    return std::string();
  };
  // Never destroyed: places may be reached until the process is gone.
  static ProcessEffects& effects = *new ProcessEffects();
  failpoint::Registry& registry = failpoint::Registry::process();
  registry.use(effects, std::random_device{}());
  const failpoint::Assignments wanted = failpoint::parse_assignments(value("GOFAIL_FAILPOINTS"));
  if (!wanted.error.empty()) return fmt::format("fail to parse failpoint: {}", wanted.error);
  // Unknown names and bad terms are passed over; of the latter a line tells.
  for (const auto& [name, terms] : wanted.items) (void)registry.set(name, terms);
  const std::string address = value("GOFAIL_HTTP");
  if (address.empty()) return std::nullopt;
  auto port = FailpointPort::open(address, registry);
  if (!port) return std::string(port.error().text());
  static FailpointPort& kept = *port->release();
  (void)kept;
  return std::nullopt;
}

}  // namespace quoin::cmd
