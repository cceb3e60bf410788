#include "cmd/benchmark/load.h"

#include <algorithm>

namespace quoin::cmd::bench {

Load::Load(uint64_t total, int64_t rate, std::vector<Report*> reports)
    : total_(total), pace_(rate), reports_(std::move(reports)) {
  expected = total;
}

Load::~Load() = default;

void Load::begin(Engine& engine) {
  engine_ = &engine;
  const io::MonotonicNs now = engine.now();
  const int64_t unix_now = engine.unix_now();
  for (Report* r : reports_) r->begin(now, unix_now);
  pace_.begin(now);
  if (total_ == 0 || workers_.empty()) return all_completed();
  for (auto& w : workers_) next(*w, now);
}

void Load::stop() {
  if (std::exchange(stopped_, true)) return;
  timer_.reset();
  for (Report* r : reports_) r->end(engine_->now());
}

void Load::next(Worker& worker, io::MonotonicNs now) {
  if (next_ == total_) return;
  if (!pace_.limited() || pace_.due(next_) <= now) return start(worker, now);
  idle_.push_back(&worker);
  arm(now);
}

void Load::start(Worker& worker, io::MonotonicNs now) {
  worker.started_ = now;
  worker.intended_ = pace_.limited() ? pace_.due(next_) : now;
  if (running_++ == 0) waiting.store(true, std::memory_order_relaxed);
  worker.operate(next_++);
}

void Load::arm(io::MonotonicNs now) {
  if (timer_) return;
  timer_ = engine_->after(std::max(pace_.due(next_) - now, kTickNs), [this] { tick(); });
}

void Load::tick() {
  timer_.reset();
  if (stopped_) return;
  const io::MonotonicNs now = engine_->now();
  while (!idle_.empty() && next_ < total_ && pace_.due(next_) <= now) {
    Worker& worker = *idle_.front();
    idle_.pop_front();
    start(worker, now);
  }
  if (!idle_.empty() && next_ < total_) arm(now);
}

void Load::completed(Worker& worker, Report& report, GrpcStatus status, std::string_view text) {
  if (stopped_) return;
  const io::MonotonicNs now = engine_->now();
  if (status == GrpcStatus::kOk) {
    report.add(worker.intended_, worker.started_, now);
  } else {
    const std::string why = error_text(status, text);
    report.add_error(why);
    if (when_failed_) when_failed_(why);
  }
  done.store(++completed_, std::memory_order_relaxed);
  if (--running_ == 0) waiting.store(false, std::memory_order_relaxed);
  if (completed_ == total_) return all_completed();
  next(worker, now);
}

void Load::all_completed() {
  stop();
  when_completed_ ? when_completed_() : engine_->finished();
}

}  // namespace quoin::cmd::bench
