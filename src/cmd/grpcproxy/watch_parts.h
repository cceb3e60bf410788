// The parts of watch.h: watchers, the streams of clients, broadcasts and their ranges.
#pragma once
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cmd/grpcproxy/key_prefix.h"
#include "cmd/grpcproxy/watch.h"

namespace quoin::cmd::grpcproxy {

using WatchResponse = wire::etcdserverpb::WatchResponse;

struct WatchProxy::Watcher {
  Stream* stream = nullptr;
  Broadcast* broadcast = nullptr;  // null: the member has ended it
  size_t place = 0;                // among the broadcast's receivers
  int64_t id = 0;
  int64_t next_revision = 0;  // 0: from its creation on
  bool progress = false, prev_kv = false, no_put = false, no_delete = false;
  WatchResponse last;  // the header of what it was told last
};

// One message of a member, and what of it is encoded already.
struct Message {
  explicit Message(std::string_view b) : bytes(b) {}
  const std::string bytes;
  Store store;
  WatchResponse response;  // views of the above
  Blob with_prev, without_prev;
  bool is_progress() const {
    return response.events.empty() && !response.created && !response.canceled &&
           response.compact_revision == 0;
  }
};

// Watchers that share a watch at the member.
class WatchProxy::Broadcast final : public client::Watch {
 public:
  using Range = std::pair<std::string, std::string>;
  Broadcast(Ranges& ranges, Range range, int64_t next_revision)
      : ranges_(ranges), range_(std::move(range)), next_revision_(next_revision) {}
  ~Broadcast() override;

  // False: it has gone too far for the watcher.
  bool add(Watcher& watcher);
  void remove(Watcher& watcher);
  // Takes over all watchers of `other`, if it stands where they may follow.
  bool merge(Broadcast& other);
  size_t size() const { return count_; }
  size_t pending_bytes() const { return pending_bytes_; }
  const Range& range() const { return range_; }
  int64_t next_revision() const { return next_revision_; }

  void on_response(const WatchResponse& response, std::string_view bytes) override;
  void on_lost(GrpcStatus status, std::string_view text) override;

 private:
  friend class Ranges;
  void deliver();
  void step();
  void tell(Watcher& watcher, Message& message);
  void append(Watcher& watcher);
  void finished(const Message& message);

  Ranges& ranges_;
  const Range range_;
  int64_t next_revision_;
  size_t responses_ = 0;
  std::vector<Watcher*> receivers_;  // null: left
  size_t count_ = 0;
  std::deque<std::unique_ptr<Message>> pending_;
  size_t pending_bytes_ = 0;
  size_t told_ = 0;  // receivers that have the first of pending_
  bool stepping_ = false, over_ = false;
  std::shared_ptr<Broadcast*> alive_ = std::make_shared<Broadcast*>(this);
};

// All broadcasts, and the streams to the members that carry them: one for each token.
class WatchProxy::Ranges {
 public:
  explicit Ranges(Context& context) : context_(context), prefix_(context.prefix) {}
  void add(Watcher& watcher, const Broadcast::Range& range, const client::Metadata& token);
  void remove(Watcher& watcher);
  // After it was told something: maybe another can carry its watchers.
  void coalesce(Broadcast& broadcast);
  // Nobody receives it any more, or it has ended.
  void drop(Broadcast& broadcast);
  void pending_changed(int64_t bytes);
  void count();

  Context& context() { return context_; }
  const KeyPrefix& prefix() const { return prefix_; }

 private:
  friend class Broadcast;
  client::Watches& upstream(const client::Metadata& token);

  Context& context_;
  const KeyPrefix prefix_;
  std::map<std::string, std::unique_ptr<client::Watches>> upstreams_;  // by token
  std::map<Broadcast::Range, std::vector<std::unique_ptr<Broadcast>>> broadcasts_;
  size_t sweep_at_ = 16;
  size_t pending_bytes_ = 0;
  double coalescing_ = 0;  // watchers beyond the first of each broadcast
  bool held_ = false;
};

// A client's stream.
class WatchProxy::Stream final : public grpc::StreamListener {
 public:
  Stream(Ranges& ranges, grpc::Call& call) : ranges_(ranges), call_(call), token_(token_of(call)) {}
  ~Stream() override;
  void on_message(std::string_view bytes) override;
  void on_half_close() override;

  // False: the stream has ended, or ends for it.
  bool post(std::string_view head, const Blob& tail);
  bool post(const WatchResponse& response);
  void fail(GrpcStatus status, std::string_view text);

 private:
  // The question whether the caller may read the range.
  struct Check final : client::Call {
    explicit Check(Stream& s) : stream(s) {}
    Stream& stream;
    void on_message(std::string_view) override {}
    void on_end(GrpcStatus status, std::string_view text) override { stream.checked(status, text); }
  };
  void create(const wire::etcdserverpb::WatchCreateRequest& request);
  void checked(GrpcStatus status, std::string_view text);
  void cancel(int64_t id);
  void refuse(std::string_view reason, bool header);

  Ranges& ranges_;
  grpc::Call& call_;
  const client::Metadata token_;
  std::map<int64_t, std::unique_ptr<Watcher>> watchers_;
  int64_t next_id_ = 0;
  std::unique_ptr<Watcher> wanted_;  // while its right is asked for
  Broadcast::Range wanted_range_;
  Check check_{*this};
};

}  // namespace quoin::cmd::grpcproxy
