// SIGINT and SIGTERM: until the member is ready they kill the process at once, as if nobody had asked for
// them (a start may wait for a quorum for ever); from then on the first one ends it gracefully, and in the
// end kills it after all, so that the parent sees what it sent (spec operations 1.9, 2.1 step 14, 2.6).
//
// Threads: the constructor before any thread is started, since threads inherit the mask; the rest on any.
#pragma once
#include <signal.h>

#include <functional>

namespace quoin::cmd {

// What Go's runtime survives and a C program dies of (SIGUSR1, SIGALRM, SIGXFSZ, ...) is ignored from now on:
// a rotation of logs that sends SIGUSR1, or a limit of CPU time, must not end the member. SIGPIPE is among
// them. What ends etcd (SIGHUP, SIGQUIT, SIGABRT, faults) ends this program.
void ignore_harmless_signals();

class EndingSignals {
 public:
  EndingSignals();  // blocks them in this thread and all it starts
  // Starts the thread that waits for them.
  void watch();
  // From now on `told` is called with the number (on a thread of its own).
  void handle(std::function<void(int)> told);
  // Ends the process by this signal; a process with the id 1, which no signal kills, by an exit code: 0 at the end of a
  // graceful stop, kKilled where a Go program would just have been killed.
  static constexpr int kKilled = 2;
  [[noreturn]] static void die_by(int number, int code_of_init = 0);
};

}  // namespace quoin::cmd
