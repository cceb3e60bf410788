// Standard output, gathered and written in whole answers: a reader of the pipe never sees half a line, and a killed
// command has not printed what it did not do.
//
// A closed pipe ends the program by SIGPIPE, as it ends etcd's.
// Threads: any; text put by one call is never torn apart by another.
#pragma once
#include <fmt/format.h>

#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace quoin::ctl {

class Output {
 public:
  void put(std::string_view bytes);
  template <class... A>
  void line(fmt::format_string<A...> f, A&&... args) {
    put(fmt::format(f, std::forward<A>(args)...) + "\n");
  }
  // Writes all that was put.
  void flush();

 private:
  std::mutex mutex_;
  std::string pending_;  // guarded by mutex_
};

// Standard output of this program.
Output& out();

// A whole text for standard error, at once, after what was put to standard output.
void put_error(std::string_view text);

}  // namespace quoin::ctl
