// A database on its way in, written piece by piece into a new file.
//
// Threads: called on the peer loop; the file itself is touched on the executor of its file system alone.
// One operation at a time. Dropped without keep(), the file is removed, once an operation under way is over.
#pragma once
#include <absl/functional/any_invocable.h>

#include <memory>
#include <string>

#include "base/result.h"
#include "io/executor.h"
#include "io/file.h"

namespace quoin::peer {

class IncomingFile {
 public:
  using Done = absl::AnyInvocable<void(Result<>)>;
  // `fs` belongs to `files`; completions run on `loop`, unless this was dropped before.
  IncomingFile(io::FileSystem& fs, io::Executor& files, io::Executor& loop, std::string path);
  ~IncomingFile();

  void open(Done done);
  void append(std::string bytes, Done done);
  void sync(Done done);
  // From here on the file is somebody else's.
  std::string keep();
  uint64_t size() const { return size_; }

 private:
  struct Core;
  void run(absl::AnyInvocable<void(Core&, io::Completion)> operation, Done done);

  std::shared_ptr<Core> core_;
  uint64_t size_ = 0;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace quoin::peer
