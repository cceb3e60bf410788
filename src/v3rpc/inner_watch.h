// A watch that a service keeps for a call of its own: one key or range, from a revision on.
//
// The two halves are those of a client's watch stream (watch_service.h): the sink takes what the watch table
// sends on apply, bounded in bytes; the loop half is asked for it message by message, and runs the catch-up
// where the past is long. An owner that does not ask for more holds the watch back, and the watch table reads
// again later what it could not hand over. All sinks of a loop share a mailbox: a batch of apply wakes the
// loop once, and the loop passes on kWakesPerTurn of them in a task.
//
// Threads: confined to its loop; the sink's WatchSink methods to apply. Lifetime: the loop's services and the
// owner outlive the watch, which its owner destroys when its call ends. Bound:
// Limits::inner_watch_queue_bytes of messages (one larger message passes alone), and what one step of a
// catch-up may send.
#pragma once
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "grpc/call.h"
#include "mvcc/watch.h"
#include "v3rpc/gate.h"

namespace quoin::v3rpc {

class InnerWatch {
 public:
  static constexpr size_t kWakesPerTurn = 256;

  class Owner {
   public:
    virtual ~Owner() = default;
    // next() may have something. The owner may destroy the watch. Not called once the call has ended.
    virtual void watch_ready(grpc::Call& call) = 0;
  };
  class Sink;

  // Sinks with something for this loop.
  class Mailbox : public std::enable_shared_from_this<Mailbox> {
   public:
    explicit Mailbox(Loop& loop) : loop_(loop) {}
    void add(std::shared_ptr<Sink> sink);  // any thread

   private:
    void drain();
    void pass_on();

    Loop& loop_;
    std::mutex mutex_;
    std::vector<std::shared_ptr<Sink>> waiting_;  // guarded by mutex_
    std::vector<std::shared_ptr<Sink>> woken_;    // loop: from the last to the first
  };

  // `mailbox` lives as long as the loop's services.
  InnerWatch(Loop& loop, grpc::Call& call, const std::shared_ptr<Mailbox>& mailbox,
             mvcc::WatchRequest request, Owner& owner);
  ~InnerWatch();
  InnerWatch(const InnerWatch&) = delete;

  // The next events or the end of the watch (`canceled`: by compaction, or because the past can't be read),
  // in order. Empty: nothing there; the owner is told when there may be.
  std::optional<mvcc::WatchMessage> next();

 private:
  friend class Mailbox;
  struct Item;
  void announce_room();
  void want_turn();
  void step_catch_up();
  void tell();

  Loop& loop_;
  Owner& owner_;
  const std::shared_ptr<Sink> sink_;
  std::vector<Item> taken_;  // from the sink; up to `at_` the owner has them
  size_t at_ = 0;
  std::unique_ptr<mvcc::CatchUp> catch_up_;
  std::optional<mvcc::WatchMessage> caught_;  // by the catch-up, not asked for yet
  bool turn_wanted_ = false;
};

}  // namespace quoin::v3rpc
