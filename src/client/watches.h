// Watches that outlive the stream they run on: when it breaks, a new one is opened and each watch goes on
// behind what it was told last, with no event lost or doubled.
//
// All watches share one stream. Each is asked for with an identity of ours; a server that keeps it (etcd
// since 3.4) may answer in any order, so all can be asked for at once. One that chooses its own (etcd's
// proxy) is asked for one at a time. A stream that ends with another code than kUnavailable or kInternal is
// not opened again: its watches end (etcd's client/v3/watch.go, isHaltErr).
//
// Threads: the client's loop. Lifetime: the client outlives it. A watch may be started and stopped, and
// dropped, within the callbacks of any watch.
// Bounds: what is received is handed on at once; hold() makes the server wait (one window still arrives).
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "client/client.h"
#include "wire/rpc.h"

namespace quoin::client {

class Watches;

struct WatchOptions {
  std::string key, range_end;
  int64_t start_revision = 0;  // 0: what happens from now on
  bool progress_notify = false, prev_kv = false;
};

class Watch {
 public:
  Watch() = default;
  Watch(const Watch&) = delete;
  virtual ~Watch();
  // Events, progress, the news that it was created (once), or that it was cancelled: then it is over. `bytes`
  // are the whole message, decoded as `response`; both live during the call.
  virtual void on_response(const wire::etcdserverpb::WatchResponse& response, std::string_view bytes) = 0;
  // Its stream ended for good: it is over.
  virtual void on_lost(GrpcStatus status, std::string_view text) = 0;
  bool active() const { return owner_ != nullptr; }

 private:
  friend class Watches;
  Watches* owner_ = nullptr;
  int64_t id_ = 0;         // ours
  int64_t server_id_ = 0;  // on this stream, once it is there
  WatchOptions options_;
  bool there_ = false;  // on this stream
  bool told_ = false;   // of its creation
};

class Watches final : private Call {
 public:
  // Between two streams of which the first brought nothing.
  static constexpr int64_t kPauseNs = 100 * io::kMillisecond;
  // So large that no server comes to it by itself.
  static constexpr int64_t kFirstId = int64_t{1} << 40;

  // `metadata` goes with each stream.
  Watches(Client& client, const Environment& environment, Metadata metadata)
      : client_(client), env_(environment), metadata_(std::move(metadata)) {}
  ~Watches() override;

  void start(Watch& watch, WatchOptions options);
  void stop(Watch& watch);
  void hold(bool on);
  size_t size() const { return watches_.size(); }

 private:
  void on_message(std::string_view message) override;
  void on_end(GrpcStatus status, std::string_view text) override;
  void open();
  void ask();
  void send_create(const Watch& watch);
  void send_cancel(int64_t server_id);
  Watch* created(const wire::etcdserverpb::WatchResponse& response);
  void forget(Watch& watch);

  Client& client_;
  const Environment env_;
  const Metadata metadata_;
  std::map<int64_t, Watch*> watches_;    // by our identity
  std::map<int64_t, Watch*> by_server_;  // those there on this stream
  std::deque<int64_t> to_ask_, asked_;   // for this stream, in order
  int64_t last_id_ = kFirstId;
  std::optional<bool> keeps_ids_;  // the server of this stream
  bool heard_ = false, held_ = false;
  std::unique_ptr<io::Timer> pause_;
};

}  // namespace quoin::client
