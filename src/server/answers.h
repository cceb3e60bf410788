// Answers on their way from a strand to the loops that wait for them.
//
// An Answer to a proposal is everything behind the response header: every response has the header as field 1,
// so the loop writes header, then `body` and `parts`, and apply encodes no header it does not know.
//
// Threads: an Answers object is confined to one strand; flush() posts one task a loop, however many answers
// there are ("one wake-up per batch").
#pragma once
#include <absl/functional/any_invocable.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/blob.h"
#include "base/ids.h"
#include "base/result.h"
#include "io/clock.h"
#include "io/executor.h"

namespace quoin::server {

struct Answer {
  std::optional<Error> error;
  int64_t revision = 0;  // for the header; 0: the newest revision
  std::string body;      // the encoded response without its header and without `parts`
  int64_t count = 0;     // keys deleted; 1 if a transaction took its success branch
  // The rest of a long response. It is sent in these parts, since copying it whole takes 100 ms for a million
  // values.
  std::vector<Blob> parts;
  // When apply began with the entry, and when it had done it; for the line about a slow request.
  io::MonotonicNs apply_began = 0, apply_ended = 0;
  size_t bytes() const {
    size_t sum = body.size();
    for (const Blob& part : parts) sum += part.size();
    return sum;
  }
};

using AnswerDone = absl::AnyInvocable<void(Answer)>;
using ReadDone = absl::AnyInvocable<void(Result<>)>;
// The granted TTL in seconds.
using RenewDone = absl::AnyInvocable<void(Result<int64_t>)>;

struct LeaseRenewal {
  LeaseId id;
  RenewDone done;
};

// Who waits for the outcome of a proposal (waiters.h).
struct Waiter {
  io::Executor* executor = nullptr;
  AnswerDone done;
  io::MonotonicNs since = 0;
  bool given_up = false;  // Waiters::give_up()
  bool patient = false;   // does not expire: only its client's own time bounds it
};

// Collects answers and tasks by executor and posts each executor's as one. A batch of answers is one list
// that the loop goes through: no closure and no allocation for each.
class Outbox {
 public:
  void answer(Waiter waiter, Answer answer) {
    box(*waiter.executor).answers.push_back({std::move(waiter.done), std::move(answer)});
  }
  // Runs before the answers of the same flush().
  void add(io::Executor& to, Task task) { box(to).tasks.push_back(std::move(task)); }
  void flush() {
    for (Box& b : boxes_) {
      if (!b.tasks.empty()) {
        b.executor->post([batch = std::exchange(b.tasks, {})]() mutable {
          for (Task& t : batch) std::move(t)();
        });
      }
      if (b.answers.empty()) continue;
      // The next batch is likely to be as large.
      std::vector<Reply> next;
      next.reserve(std::min<size_t>(b.answers.size(), kReserveMax));
      b.executor->post([batch = std::exchange(b.answers, std::move(next))]() mutable {
        for (Reply& r : batch) r.done(std::move(r.answer));
      });
    }
  }

 private:
  static constexpr size_t kReserveMax = 128;
  struct Reply {
    AnswerDone done;
    Answer answer;
  };
  struct Box {
    io::Executor* executor;
    std::vector<Task> tasks;
    std::vector<Reply> answers;
  };
  Box& box(io::Executor& to) {
    for (Box& b : boxes_) {
      if (b.executor == &to) return b;
    }
    return boxes_.emplace_back(Box{&to, {}, {}});
  }
  // One entry for each client loop, so only a handful.
  std::vector<Box> boxes_;
};

}  // namespace quoin::server
