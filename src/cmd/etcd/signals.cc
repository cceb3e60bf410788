#include "cmd/etcd/signals.h"

#include <pthread.h>
#include <unistd.h>

#include <mutex>
#include <thread>

namespace quoin::cmd {
namespace {

// Outlives main(): the waiting thread is never joined.
std::mutex g_mutex;
std::function<void(int)>& handler() {
  static auto* h = new std::function<void(int)>;
  return *h;
}

sigset_t ending_set() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

}  // namespace

void ignore_harmless_signals() {
  for (const int number : {SIGPIPE, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU, SIGXFSZ, SIGIO,
                           SIGPWR, SIGWINCH, SIGURG}) {
    signal(number, SIG_IGN);
  }
  // The first of them ends a Go program as well.
  for (int number = SIGRTMIN + 1; number <= SIGRTMAX; ++number) signal(number, SIG_IGN);
}

EndingSignals::EndingSignals() {
  const sigset_t set = ending_set();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

void EndingSignals::watch() {
  std::thread([] {
    const sigset_t set = ending_set();
    int number = 0;
    while (sigwait(&set, &number) == 0) {
      std::function<void(int)> told;
      {
        std::lock_guard lock(g_mutex);
        told = handler();
      }
      if (!told) die_by(number, kKilled);
      told(number);
    }
  }).detach();
}

void EndingSignals::handle(std::function<void(int)> told) {
  std::lock_guard lock(g_mutex);
  handler() = std::move(told);
}

void EndingSignals::die_by(int number, int code_of_init) {
  if (getpid() == 1) _exit(code_of_init);
  signal(number, SIG_DFL);
  const sigset_t set = ending_set();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  pthread_kill(pthread_self(), number);
  _exit(128 + number);  // not reached
}

}  // namespace quoin::cmd
