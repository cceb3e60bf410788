#include "cmd/etcdutl/terminal.h"

#include <unistd.h>

#include <csignal>
#include <ctime>

#include "cmd/text/size.h"
#include "posix/clock.h"
#include "posix/log_render.h"

namespace quoin::utl {

namespace {

volatile std::sig_atomic_t caught = 0;

void on_signal(int number) {
  caught = number;
}

// What cannot be written to standard error has no other place to go.
void write_error(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDERR_FILENO, text.data(), text.size());
    if (n <= 0) return;
    text.remove_prefix(static_cast<size_t>(n));
  }
}

// RFC 3339 in local time, whole seconds.
std::string time_text() {
  const std::time_t now = std::time(nullptr);
  std::tm tm{};
  localtime_r(&now, &tm);
  std::string out = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", tm.tm_year + 1900, tm.tm_mon + 1,
                                tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
  if (tm.tm_gmtoff == 0) return out + "Z";
  const long minutes = std::labs(tm.tm_gmtoff) / 60;
  return out + fmt::format("{}{:02}:{:02}", tm.tm_gmtoff < 0 ? '-' : '+', minutes / 60, minutes % 60);
}

}  // namespace

Terminal::Terminal() : is_terminal_(isatty(STDERR_FILENO) == 1) {}

void Terminal::log(const log::Event& event) {
  std::string record, line;
  posix::encode_event(record, event, "");
  posix::render_console(line, record, event.level, 0, /*stack=*/false);
  clear_progress();
  write_error(time_text() + line.substr(line.find('\t')));
}

void Terminal::say(std::string_view text) {
  clear_progress();
  write_error(text);
}

Job Terminal::job() {
  Job job;
  job.interrupted = [] { return signal_caught() != 0; };
  if (is_terminal_) {
    job.progress = [this](std::string_view what, uint64_t done, uint64_t total) {
      show_progress(what, done, total);
    };
  }
  return job;
}

void Terminal::show_progress(std::string_view what, uint64_t done, uint64_t total) {
  constexpr int64_t kEachNs = 100 * io::kMillisecond;
  const int64_t now = posix::SystemClock().monotonic();
  if (line_open_ && now - shown_at_ < kEachNs) return;
  shown_at_ = now;
  line_open_ = true;
  std::string amount;
  if (total > 0) {
    amount = fmt::format(
        ": {} of {} ({} %)", cmd::si_size(done), cmd::si_size(total),
        done >= total ? 100 : static_cast<int>(static_cast<double>(done) * 100 / static_cast<double>(total)));
  }
  write_error(fmt::format("\r\x1b[K{}{}", what, amount));
}

void Terminal::clear_progress() {
  if (line_open_) write_error("\r\x1b[K");
  line_open_ = false;
}

void Terminal::catch_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESETHAND | SA_RESTART;
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before {};
    // What the parent had set to be ignored (nohup) stays so.
    if (sigaction(number, nullptr, &before) == 0 && before.sa_handler != SIG_IGN)
      sigaction(number, &action, nullptr);
  }
}

int Terminal::signal_caught() {
  return caught;
}

}  // namespace quoin::utl
