#include "backend/bolt_engine.h"

#include <mutex>
#include <utility>

#include "backend/backend.h"
#include "bolt/db.h"
#include "bolt/snapshot_stream.h"
#include "failpoint/failpoint.h"

namespace quoin::backend {
namespace {

class BoltSnapshot final : public EngineSnapshot {
 public:
  BoltSnapshot(std::shared_ptr<const bolt::ReadTx> tx, const std::string& path) : tx_(std::move(tx)) {
    for (int b = 0; b < kBucketCount; ++b) {
      auto found = tx_->bucket(bucket_name(static_cast<Bucket>(b)));
      if (!found) {
        buckets_.emplace_back(found.error());
      } else if (!*found) {
        buckets_.emplace_back(make_error(Code::kCorruption, "{}: bucket {} is missing", path,
                                         bucket_name(static_cast<Bucket>(b))));
      } else {
        buckets_.emplace_back(**found);
      }
    }
  }

  using EngineSnapshot::get;
  Result<std::optional<std::string_view>> get(Bucket bucket, std::string_view key,
                                              View::Hint* hint) const override {
    const auto& view = buckets_[static_cast<int>(bucket)];
    if (!view) return view.error();
    if (!hint) return view->get(key);
    bolt::LeafHint leaf{hint->page, hint->index};
    auto found = view->get(key, &leaf);
    *hint = {leaf.leaf, leaf.index};
    return found;
  }

  Result<> get_group(Bucket bucket, std::span<const std::string_view> keys,
                     std::optional<std::string_view>* out) const override {
    static_assert(View::kGroupMax <= bolt::BucketView::kGroupMax);
    const auto& view = buckets_[static_cast<int>(bucket)];
    if (!view) return view.error();
    return view->get_group(keys, out);
  }

  Result<> scan(Bucket bucket, std::string_view from, std::string_view to,
                const PairVisitor& visit) const override {
    const auto& view = buckets_[static_cast<int>(bucket)];
    if (!view) return view.error();
    bolt::Cursor cursor = view->cursor();
    ASSIGN_OR_RETURN(bool there, from.empty() ? cursor.first() : cursor.seek(from));
    while (there && (to.empty() || cursor.key() < to)) {
      if (!visit(cursor.key(), cursor.value())) break;
      ASSIGN_OR_RETURN(there, cursor.next());
    }
    return {};
  }

  uint64_t copy_size() const override { return tx_->size_bytes(); }
  Result<> read_copy(uint64_t offset, std::span<char> out) const override {
    std::call_once(stream_made_, [&] { stream_ = std::make_unique<bolt::SnapshotStream>(tx_); });
    if (offset > copy_size() || out.size() > copy_size() - offset) {
      return make_error(Code::kInvalidArgument, "bytes [{}, {}) of a copy of {}", offset, offset + out.size(),
                        copy_size());
    }
    stream_->read(offset, out);
    return {};
  }

 private:
  std::shared_ptr<const bolt::ReadTx> tx_;
  std::vector<Result<bolt::BucketView>> buckets_;
  mutable std::once_flag stream_made_;
  mutable std::unique_ptr<bolt::SnapshotStream> stream_;
};

class BoltEngine final : public Engine {
 public:
  BoltEngine(std::unique_ptr<bolt::Db> db, io::Executor& file, io::Clock& clock, bool filling)
      : db_(std::move(db)), file_(file), clock_(clock), filling_(filling) {}

  std::unique_ptr<EngineSnapshot> snapshot() override {
    FAILPOINT(beforeStartDBTxn);
    auto read = db_->begin_read();
    FAILPOINT(afterStartDBTxn);
    return std::make_unique<BoltSnapshot>(std::move(read), db_->path());
  }

  void commit(const Batch& batch, absl::AnyInvocable<void(Result<CommitTimes>)> done) override {
    const auto began = clock_.monotonic();
    auto tx = fill(batch);
    if (!tx) {
      file_.post([done = std::move(done), error = tx.error()]() mutable { done(error); });
      return;
    }
    // The pages are laid out before Db::commit returns; what is left then is writing and syncing.
    auto flight = std::make_shared<Flight>();
    const auto filled = clock_.monotonic();
    flight->times.rebalance_ns = filled - began;
    db_->commit(std::move(*tx), [this, flight, done = std::move(done)](Result<> result) mutable {
      if (!flight->submitted) {
        // Refused at once; the caller is promised a task of its own.
        file_.post([done = std::move(done), error = result.error()]() mutable { done(error); });
        return;
      }
      if (!result) return done(result.error());
      flight->times.write_ns = clock_.monotonic() - flight->laid_out;
      done(flight->times);
    });
    flight->submitted = true;
    flight->laid_out = clock_.monotonic();
    flight->times.spill_ns = flight->laid_out - filled;
  }

  uint64_t size() const override { return db_->stats().size_bytes(); }
  uint64_t size_in_use() const override { return db_->stats().size_in_use_bytes(); }
  uint64_t size_max() const override { return db_->stats().reserved_bytes; }
  void end_filling() override { filling_ = false; }
  void close(absl::AnyInvocable<void(Result<>)> done) override {
    db_->close(/*save_freelist=*/true, std::move(done));
  }

 private:
  // A commit under way.
  struct Flight {
    CommitTimes times;
    io::MonotonicNs laid_out = 0;
    bool submitted = false;
  };

  Result<std::unique_ptr<bolt::WriteTx>> fill(const Batch& batch) {
    FAILPOINT(beforeStartDBTxn);
    ASSIGN_OR_RETURN(auto tx, db_->begin_write());
    FAILPOINT(afterStartDBTxn);
    for (int b = 0; b < kBucketCount; ++b) {
      if (batch.changes[b].empty()) continue;
      ASSIGN_OR_RETURN(bolt::Bucket * bucket, tx->create_bucket(bucket_name(static_cast<Bucket>(b))));
      if (filling_ || static_cast<Bucket>(b) == Bucket::kKey) bucket->set_fill_percent(bolt::kFillSequential);
      for (const Change& c : batch.changes[b]) {
        if (c.erase) {
          TRY(bucket->erase(c.key));
        } else {
          TRY(bucket->put_ref(c.key, c.value));
        }
      }
    }
    return tx;
  }

  std::unique_ptr<bolt::Db> db_;
  io::Executor& file_;
  io::Clock& clock_;
  bool filling_;
};

Result<> make_missing_buckets(bolt::Db& db) {
  const auto now = db.begin_read();
  bool missing = false;
  for (int b = 0; b < kBucketCount; ++b) {
    ASSIGN_OR_RETURN(const auto found, now->bucket(bucket_name(static_cast<Bucket>(b))));
    missing = missing || !found;
  }
  if (!missing) return {};
  ASSIGN_OR_RETURN(auto tx, db.begin_write());
  for (int b = 0; b < kBucketCount; ++b) TRY(tx->create_bucket(bucket_name(static_cast<Bucket>(b))));
  return db.commit_blocking(std::move(tx));
}

class BoltFactory final : public EngineFactory {
 public:
  BoltFactory(const Options& options, io::FileSystem& fs, io::Executor& file, io::Clock& clock)
      : options_(options), fs_(fs), file_(file), clock_(clock) {}

  Result<std::unique_ptr<Engine>> open(const std::string& path, bool filling) override {
    bolt::Options o;
    o.reserve_bytes = options_.map_bytes;
    o.no_sync = options_.unsafe_no_fsync;
    o.prefault = !filling;
    ASSIGN_OR_RETURN(auto db, bolt::Db::open(fs_, path, o));
    if (const Result<> made = make_missing_buckets(*db); !made) {
      if (made.error().code() != Code::kInvalidArgument) return made.error();
      return make_error(Code::kCorruption, "{}: a name of a bucket is that of a value: {}", path,
                        made.error().text());
    }
    // Not only where it was made just now: a process that ended before its own sync of the directory may have
    // made it, or put it in another's place.
    if (!options_.unsafe_no_fsync) {
      const size_t slash = path.rfind('/');
      TRY(fs_.sync_dir(slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash)));
    }
    return std::unique_ptr<Engine>(std::make_unique<BoltEngine>(std::move(db), file_, clock_, filling));
  }

 private:
  const Options options_;
  io::FileSystem& fs_;
  io::Executor& file_;
  io::Clock& clock_;
};

}  // namespace

std::unique_ptr<EngineFactory> bolt_engine_factory(const Options& options, io::FileSystem& fs,
                                                   io::Executor& file, io::Clock& clock) {
  return std::make_unique<BoltFactory>(options, fs, file, clock);
}

Result<std::unique_ptr<Backend>> Backend::open(const Options& options, io::FileSystem& fs,
                                               io::Executor& apply, io::Executor& file,
                                               io::TimerService& timers, io::Clock& clock,
                                               metrics::Registry& metrics, log::Logger& log) {
  return open_with_engine(options, bolt_engine_factory(options, fs, file, clock), fs, apply, file, timers,
                          clock, metrics, log);
}

}  // namespace quoin::backend
