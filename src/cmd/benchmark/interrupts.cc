#include "cmd/benchmark/interrupts.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <mutex>
#include <thread>
#include <utility>

namespace quoin::cmd::bench {
namespace {

// They outlive main(): the waiting thread is never joined.
std::mutex g_mutex;
std::function<void(int)>& handler() {
  static auto* h = new std::function<void(int)>;
  return *h;
}

sigset_t ending_set() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, number);
  return set;
}

}  // namespace

Interrupts::Interrupts() {
  signal(SIGPIPE, SIG_IGN);
  const sigset_t set = ending_set();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::thread([set] {
    int number = 0;
    while (sigwait(&set, &number) == 0) {
      std::function<void(int)> told;
      {
        std::lock_guard lock(g_mutex);
        told = std::exchange(handler(), nullptr);
      }
      if (!told) die_by(number);
      told(number);
    }
  }).detach();
}

void Interrupts::handle(std::function<void(int)> told) {
  std::lock_guard lock(g_mutex);
  handler() = std::move(told);
}

void Interrupts::die_by(int number) {
  if (getpid() == 1) _exit(128 + number);  // no signal kills it
  signal(number, SIG_DFL);
  const sigset_t set = ending_set();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  pthread_kill(pthread_self(), number);
  _exit(128 + number);  // not reached
}

}  // namespace quoin::cmd::bench
