// An HTTP/1.1 connection on an io::Stream, its requests answered by httpapi's endpoints, or by a door (http1/door.h):
// the peer protocol, whose requests have bodies of any size and whose connections outlive HTTP, or the JSON gateway,
// whose answers come in pieces. A client of the gateway that shuts its side down gives its request up, as in Go.
//
// Threads: confined to the stream's loop; an answer that is completed on another thread is posted to it.
// Lifetime: as grpc::ServerTransport: `closed` is called once, from a callback of the stream, and the owner
// destroys the transport afterwards from a task of its own.
// Bounds: what the connection holds (http1/server_connection.h): one answer at a time waits for the socket.
// The end: what is written last must reach the client although it may still be sending, and a socket that is
// closed with unread input resets the connection. So our side is shut down first, and the rest waits for the
// client to close, for kLingerNs at the most (Go: rstAvoidanceDelay), reading kLingerBytes at the most.
// Time (Http1Times): whoever begins a request and does not end it, or takes nothing of an answer, is closed
// without a word, as by Go. Between two requests a client may be silent; TCP's keepalive finds those that are
// gone. While a door has not consumed what it was given, or has not asked for a body, the client's silence counts for
// nothing. A connection has at most one timer, which is set when it is due, not when its time changes.
#pragma once
#include <memory>
#include <string_view>

#include "base/task.h"
#include "http1/door.h"
#include "http1/server_connection.h"
#include "httpapi/httpapi.h"
#include "io/clock.h"
#include "io/stream.h"
#include "io/timer.h"

namespace quoin::front {

struct Http1Times {
  static constexpr int64_t kRequestNs = 300 * io::kSecond;
  int64_t request_ns = kRequestNs;        // from a request's first byte to its last
  int64_t answer_ns = 300 * io::kSecond;  // in which at least a byte of a waiting answer is taken
  int64_t silence_ns = 0;                 // between any two bytes of a client; 0: no bound
  static constexpr int64_t kLingerNs = 500 * io::kMillisecond;
};

class Http1Transport final : public io::StreamHandler, private http1::RequestHandler {
 public:
  // Both, where there is one, outlive the transport; what they do not serve goes to `endpoints`.
  struct Doors {
    http1::Door* peers = nullptr;
    http1::StreamDoor* gateway = nullptr;
  };
  struct Security {  // of the stream
    bool tls = false;
    std::string common_name;
  };
  Http1Transport(httpapi::Endpoints& endpoints, httpapi::Surface surface, Security security, Doors doors,
                 std::unique_ptr<io::Stream> stream, io::Clock& clock, io::TimerService& timers,
                 const Http1Times& times, std::string_view received, Task closed);
  ~Http1Transport() override;

  // Closes once the answer in progress, if any, is written.
  void shutdown();
  void close();

  // io::StreamHandler
  void on_data(std::string_view bytes) override;
  void on_eof() override;
  void on_drained() override;
  void on_closed(Result<> error) override;

 private:
  static constexpr size_t kLingerBytes = 256 << 10;

  class DoorExchange;

  // http1::RequestHandler
  bool on_head(const http1::Request& head) override;
  void on_request(const http1::Request& request) override;
  void on_body(std::string_view piece) override;
  void on_body_end() override;
  void on_body_failed(Error error) override;
  void on_aborted() override;

  void respond(const http1::Response& response);
  http1::Exchange::Taken take_over(unsigned status,
                                   const std::vector<std::pair<std::string, std::string>>& fields);
  void go_on();
  void flush();
  void end();

  // What the client must do before `due_`.
  enum class Wait : uint8_t { kNothing, kRequest, kAnswer, kSilence, kLinger };
  void watch_time(bool heard);
  void wait_for(Wait what, int64_t ns);
  void set_timer(io::MonotonicNs now);
  void timer_fired();
  void late();

  httpapi::Endpoints& endpoints_;
  const httpapi::Surface surface_;
  const Security security_;
  const Doors doors_;
  io::Clock& clock_;
  io::TimerService& timers_;
  const Http1Times times_;
  std::unique_ptr<io::Stream> stream_;  // null once it was taken over
  Task closed_;
  http1::ServerConnection connection_;
  bool stopping_ = false;
  bool paused_ = false;
  bool eof_ = false;
  size_t lingering_bytes_ = 0;  // received since our side was shut down
  Wait waiting_for_ = Wait::kNothing;
  io::MonotonicNs due_ = 0;
  size_t unread_bytes_ = 0;  // of answers, when waiting for them to be taken began
  std::unique_ptr<io::Timer> timer_;
  io::MonotonicNs timer_at_ = 0;      // when it fires
  DoorExchange* exchange_ = nullptr;  // of the request in progress, where it is the door's and not answered
  // Expires with the transport: answers that come later find nobody.
  std::shared_ptr<Http1Transport*> self_;
};

}  // namespace quoin::front
