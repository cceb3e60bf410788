// Byte streams and listeners: TCP and unix sockets in `posix`, simulated links in `sim`.
//
// A stream is confined to its loop: all calls and all callbacks happen there.
//
// Flow control: nothing is read while reading is paused; the writer bounds queued output: it looks at
// queued_bytes() and waits for on_drained.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/blob.h"
#include "base/result.h"
#include "io/loop.h"

namespace quoin::io {

class StreamHandler {
 public:
  virtual ~StreamHandler() = default;
  // `bytes` lives during the call. A handler may call Stream::close() here; no callback but on_closed
  // follows.
  virtual void on_data(std::string_view bytes) = 0;
  // The peer shut down its sending side; the stream can still be written to.
  virtual void on_eof() = 0;
  // Queued output fell to 0.
  virtual void on_drained() = 0;
  // Last callback. `error` is ok after a close() of ours.
  virtual void on_closed(Result<> error) = 0;
};

class Stream {
 public:
  virtual ~Stream() = default;                           // closes at once; no callback follows
  virtual void set_handler(StreamHandler* handler) = 0;  // reading starts once a handler is set
  virtual void pause_reading() = 0;
  virtual void resume_reading() = 0;
  // Takes the bytes over; written in order, as many buffers as possible per system call.
  virtual void write(std::string bytes) = 0;
  virtual void write(Blob bytes) = 0;
  virtual size_t queued_bytes() const = 0;
  // Sends what is queued, then shuts down the sending side.
  virtual void shutdown() = 0;
  // Drops what is queued; on_closed follows as a task of its own.
  virtual void close() = 0;
  // Closes the connection (on_closed gets an error) when the peer has not acknowledged sent bytes for this
  // long (TCP_USER_TIMEOUT). Does nothing on a unix socket.
  virtual void set_unacknowledged_timeout(int64_t /*ns*/) {}
  // "127.0.0.1:51234", "@" for an unnamed unix socket.
  virtual const std::string& peer_address() const = 0;
  virtual const std::string& local_address() const = 0;
  virtual Loop& loop() = 0;
};

struct ListenAddress {
  bool unix_socket = false;
  std::string host;  // TCP: address or name; unix: path
  uint16_t port = 0;
  bool reuse_port = false;  // SO_REUSEPORT: another socket that asks for it too may have the same port
  bool wait = false;        // nobody is accepted before Listener::start()
  // Connections open at a time; more wait in the system's queue, not accepted. 0: no bound.
  size_t connections_max = 0;
};

class Listener {
 public:
  virtual ~Listener() = default;  // stops accepting
  // Port actually bound (differs from the one asked for when that was 0).
  virtual uint16_t port() const = 0;
  // As bound: "127.0.0.1:2379", "[::]:2379", a unix socket's path.
  virtual std::string address() const = 0;
  // Accepts from now on, where the address said `wait`. Any thread.
  virtual void start() = 0;
};

struct ConnectOptions {
  // From connect() until the connection stands: names, all addresses. 0: no bound but the system's.
  int64_t timeout_ns = 0;
  // IP address to connect from; empty: the system's choice. Addresses of the other family are left out then.
  std::string local_address;
};

// An attempt to connect. Dropping it, on the attempt's loop, ends the attempt: `done` does not run afterwards.
// Dropped on another thread, `done` may be running already. It may be kept after `done` ran, and dropped by
// `done` itself.
class Connecting {
 public:
  virtual ~Connecting() = default;
};

class Network {
 public:
  virtual ~Network() = default;
  // Binds and listens; "0.0.0.0" and "::" mean all addresses of both families. `accept` runs on the loop that
  // shall own the connection (connections are handed round over `loops`; the accepting socket lives on
  // loops[0]). kIo with the operating system's words otherwise.
  virtual Result<std::unique_ptr<Listener>> listen(
      const ListenAddress& address, std::vector<Loop*> loops,
      absl::AnyInvocable<void(std::unique_ptr<Stream>)> accept) = 0;
  // Connects; `done` runs on `loop`, as a task of its own, never within connect(). Any thread.
  //
  // Nothing of it blocks the loop: a name is looked up by asking its servers and reading the hosts file. The
  // addresses of a name are tried as Go's dialer does. Those of the first one's family are tried one after the
  // other, each for its share of the time that is left (at least 2 s). Those of the other family begin 300 ms
  // later or when the first have all failed, and whatever stands first is taken.
  //
  // Errors, in Go's words, kIo if nothing else is said: "dial tcp 127.0.0.1:2380: connect: connection refused",
  // "dial tcp: lookup nohost on 10.0.0.2:53: no such host" (kNotFound),
  // "dial tcp 10.0.0.1:2380: i/o timeout" (kContextDeadlineExceeded: the time of `options` is over),
  // "dial unix /path: connect: no such file or directory". Of several addresses the first one's error is told.
  [[nodiscard]] virtual std::unique_ptr<Connecting> connect(
      const ListenAddress& address, const ConnectOptions& options, Loop& loop,
      absl::AnyInvocable<void(Result<std::unique_ptr<Stream>>)> done) = 0;
};

}  // namespace quoin::io
