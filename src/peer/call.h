// One request to a member, its answer collected; and the connections that are kept between two such requests.
//
// Threads: the peer loop. Dropping a Call cancels it.
#pragma once
#include <absl/container/flat_hash_map.h>
#include <absl/functional/any_invocable.h>

#include <memory>
#include <string>
#include <vector>

#include "peer/client_link.h"
#include "server/peers.h"

namespace quoin::peer {

// Connections without a request, by URL. One that stands for kIdleNs is closed: the other side ends it after 5 s.
class IdleLinks {
 public:
  static constexpr size_t kPerUrlMax = 4;
  static constexpr int64_t kIdleNs = 4500 * io::kMillisecond;

  explicit IdleLinks(Context& context) : context_(context) {}
  ~IdleLinks() { clear(); }
  // Null: none.
  std::unique_ptr<ClientLink> take(const std::string& url);
  // May be called within a callback of the link, which serves nobody else before that has returned.
  void put(std::unique_ptr<ClientLink> link);
  void clear();

 private:
  struct Idle {
    std::unique_ptr<ClientLink> link;
    io::MonotonicNs since;
  };
  // Handler of links without a request: nothing is called then.
  struct Nobody final : http1::ResponseHandler {
    void on_head(const http1::ResponseHead&) override {}
    void on_body(std::string_view) override {}
    void on_complete() override {}
    void on_error(Error) override {}
  };
  void settle();
  void sweep();

  Context& context_;
  Nobody nobody_;
  absl::flat_hash_map<std::string, std::vector<Idle>> links_;
  std::vector<std::unique_ptr<ClientLink>> just_put_;
  std::unique_ptr<io::Timer> timer_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

struct CallLimits {
  int64_t dial_ns = 0;
  int64_t silence_ns = 0;  // as ClientLink::Times
  int64_t timeout_ns = 0;  // of the whole: kContextDeadlineExceeded; 0: no bound
  size_t answer_bytes_max = 64 << 10;
  IdleLinks* links = nullptr;  // where to take a connection from and leave it; null: always a new one
};

class Call final : public http1::ResponseHandler {
 public:
  using Done = absl::AnyInvocable<void(Result<server::PeerAnswer>)>;
  // `done` runs once, never within the constructor, and may drop the call. A request on a kept connection that ended
  // is sent once more on a new one if nothing of it had left, or if it is a GET and no answer had begun.
  Call(Context& context, const std::string& url, http1::ClientRequest request, std::string body,
       const CallLimits& limits, Done done);
  ~Call() override;

 private:
  void on_head(const http1::ResponseHead& head) override;
  void on_body(std::string_view bytes) override;
  void on_complete() override;
  void on_error(Error error) override;

  void begin(std::unique_ptr<ClientLink> link);
  std::unique_ptr<ClientLink> new_link();
  // Nothing of the call may be touched afterwards.
  void end(Result<server::PeerAnswer> result);

  Context& context_;
  Url url_;
  http1::ClientRequest request_;
  const std::string body_;
  const CallLimits limits_;
  Done done_;
  std::unique_ptr<ClientLink> link_;
  bool kept_ = false;  // link_ served another request before
  server::PeerAnswer answer_;
  std::unique_ptr<io::Timer> timer_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

// kInvalidArgument for what is no URL; kUnsupported for https where no TLS is configured.
Result<Url> dialable(const Context& context, const std::string& url);

}  // namespace quoin::peer
