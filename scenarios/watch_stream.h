// A Watch stream as the service runs one (v3rpc/watch_service), between the watch table and a client that is
// at times slow, without HTTP/2 in between.
//
// What apply sends queues in order, bounded in bytes; the loop writes it while the client can take more; a
// catch-up runs in steps on the loop from the newest view once the queue is empty. "Written" means that the
// client has it: the callback.
//
// Threads: the simulation's one thread; create, cancel, the requests for progress and close on the life's
// loop. Lifetime: must outlive the life's watch table or be closed first and kept until the life ends; what
// it posts keeps it alive.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "base/prng.h"
#include "mvcc/watch.h"
#include "scenarios/life.h"

namespace quoin::scenarios {

// How quick the client is, and how small the service's limits are.
struct StreamPace {
  size_t bytes_max = 16'384;  // of what is not written yet
  size_t records_per_step = 50;
  uint64_t pause_one_in = 10;  // messages after which the client takes nothing for a while
  int64_t pause_ns_max = 10'000'000;
};

struct StreamCounts {
  size_t refused = 0, announced = 0, catch_ups = 0, catch_up_steps = 0, catch_ups_blocked = 0;
};

class WatchStream final : public mvcc::WatchSink, public std::enable_shared_from_this<WatchStream> {
 public:
  using OnMessage = std::function<void(const mvcc::WatchMessage&)>;
  using OnError = std::function<void(const Error&)>;
  WatchStream(sim::World& world, Life& life, const StreamPace& pace, uint64_t seed, StreamCounts& counts,
              OnMessage on_message, OnError on_error);

  // ---- on the loop ----
  void open();
  void create(const mvcc::WatchRequest& request);
  void cancel(int64_t watch_id);
  void request_progress();
  void progress_tick();
  // The client is gone: nothing more is written. With `tell_apply` the table hears of it.
  void close(bool tell_apply);
  bool closed() const { return closed_; }
  // From now on the client takes everything at once; or no longer.
  void hurry(bool on);

  // ---- apply: mvcc::WatchSink ----
  void control(mvcc::WatchMessage message) override { push({std::move(message), nullptr}); }
  bool deliver(const mvcc::WatchMessage& message) override;
  void catch_up(std::unique_ptr<mvcc::CatchUp> work) override { push({{}, std::move(work)}); }
  size_t header_bytes(int64_t) const override { return 32; }

 private:
  struct Item {
    mvcc::WatchMessage message;
    std::unique_ptr<mvcc::CatchUp> work;  // else: message
  };
  static size_t cost(const mvcc::WatchMessage& m) { return 64 + m.events.size(); }
  template <class Work>
  void on_apply(Work work);
  bool has_room(const mvcc::WatchMessage& message);
  void push(Item item);
  void receive();
  void pump();
  void step_catch_up();
  void write(const mvcc::WatchMessage& m);
  void pause();

  sim::World& world_;
  Life& life_;
  io::Executor& loop_;
  const StreamPace pace_;
  Prng prng_;
  StreamCounts& counts_;
  const OnMessage on_message_;
  const OnError on_error_;
  mvcc::StreamId id_;
  bool closed_ = false;

  // From apply to the loop.
  std::vector<Item> items_;
  size_t held_ = 0;             // bytes handed over and not yet written
  bool refused_ = false;        // apply waits for room
  bool fragment_open_ = false;  // apply: the next message goes on with the last one

  // The loop's.
  std::deque<mvcc::WatchMessage> queue_;
  std::unique_ptr<mvcc::CatchUp> catch_up_;
  bool catch_up_fragment_open_ = false;
  bool writable_ = true, hurried_ = false;
  uint64_t pauses_ = 0;  // numbers them: hurry() ends the one under way
};

}  // namespace quoin::scenarios
