// One watcher of a client: what it asked for, what it was told, and whether that is what happened.
//
// It lives as long as its client wants it, over any number of streams and lives of the member; after each it
// resumes from the revision after the last it was told. What it was told is held against a ChangeLog, as far
// as that reaches; the rest waits for it. Rules:
//   - events come in the order of revisions, all of one revision in one response (fragments put together), in
//     the order of keys, which is the order in which our requests write them;
//   - between the revision it began from and the last it was told, no change that it asked for is missing and
//     none is there that did not happen, so that a watcher of everything holds the state a read sees;
//   - what compaction took away may be missing once the watcher was cancelled for it, and not otherwise;
//   - prev_kv is the pair before, or absent when there was none or its revision is compacted;
//   - a progress message of revision R counts as having been told everything up to R.
//
// Threads: the simulation's one thread. Problems are returned as text, or empty.
#pragma once
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mvcc/watch.h"
#include "scenarios/history.h"

namespace quoin::scenarios {

struct Change {
  std::string key;
  std::optional<KeyState> before, after;
};

// What every revision changed, as reads have seen it.
class ChangeLog {
 public:
  void follow(const History& history);
  int64_t revision() const { return static_cast<int64_t>(changes_.size()) + 1; }
  const std::vector<Change>& at(int64_t revision) const {
    return changes_[static_cast<size_t>(revision - 2)];
  }

 private:
  State state_;
  std::vector<std::vector<Change>> changes_;  // of revision i + 2
};

class Watcher {
 public:
  Watcher(uint64_t number, mvcc::WatchRequest request, size_t fragment_bytes);
  uint64_t number() const { return number_; }
  const mvcc::WatchRequest& request() const { return request_; }
  // What a client sends to go on with it on a new stream.
  mvcc::WatchRequest resume() const;
  // The newest revision it was told anything of.
  int64_t told() const { return told_; }
  // The first revision it has not been told of; 0 before it was ever created.
  int64_t next() const { return next_; }

  // ---- messages, in the order in which they come ----
  // `at_least`: acknowledged before the request was sent.
  std::string created(int64_t header_revision, int64_t at_least);
  std::string events(const mvcc::WatchMessage& message, const mvcc::ReadView& view);
  std::string progress(int64_t revision, const mvcc::ReadView& view);
  std::string compacted(int64_t compact_revision, const mvcc::ReadView& view);
  // The stream is gone, and with it what was told of a response by half.
  void disconnected();

  // Holds what it was told against the log, as far as that reaches.
  std::string settle(const ChangeLog& log);
  bool settled() const { return told_of_.empty(); }
  // It has been told everything the log holds.
  bool complete(const ChangeLog& log) const;
  std::string describe() const;

 private:
  struct Event {
    bool deleted = false;
    std::string key;
    std::optional<KeyState> state, before;
    bool before_compacted = false;
  };
  struct Told {
    enum class Kind : uint8_t { kEvents, kProgress, kCompacted } kind;
    int64_t revision;
    std::vector<Event> events;
  };
  bool wants(const Change& change) const;
  std::string nothing_between(const ChangeLog& log, int64_t from, int64_t to) const;
  std::string same(const ChangeLog& log, const Told& told) const;
  std::string same_event(const Change& change, const Event& event, int64_t revision) const;
  std::string decode(const mvcc::WatchMessage& message, const mvcc::ReadView& view);

  const uint64_t number_;
  const mvcc::WatchRequest request_;
  const size_t fragment_bytes_;
  int64_t next_ = 0;
  int64_t told_ = 0;
  std::deque<Told> told_of_;    // not yet held against the log
  std::vector<Told> response_;  // by revision; complete once a message without `fragment` came
  int64_t settled_ = 0;         // everything below has been held against the log
};

}  // namespace quoin::scenarios
