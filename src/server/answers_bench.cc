// What an answer costs on its way: registered, taken by apply, posted to its loop with its batch, called back
// there. Argument: answers in a batch. One thread: locks are never contended here.
#include <benchmark/benchmark.h>

#include "server/answers.h"
#include "server/request_ids.h"
#include "server/waiters.h"

namespace quoin::server {
namespace {

class Queue final : public io::Executor {
 public:
  void post(Task task) override { tasks_.push_back(std::move(task)); }
  bool running_here() const override { return true; }
  void run() {
    for (Task& t : tasks_) std::move(t)();
    tasks_.clear();
  }

 private:
  std::vector<Task> tasks_;
};

void BM_Answers(benchmark::State& state) {
  Waiters waiters;
  Queue loops[2];
  Outbox outbox;
  RequestIds ids(MemberId(7), 1'700'000'000'000 * io::kMillisecond);
  // Some that wait for long, as under load.
  for (int i = 0; i < 1'000; ++i) waiters.add(ids.next(), {&loops[0], [](Answer) {}, i});
  std::vector<uint64_t> batch(static_cast<size_t>(state.range(0)));
  int64_t answered = 0, now = 1'000;
  uint64_t call = 0;
  for (auto _ : state) {
    for (uint64_t& id : batch) {
      id = ids.next();
      waiters.add(id, {&loops[id % 2],
                       [&answered, c = ++call](Answer a) { answered += c > 0 ? a.revision : 0; }, ++now});
    }
    for (const uint64_t id : batch) {
      auto w = waiters.take(id);
      outbox.answer(std::move(*w), {.revision = 1});
    }
    outbox.flush();
    for (Queue& q : loops) q.run();
  }
  if (answered != static_cast<int64_t>(call)) state.SkipWithError("an answer went missing");
  state.SetItemsProcessed(static_cast<int64_t>(call));
}
BENCHMARK(BM_Answers)->Arg(1)->Arg(30);

}  // namespace
}  // namespace quoin::server
