// Prepares the next segment ahead of need: a preallocated, locked file `0.tmp` or `1.tmp`, in turn.
//
// Threads: confined to the executor of the file system. Callbacks run as its tasks.
// Lifetime: dropping it drops what is outstanding; a prepared file is then left behind, which open() ignores
// and the next supply truncates.
#pragma once
#include <absl/functional/any_invocable.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "io/executor.h"
#include "io/file.h"

namespace quoin::wal {

class SegmentSupply {
 public:
  struct Prepared {
    std::string path;
    std::unique_ptr<io::File> file;
  };
  using Take = absl::AnyInvocable<void(Result<Prepared>)>;

  // Begins to prepare at once.
  SegmentSupply(io::FileSystem& fs, io::Executor& executor, std::string dir, uint64_t segment_bytes);

  // Hands over the prepared file, as soon as there is one, and begins the next. If preparing ahead has failed
  // (a full disk, say), it is tried again once, and only then reported. One take() at a time.
  void take(Take taken);
  // Prepares no more and removes what is prepared, best effort. No take() may be outstanding.
  void close(absl::AnyInvocable<void()> done);

 private:
  enum class State { kPreparing, kReady, kFailed, kClosed };
  void prepare();
  void prepared(Result<> result);
  void hand_over(Result<Prepared> result);

  io::FileSystem& fs_;
  io::Executor& executor_;
  const std::string dir_;
  const uint64_t segment_bytes_;
  State state_ = State::kPreparing;
  uint64_t count_ = 0;
  std::string path_;
  std::unique_ptr<io::File> file_;
  Take taken_;
  absl::AnyInvocable<void()> closed_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace quoin::wal
