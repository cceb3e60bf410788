// A client of an etcd cluster: calls to whichever of its endpoints can be reached.
//
//   Endpoints    each has a connection of its own, dialled at once (link.h). Calls go round over those that stand. A
//                call that the server did not look at (a GOAWAY, a refused stream) is made again once, whatever it is.
//   Retries      Method::retry (retry.h), if Options::retries.
//   Users        with Options::username each call carries a token. It is fetched before the first call and when a server
//                no longer takes it; calls wait for that.
//   Deadlines    are watched here, and told to the server.
//
// Threads: the loop of the environment. Lifetime: options' credentials and the environment outlive it; while
// calls are active close() comes before the destructor; those made after it end without a word if the
// destructor comes first.
// Bounds: Options::queued_bytes_max for requests of all calls that have not ended, and what streams sent and
// no server has taken; beyond it unary() and open() fail with kResourceExhausted. A stream's own queue its
// user bounds: queued_bytes() and Call::on_all_sent().
// Source: etcd's client/v3; spec cli 2.4, 2.5.
#pragma once
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/prng.h"
#include "base/result.h"
#include "client/call.h"
#include "client/environment.h"
#include "client/link.h"

namespace quoin::client {

struct ClientOptions {
  std::vector<std::string> endpoints;
  ConnectionOptions connection;
  std::string username, password;  // none: no token
  bool retries = true;
  size_t max_send_bytes = 2 << 20;  // a message
  size_t queued_bytes_max = 256 << 20;
  uint64_t seed = 0;
};

class Client final : private Link::Listener {
 public:
  // kInvalidArgument: an endpoint, or there is none.
  static Result<std::unique_ptr<Client>> make(ClientOptions options, const Environment& environment);
  ~Client() override;
  Client(const Client&) = delete;

  // on_end() never runs within these.
  void unary(Call& call, const Method& method, std::string_view request, const CallOptions& options);
  void open(Call& call, const Method& method, const CallOptions& options);
  // Of streams; calls that are over are ignored.
  void send(Call& call, std::string_view message);
  void half_close(Call& call);
  // on_end(kCanceled) follows, unless the call ends otherwise before.
  void cancel(Call& call);
  // While a stream is on hold, at most ConnectionOptions::stream_window_bytes of it arrive.
  void hold(Call& call, bool on);
  size_t queued_bytes(const Call& call) const;

  // Ends all calls with kCanceled; those made later end so, too.
  void close();

  size_t queued_bytes() const { return charged_bytes_; }
  size_t calls() const { return calls_; }
  const std::vector<std::string>& endpoints() const { return options_.endpoints; }
  // New endpoints; calls that run on others go on until these are closed, which is at once.
  Result<> set_endpoints(const std::vector<std::string>& endpoints);
  // Of the endpoints that calls can go to now.
  size_t ready_links() const;
  // Why none can be reached, if so: the newest error.
  const std::string& link_error() const { return link_error_; }

 private:
  friend class Call;
  class Login;
  Client(ClientOptions options, const Environment& environment);

  void begin(Call& call, const Method& method, const CallOptions& options);
  void start(Call& call);
  void run(Call& call, Transport& transport);
  Transport* pick();
  bool all_failed() const;
  void wait(Call& call);
  void serve_waiting();
  void ended(Call& call, GrpcStatus status, std::string_view text);
  void finish(Call& call, GrpcStatus status, std::string_view text);
  void finish_later(Call& call, GrpcStatus status, std::string text);
  void finish_queued();
  void retry(Call& call);
  void retry_due();
  void forget(Call& call);
  void charge(Call& call, int64_t bytes);
  bool needs_token() const;
  void fetch_token();
  void token_fetched(GrpcStatus status, std::string_view text, std::string token);
  void arm_deadlines();
  void deadlines_due();
  void on_link_changed(Link&) override;

  ClientOptions options_;
  const Environment env_;
  Prng prng_;
  std::vector<std::unique_ptr<Link>> links_;
  size_t next_link_ = 0;
  std::string link_error_;
  std::vector<Call*> waiting_;  // in order
  std::deque<Call*> ending_;
  std::vector<std::pair<io::MonotonicNs, Call*>> pausing_;
  std::unique_ptr<io::Timer> pause_timer_;
  grpc::DeadlineHeap<Call> deadlines_;
  std::unique_ptr<io::Timer> deadline_timer_;
  io::MonotonicNs armed_for_ = INT64_MAX;
  size_t calls_ = 0;
  size_t charged_bytes_ = 0;
  std::unique_ptr<Login> login_;
  std::string token_;
  uint64_t token_version_ = 0;
  bool have_token_ = false, closed_ = false, ending_scheduled_ = false;
  grpc::ClientConnection::CallOptions scratch_;
  std::shared_ptr<Client*> alive_;
};

}  // namespace quoin::client
