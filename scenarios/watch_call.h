// A Watch call as the Watching checker sees one: requests out, and messages in the form in which the watch table
// sends them.
//
// Threads: the clients' loop. Lifetime: held by shared_ptr; no callback after close().
#pragma once
#include <functional>
#include <memory>
#include <set>

#include "mvcc/watch.h"
#include "scenarios/client.h"

namespace quoin::scenarios {

class WatchCall : public std::enable_shared_from_this<WatchCall> {
 public:
  using OnMessage = std::function<void(const mvcc::WatchMessage&)>;
  // The call is over, and not by close(): what ended it.
  using OnEnd = std::function<void(GrpcStatus status, std::string_view text)>;
  // What a client may not be sent.
  using OnProblem = std::function<void(std::string)>;
  WatchCall(std::shared_ptr<Client> client, OnMessage on_message, OnEnd on_end, OnProblem on_problem);

  void create(const mvcc::WatchRequest& request);
  void cancel(int64_t watch_id);
  void request_progress();
  // Cancels the call.
  void close();
  bool closed() const { return closed_; }
  const std::shared_ptr<Client>& client() const { return client_; }

 private:
  void send(const std::string& request);
  void receive(std::string_view bytes);

  const std::shared_ptr<Client> client_;
  const OnMessage on_message_;
  const OnEnd on_end_;
  const OnProblem on_problem_;
  Client::CallId call_ = 0;  // 0: not opened
  bool closed_ = false;
};

}  // namespace quoin::scenarios
