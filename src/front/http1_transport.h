// An HTTP/1.1 connection on an io::Stream, its requests answered by httpapi's endpoints.
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
// gone.
#pragma once
#include <memory>
#include <string_view>

#include "base/task.h"
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
  Http1Transport(httpapi::Endpoints& endpoints, httpapi::Surface surface, std::unique_ptr<io::Stream> stream,
                 io::Clock& clock, io::TimerService& timers, const Http1Times& times,
                 std::string_view received, Task closed);
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

  void on_request(const http1::Request& request) override;
  void answer(httpapi::Response response);
  void flush();
  void end();
  void watch_time(bool heard);
  void late();

  // What the timer is running for.
  enum class Wait : uint8_t { kNothing, kRequest, kAnswer, kSilence, kLinger };

  httpapi::Endpoints& endpoints_;
  const httpapi::Surface surface_;
  io::Clock& clock_;
  io::TimerService& timers_;
  const Http1Times times_;
  std::unique_ptr<io::Stream> stream_;
  Task closed_;
  http1::ServerConnection connection_;
  bool stopping_ = false;
  bool paused_ = false;
  bool eof_ = false;
  size_t lingering_bytes_ = 0;  // received since our side was shut down
  Wait waiting_for_ = Wait::kNothing;
  size_t unread_bytes_ = 0;  // of answers, when the timer was set
  std::unique_ptr<io::Timer> timer_;
  // Expires with the transport: answers that come later find nobody.
  std::shared_ptr<Http1Transport*> self_;
};

// "Sat, 21 Nov 2026 10:00:00 GMT".
std::string imf_fixdate(io::WallNs now);

}  // namespace quoin::front
