// What the engines of the offline tools share: where they work, what they tell while they work, and how they are
// stopped. No command line and no terminal in here: etcdutl and etcdctl bring these.
//
// Threads: an engine runs on the thread that calls it and blocks. `interrupted` may look at what a signal handler set.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/log.h"
#include "base/result.h"
#include "io/clock.h"
#include "io/file.h"
#include "io/resolver.h"

namespace quoin::utl {

struct Machine {
  io::FileSystem& fs;
  const io::Clock& clock;
  log::Logger& log;
  io::Resolver* resolver = nullptr;  // for host names in URLs; null: none is looked up
};

struct Job {
  // `done` of `total` of `what` is done; `total` 0: nobody knows how much there is. Called often.
  std::function<void(std::string_view what, uint64_t done, uint64_t total)> progress;
  // Whether the user wants it to end.
  std::function<bool()> interrupted;

  // Between two pieces of work. kStopped ("interrupted"): clean up and return.
  Result<> step(std::string_view what, uint64_t done, uint64_t total) const {
    if (interrupted && interrupted()) return Error(Code::kStopped, "interrupted");
    if (progress) progress(what, done, total);
    return {};
  }
};

}  // namespace quoin::utl
