// One watch on a stream of its own. It goes on after a lost connection, from the revision behind what it was sent.
//
// Threads: next() from one thread, the others from any.
// Source: etcd's client/v3/watch.go (run, serveSubstream, WatchResponse.Err).
#pragma once
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "cmd/etcdctl/client.h"
#include "cmd/etcdctl/printer.h"

namespace quoin::ctl {

struct WatchAnswer {
  pb::WatchResponse response;  // without its watch id
  std::string error;           // why it is the last one; empty: it is not
  bool broken = false;         // made here, since the stream ended: Go's list of events is nil

  bool is_progress() const {
    return response.events().empty() && !response.canceled() && !response.created() &&
           response.compact_revision() == 0 && response.header().revision() != 0;
  }
};

class Watcher {
 public:
  // The client outlives it. `needs_leader`: it ends when the member has no leader.
  Watcher(Client& client, pb::WatchCreateRequest request, bool needs_leader = true)
      : client_(client), request_(std::move(request)), needs_leader_(needs_leader) {}
  // Waits. Nothing: the watch has ended.
  std::optional<WatchAnswer> next();
  // Asks the server to tell how far it is; next() returns that.
  void request_progress();
  // next() returns nothing from now on.
  void stop();

 private:
  using WatchStream = Stream<pb::WatchRequest, pb::WatchResponse>;

  // The reason, if there cannot be one.
  std::optional<RpcError> open();
  WatchAnswer last_answer(std::string why);
  void pause();
  // Nothing: it is of no interest to the caller, or ended_ is set.
  std::optional<WatchAnswer> take(pb::WatchResponse& r);

  Client& client_;
  pb::WatchCreateRequest request_;
  const bool needs_leader_;
  bool created_ = false, ended_ = false;
  int pause_ms_ = 1;
  std::mutex mutex_;
  std::shared_ptr<WatchStream> stream_;  // guarded by mutex_
  bool stopped_ = false;                 // guarded by mutex_
};

}  // namespace quoin::ctl
