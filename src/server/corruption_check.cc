#include "server/corruption_check.h"

#include "base/coding.h"
#include "server/stages.h"
#include "server/start_progress.h"

namespace quoin::server {

namespace {
constexpr size_t kRecordsPerStep = 10'000;
}

bool hashes_contradict(const mvcc::HashKvResult& first, const mvcc::HashKvResult& second) {
  return first.hash_revision == second.hash_revision && first.compact_revision == second.compact_revision &&
         first.hash != second.hash;
}

Result<> CorruptionCheck::initial_check(Stages& s) {
  LOG(s.env.log, kInfo, "starting initial corruption check", {"local-member-id", log::Hex{s.self.v}},
      {"timeout", log::Duration{s.config.request_timeout_ns()}});
  const io::MonotonicNs start = s.env.clock.monotonic();
  ASSIGN_OR_RETURN(mvcc::HashKvRun run, mvcc::HashKvRun::start(s.apply.view(), 0));
  StartProgress progress("hashing the store", s.env.log, s.env.clock);
  for (;;) {
    const auto done = run.step(kRecordsPerStep);
    if (!done) {
      return make_error(done.error().code(), "{} failed to fetch hash ({})", hex(s.self.v),
                        done.error().text());
    }
    if (*done) break;
    progress.goes_on();
  }
  s.metrics.hash_rev_seconds.observe(static_cast<double>(s.env.clock.monotonic() - start) / 1e9);
  LOG(s.env.log, kInfo, "initial corruption checking passed; no corruption",
      {"local-member-id", log::Hex{s.self.v}});
  return {};
}

void CorruptionCheck::start() {
  if (s_.config.corrupt_check_ns > 0) {
    LOG(s_.env.log, kInfo, "enabled corruption checking", {"local-member-id", log::Hex{s_.self.v}},
        {"interval", log::Duration{s_.config.corrupt_check_ns}});
    schedule_periodic();
  }
  if (s_.config.compact_hash_check) schedule_compactions();
}

void CorruptionCheck::stop(Task done) {
  stopped_ = true;
  if (periodic_timer_) {
    LOG(s_.env.log, kInfo, "server has stopped; stopping kv hash's monitor", );
  }
  if (compactions_timer_) {
    LOG(s_.env.log, kInfo, "server has stopped; stopping compact hash's monitor", );
  }
  periodic_timer_.reset();
  compactions_timer_.reset();
  if (!hashing_) return std::move(done)();
  stop_done_ = std::move(done);
}

// ---- the whole store, twice ----

void CorruptionCheck::schedule_periodic() {
  periodic_timer_ = s_.env.timers.schedule(s_.config.corrupt_check_ns, s_.env.apply, [this] {
    if (stopped_) return;
    schedule_periodic();
    // A check that takes longer than the interval skips turns.
    if (!checking_ && s_.apply.leading() && !s_.apply.stopped()) check_now();
  });
}

void CorruptionCheck::hash(absl::AnyInvocable<void(Result<HashRunResult>)> done) {
  hashing_ = true;
  run_hash_kv(s_.apply.view(), 0, s_.env.file, s_.env.apply, s_.env.clock, s_.metrics.hash_rev_seconds,
              [this, done = std::move(done)](Result<HashRunResult> result) mutable {
                hashing_ = false;
                if (stopped_) {
                  if (stop_done_) std::exchange(stop_done_, nullptr)();
                  return;
                }
                done(std::move(result));
              });
}

void CorruptionCheck::check_now() {
  checking_ = true;
  hash([this](Result<HashRunResult> first) {
    if (!first) return finish(first.error());
    std::vector<RaftStage::Reader> readers;
    readers.push_back({&s_.env.apply, [this, first = first->kv](Result<> confirmed) {
                         if (stopped_) return;
                         if (!confirmed) return finish(std::move(confirmed));
                         check_again(first);
                       }});
    s_.raft.post_readers(std::move(readers));
  });
}

void CorruptionCheck::check_again(mvcc::HashKvResult first) {
  hash([this, first](Result<HashRunResult> second) {
    if (!second) return finish(second.error());
    const mvcc::HashKvResult& again = second->kv;
    if (hashes_contradict(first, again)) {
      LOG(s_.env.log, kWarn, "found hash mismatch", {"revision-1", first.hash_revision},
          {"compact-revision-1", first.compact_revision}, {"hash-1", first.hash},
          {"revision-2", again.hash_revision}, {"compact-revision-2", again.compact_revision},
          {"hash-2", again.hash});
      raise_corrupt_();
    }
    LOG(s_.env.log, kInfo, "finished peer corruption check", {"number-of-peers-checked", 0});
    finish({});
  });
}

void CorruptionCheck::finish(Result<> outcome) {
  checking_ = false;
  if (!outcome) LOG(s_.env.log, kWarn, "failed to check hash KV", {"error", outcome.error().text()});
}

// ---- what compactions left ----

void CorruptionCheck::schedule_compactions() {
  compactions_timer_ = s_.env.timers.schedule(s_.config.compact_hash_check_ns, s_.env.apply, [this] {
    if (stopped_) return;
    if (s_.apply.leading()) check_compactions();
    schedule_compactions();
  });
}

// Without peers every kept hash counts as looked at, and none as confirmed, so all of them come up again.
void CorruptionCheck::check_compactions() {
  LOG(s_.env.log, kInfo, "starting compact hash check", {"local-member-id", log::Hex{s_.self.v}},
      {"timeout", log::Duration{s_.config.request_timeout_ns()}});
  LOG(s_.env.log, kInfo, "finished compaction hash check",
      {"number-of-hashes-checked", s_.apply.view()->parts().hashes->size()});
}

}  // namespace quoin::server
