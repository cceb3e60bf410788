// Files of the real machine (io/file.h). Asynchronous operations are carried out at once on the calling
// thread, which is the stage's own and may wait; only the completion is a task of its own.
#pragma once
#include "io/executor.h"
#include "io/file.h"

namespace quoin::posix {

// `completions`: the executor that completions run on.
std::unique_ptr<io::FileSystem> make_file_system(io::Executor& completions);

// From now on a SIGBUS inside a mapping (a page that could not be read, a file cut by somebody else) ends the
// process with a line that names file and offset. Call once, at start.
void install_sigbus_report();

}  // namespace quoin::posix
