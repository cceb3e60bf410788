// The phases of the commands that watch.
//
// Threads: made on the thread of main(), the rest on the loop; dropped there, too (Engine::drop()).
// A watcher that is lost, or a put that fails, ends the run: the events that are waited for would not come.
// Source: etcd's tools/benchmark watch.go, watch_get.go, watch_latency.go; spec cli 11.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/benchmark/engine.h"
#include "cmd/benchmark/requests.h"
#include "cmd/benchmark/watch_stream.h"

namespace quoin::cmd::bench {

// Streams that live through several phases.
using WatchStreams = std::vector<std::unique_ptr<WatchStream>>;
std::unique_ptr<WatchStreams> make_streams(Engine& engine, size_t count);

class WatchPhase : public Phase, public WatchStream::Listener {
 public:
  void begin(Engine& engine) final;
  void stop() final;
  void on_response(WatchStream& stream, const wire::etcdserverpb::WatchResponse& response) final;
  void on_lost(WatchStream& stream, const std::string& why) final;

 protected:
  // `reports` begin and end with the phase; none of them is null.
  WatchPhase(WatchStreams& streams, std::vector<Report*> reports)
      : streams_(streams), reports_(std::move(reports)) {}
  ~WatchPhase() override;
  virtual void started() = 0;
  virtual void created(WatchStream&) {}
  // `watch_id` is below kWatchersMax.
  virtual void events(WatchStream& stream, size_t watch_id, size_t count) = 0;
  void finish();
  void progress(uint64_t n) { done.store(done_ += n, std::memory_order_relaxed); }
  Engine& engine() { return *engine_; }
  WatchStreams& streams() { return streams_; }
  bool stopped() const { return stopped_; }

 private:
  static constexpr int64_t kWatchersMax = 10'000'000;  // of a stream
  WatchStreams& streams_;
  const std::vector<Report*> reports_;
  Engine* engine_ = nullptr;
  uint64_t done_ = 0;
  bool stopped_ = false;
};

// Makes watchers, one after the other on each stream; `report` counts them, if there is one.
class CreateWatchers final : public WatchPhase {
 public:
  // `keys` are dealt to the watchers in the order in which these begin.
  CreateWatchers(WatchStreams& streams, size_t watchers, const std::vector<std::string>& keys, bool prev_kv,
                 Report* report);

 private:
  struct State {
    size_t left = 0;
    io::MonotonicNs started = 0;
  };
  void started() override;
  void created(WatchStream& stream) override;
  void events(WatchStream&, size_t, size_t) override {}
  void next(WatchStream& stream, io::MonotonicNs now);

  const std::vector<std::string>& keys_;
  const bool prev_kv_;
  Report* const report_;
  std::vector<State> states_;
  size_t next_key_ = 0, left_;
};

// watch: puts "data" to the watched keys in turn, from all clients; counts events as they come.
class WatchEvents final : public WatchPhase {
 public:
  WatchEvents(Engine& engine, WatchStreams& streams, const std::vector<std::string>& keys, uint64_t puts,
              int64_t rate, uint64_t expected_events, Report& report);
  ~WatchEvents() override;

 private:
  class Puts;
  void started() override;
  void events(WatchStream& stream, size_t watch_id, size_t count) override;

  Report& report_;
  uint64_t left_;
  std::unique_ptr<Puts> puts_;
};

// watch-latency and watch-fanout: puts to one key, one after the other, which all watchers hear. The next put waits while
// kOutstandingMax events have not come, so that neither side piles them up without end. Events of puts that somebody else
// makes to the key are taken for those of ours.
class PutAndHear final : public WatchPhase, private client::Call {
 public:
  static constexpr uint64_t kOutstandingMax = 1 << 20;
  struct Options {
    std::string key, value;
    uint64_t total = 0;
    int64_t rate = 0;
    size_t watchers = 0;  // of all streams
    // Events are measured from their put's start; otherwise from its end, and count 0 if they were earlier.
    bool from_start = false;
  };
  PutAndHear(WatchStreams& streams, client::Client& client, const Options& options, Report& puts,
             Report& events);
  ~PutAndHear() override = default;

 private:
  void started() override;
  void events(WatchStream& stream, size_t watch_id, size_t count) override;
  void on_message(std::string_view) override {}
  void on_end(GrpcStatus status, std::string_view text) override;
  void put_when_due(io::MonotonicNs now);
  void put(io::MonotonicNs now);

  client::Client& client_;
  const uint64_t total_;
  const bool from_start_;
  std::string request_;
  Pace pace_;
  Report &puts_, &events_;
  // Of the last puts, each in its place modulo the size: its start or its end; 0: not yet. No watcher lags behind by more
  // puts than there are outstanding events.
  std::vector<io::MonotonicNs> times_;
  const uint64_t watchers_;
  uint64_t next_ = 0, sent_ = 0;  // the put that runs or comes next; how many have begun
  uint64_t events_heard_ = 0;
  bool paused_ = false;  // too many events are outstanding
  io::MonotonicNs started_ = 0;
  std::vector<std::vector<uint64_t>> heard_;  // of each stream and watcher: how many events
  uint64_t left_;
  std::unique_ptr<io::Timer> timer_;
};

// watch-get: watchers that begin at an old revision, and gets of another connection meanwhile.
class WatchAndGet final : public WatchPhase, private client::Call {
 public:
  WatchAndGet(WatchStreams& streams, client::Client& client, size_t watchers, uint64_t events_each,
              int64_t revision, Report& gets);
  ~WatchAndGet() override = default;

 private:
  struct State {
    size_t to_create = 0, unanswered = 0;
    std::vector<uint64_t> heard;  // of each watcher
  };
  void started() override;
  void created(WatchStream& stream) override;
  void events(WatchStream& stream, size_t watch_id, size_t count) override;
  void on_message(std::string_view) override {}
  void on_end(GrpcStatus status, std::string_view text) override;
  void create_more(WatchStream& stream);
  void get();

  client::Client& client_;
  const uint64_t events_each_;
  const int64_t revision_;
  Report& gets_;
  std::vector<State> states_;
  uint64_t left_;  // watchers that have not heard everything
  std::string request_;
  io::MonotonicNs get_started_ = 0;
  bool getting_ = false;
};

}  // namespace quoin::cmd::bench
