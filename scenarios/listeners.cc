#include "scenarios/listeners.h"

#include <fmt/format.h>

#include "mvcc/key_range.h"
#include "mvcc/key_value.h"
#include "mvcc/watch.h"
#include "wire/message.h"
#include "wire/rpc.h"

namespace quoin::scenarios {

namespace pb = wire::etcdserverpb;

// A watch stream of one life.
class Listeners::Sink final : public mvcc::WatchSink, public std::enable_shared_from_this<Listeners::Sink> {
 public:
  Sink(Listeners& all, size_t listener, Life& life) : all_(all), listener_(listener), life_(&life) {}

  // The client has gone, or the member.
  void end() {
    life_ = nullptr;
    work_.reset();  // it may hold a view, which must not outlive the member
  }
  Life* life() { return life_; }
  void open(mvcc::WatchTable& table, const mvcc::WatchRequest& request) {
    stream_ = table.open_stream(*this);
    table.create(stream_, request);
  }
  mvcc::StreamId stream() const { return stream_; }

  void control(mvcc::WatchMessage message) override { take(message); }
  bool deliver(const mvcc::WatchMessage& message) override {
    if (life_ == nullptr) return true;
    if (!std::exchange(fragment_open_, message.fragment) && !all_.quiet_ && all_.prng_.chance(1, 30)) {
      fragment_open_ = false;
      all_.edges_.met("watch refused for want of room");
      later(&Sink::announce_room);
      return false;
    }
    take(message);
    return true;
  }
  void catch_up(std::unique_ptr<mvcc::CatchUp> work) override {
    if (life_ == nullptr) return;
    work_ = std::move(work);
    all_.edges_.met("watch catch-up");
    catching_up_ = true;
    const bool slow = !all_.quiet_ && all_.aim_prng_.chance(1, 3);
    if (slow) all_.slow_catch_up_ = all_.listeners_[listener_].seat;
    later(&Sink::step, slow ? kSlowNs : io::kMillisecond);
  }
  size_t header_bytes(int64_t) const override { return 20; }

 private:
  static constexpr int64_t kSlowNs = 80 * io::kMillisecond;
  // After a moment, on the client's loop.
  void later(void (Sink::*what)(), int64_t ns = io::kMillisecond) {
    all_.cluster_.world().after(ns, [self = shared_from_this(), what] {
      if (self->life_ == nullptr) return;
      self->life_->on_loop([self, what] {
        if (self->life_ != nullptr) ((*self).*what)();
      });
    });
  }
  void announce_room() {
    life_->member().on_apply([self = shared_from_this()](mvcc::WatchTable& table) {
      if (self->life_ != nullptr) table.has_room(self->stream_);
    });
  }
  void step() {
    if (!work_) return;
    const auto outcome = work_->step(life_->member().view(), 1 + all_.prng_.below(40),
                                     [this](const mvcc::WatchMessage& message) {
                                       if (!all_.quiet_ && all_.prng_.chance(1, 30)) return false;
                                       take(message);
                                       return true;
                                     });
    // The stop came first; the life ends any moment.
    if (!outcome && outcome.error().code() == Code::kServerStopped) return;
    if (!outcome) return all_.fail(fmt::format("a catch-up: {}", outcome.error().text()));
    if (*outcome != mvcc::CatchUp::Outcome::kDone) return later(&Sink::step);
    life_->member().on_apply(
        [self = shared_from_this(), work = std::move(work_)](mvcc::WatchTable& table) mutable {
          if (self->life_ != nullptr) table.caught_up(std::move(work));
          self->catching_up_ = false;
        });
  }
  void take(const mvcc::WatchMessage& message) {
    if (life_ == nullptr) return;
    Listener& l = all_.listeners_[listener_];
    if (message.created) return;
    if (message.canceled) {
      if (message.compact_revision == 0) return all_.fail("a watch is cancelled: " + message.cancel_reason);
      if (catching_up_) all_.edges_.met("watch catch-up overtaken by a compaction");
      l.seen.push_back({Seen::Kind::kCompacted, message.compact_revision, false, {}, {}});
      return;
    }
    if (message.progress()) {
      l.seen.push_back({Seen::Kind::kProgress, message.header_revision, false, {}, {}});
      return;
    }
    const auto response = wire::decode<pb::WatchResponse>(message.events.view());
    if (!response || response->events.size() != message.event_count)
      return all_.fail("events can't be decoded");
    for (const auto& event : response->events) {
      const auto kv = mvcc::decode_key_value(event.kv->bytes);
      if (!kv) return all_.fail("an event's KeyValue can't be decoded");
      ++all_.events_;
      l.seen.push_back({Seen::Kind::kEvent, kv->mod_revision,
                        event.type == wire::mvccpb::Event::EventType::kDelete, std::string(kv->key),
                        std::string(event.kv->bytes)});
    }
    if (!message.fragment) l.seen.push_back({Seen::Kind::kEndOfMessage, 0, false, {}, {}});
  }

  Listeners& all_;
  const size_t listener_;
  Life* life_;
  mvcc::StreamId stream_;
  bool fragment_open_ = false, catching_up_ = false;
  std::unique_ptr<mvcc::CatchUp> work_;
};

Listeners::Listeners(Cluster& cluster, Truth& truth, Story& story, Edges& edges, uint64_t seed)
    : cluster_(cluster),
      truth_(truth),
      story_(story),
      edges_(edges),
      prng_(seed ^ 0x115u),
      aim_prng_(seed ^ 0xa13u) {
  static constexpr std::pair<std::string_view, std::string_view> kRanges[] = {
      {std::string_view("\0", 1), std::string_view("\0", 1)},
      {"pair", "paiz"},
      {"key1", ""},
      {"key3", "key7"}};
  for (const auto& [key, end] : kRanges) {
    Listener& l = listeners_.emplace_back();
    l.number = listeners_.size() - 1;
    l.key = key;
    l.end = end;
  }
}

Listeners::~Listeners() = default;

void Listeners::fail(std::string problem) {
  if (!problem_.empty() || problem.empty()) return;
  problem_ = std::move(problem);
  story_.note("PROBLEM {}", problem_);
}

void Listeners::tick(const std::vector<size_t>& usable) {
  for (Listener& l : listeners_) {
    const io::MonotonicNs now = cluster_.world().now();
    if (l.sink && !quiet_ && prng_.chance(1, 300)) {
      detach(l);
      // Long enough, some of the time, that it has to catch up.
      if (prng_.chance(1, 2)) l.rests_until = now + static_cast<int64_t>(prng_.below(40)) * io::kSecond;
    }
    if (l.sink && prng_.chance(1, 50)) {
      l.sink->life()->member().on_apply([sink = l.sink](mvcc::WatchTable& table) {
        if (sink->life() != nullptr) table.request_progress(sink->stream());
      });
    }
    if (!l.sink && !usable.empty() && l.seen.empty() && (quiet_ || now >= l.rests_until))
      attach(l, usable[prng_.below(usable.size())]);
  }
}

void Listeners::attach(Listener& l, size_t seat) {
  l.seat = seat;
  l.sink = std::make_shared<Sink>(*this, l.number, cluster_.life(seat));
  old_.push_back(l.sink);
  mvcc::WatchRequest request;
  request.key = l.key;
  request.range_end = l.end;
  request.start_revision = l.next;
  request.fragment = prng_.chance(1, 2);
  request.prev_kv = prng_.chance(1, 3);
  if (l.next > cluster_.member(seat).revision() + 1)
    edges_.met("watch from a revision the member has not reached");
  story_.note("watch {} at m{} from revision {}", l.number, seat, l.next);
  cluster_.member(seat).on_apply(
      [sink = l.sink, request](mvcc::WatchTable& table) { sink->open(table, request); });
}

void Listeners::detach(Listener& l) {
  Life& life = *l.sink->life();
  life.member().on_apply([sink = l.sink](mvcc::WatchTable& table) { table.close_stream(sink->stream()); });
  l.sink->end();
  l.sink.reset();
}

void Listeners::life_ended(size_t seat) {
  for (Listener& l : listeners_) {
    if (!l.sink || l.seat != seat) continue;
    l.sink->end();
    l.sink.reset();
  }
}

const TruthRecord* Listeners::upcoming(Listener& l, int64_t limit) const {
  for (; l.next < limit && l.next <= truth_.revision(); ++l.next, l.next_record = 0) {
    const auto& records = truth_.at(l.next).records;
    for (; l.next_record < records.size(); ++l.next_record) {
      const TruthRecord& record = records[l.next_record];
      if (mvcc::KeyRange{l.key, l.end}.contains(record.key)) return &record;
    }
  }
  return nullptr;
}

std::string Listeners::check_one(Listener& l, const Seen& seen) {
  switch (seen.kind) {
    case Seen::Kind::kEvent: {
      const TruthRecord* want = upcoming(l, truth_.revision() + 1);
      if (want == nullptr || seen.revision != l.next || want->key != seen.key ||
          want->tombstone != seen.tombstone || (!seen.tombstone && want->bytes != seen.bytes)) {
        return fmt::format("is told {}{} at revision {} instead of {}{} at revision {}",
                           seen.tombstone ? "-" : "", seen.key, seen.revision,
                           want != nullptr && want->tombstone ? "-" : "",
                           want != nullptr ? want->key : std::string("nothing"), l.next);
      }
      ++l.next_record;
      return {};
    }
    case Seen::Kind::kEndOfMessage:
      if (l.next_record == 0) return {};
      if (upcoming(l, l.next + 1) != nullptr) return fmt::format("is told a part of revision {}", l.next);
      return {};
    case Seen::Kind::kProgress:
      edges_.met("watch progress");
      if (upcoming(l, seen.revision + 1) == nullptr) return {};
      return fmt::format("has progress to {}, and was not told of {}", seen.revision, l.next);
    case Seen::Kind::kCompacted:
      edges_.met("watch compacted");
      if (seen.revision <= l.next) {
        return fmt::format("is compacted at {}, though it stands at {}", seen.revision, l.next);
      }
      l.next = seen.revision;
      l.next_record = 0;
      // The stream has ended.
      if (l.sink) detach(l);
      return {};
  }
  return {};
}

void Listeners::check() {
  for (Listener& l : listeners_) {
    size_t done = 0;
    for (; done < l.seen.size() && l.seen[done].revision <= truth_.revision(); ++done) {
      const Seen seen = std::move(l.seen[done]);
      if (std::string what = check_one(l, seen); !what.empty()) {
        fail(fmt::format("watch {} of \"{}\" at m{} {}", l.number, l.key.c_str(), l.seat, what));
        return;
      }
    }
    l.seen.erase(l.seen.begin(), l.seen.begin() + static_cast<std::ptrdiff_t>(done));
  }
}

bool Listeners::complete() const {
  for (const Listener& l : listeners_) {
    Listener copy = l;
    if (!l.seen.empty() || upcoming(copy, truth_.revision() + 1) != nullptr) return false;
  }
  return true;
}

std::string Listeners::behind() const {
  std::string out;
  for (const Listener& l : listeners_) {
    Listener copy = l;
    const TruthRecord* next = upcoming(copy, truth_.revision() + 1);
    if (next == nullptr && l.seen.empty()) continue;
    out += fmt::format(" watch {} at m{} waits for {} of revision {} ({} seen);", l.number, l.seat,
                       next != nullptr ? next->key : std::string(), copy.next, l.seen.size());
  }
  return out;
}

}  // namespace quoin::scenarios
