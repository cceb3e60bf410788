#include "cmd/benchmark/output.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "base/go_text.h"

namespace quoin::cmd::bench {

void write_out(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n >= 0) {
      text.remove_prefix(static_cast<size_t>(n));
      continue;
    }
    const int error = errno;
    if (error == EINTR) continue;
    const std::string line = fmt::format("write /dev/stdout: {}\n", go_errno_text(error));
    [[maybe_unused]] const ssize_t said = ::write(STDERR_FILENO, line.data(), line.size());
    if (error == EPIPE) {
      signal(SIGPIPE, SIG_DFL);
      raise(SIGPIPE);
    }
    _exit(1);
  }
}

void Output::text(std::string_view text) {
  if (!json_) write_out(text);
}

void Output::report(std::string_view name, std::string_view before, const Report& report,
                    std::string_view after) {
  if (!json_) return write_out(std::string(before) + report.text() + std::string(after));
  if (!std::exchange(any_report_, true)) reports_.open_array();
  report.append_json(reports_, name);
}

void Output::json_member(std::string_view name, std::string_view json) {
  members_ += fmt::format(",{}:{}", go_json_string(name), json);
}

void Output::finish(bool interrupted) {
  if (!json_) return;
  if (!any_report_) reports_.open_array();
  reports_.close_array();
  write_out(fmt::format("{{\"command\":{},\"interrupted\":{}{},\"reports\":{}}}\n", go_json_string(command_),
                        interrupted, members_, reports_.text()));
}

}  // namespace quoin::cmd::bench
