// One stream of watchers: a gRPC call of Watch.
//
// Threads: the loop. Lifetime: a listener lives until another one, or none, is set; the destructor drops the call. Without
// a listener events are lost, but not the end. Bound: create() may be
// called for kUnansweredMax watchers before they are answered; the user keeps to it.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "client/client.h"
#include "wire/rpc.h"

namespace quoin::cmd::bench {

class WatchStream final : private client::Call {
 public:
  static constexpr size_t kUnansweredMax = 1000;

  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void on_response(WatchStream& stream, const wire::etcdserverpb::WatchResponse& response) = 0;
    // It has ended, or one of its watchers has.
    virtual void on_lost(WatchStream& stream, const std::string& why) = 0;
  };

  // `index`: its place among others, for its listener.
  WatchStream(client::Client& client, size_t index) : client_(client), index_(index) {}
  ~WatchStream() override = default;
  // None: null.
  void listen(Listener* listener);
  size_t index() const { return index_; }

  // The first one opens the stream.
  void create(std::string_view key, int64_t start_revision = 0, bool prev_kv = false);
  void cancel(int64_t watch_id);

 private:
  void on_message(std::string_view message) override;
  void on_end(GrpcStatus status, std::string_view text) override;
  void lose(std::string why);

  client::Client& client_;
  const size_t index_;
  Listener* listener_ = nullptr;
  std::string lost_;  // why, if it has ended
  bool opened_ = false;
  wire::etcdserverpb::WatchResponse response_;  // keeps its room from one message to the next
};

}  // namespace quoin::cmd::bench
