// SIGINT, SIGTERM and SIGHUP end a run early: the report of what was done so far follows, and then the signal kills the
// process after all, so that whoever waits for it sees that. The second signal kills at once.
//
// Threads: the constructor before any thread is started, since threads inherit the mask; the rest on any. One a process.
#pragma once
#include <functional>

namespace quoin::cmd::bench {

class Interrupts {
 public:
  // Blocks them in this thread and all it starts. SIGPIPE is ignored from now on: writes say what is wrong.
  Interrupts();
  // Calls `told` for the first one, on a thread of its own. Before and after, they kill at once.
  void handle(std::function<void(int)> told);
  void forget() { handle(nullptr); }
  [[noreturn]] static void die_by(int number);
};

}  // namespace quoin::cmd::bench
