// The half of the backend on the apply strand: segments, the newest state, when to freeze.
#include "backend/backend.h"

#include <algorithm>
#include <utility>

#include "backend/engine.h"
#include "backend/file_side.h"
#include "backend/probe.h"
#include "backend/segment.h"
#include "backend/segment_yard.h"
#include "backend/view.h"
#include "base/check.h"
#include "base/coding.h"

namespace quoin::backend {
namespace {

// One of the numbers in meta; 0 if it is not there.
Result<uint64_t> stored_number(const EngineSnapshot& snapshot, std::string_view name,
                               const std::string& path) {
  ASSIGN_OR_RETURN(const auto stored, snapshot.get(Bucket::kMeta, name));
  if (!stored) return uint64_t{0};
  if (stored->size() != 8)
    return make_error(Code::kCorruption, "{}: meta/{} has {} bytes, not 8", path, name, stored->size());
  return load_be64(stored->data());
}

class Source final : public SnapshotSource {
 public:
  struct State {
    Index index;
    Term term;
    std::string conf_state;
  };
  static Result<std::shared_ptr<SnapshotSource>> make(SnapshotRef snapshot, const std::string& path,
                                                      std::shared_ptr<Probe> probe, io::Clock& clock) {
    State state;
    ASSIGN_OR_RETURN(state.index.v, stored_number(*snapshot, "consistent_index", path));
    ASSIGN_OR_RETURN(state.term.v, stored_number(*snapshot, "term", path));
    ASSIGN_OR_RETURN(const auto conf_state, snapshot->get(Bucket::kMeta, "confState"));
    state.conf_state = conf_state.value_or(std::string_view());
    return std::shared_ptr<SnapshotSource>(
        std::make_shared<Source>(std::move(snapshot), std::move(state), std::move(probe), clock));
  }
  Source(SnapshotRef snapshot, State state, std::shared_ptr<Probe> probe, io::Clock& clock)
      : snapshot_(std::move(snapshot)),
        state_(std::move(state)),
        probe_(std::move(probe)),
        clock_(clock),
        opened_(clock.monotonic()) {}
  ~Source() override {
    probe_->snapshot_seconds.observe(static_cast<double>(clock_.monotonic() - opened_) / 1e9);
  }
  uint64_t size() const override { return snapshot_->copy_size(); }
  Index consistent_index() const override { return state_.index; }
  Term consistent_term() const override { return state_.term; }
  const std::string& conf_state() const override { return state_.conf_state; }
  Result<> scan(Bucket bucket, const PairVisitor& visit) const override {
    return snapshot_->scan(bucket, {}, {}, visit);
  }
  Result<> read(uint64_t offset, std::span<char> out) const override {
    return snapshot_->read_copy(offset, out);
  }

 private:
  SnapshotRef snapshot_;
  const State state_;
  std::shared_ptr<Probe> probe_;
  io::Clock& clock_;
  io::MonotonicNs opened_;
};

class BackendImpl final : public Backend {
 public:
  BackendImpl(const Options& options, io::Executor& apply, io::Executor& file, io::TimerService& timers,
              io::Clock& clock, std::shared_ptr<Probe> probe)
      : options_(options),
        apply_(apply),
        file_(file),
        timers_(timers),
        clock_(clock),
        probe_(std::move(probe)),
        yard_(std::make_shared<SegmentYard>(file)) {}
  ~BackendImpl() override { yard_->close(); }

  // Before the strands run.
  Result<> start(io::FileSystem& fs, log::Logger& log, std::unique_ptr<EngineFactory> factory,
                 std::unique_ptr<Engine> engine);

  void append(Revision revision, bool tombstone, Blob value) override {
    active_->append(revision, tombstone, std::move(value));
    changed();
  }
  void put(Bucket bucket, std::string_view key, std::string_view value) override {
    active_->put(bucket, key, value);
    changed();
  }
  void erase(Bucket bucket, std::string_view key) override {
    active_->erase(bucket, key);
    changed();
  }
  void set_consistent_index(Index index, Term term) override {
    CHECK(index >= index_, "entry {} is applied a second time: the database holds all up to {}", index,
          index_);
    set_consistent_index_forced(index, term);
  }
  void set_consistent_index_forced(Index index, Term term) override {
    if (index != index_ || term != term_) index_moved_ = true;
    index_ = index;
    term_ = term;
  }
  void hold_freeze() override {
    CHECK(!held_);
    held_ = true;
  }
  void release_freeze() override {
    CHECK(held_);
    held_ = false;
    // What became due meanwhile; not now, since the entry's task still runs.
    if (!boundary_posted_) boundary_soon();
  }
  void set_conf_state(std::string_view json) override { put(Bucket::kMeta, "confState", json); }
  Index consistent_index() const override { return index_; }
  Term consistent_term() const override { return term_; }
  Index durable_index() const override { return durable_index_; }
  bool full() const override {
    const bool is_full = at_bound();
    if (is_full) told_ = Told::kFull;
    return is_full;
  }
  void set_not_full_callback(std::function<void()> callback) override { not_full_ = std::move(callback); }

  std::optional<std::string> get(Bucket bucket, std::string_view key) const override;
  Result<> scan(Bucket bucket, std::string_view from, std::string_view to,
                const PairVisitor& visit) const override {
    CHECK(bucket != Bucket::kKey);
    return merged_scan(*snapshot_, frozen_ ? frozen_->segment.get() : nullptr, active_.get(), bucket, from,
                       to, visit);
  }
  std::shared_ptr<const View> view() override;

  bool closing() const override { return life_ == Life::kClosing; }
  void commit(std::function<void()> durable) override {
    when_durable([durable = std::move(durable)](const Result<SnapshotRef>& snapshot) {
      if (snapshot) durable();
    });
  }
  void set_failure_callback(std::function<void(Error)> callback) override { failure_ = std::move(callback); }
  void abandon(const Error& why) override;

  void compact(int64_t revision, std::shared_ptr<Compactor> compactor, std::function<void()> done) override;
  void hash(std::function<void(Result<StateHash>)> done) override;
  void defragment(std::function<void(Result<>)> done) override;
  void snapshot(std::function<void(Result<std::shared_ptr<SnapshotSource>>)> done) override;
  uint64_t size() const override { return file_side_->size(); }
  uint64_t size_in_use() const override { return file_side_->size_in_use(); }
  uint64_t open_read_transactions() const override { return file_side_->open_snapshots(); }
  std::shared_ptr<Probe> probe() const override { return probe_; }
  void close(std::function<void(Result<>)> done) override;

 private:
  enum class Life {
    kOpen,
    kClosing,  // by close(): no more changes; what there is goes to the file, then the file is closed
    kDead,     // a commit failed, or the active segment was abandoned: it is never frozen
  };
  // Of the active segment. It is frozen at the first boundary (between two entries) where that was asked for or
  // the segment is at a bound, and no other one is on its way to the file.
  enum class Freeze { kNotAsked, kAsked };
  // What the caller knows of full(): once told that it is, it gets the callback when it no longer is.
  enum class Told { kNotFull, kFull };
  // Gets the snapshot of the commit, or why there is none.
  using Waiter = std::function<void(const Result<SnapshotRef>&)>;

  // A task for apply that does nothing once this object is gone.
  Task guarded(Task task) {
    return [alive = std::weak_ptr<int>(alive_), task = std::move(task)]() mutable {
      if (auto held = alive.lock()) task();
    };
  }
  bool at_bound() const {
    return active_->ops() >= options_.batch_limit || active_->bytes() >= options_.segment_bytes_max;
  }
  void changed();
  void boundary();
  void boundary_soon();
  void when_durable(Waiter waiter);
  void freeze();
  void hand_over_close();
  void on_committed(Committed c);
  void on_failed(const Error& error);
  void tell_not_full();

  const Options options_;
  io::Executor& apply_;
  io::Executor& file_;
  io::TimerService& timers_;
  io::Clock& clock_;
  const std::shared_ptr<Probe> probe_;
  std::shared_ptr<FileSide> file_side_;

  const std::shared_ptr<SegmentYard> yard_;
  std::shared_ptr<Segment> active_ = yard_->make();
  std::optional<FrozenSegment> frozen_;  // being committed
  SnapshotRef snapshot_;
  std::shared_ptr<const SegmentedView> view_;  // the last one made, while it is the newest
  uint64_t view_count_ = 0;

  Index index_, durable_index_;
  Term term_;
  bool index_moved_ = false;  // since the last freeze

  Life life_ = Life::kOpen;
  std::optional<Error> why_dead_;  // of kDead
  Freeze freeze_ = Freeze::kNotAsked;
  bool held_ = false;             // an entry goes on in a later task: no boundary until it ends
  bool boundary_posted_ = false;  // a task that is nothing but a boundary is on its way
  mutable Told told_ = Told::kNotFull;
  std::vector<Waiter> waiters_active_, waiters_frozen_;
  std::unique_ptr<io::Timer> timer_;  // running while the active segment has changes

  std::function<void()> not_full_;
  std::function<void(Error)> failure_;
  std::function<void(Result<>)> close_done_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

Result<> BackendImpl::start(io::FileSystem& fs, log::Logger& log, std::unique_ptr<EngineFactory> factory,
                            std::unique_ptr<Engine> engine) {
  FileSide::Env env;
  env.options = options_;
  env.fs = &fs;
  env.file = &file_;
  env.timers = &timers_;
  env.clock = &clock_;
  env.log = &log;
  env.probe = probe_;
  // These two run on the file strand and may outlive this object: they touch nothing of it but through
  // guarded tasks.
  std::weak_ptr<int> alive = alive_;
  env.to_apply = [alive, &apply = apply_](Task task) {
    apply.post([alive, task = std::move(task)]() mutable {
      if (auto held = alive.lock()) task();
    });
  };
  env.committed = [this, to_apply = env.to_apply](Committed c) {
    to_apply([this, c = std::move(c)]() mutable { on_committed(std::move(c)); });
  };
  env.failed = [this, to_apply = env.to_apply](Error error) {
    to_apply([this, error = std::move(error)] { on_failed(error); });
  };
  env.release = [this] {  // runs by to_apply
    view_.reset();
    snapshot_.reset();
  };
  file_side_ = std::make_shared<FileSide>(std::move(env), std::move(factory), std::move(engine));
  snapshot_ = file_side_->newest();
  ASSIGN_OR_RETURN(index_.v, stored_number(*snapshot_, "consistent_index", options_.path));
  ASSIGN_OR_RETURN(term_.v, stored_number(*snapshot_, "term", options_.path));
  durable_index_ = index_;
  return {};
}

// After each change of the active segment: the batch interval runs from the first one.
void BackendImpl::changed() {
  CHECK(life_ != Life::kClosing);
  if (life_ == Life::kDead) return;
  if (!timer_) {
    timer_ = timers_.schedule(options_.batch_interval_ns, apply_, guarded([this] {
                                timer_.reset();
                                freeze_ = Freeze::kAsked;
                                boundary();
                              }));
  }
  if (at_bound() && !frozen_ && !boundary_posted_) boundary_soon();
}

// Between two entries: the only places where a freeze may fall, so that an entry's changes and its index are
// in one commit.
void BackendImpl::boundary() {
  if (frozen_ || held_ || life_ == Life::kDead) return;
  if (freeze_ == Freeze::kAsked || at_bound()) freeze();
}

// A task of apply never ends within an entry. For callers that set no consistent index, and for the end of
// the entry that runs now.
void BackendImpl::boundary_soon() {
  boundary_posted_ = true;
  apply_.post(guarded([this] {
    boundary_posted_ = false;
    boundary();
    tell_not_full();
  }));
}

void BackendImpl::when_durable(Waiter waiter) {
  CHECK(life_ != Life::kClosing);
  if (life_ == Life::kDead)
    return apply_.post(guarded([waiter = std::move(waiter), error = *why_dead_] { waiter(error); }));
  waiters_active_.push_back(std::move(waiter));
  freeze_ = Freeze::kAsked;
  if (!boundary_posted_) boundary_soon();
}

// The index alone is reason enough only if somebody waits for this commit.
void BackendImpl::freeze() {
  const bool asked = !waiters_active_.empty() || life_ == Life::kClosing;
  freeze_ = Freeze::kNotAsked;
  timer_.reset();
  const bool nothing = active_->empty() && !(index_moved_ && asked && index_);
  if (nothing) {
    // All that was written is durable already.
    if (waiters_active_.empty()) return;
    apply_.post(
        guarded([waiters = std::exchange(waiters_active_, {}), snapshot = Result<SnapshotRef>(snapshot_)] {
          for (const auto& w : waiters) w(snapshot);
        }));
    return;
  }
  if (told_ == Told::kFull && !boundary_posted_) boundary_soon();
  frozen_ = FrozenSegment{std::move(active_), index_, term_};
  active_ = yard_->make();
  index_moved_ = false;
  view_.reset();
  waiters_frozen_ = std::exchange(waiters_active_, {});
  file_.post([side = file_side_, frozen = *frozen_]() mutable { side->submit(std::move(frozen)); });
}

void BackendImpl::on_committed(Committed c) {
  snapshot_ = std::move(c.snapshot);
  view_.reset();
  if (!c.segment) return;
  durable_index_ = frozen_->index;
  frozen_.reset();
  const auto waiters = std::exchange(waiters_frozen_, {});
  const Result<SnapshotRef> snapshot = snapshot_;
  for (const auto& w : waiters) w(snapshot);
  boundary();
  tell_not_full();
  hand_over_close();
}

// Where close() asked for it: once the last segment is in the file.
void BackendImpl::hand_over_close() {
  if (frozen_ || !close_done_) return;
  file_.post([side = file_side_, done = std::exchange(close_done_, nullptr)] { side->close(done); });
}

void BackendImpl::tell_not_full() {
  if (told_ == Told::kNotFull || full() || life_ == Life::kDead) return;
  told_ = Told::kNotFull;
  if (not_full_) not_full_();
}

void BackendImpl::on_failed(const Error& error) {
  life_ = Life::kDead;
  why_dead_ = error;
  timer_.reset();
  auto waiters = std::exchange(waiters_frozen_, {});
  std::move(waiters_active_.begin(), waiters_active_.end(), std::back_inserter(waiters));
  waiters_active_.clear();
  for (const auto& w : waiters) w(error);
  if (auto done = std::exchange(close_done_, nullptr)) done(error);
  if (failure_) failure_(error);
}

void BackendImpl::abandon(const Error& why) {
  if (life_ == Life::kDead) return;
  life_ = Life::kDead;
  why_dead_ = why;
  timer_.reset();
  for (const auto& w : std::exchange(waiters_active_, {})) w(why);
}

std::optional<std::string> BackendImpl::get(Bucket bucket, std::string_view key) const {
  CHECK(bucket != Bucket::kKey);
  for (const Segment* s :
       {static_cast<const Segment*>(active_.get()), frozen_ ? frozen_->segment.get() : nullptr}) {
    if (s == nullptr) continue;
    const auto& pairs = s->pairs(bucket);
    if (auto it = pairs.find(key); it != pairs.end()) return it->second;
  }
  const auto found = snapshot_->get(bucket, key);
  // A damaged page that the open did not see: there is no state to go on with.
  CHECK(found.has_value(), "{}", found.error().text());
  if (!*found) return std::nullopt;
  return std::string(**found);
}

std::shared_ptr<const View> BackendImpl::view() {
  CHECK(snapshot_, "a view of a backend that is closed");
  const uint64_t count = active_->record_count();
  if (!view_ || view_count_ != count) {
    view_ = std::make_shared<const SegmentedView>(snapshot_, frozen_ ? frozen_->segment : nullptr, active_,
                                                  count);
    view_count_ = count;
  }
  return view_;
}

void BackendImpl::compact(int64_t revision, std::shared_ptr<Compactor> compactor,
                          std::function<void()> done) {
  CHECK_GE(revision, 0);
  // Whoever waited for one of the last commits may ask: it ends as one that is under way.
  if (life_ == Life::kClosing) return;
  when_durable([this, revision, compactor = std::move(compactor),
                done = std::move(done)](const Result<SnapshotRef>& durable) {
    if (!durable) return;
    file_.post([side = file_side_, revision, compactor, done] { side->compact(revision, compactor, done); });
  });
}

void BackendImpl::hash(std::function<void(Result<StateHash>)> done) {
  when_durable([this, done = std::move(done)](const Result<SnapshotRef>& durable) {
    if (!durable) return done(durable.error());
    file_.post([side = file_side_, done] { side->hash(done); });
  });
}

void BackendImpl::defragment(std::function<void(Result<>)> done) {
  CHECK(life_ != Life::kClosing);
  file_.post([side = file_side_, done = std::move(done)] { side->defragment(done); });
}

void BackendImpl::snapshot(std::function<void(Result<std::shared_ptr<SnapshotSource>>)> done) {
  when_durable([this, done = std::move(done)](const Result<SnapshotRef>& snapshot) {
    if (!snapshot) return done(snapshot.error());
    done(Source::make(*snapshot, options_.path, probe_, clock_));
  });
}

void BackendImpl::close(std::function<void(Result<>)> done) {
  CHECK(life_ != Life::kClosing);
  yard_->close();  // the file strand ends soon; views may live longer
  if (life_ == Life::kDead) {
    apply_.post(guarded([done = std::move(done), error = *why_dead_] { done(error); }));
    return;
  }
  life_ = Life::kClosing;
  held_ = false;
  freeze_ = Freeze::kAsked;
  close_done_ = std::move(done);
  apply_.post(guarded([this] {
    boundary();
    hand_over_close();
  }));
}

}  // namespace

Result<std::unique_ptr<Backend>> open_with_engine(const Options& options,
                                                  std::unique_ptr<EngineFactory> factory, io::FileSystem& fs,
                                                  io::Executor& apply, io::Executor& file,
                                                  io::TimerService& timers, io::Clock& clock,
                                                  metrics::Registry& metrics, log::Logger& log) {
  const size_t slash = options.path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : options.path.substr(0, slash);
  const std::string leftover = options.path.substr(slash == std::string::npos ? 0 : slash + 1) + ".tmp.";
  ASSIGN_OR_RETURN(auto engine, factory->open(options.path, /*filling=*/false));
  // Under the lock of the file itself: no other process is filling one of these.
  ASSIGN_OR_RETURN(const auto entries, fs.list(directory));
  for (const auto& e : entries) {
    if (e.directory || !e.name.starts_with(leftover)) continue;
    LOG(log, kInfo, "found orphaned defragmentation file; deleting", {"path", directory + "/" + e.name});
    TRY(fs.remove(directory + "/" + e.name));
  }
  auto probe = options.probe ? options.probe : std::make_shared<Probe>(metrics);
  auto backend = std::make_unique<BackendImpl>(options, apply, file, timers, clock, std::move(probe));
  TRY(backend->start(fs, log, std::move(factory), std::move(engine)));
  return std::unique_ptr<Backend>(std::move(backend));
}

}  // namespace quoin::backend
