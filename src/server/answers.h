// Answers on their way from a strand to the loops that wait for them.
//
// An Answer to a proposal is everything behind the response header: every response has the header as field 1,
// so the loop writes header, then `body`, and apply encodes no header it does not know.
//
// Threads: an Answers object is confined to one strand; flush() posts one task a loop, however many answers
// there are ("one wake-up per batch").
#pragma once
#include <absl/functional/any_invocable.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "io/executor.h"

namespace quoin::server {

struct Answer {
  std::optional<Error> error;
  int64_t revision = 0;  // for the header; 0: the newest revision
  std::string body;      // the encoded response without its header
  int64_t count = 0;     // keys deleted; 1 if a transaction took its success branch
};

using AnswerDone = absl::AnyInvocable<void(Answer)>;
using ReadDone = absl::AnyInvocable<void(Result<>)>;

// Collects tasks by executor and posts each executor's as one.
class Outbox {
 public:
  void add(io::Executor& to, Task task) {
    for (auto& [executor, tasks] : boxes_) {
      if (executor == &to) {
        tasks.push_back(std::move(task));
        return;
      }
    }
    boxes_.emplace_back(&to, std::vector<Task>()).second.push_back(std::move(task));
  }
  void flush() {
    for (auto& [executor, tasks] : boxes_) {
      if (tasks.empty()) continue;
      executor->post([batch = std::exchange(tasks, {})]() mutable {
        for (Task& t : batch) std::move(t)();
      });
    }
  }

 private:
  // A handful: one entry for each client loop.
  std::vector<std::pair<io::Executor*, std::vector<Task>>> boxes_;
};

}  // namespace quoin::server
