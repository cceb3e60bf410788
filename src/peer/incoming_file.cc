#include "peer/incoming_file.h"

#include <utility>

namespace quoin::peer {

// Touched on `files` only, but for the references.
struct IncomingFile::Core : std::enable_shared_from_this<IncomingFile::Core> {
  io::FileSystem& fs;
  io::Executor& files;
  io::Executor& loop;
  const std::string path;
  std::unique_ptr<io::File> file;
  std::string writing;  // lives as long as its write
  bool busy = false;    // an operation is under way
  bool dropped = false;
  bool kept = false;  // set on the loop, before it drops this

  Core(io::FileSystem& f, io::Executor& x, io::Executor& l, std::string p)
      : fs(f), files(x), loop(l), path(std::move(p)) {}
  void clean_up() {
    const bool made = file != nullptr;
    file.reset();
    if (made && !kept) fs.async_remove(path, [self = shared_from_this()](Result<>) {});
  }
};

IncomingFile::IncomingFile(io::FileSystem& fs, io::Executor& files, io::Executor& loop, std::string path)
    : core_(std::make_shared<Core>(fs, files, loop, std::move(path))) {}

IncomingFile::~IncomingFile() {
  io::Executor& files = core_->files;
  files.post([core = std::move(core_)] {
    core->dropped = true;
    if (!core->busy) core->clean_up();
  });
}

void IncomingFile::run(absl::AnyInvocable<void(Core&, io::Completion)> operation, Done done) {
  core_->files.post([core = core_, operation = std::move(operation), done = std::move(done),
                     alive = std::weak_ptr<int>(alive_)]() mutable {
    Core& c = *core;
    c.busy = true;
    operation(c, [core = std::move(core), done = std::move(done),
                  alive = std::move(alive)](Result<> result) mutable {
      core->busy = false;
      if (core->dropped) {
        // Not within the file's own completion.
        core->files.post([core] { core->clean_up(); });
        return;
      }
      core->loop.post(
          [done = std::move(done), alive = std::move(alive), result = std::move(result)]() mutable {
            if (!alive.expired()) done(std::move(result));
          });
    });
  });
}

void IncomingFile::open(Done done) {
  run(
      [](Core& core, io::Completion completed) {
        core.fs.async_open(core.path, {.write = true, .create = true, .exclusive = true},
                           [self = core.shared_from_this(), completed = std::move(completed)](
                               Result<std::unique_ptr<io::File>> file) mutable {
                             if (!file) return completed(std::move(file).error());
                             self->file = std::move(*file);
                             completed({});
                           });
      },
      std::move(done));
}

void IncomingFile::append(std::string bytes, Done done) {
  const uint64_t at = std::exchange(size_, size_ + bytes.size());
  run(
      [at, bytes = std::move(bytes)](Core& core, io::Completion completed) mutable {
        core.writing = std::move(bytes);
        core.file->async_write(at, {core.writing}, std::move(completed));
      },
      std::move(done));
}

void IncomingFile::sync(Done done) {
  run([](Core& core, io::Completion completed) { core.file->async_sync(std::move(completed)); },
      std::move(done));
}

std::string IncomingFile::keep() {
  core_->kept = true;
  return core_->path;
}

}  // namespace quoin::peer
