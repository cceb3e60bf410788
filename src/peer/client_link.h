// One outgoing HTTP connection to a member: the socket and the protocol on it.
//
// A request may be begun at once; it is sent when the connection stands. What goes wrong, connecting included, is
// told by ResponseHandler::on_error, in Go's words: "dial tcp ...: connect: connection refused",
// "read tcp 10.0.0.1:5->10.0.0.2:2380: i/o timeout", "EOF".
//
// Threads: the peer loop. Lifetime: the handler outlives the link or sets another one. A link is given up by
// retire(), which may be called within its handler's callbacks; none comes afterwards.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "http1/client_connection.h"
#include "io/stream.h"
#include "io/timer.h"
#include "peer/stall_watch.h"
#include "peer/url.h"

namespace quoin::peer {

struct Context;

class ClientLink final : private io::StreamHandler, private http1::ResponseHandler {
 public:
  struct Times {
    int64_t dial_ns = 0;
    int64_t silence_ns = 0;  // nothing arrives while an answer is waited for and read; 0: no bound
    int64_t stall_ns = 0;    // nothing is taken of what waits to be sent; 0: no bound
  };
  ClientLink(Context& context, Url url, const Times& times, http1::ResponseHandler& handler);
  ~ClientLink() override;
  static void retire(std::unique_ptr<ClientLink> link);

  // ---- one exchange at a time ----
  void send(const http1::ClientRequest& request, std::string_view body);
  void start(const http1::ClientRequest& request);  // the body follows
  void write_chunk(std::string bytes);
  void finish();
  // Of the request; ResponseHandler::on_writable tells when it fell to 0.
  size_t queued_bytes() const;
  void set_reading(bool on);

  // ---- between two exchanges ----
  bool reusable() const { return stream_ != nullptr && http_.keep_alive(); }
  bool answer_begun() const { return http_.response_begun(); }
  // Something of the request was given to the socket.
  bool request_begun() const { return written_ != written_before_; }
  // It failed since nothing was heard or taken for too long.
  bool timed_out() const { return timed_out_; }
  void use(http1::ResponseHandler& handler, const Times& times);
  const Url& url() const { return url_; }

 private:
  // io::StreamHandler
  void on_data(std::string_view bytes) override;
  void on_eof() override;
  void on_drained() override;
  void on_closed(Result<> error) override;
  // http1::ResponseHandler
  void on_head(const http1::ResponseHead& head) override;
  void on_body(std::string_view bytes) override;
  void on_complete() override;
  void on_error(Error error) override;
  void on_writable() override;

  void connect();
  void connected(Result<std::unique_ptr<io::Stream>> result);
  std::unique_ptr<io::Stream> secure(std::unique_ptr<io::Stream> stream);
  void flush();
  void fail(Error error);
  void watch();
  void look();
  Error socket_error(std::string_view verb, std::string_view why) const;

  Context& context_;
  const Url url_;
  Times times_;
  http1::ResponseHandler* handler_;  // null: given up
  http1::ClientConnection http_;
  std::unique_ptr<io::Connecting> connecting_;
  std::unique_ptr<io::Stream> stream_;
  bool failed_ = false, timed_out_ = false;
  bool reading_ = true;
  io::MonotonicNs heard_ = 0;
  uint64_t written_ = 0;         // bytes given to the stream
  uint64_t written_before_ = 0;  // this exchange
  StallWatch stall_;
  std::unique_ptr<io::Timer> timer_;
};

}  // namespace quoin::peer
