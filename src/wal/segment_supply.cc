#include "wal/segment_supply.h"

#include "base/check.h"

namespace quoin::wal {

SegmentSupply::SegmentSupply(io::FileSystem& fs, io::Executor& executor, std::string dir,
                             uint64_t segment_bytes)
    : fs_(fs), executor_(executor), dir_(std::move(dir)), segment_bytes_(segment_bytes) {
  prepare();
}

void SegmentSupply::prepare() {
  state_ = State::kPreparing;
  path_ = fmt::format("{}/{}.tmp", dir_, count_ % 2);
  // A leftover may hold old records, which must not follow new ones: cut to nothing.
  fs_.async_open(path_, {.write = true, .create = true, .truncate = true, .mode = 0600},
                 [this, alive = std::weak_ptr<int>(alive_)](Result<std::unique_ptr<io::File>> file) {
                   if (alive.expired()) return;
                   if (!file) return prepared(file.error());
                   file_ = std::move(*file);
                   if (auto locked = file_->lock_ofd(); !locked) return prepared(std::move(locked));
                   // The file and with it this completion belong to `this`.
                   file_->async_allocate(segment_bytes_, [this](Result<> r) { prepared(std::move(r)); });
                 });
}

void SegmentSupply::prepared(Result<> result) {
  state_ = result ? State::kReady : State::kFailed;
  if (closed_) return close(std::exchange(closed_, nullptr));
  if (!taken_) return;
  if (result) return hand_over(Prepared{path_, std::move(file_)});
  hand_over(std::move(result).error());
}

void SegmentSupply::hand_over(Result<Prepared> result) {
  ++count_;
  if (result) prepare();
  std::exchange(taken_, nullptr)(std::move(result));
}

void SegmentSupply::take(Take taken) {
  CHECK(!taken_);
  CHECK(state_ != State::kClosed);
  taken_ = std::move(taken);
  if (state_ == State::kFailed) return prepare();
  if (state_ != State::kReady) return;
  executor_.post([this, alive = std::weak_ptr<int>(alive_)] {
    if (!alive.expired()) hand_over(Prepared{path_, std::move(file_)});
  });
}

void SegmentSupply::close(absl::AnyInvocable<void()> done) {
  CHECK(!taken_);
  if (state_ == State::kPreparing) {
    closed_ = std::move(done);
    return;
  }
  state_ = State::kClosed;
  file_.reset();
  fs_.async_remove(path_, [done = std::move(done)](Result<>) mutable { done(); });
}

}  // namespace quoin::wal
