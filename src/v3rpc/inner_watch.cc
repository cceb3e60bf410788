#include "v3rpc/inner_watch.h"

#include <utility>

#include "v3rpc/call_ref.h"
#include "wire/coding.h"

namespace quoin::v3rpc {

struct InnerWatch::Item {
  mvcc::WatchMessage message;
  std::unique_ptr<mvcc::CatchUp> work;  // else: message
};

class InnerWatch::Sink final : public mvcc::WatchSink, public std::enable_shared_from_this<Sink> {
 public:
  Sink(Loop& loop, grpc::Call& call, const std::shared_ptr<Mailbox>& mailbox, InnerWatch* owner)
      : watch(owner),
        call(call),
        member_(loop.member),
        bytes_max_(loop.limits.inner_watch_queue_bytes),
        refusals_(loop.metrics.watch_queues_full),
        mailbox_(mailbox) {}

  // ---- apply ----
  void control(mvcc::WatchMessage message) override {
    if (message.created && !message.canceled) return;
    push({std::move(message), nullptr});
  }
  bool deliver(const mvcc::WatchMessage& message) override {
    {
      std::lock_guard lock(mutex_);
      // What is held is taken some day, and then room is announced.
      if (held_ > 0 && held_ + cost(message) > bytes_max_) {
        refused_ = true;
        refusals_.inc();
        return false;
      }
    }
    push({message, nullptr});
    return true;
  }
  void catch_up(std::unique_ptr<mvcc::CatchUp> work) override { push({{}, std::move(work)}); }
  size_t header_bytes(int64_t revision) const override {
    return wire::length_delimited_size(1, encoded_size(header(member_, revision)));
  }
  mvcc::StreamId id;  // set on apply when the stream is opened

  // ---- loop ----
  std::vector<Item> take() {
    std::lock_guard lock(mutex_);
    return std::exchange(items_, {});
  }
  // The owner has this one. True if apply was refused meanwhile and has room again.
  bool release(const mvcc::WatchMessage& message) {
    std::lock_guard lock(mutex_);
    held_ -= cost(message);
    return held_ <= bytes_max_ / 2 && std::exchange(refused_, false);
  }
  InnerWatch* watch;  // loop: null once it is gone
  const CallRef call;

 private:
  static size_t cost(const mvcc::WatchMessage& m) { return sizeof(Item) + m.events.size(); }
  void push(Item item) {
    bool first;
    {
      std::lock_guard lock(mutex_);
      if (!item.work) held_ += cost(item.message);
      first = items_.empty();
      items_.push_back(std::move(item));
    }
    if (!first) return;
    // Gone with its loop: nobody reads any more.
    if (const auto mailbox = mailbox_.lock()) mailbox->add(shared_from_this());
  }

  server::Member& member_;
  const size_t bytes_max_;
  metrics::Counter& refusals_;
  const std::weak_ptr<Mailbox> mailbox_;  // which holds the sinks that wait
  std::mutex mutex_;
  std::vector<Item> items_;  // guarded by mutex_
  size_t held_ = 0;          // guarded by mutex_: handed over and not asked for yet
  bool refused_ = false;     // guarded by mutex_: apply waits for room
};

void InnerWatch::Mailbox::add(std::shared_ptr<Sink> sink) {
  bool first;
  {
    std::lock_guard lock(mutex_);
    first = waiting_.empty();
    waiting_.push_back(std::move(sink));
  }
  if (first) loop_.port.loop().post([self = shared_from_this()] { self->drain(); });
}

void InnerWatch::Mailbox::drain() {
  std::vector<std::shared_ptr<Sink>> all;
  {
    std::lock_guard lock(mutex_);
    all.swap(waiting_);
  }
  const bool under_way = !woken_.empty();
  // In front of those that wait, which are passed on from the end.
  woken_.insert(woken_.begin(), std::make_move_iterator(all.rbegin()), std::make_move_iterator(all.rend()));
  if (!under_way) pass_on();
}

void InnerWatch::Mailbox::pass_on() {
  for (size_t n = 0; n < kWakesPerTurn && !woken_.empty(); ++n) {
    const std::shared_ptr<Sink> sink = std::move(woken_.back());
    woken_.pop_back();
    if (sink->watch != nullptr) sink->watch->tell();
  }
  if (!woken_.empty()) loop_.turns->add([self = shared_from_this()] { self->pass_on(); });
}

InnerWatch::InnerWatch(Loop& loop, grpc::Call& call, const std::shared_ptr<Mailbox>& mailbox,
                       mvcc::WatchRequest request, Owner& owner)
    : loop_(loop), owner_(owner), sink_(std::make_shared<Sink>(loop, call, mailbox, this)) {
  loop_.member.on_apply([sink = sink_, request = std::move(request)](mvcc::WatchTable& table) {
    sink->id = table.open_stream(*sink);
    table.create(sink->id, request);
  });
}

InnerWatch::~InnerWatch() {
  sink_->watch = nullptr;
  loop_.member.on_apply([sink = sink_](mvcc::WatchTable& table) { table.close_stream(sink->id); });
}

void InnerWatch::tell() {
  sink_->call.with([this](grpc::Call& call) { owner_.watch_ready(call); });
}

std::optional<mvcc::WatchMessage> InnerWatch::next() {
  if (caught_) return std::exchange(caught_, std::nullopt);
  if (at_ == taken_.size()) {
    taken_ = sink_->take();
    at_ = 0;
  }
  if (at_ < taken_.size()) {
    Item item = std::move(taken_[at_++]);
    if (!item.work) {
      if (sink_->release(item.message)) announce_room();
      return std::move(item.message);
    }
    CHECK(catch_up_ == nullptr, "two catch-ups on one watch");
    // The last there is: the table has no more for its one watcher until the catch-up is back.
    catch_up_ = std::move(item.work);
    loop_.metrics.watch_catch_ups.inc();
  }
  if (catch_up_) want_turn();
  return std::nullopt;
}

void InnerWatch::announce_room() {
  loop_.metrics.watch_queues_drained.inc();
  loop_.member.on_apply([sink = sink_](mvcc::WatchTable& table) { table.has_room(sink->id); });
}

void InnerWatch::want_turn() {
  if (std::exchange(turn_wanted_, true)) return;
  loop_.turns->add([sink = sink_] {
    if (sink->watch != nullptr && !sink->call.ended()) sink->watch->step_catch_up();
  });
}

void InnerWatch::step_catch_up() {
  turn_wanted_ = false;
  if (!catch_up_) return;
  const auto outcome = catch_up_->step(loop_.member.view(), loop_.limits.catch_up_records,
                                       [this](const mvcc::WatchMessage& m) {
                                         if (caught_) return false;
                                         caught_ = m;
                                         return true;
                                       });
  if (!outcome) {
    catch_up_.reset();
    caught_.emplace();
    caught_->canceled = true;
    caught_->cancel_reason = outcome.error().text();
  } else if (*outcome == mvcc::CatchUp::Outcome::kMore) {
    want_turn();
  } else if (*outcome == mvcc::CatchUp::Outcome::kDone) {
    loop_.member.on_apply(
        [work = std::move(catch_up_)](mvcc::WatchTable& table) mutable { table.caught_up(std::move(work)); });
  } else {
    catch_up_->let_go();  // nobody knows when the owner asks
  }
  if (caught_) tell();
}

}  // namespace quoin::v3rpc
